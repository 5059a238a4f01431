//! The transports: how Engine.IO packets travel, all behind one poll-based face.
//!
//! A [`Wire`] moves frames and knows nothing of what they mean: heartbeats, CONNECT and events
//! are the connection task's. It reads and writes from one task without splitting the stream,
//! which keeps an idle connection small.

mod http_upgrade;
mod websocket;

use std::{
    sync::Arc,
    task::{Context, Poll, ready},
};

use tokio::time::Instant;

use crate::{
    codec::Frame,
    engine::Handshake,
    error::{ConnectError, End},
    options::ConnectOptions,
    tap::{Direction, Tap},
};

/// One open transport, and who watches it.
pub(crate) struct Wire {
    kind: Kind,
    tap: Option<Arc<dyn Tap>>,
}

enum Kind {
    WebSocket(websocket::WebSocket),
}

impl Wire {
    /// Opens the transport that the options ask for; the Engine.IO handshake is still to come.
    /// `stage` is kept up to date, for the one who has to say where it hangs.
    pub(crate) async fn open(
        options: &ConnectOptions,
        stage: &StageCell,
    ) -> Result<Self, ConnectError> {
        let kind = Kind::WebSocket(websocket::open(options, None, stage).await?);
        Ok(Self {
            kind,
            tap: options.tap.clone(),
        })
    }

    /// Tells a transport that needs it what the server announced.
    pub(crate) fn handshaken(&mut self, _handshake: &Handshake) {
        match &mut self.kind {
            Kind::WebSocket(_) => {}
        }
    }

    /// The next packet and when it was read. Cancel safe.
    pub(crate) fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(Instant, Frame), End>> {
        let frame = ready!(match &mut self.kind {
            Kind::WebSocket(ws) => ws.poll_next(cx),
        })?;
        let at = Instant::now();
        if let Some(tap) = &self.tap {
            tap.frame(at, Direction::Received, &frame);
        }
        Poll::Ready(Ok((at, frame)))
    }

    /// Whether one more frame may be given to [`start_send`](Self::start_send).
    pub(crate) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), End>> {
        match &mut self.kind {
            Kind::WebSocket(ws) => ws.poll_ready(cx),
        }
    }

    /// Takes a frame to be written; [`poll_flush`](Self::poll_flush) makes sure that it is.
    pub(crate) fn start_send(&mut self, frame: Frame) -> Result<(), End> {
        if let Some(tap) = &self.tap {
            tap.frame(Instant::now(), Direction::Sent, &frame);
        }
        match &mut self.kind {
            Kind::WebSocket(ws) => ws.start_send(frame),
        }
    }

    /// Ready when everything taken so far has been given to the operating system or, when
    /// polling, answered by the server.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), End>> {
        match &mut self.kind {
            Kind::WebSocket(ws) => ws.poll_flush(cx),
        }
    }

    /// Writes what is left and says goodbye in the transport's way.
    pub(crate) fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.kind {
            Kind::WebSocket(ws) => ws.poll_close(cx),
        }
    }

    /// After [`poll_close`](Self::poll_close): reads and discards until the server has closed
    /// too, so that nothing it still sends meets a reset.
    pub(crate) fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.kind {
            Kind::WebSocket(ws) => loop {
                if ready!(ws.poll_next(cx)).is_err() {
                    return Poll::Ready(());
                }
            },
        }
    }

    /// Drops the transport without a goodbye, with a TCP reset where it can.
    pub(crate) fn abort(self) {
        match self.kind {
            Kind::WebSocket(ws) => ws.abort(),
        }
    }
}

pub(crate) use stage::StageCell;

mod stage {
    //! Where a connection attempt is, readable from outside of the future that makes it.

    use std::sync::atomic::{AtomicU8, Ordering};

    use crate::error::Stage;

    const STAGES: [Stage; 5] = [
        Stage::Dialing,
        Stage::Tls,
        Stage::Upgrading,
        Stage::EngineHandshake,
        Stage::ConnectAnswer,
    ];

    #[derive(Debug, Default)]
    pub(crate) struct StageCell(AtomicU8);

    impl StageCell {
        pub(crate) fn enter(&self, stage: Stage) {
            let index = STAGES.iter().position(|s| *s == stage).unwrap_or_default();
            self.0.store(index as u8, Ordering::Relaxed);
        }

        pub(crate) fn get(&self) -> Stage {
            STAGES[usize::from(self.0.load(Ordering::Relaxed))]
        }
    }
}
