//! The transports: how Engine.IO packets travel, all behind one poll-based face.
//!
//! A [`Wire`] moves frames and knows nothing of what they mean: heartbeats, CONNECT and events
//! are the connection task's. It reads and writes from one task without splitting the stream,
//! which keeps an idle connection small.

mod http_upgrade;
mod polling;
mod read_ahead;
mod stage;
mod upgrade;
mod websocket;

use std::{
    sync::Arc,
    task::{Context, Poll, ready},
};

use tokio::time::Instant;

pub(crate) use self::stage::StageCell;
use self::{
    polling::Polling,
    upgrade::{Outcome, Upgrading},
    websocket::WebSocket,
};
use crate::{
    codec::Frame,
    error::{ConnectError, End},
    handshake::Handshake,
    options::{ConnectOptions, Transport},
    tap::{Conduct, Direction, Tap},
};

/// One open transport, and who watches it.
pub(crate) struct Wire {
    kind: Kind,
    tap: Option<Arc<dyn Tap>>,
    /// The tap knows that the connection is over.
    over: bool,
    upgrade: Option<Result<(), String>>,
}

enum Kind {
    WebSocket(Box<WebSocket>),
    Polling(Box<Polling>),
    Upgrading(Box<Upgrading>),
    /// Between two transports; never seen from outside.
    Moving,
}

impl Wire {
    /// Opens the transport that the options ask for; the Engine.IO handshake is still to come.
    /// `stage` is kept up to date, for the one who has to say where it hangs.
    pub(crate) async fn open(
        options: &ConnectOptions,
        stage: &StageCell,
    ) -> Result<Self, ConnectError> {
        let (kind, upgrade) = match options.transport {
            Transport::WebSocket => (
                Kind::WebSocket(Box::new(websocket::open(options, None, stage).await?)),
                Some(Ok(())),
            ),
            Transport::Polling => {
                let polling = polling::open(options, stage).await?;
                let none = "polling was asked for".to_owned();
                (Kind::Polling(Box::new(polling)), Some(Err(none)))
            }
            Transport::Upgrade => {
                let polling = polling::open(options, stage).await?;
                (
                    Kind::Upgrading(Box::new(Upgrading::new(polling, options.clone()))),
                    None,
                )
            }
        };
        Ok(Self {
            kind,
            tap: options.tap.clone(),
            over: false,
            upgrade,
        })
    }

    /// Tells a transport that needs it what the server announced.
    pub(crate) fn handshaken(&mut self, handshake: &Handshake) {
        match &mut self.kind {
            Kind::WebSocket(_) | Kind::Moving => {}
            Kind::Polling(polling) => polling.handshaken(handshake),
            Kind::Upgrading(upgrading) => upgrading.handshaken(handshake),
        }
    }

    /// Whether this is a WebSocket, or why it will never be one; tells it once, when it is known.
    pub(crate) fn take_upgrade(&mut self) -> Option<Result<(), String>> {
        self.upgrade.take()
    }

    /// The next packet and when it was read. Cancel safe.
    pub(crate) fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(Instant, Frame), End>> {
        let frame = ready!(self.poll_frame(cx))?;
        let at = Instant::now();
        if let Some(tap) = &self.tap {
            tap.frame(at, Direction::Received, &frame);
        }
        Poll::Ready(Ok((at, frame)))
    }

    /// Tells the tap that the connection is over, unless it knows.
    pub(crate) fn tell_end(&mut self, end: &End) {
        if let Some(tap) = &self.tap
            && !std::mem::replace(&mut self.over, true)
        {
            tap.ended(Instant::now(), end);
        }
    }

    /// Tells the tap what this client does, as long as there is a connection to do it to.
    pub(crate) fn tell_conduct(&self, conduct: Conduct) {
        if let Some(tap) = &self.tap
            && !self.over
        {
            tap.conduct(Instant::now(), conduct);
        }
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Result<Frame, End>> {
        loop {
            let upgrading = match &mut self.kind {
                Kind::WebSocket(ws) => return ws.poll_next(cx),
                Kind::Polling(polling) => return polling.poll_next(cx),
                Kind::Upgrading(upgrading) => upgrading,
                Kind::Moving => return Poll::Pending,
            };
            // What polling brings comes first: it was sent before the WebSocket took over.
            if let Poll::Ready(frame) = upgrading.polling.poll_next(cx) {
                return Poll::Ready(frame);
            }
            let outcome = ready!(upgrading.poll_outcome(cx))?;
            let moved = std::mem::replace(&mut self.kind, Kind::Moving);
            (self.kind, self.upgrade) = match (outcome, moved) {
                (Outcome::Upgraded(ws), _) => (Kind::WebSocket(ws), Some(Ok(()))),
                (Outcome::Failed(reason), Kind::Upgrading(upgrading)) => (
                    Kind::Polling(Box::new(upgrading.polling)),
                    Some(Err(reason)),
                ),
                (Outcome::Failed(reason), other) => (other, Some(Err(reason))),
            };
        }
    }

    /// Whether one more frame may be given to [`start_send`](Self::start_send).
    pub(crate) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), End>> {
        match &mut self.kind {
            Kind::WebSocket(ws) => ws.poll_ready(cx),
            Kind::Polling(polling) => polling.poll_ready(cx),
            Kind::Upgrading(upgrading) => upgrading.polling.poll_ready(cx),
            Kind::Moving => Poll::Pending,
        }
    }

    /// Takes a frame to be written; [`poll_flush`](Self::poll_flush) makes sure that it is.
    pub(crate) fn start_send(&mut self, frame: Frame) -> Result<(), End> {
        if let Some(tap) = &self.tap {
            tap.frame(Instant::now(), Direction::Sent, &frame);
        }
        match &mut self.kind {
            Kind::WebSocket(ws) => return ws.start_send(frame),
            Kind::Polling(polling) => polling.start_send(frame),
            Kind::Upgrading(upgrading) => upgrading.polling.start_send(frame),
            Kind::Moving => {}
        }
        Ok(())
    }

    /// Ready when everything taken so far has been given to the operating system or, when
    /// polling, answered by the server.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), End>> {
        match &mut self.kind {
            Kind::WebSocket(ws) => ws.poll_flush(cx),
            Kind::Polling(polling) => polling.poll_flush(cx),
            Kind::Upgrading(upgrading) => upgrading.polling.poll_flush(cx),
            Kind::Moving => Poll::Pending,
        }
    }

    /// Writes what is left and says goodbye in the transport's way.
    pub(crate) fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.kind {
            Kind::WebSocket(ws) => ws.poll_close(cx),
            Kind::Polling(polling) => polling.poll_close(cx),
            Kind::Upgrading(upgrading) => upgrading.polling.poll_close(cx),
            Kind::Moving => Poll::Ready(()),
        }
    }

    /// After [`poll_close`](Self::poll_close): reads and discards until the server has closed
    /// too, so that nothing it still sends meets a reset. Polling has no stream to drain.
    pub(crate) fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Kind::WebSocket(ws) = &mut self.kind else {
            return Poll::Ready(());
        };
        loop {
            if ready!(ws.poll_next(cx)).is_err() {
                return Poll::Ready(());
            }
        }
    }

    /// Ends the stream in this direction, where there is one.
    pub(crate) fn half_close(&self) {
        self.tell_conduct(Conduct::HalfClose);
        if let Kind::WebSocket(ws) = &self.kind {
            ws.half_close();
        }
    }

    /// Drops the transport without a goodbye, with a TCP reset where it can.
    pub(crate) fn abort(mut self) {
        if let Kind::WebSocket(ws) = std::mem::replace(&mut self.kind, Kind::Moving) {
            ws.abort();
        }
    }
}

/// A connection that is simply let go of, as raw ones are, ends here.
impl Drop for Wire {
    fn drop(&mut self) {
        self.tell_conduct(Conduct::Drop);
        self.tell_end(&End::ClientClosed);
    }
}
