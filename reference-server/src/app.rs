//! What every part of a running server shares: settings, store, who is connected.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::connection::{AllConnections, Connection};
use crate::control::Tap;
use crate::seams::Seams;
use crate::store::{Account, PublicKey, Store};

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

    /// All accounts, for the seams.
    #[must_use]
    pub fn accounts(&self) -> Vec<Arc<Account>> {
        self.store.accounts()
    }

    /// The account of a token, for the seams.
    #[must_use]
    pub fn account_of_token(&self, token: &str) -> Option<Arc<Account>> {
        self.store.account_of_token(token)
    }

    /// The account of a public key, made at first sight.
    #[must_use]
    pub fn sign_in(&self, key: PublicKey) -> Arc<Account> {
        self.signed_in(key).0
    }

    /// All connections, of every account.
    #[must_use]
    pub fn connections(&self) -> Vec<Arc<Connection>> {
        self.connections.all()
    }

    /// What was chosen about the server.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Now, in Unix milliseconds.
    #[must_use]
    pub fn now(&self) -> i64 {
        self.config.clock.now()
    }

    /// Ends the server, for the seams.
    pub fn end(&self) {
        self.stop.cancel();
    }

    /// What takes part in the server's work, if anything does.
    pub(crate) fn seams(&self) -> Option<&Arc<dyn Seams>> {
        self.config.seams.as_ref()
    }
}
