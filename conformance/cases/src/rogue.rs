//! A connection that misbehaves on purpose, and the proof that nobody else suffers from it.
//!
//! It speaks in frames: what it sends is no packet of a good client. It answers the server's pings, so
//! that whatever ends it is not its silence. It must not judge itself: cases differ in what they accept.

use serde_json::Value;
use tokio::time::{Instant, timeout_at};
use touchstone_client::{CallError, ConnectOptions, Engine, Frame};

use super::hazard::OTHERS_SERVED;
use touchstone_harness::{
    case::{Flow, Stop},
    ctx::Ctx,
    peer::Peer,
};

/// A ping of the Socket.IO API with an ack id that no other frame of a rogue carries.
const PING: &str = r#"424242["ping"]"#;

/// How the answer to [`PING`] begins.
const PONG: &str = "434242";

/// The ping that shows that a new connection is served, and how its answer begins.
const FIRST_PING: &str = r#"424141["ping"]"#;
const FIRST_PONG: &str = "434141";

/// What became of a connection after it misbehaved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Aftermath {
    /// A ping was answered.
    Served,
    /// The server closed it.
    Closed(String),
    /// It stands, and nothing is answered.
    Silent,
}

impl Aftermath {
    /// The word for the dialect card.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::Served => "served",
            Self::Closed(_) => "closed",
            Self::Silent => "silent",
        }
    }
}

/// What reading ended with.
#[derive(Debug)]
pub(crate) enum Read {
    /// The packet that was waited for.
    Found(String),
    /// The transport ended first.
    Ended(String),
    /// The deadline came first.
    Nothing,
}

fn ended(name: &str, reason: &str) -> Stop {
    Stop::Dropped(format!("the connection {name} ended: {reason}"))
}

/// A raw connection.
#[derive(Debug)]
pub(crate) struct Rogue {
    engine: Engine,
    /// All text packets that were read, heartbeats aside.
    pub(crate) heard: Vec<String>,
}

impl Rogue {
    /// Opens a transport, without CONNECT.
    pub(crate) async fn open(options: &ConnectOptions) -> Flow<Self> {
        let engine = Engine::open(options).await.map_err(|error| {
            Stop::Trouble(format!(
                "cannot open a transport: {}",
                touchstone_output::text::error_chain(&error)
            ))
        })?;
        Ok(Self {
            engine,
            heard: Vec::new(),
        })
    }

    /// Opens a transport and connects with `auth`, which the server must accept.
    pub(crate) async fn connect(cx: &Ctx, name: &str, auth: &Value) -> Flow<Self> {
        let mut rogue = Self::open(&cx.options(name, None)).await?;
        rogue.send(format!("40{auth}")).await;
        match rogue
            .read_until(cx.deadline(), |packet| packet.starts_with("40"))
            .await
        {
            Read::Found(_) => {}
            Read::Ended(reason) => return Err(ended(name, &reason)),
            Read::Nothing => {
                return Err(Stop::Trouble(format!("{name} cannot connect: no answer")));
            }
        }
        // As for every connection: what is sent in its first moment may be lost.
        let end = cx.deadline();
        let mut within = cx.shared.pace.settle() / 2;
        while cx.answers_pings() && Instant::now() < end {
            rogue.send(FIRST_PING).await;
            let until = Instant::now() + within;
            match rogue
                .read_until(until, |packet| packet.starts_with(FIRST_PONG))
                .await
            {
                Read::Found(_) => break,
                Read::Ended(reason) => return Err(ended(name, &reason)),
                Read::Nothing => within *= 2,
            }
        }
        Ok(rogue)
    }

    /// Sends a text frame as it is. A transport that has ended says so when it is read.
    pub(crate) async fn send(&mut self, text: impl Into<String>) {
        self.send_frame(Frame::text(text.into())).await;
    }

    /// Sends a frame as it is.
    pub(crate) async fn send_frame(&mut self, frame: Frame) {
        // Reading gives the better reason for the same end.
        let _ = self.engine.send(frame).await;
    }

    /// Reads until a text packet is `wanted`.
    pub(crate) async fn read_until(
        &mut self,
        deadline: Instant,
        mut wanted: impl FnMut(&str) -> bool,
    ) -> Read {
        loop {
            let frame = match timeout_at(deadline, self.engine.recv()).await {
                Err(_) => return Read::Nothing,
                Ok(Err(end)) => return Read::Ended(touchstone_output::text::error_chain(&end)),
                Ok(Ok(frame)) => frame,
            };
            let Frame::Text(text) = frame else {
                continue;
            };
            if let Some(probe) = text.strip_prefix('2') {
                self.send(format!("3{probe}")).await;
                continue;
            }
            let text = text.as_str().to_owned();
            self.heard.push(text.clone());
            if wanted(&text) {
                return Read::Found(text);
            }
        }
    }

    /// Pings, and tells what became of the connection.
    pub(crate) async fn aftermath(&mut self, deadline: Instant) -> Aftermath {
        let asked = timeout_at(deadline, self.send(PING)).await;
        if asked.is_err() {
            return Aftermath::Silent;
        }
        match self
            .read_until(deadline, |packet| packet.starts_with(PONG))
            .await
        {
            Read::Found(_) => Aftermath::Served,
            Read::Ended(reason) => Aftermath::Closed(reason),
            Read::Nothing => Aftermath::Silent,
        }
    }
}

/// Judges that bystanders are as well as ever: each one's ping is answered.
pub(crate) async fn others_served(cx: &mut Ctx, bystanders: &[&Peer]) -> Flow {
    for peer in bystanders {
        let patience = cx.shared.pace.patience();
        let trouble = match peer.call_within("ping", (), patience).await {
            Ok(_) => None,
            Err(CallError::Timeout { after, .. }) => Some(format!(
                "no answer for {} within {:.1} s",
                peer.who,
                after.as_secs_f64()
            )),
            Err(CallError::Ended { source, .. }) => Some(format!(
                "{} ended: {}",
                peer.who,
                touchstone_output::text::error_chain(&source)
            )),
        };
        let held = trouble.is_none();
        let told = trouble.unwrap_or_default();
        cx.require(&OTHERS_SERVED, held, "a ping that is answered", told)?;
    }
    Ok(())
}
