//! What every part of a running server shares: settings, store, router. And the two ways in which
//! handlers and routes send: [`App::update`] and [`App::ephemeral`].

use std::sync::{Arc, Mutex};

use tokio_util::sync::CancellationToken;

use crate::builders::{EphemeralPayload, Stamp, UpdatePayload};
use crate::config::Config;
use crate::connection::{Connection, Everyone};
use crate::control::Tap;
use crate::faults::Faults;
use crate::handlers::rpc::Methods;
use crate::router::{ConnectionId, RecipientFilter, Router, Routing};
use crate::seams::Seams;
use crate::store::{Account, AccountState, Store};

/// A running server, without its listeners.
#[derive(Debug)]
pub struct App {
    pub(crate) config: Config,
    pub(crate) store: Store,
    pub(crate) router: Router,
    pub(crate) everyone: Everyone,
    pub(crate) tap: Tap,
    /// The methods of all accounts together, for the fault `cross-user`.
    pub(crate) shared_methods: Mutex<Methods>,
    /// Cancelled when the server ends, for answers that would never end by themselves.
    pub(crate) stop: CancellationToken,
}

impl App {
    pub(crate) fn new(config: Config) -> Self {
        let everyone = Everyone::default();
        let tap = Tap::new(config.control);
        Self {
            store: Store::new(
                config.clock.clone(),
                config.ids.clone(),
                config.policy.clone(),
            ),
            router: Router::new(tap.clone()),
            everyone,
            tap,
            shared_methods: Mutex::default(),
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

    /// Ends the server, for the seams.
    pub fn end(&self) {
        self.stop.cancel();
    }

    pub(crate) fn faults(&self) -> &Faults {
        &self.config.faults
    }

    /// What takes part in the server's work, if anything does.
    pub(crate) fn seams(&self) -> Option<&Arc<dyn Seams>> {
        self.config.seams.as_ref()
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

    /// All connections, of every account.
    #[must_use]
    pub fn connections(&self) -> Vec<Arc<Connection>> {
        self.everyone.all()
    }

    /// The account of a public key, made at first sight.
    #[must_use]
    pub fn sign_in(&self, key: [u8; 32]) -> Arc<Account> {
        self.store.sign_in(key)
    }

    /// Takes the account's next seq and sends the update that `build` makes of it. The caller holds
    /// the account's lock, and has changed the rows that the update tells of.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "callers make a filter for this call alone"
    )]
    pub(crate) fn update(
        &self,
        account: &Account,
        state: &mut AccountState,
        filter: RecipientFilter,
        skip: Option<ConnectionId>,
        build: impl FnOnce(Stamp<'_>) -> UpdatePayload,
    ) -> (UpdatePayload, Routing) {
        let right = state.next_seq(self.faults());
        let seq = match self.seams() {
            Some(seams) => seams.update_seq(account.id(), right),
            None => right,
        };
        let id = self.config.ids.update();
        let mut payload = build(Stamp {
            seq,
            id: &id,
            at: self.now(),
        });
        if let Some(seams) = self.seams() {
            seams.payload("update", &mut payload.0);
        }
        let routing = self.router.emit(
            self,
            account.id(),
            &state.registry,
            "update",
            &payload.0,
            &filter,
            skip,
        );
        (payload, routing)
    }

    /// Sends an ephemeral to the account's user-scoped connections, as all of the specification's
    /// causes do.
    pub(crate) fn ephemeral(
        &self,
        account: &Account,
        state: &AccountState,
        payload: EphemeralPayload,
    ) {
        self.ephemeral_to(account, state, &RecipientFilter::UserScopedOnly, payload);
    }

    /// Sends an ephemeral to the connections that a filter means.
    pub(crate) fn ephemeral_to(
        &self,
        account: &Account,
        state: &AccountState,
        filter: &RecipientFilter,
        mut payload: EphemeralPayload,
    ) {
        if let Some(seams) = self.seams() {
            seams.payload("ephemeral", &mut payload.0);
        }
        let registry = &state.registry;
        self.router.emit(
            self,
            account.id(),
            registry,
            "ephemeral",
            &payload.0,
            filter,
            None,
        );
    }
}
