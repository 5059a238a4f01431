//! From long-polling to a WebSocket without losing a packet.
//!
//! While polling goes on, a WebSocket is opened and probed (`2probe`, `3probe`). Then no new poll
//! is started, the one under way is awaited together with what it brings, and only then does `5`
//! hand the session over.

use std::{
    future::poll_fn,
    sync::Arc,
    task::{Context, Poll},
};

use futures_util::future::{BoxFuture, FutureExt};
use tokio::time::{Instant, timeout};

use super::{
    StageCell,
    polling::Polling,
    websocket::{self, WebSocket},
};
use crate::{
    codec::Frame,
    error::{End, excerpt},
    handshake::Handshake,
    options::ConnectOptions,
    tap::{Direction, Tap},
};

pub(super) struct Upgrading {
    pub(super) polling: Polling,
    options: ConnectOptions,
    progress: Progress,
}

enum Progress {
    /// The handshake is not known yet.
    Waiting,
    Probing(BoxFuture<'static, Result<Box<WebSocket>, String>>),
    Draining(Box<WebSocket>),
    Failed(String),
}

/// What became of an upgrade.
pub(super) enum Outcome {
    Upgraded(Box<WebSocket>),
    /// Polling goes on.
    Failed(String),
}

impl Upgrading {
    pub(super) fn new(polling: Polling, options: ConnectOptions) -> Self {
        Self {
            polling,
            options,
            progress: Progress::Waiting,
        }
    }

    pub(super) fn handshaken(&mut self, handshake: &Handshake) {
        self.polling.handshaken(handshake);
        self.progress = if handshake
            .upgrades
            .iter()
            .any(|upgrade| upgrade == "websocket")
        {
            let probing = probe(self.options.clone(), handshake.sid.clone());
            Progress::Probing(probing.boxed())
        } else {
            Progress::Failed("the server offers no upgrade to websocket".to_owned())
        };
    }

    /// Goes on with the upgrade. To be called when polling has nothing to read.
    pub(super) fn poll_outcome(&mut self, cx: &mut Context<'_>) -> Poll<Result<Outcome, End>> {
        if let Progress::Probing(probing) = &mut self.progress {
            match probing.poll_unpin(cx) {
                Poll::Ready(Ok(ws)) => {
                    self.polling.pause();
                    self.progress = Progress::Draining(ws);
                }
                Poll::Ready(Err(reason)) => self.progress = Progress::Failed(reason),
                Poll::Pending => return Poll::Pending,
            }
        }
        if matches!(self.progress, Progress::Draining(_))
            && self.polling.poll_idle(cx)?.is_pending()
        {
            return Poll::Pending;
        }
        match std::mem::replace(&mut self.progress, Progress::Waiting) {
            Progress::Draining(mut ws) => {
                self.watch(Direction::Sent, "5");
                ws.hand_over(self.polling.take_outbox())?;
                Poll::Ready(Ok(Outcome::Upgraded(ws)))
            }
            Progress::Failed(reason) => Poll::Ready(Ok(Outcome::Failed(reason))),
            waiting => {
                self.progress = waiting;
                Poll::Pending
            }
        }
    }

    fn watch(&self, direction: Direction, text: &'static str) {
        watch(self.options.tap.as_ref(), direction, &Frame::text(text));
    }
}

fn watch(tap: Option<&Arc<dyn Tap>>, direction: Direction, frame: &Frame) {
    if let Some(tap) = tap {
        tap.frame(Instant::now(), direction, frame);
    }
}

/// Opens a WebSocket for the session and makes sure that it carries packets both ways.
async fn probe(options: ConnectOptions, sid: String) -> Result<Box<WebSocket>, String> {
    let probed = timeout(options.timeout, async {
        let opened = websocket::open(&options, Some(&sid), &StageCell::default()).await;
        let mut ws = Box::new(opened.map_err(|error| error.to_string())?);
        let ping = Frame::text("2probe");
        watch(options.tap.as_ref(), Direction::Sent, &ping);
        ws.start_send(ping).map_err(|end| end.to_string())?;
        poll_fn(|cx| ws.poll_flush(cx))
            .await
            .map_err(|end| end.to_string())?;
        let answer = poll_fn(|cx| ws.poll_next(cx))
            .await
            .map_err(|end| end.to_string())?;
        watch(options.tap.as_ref(), Direction::Received, &answer);
        match answer {
            Frame::Text(text) if text.as_str() == "3probe" => Ok(ws),
            Frame::Text(text) => Err(format!("the probe was answered {:?}", excerpt(&text, 60))),
            Frame::Binary(_) => Err("the probe was answered with binary".to_owned()),
        }
    });
    probed
        .await
        .unwrap_or_else(|_| Err("the probe was not answered in time".to_owned()))
}
