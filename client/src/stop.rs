//! How a user ends early what takes its time.

use tokio_util::sync::CancellationToken;

/// The two ways in which a user ends a run early.
#[derive(Debug, Clone, Default)]
pub struct StopSignals {
    /// Nothing further is started; what goes on has a few seconds to end.
    pub finish: CancellationToken,
    /// Everything ends at once.
    pub abort: CancellationToken,
}

impl StopSignals {
    /// Resolves when the user has asked for either.
    pub async fn asked(&self) {
        tokio::select! {
            () = self.finish.cancelled() => {}
            () = self.abort.cancelled() => {}
        }
    }
}
