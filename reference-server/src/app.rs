//! What every part of a running server shares: settings, store, who is connected.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::connection::AllConnections;
use crate::seams::Seams;
use crate::store::Store;
use crate::tap::Tap;

/// A running server, without its listeners.
#[derive(Debug)]
pub struct App {
    pub(crate) config: Config,
    pub(crate) store: Store,
    pub(crate) connections: AllConnections,
    pub(crate) tap: Tap,
    /// Cancelled when the server ends, for answers that would never end by themselves.
    pub(crate) stop: CancellationToken,
}

impl App {
    /// A server that nobody can reach yet.
    #[must_use]
    pub fn new(mut config: Config) -> Self {
        if let Some(seams) = config.seams.clone() {
            seams.settings(&mut config);
        }
        Self {
            store: Store::new(config.policy.ids_per_account),
            connections: AllConnections::default(),
            tap: Tap::new(config.control),
            stop: CancellationToken::new(),
            config,
        }
    }

    /// Now, in Unix milliseconds.
    pub(crate) fn now(&self) -> i64 {
        self.config.clock.now()
    }

    /// What takes part in the server's work, if anything does.
    pub(crate) fn seams(&self) -> Option<&Arc<dyn Seams>> {
        self.config.seams.as_ref()
    }
}
