//! Engine.IO sessions, whichever connections their packets come on.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;
use touchstone_client::codec::{engine, packet};
use touchstone_client::trace::Recorder;
use touchstone_client::{Direction, End, Frame, Secret, Tap};

/// How often sessions are looked through for those of which nothing comes any more.
const EXPIRE_EVERY: Duration = Duration::from_secs(5);

pub(super) struct Sessions {
    recorder: Recorder,
    by_sid: HashMap<String, Session>,
    count: u64,
    looked: Option<Instant>,
}

struct Session {
    name: String,
    tap: Arc<dyn Tap>,
    /// The WebSockets that it has.
    links: HashSet<u64>,
    last: Instant,
    /// How long it lives without anything.
    patience: Duration,
}

impl Sessions {
    pub(super) fn new(recorder: Recorder) -> Self {
        Self {
            recorder,
            by_sid: HashMap::new(),
            count: 0,
            looked: None,
        }
    }

    /// Begins a session where the first packet opens one. Gives its id.
    pub(super) fn open(&mut self, frames: &[Frame]) -> Option<String> {
        let Some(Frame::Text(text)) = frames.first() else {
            return None;
        };
        let Ok(engine::Packet::Open(handshake)) = engine::decode(text) else {
            return None;
        };
        let handshake: Value = serde_json::from_str(handshake).ok()?;
        let sid = handshake["sid"].as_str()?.to_owned();
        self.count += 1;
        let name = format!("c{}", self.count);
        let ms = |key: &str| Duration::from_millis(handshake[key].as_u64().unwrap_or(60_000));
        let session = Session {
            tap: self.recorder.tap(&name),
            name,
            links: HashSet::new(),
            last: Instant::now(),
            patience: ms("pingInterval").saturating_add(ms("pingTimeout")),
        };
        self.by_sid.insert(sid.clone(), session);
        Some(sid)
    }

    /// What a session is called.
    pub(super) fn name(&self, sid: &str) -> Option<&str> {
        self.by_sid.get(sid).map(|session| session.name.as_str())
    }

    /// The session has this WebSocket.
    pub(super) fn attach(&mut self, sid: &str, link: u64) {
        if let Some(session) = self.by_sid.get_mut(sid) {
            session.links.insert(link);
        }
    }

    /// The session's WebSocket has ended, and the session with it, unless it has another one.
    pub(super) fn detach(&mut self, at: Instant, sid: &str, link: u64, end: &End) {
        if let Some(session) = self.by_sid.get_mut(sid)
            && session.links.remove(&link)
            && session.links.is_empty()
        {
            session.tap.ended(at, end);
            self.by_sid.remove(sid);
        }
    }

    pub(super) fn frames(
        &mut self,
        at: Instant,
        sid: &str,
        direction: Direction,
        frames: &[Frame],
    ) {
        let Some(session) = self.by_sid.get_mut(sid) else {
            return;
        };
        session.last = at;
        for frame in frames {
            if let Some(token) = token_of(frame) {
                self.recorder.know(&token);
            }
            session.tap.frame(at, direction, frame);
        }
        let is_close = |frame: &Frame| matches!(frame, Frame::Text(text) if text.as_str() == "1");
        if session.links.is_empty() && frames.iter().any(is_close) {
            let end = match direction {
                Direction::Sent => End::ClientClosed,
                Direction::Received => End::TransportClose {
                    code: None,
                    reason: "close packet".to_owned(),
                },
            };
            session.tap.ended(at, &end);
            self.by_sid.remove(sid);
        }
    }

    /// Ends sessions without a WebSocket of which nothing came for longer than their heartbeats allow.
    pub(super) fn expire(&mut self, now: Instant) {
        if self
            .looked
            .is_some_and(|last| now.saturating_duration_since(last) < EXPIRE_EVERY)
        {
            return;
        }
        self.looked = Some(now);
        self.by_sid.retain(|_, session| {
            let silent = now.saturating_duration_since(session.last);
            let is_over = session.links.is_empty() && silent > session.patience;
            if is_over {
                session.tap.ended(now, &End::PingTimeout { after: silent });
            }
            !is_over
        });
    }

    /// The proxy ends, and cuts what is left.
    pub(super) fn finish(&mut self, now: Instant) {
        for (_, session) in self.by_sid.drain() {
            self.recorder
                .mark_at(now, &session.name, "ended: the proxy ended");
        }
    }
}

/// The token of a CONNECT, also of another namespace than `/`.
fn token_of(frame: &Frame) -> Option<Secret> {
    let Frame::Text(text) = frame else {
        return None;
    };
    let packet = packet::decode(
        text.strip_prefix('4')
            .filter(|text| text.starts_with('0'))?,
    )
    .ok()?;
    let packet::Body::Connect(auth) = packet.body else {
        return None;
    };
    let auth: Value = serde_json::from_str(auth).ok()?;
    let token = auth["token"].as_str().filter(|token| !token.is_empty())?;
    Some(Secret::new(token))
}
