//! How a run of load or a replay is ended early: once to end it with a report, twice to end it at once.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use touchstone_client::StopSignals;

use crate::reports;

/// Whether somebody wants the end. Clones are of the same run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stop {
    finish: CancellationToken,
    abort: CancellationToken,
    /// The program ends differently for Ctrl-C than for somebody who has seen enough.
    by_signal: Arc<AtomicBool>,
}

impl Stop {
    /// Listens to Ctrl-C and to the signal that service managers send.
    pub(crate) fn on_signals() -> io::Result<Self> {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let stop = Self::default();
        let told = stop.clone();
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
                if !told.asked() {
                    reports::notice("ending the run, the report follows; again to end without it");
                }
                told.interrupt();
            }
        });
        Ok(stop)
    }

    /// Ctrl-C, from a signal or a key.
    pub(crate) fn interrupt(&self) {
        self.by_signal.store(true, Ordering::Relaxed);
        self.ask();
    }

    /// Ends the run with a report; at the second time at once.
    pub(crate) fn ask(&self) {
        if self.finish.is_cancelled() {
            self.abort.cancel();
        }
        self.finish.cancel();
    }

    /// Whether somebody asked for the end.
    pub(crate) fn asked(&self) -> bool {
        self.finish.is_cancelled()
    }

    /// Waits until somebody asks for the end.
    pub(crate) async fn when_asked(&self) {
        self.finish.cancelled().await;
    }

    /// Whether it was Ctrl-C.
    pub(crate) fn by_signal(&self) -> bool {
        self.by_signal.load(Ordering::Relaxed)
    }

    /// What a run listens to.
    pub(crate) fn finish(&self) -> CancellationToken {
        self.finish.clone()
    }

    /// The same for those who end cases, or wait for a server that is being started.
    pub(crate) fn signals(&self) -> StopSignals {
        StopSignals {
            finish: self.finish.clone(),
            abort: self.abort.clone(),
        }
    }

    /// Waits until nobody wants the report any more.
    pub(crate) async fn given_up(&self) {
        self.abort.cancelled().await;
    }
}
