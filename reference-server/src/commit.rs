//! The one place that lets something happen: it writes rows, numbers events, finds their recipients,
//! and lets events and answers out, in this order and while the account is locked.
//!
//! What is to happen was decided before (`decide`), from the rows as they are under the same lock. So
//! an update reaches every queue before its cause is answered, and in `seq` order.

use std::sync::{Arc, MutexGuard};

use serde_json::Value;
use tokio::sync::oneshot;

use crate::announce::{Announcement, Event};
use crate::app::App;
use crate::builders::Stamp;
use crate::connection::Connection;
use crate::decide::{Context, Outcome};
use crate::outbox::{self, Delivery, Leaving, Record};
use crate::packet;
use crate::router::{ConnectionId, RecipientFilter, Routed as _, Routing, recipients};
use crate::seams::{Cause, Effects, Emission, Reply, Server};
use crate::store::{Account, Change, NewAccount, PublicKey, Rows, Store, lock_both};
use crate::tap::Decision;

/// Resolves when an answer may be given.
pub(crate) struct Receipt(Option<oneshot::Receiver<()>>);

impl Receipt {
    pub(crate) async fn wait(self) {
        if let Some(receiver) = self.0 {
            // It fails only when the process is about to end, and then nobody is answered.
            let _ = receiver.await;
        }
    }
}

/// An account in the middle of a commit.
pub(crate) struct Commit<'a> {
    app: &'a Arc<App>,
    account: &'a Arc<Account>,
    rows: MutexGuard<'a, Rows>,
    /// The seq before it.
    seq: u64,
    changes: Vec<Change>,
    deliveries: Vec<Delivery>,
    /// Whether it has seen what another account has.
    is_barrier: bool,
}

impl<'a> Commit<'a> {
    pub(crate) fn new(app: &'a Arc<App>, account: &'a Arc<Account>) -> Self {
        Self::with(app, account, account.lock())
    }

    fn with(app: &'a Arc<App>, account: &'a Arc<Account>, rows: MutexGuard<'a, Rows>) -> Self {
        Self {
            app,
            account,
            seq: rows.seq,
            rows,
            changes: Vec::new(),
            deliveries: Vec::new(),
            is_barrier: false,
        }
    }

    pub(crate) fn context(&self) -> Context<'_> {
        Context::new(&self.rows, &self.app.config)
    }

    /// The connection that a client knows by this id.
    pub(crate) fn connection(&self, socket_id: &str) -> Option<ConnectionId> {
        let mut all = self.rows.connections();
        let found = all.find(|connection| connection.socket_id() == socket_id);
        found.map(|connection| connection.id())
    }

    /// Lets effects happen, and says who received each event.
    pub(crate) fn happen(
        &mut self,
        cause: &Cause<'_>,
        mut effects: Effects,
        reply: Option<&mut Reply>,
    ) -> Vec<(Value, Routing)> {
        if let Some(seams) = self.app.seams() {
            let server: Arc<Server> = Arc::clone(self.app) as _;
            seams.outcome(&server, cause, &self.rows, &mut effects, reply);
        }
        let is_kept = self.app.config.storage.is_some();
        for change in effects.changes {
            self.app.follow(self.account, &change);
            if is_kept && change.is_persistent() {
                self.changes.push(change.clone());
            }
            self.rows.apply(change);
        }
        let events = effects.events.into_iter();
        events.map(|event| self.announce(event)).collect()
    }

    /// Numbers an event and finds its recipients.
    fn announce(&mut self, event: Event) -> (Value, Routing) {
        let (name, mut payload) = match event.what {
            Announcement::Update(update) => {
                self.rows.seq += 1;
                let (app, right) = (self.app, self.rows.seq);
                let seams = app.seams();
                let seq = seams.map_or(right, |seams| seams.update_seq(self.account.id(), right));
                let (id, at) = (app.config.ids.update(), app.now());
                let stamp = Stamp { seq, id: &id, at };
                ("update", update.build(stamp).0)
            }
            Announcement::Ephemeral(payload) => ("ephemeral", payload.0),
            Announcement::Ready(name, payload) => {
                return self.route(name, payload, &event.filter, event.skip);
            }
        };
        if let Some(seams) = self.app.seams() {
            seams.payload(name, &mut payload);
        }
        self.route(name, payload, &event.filter, event.skip)
    }

    fn route(
        &mut self,
        event: &'static str,
        payload: Value,
        filter: &RecipientFilter,
        skip: Option<ConnectionId>,
    ) -> (Value, Routing) {
        let (app, account) = (self.app, self.account.id());
        let registry = &self.rows.registry;
        let mut recipients: Vec<_> = recipients(registry.iter(), filter, skip).cloned().collect();
        if let Some(seams) = app.seams() {
            let connections: Vec<_> = registry.iter().cloned().collect();
            let emission = Emission {
                account,
                event,
                payload: &payload,
                filter,
                skip,
                connections: &connections,
            };
            seams.route(&**app, &emission, &mut recipients);
        }
        let mut routing = Routing::default();
        if app.tap.is_offered() {
            // Socket ids are only copied for control/emit and the tap.
            let skipped = skip
                .and_then(|id| registry.get(id))
                .filter(|one| filter.accepts(one.scope()));
            let name = |one: &Arc<Connection>| one.socket_id().to_owned();
            routing.recipients = recipients.iter().map(name).collect();
            routing.skipped = skipped.map(name);
            app.tap.publish(|| Decision {
                account,
                event,
                payload: &payload,
                filter,
                routing: &routing,
            });
        }
        // Encoded once: a queued packet is a reference to the same bytes for every recipient.
        let frame = packet::encode_event(event, &payload, None);
        self.deliveries.push(Delivery::Event(frame, recipients));
        (payload, routing)
    }

    /// Something that leaves after the events.
    pub(crate) fn deliver(&mut self, delivery: Delivery) {
        self.deliveries.push(delivery);
    }

    /// Something that another account has was seen: it must be kept before this one is answered.
    pub(crate) fn wait_for_others(&mut self) {
        self.is_barrier = true;
    }

    /// Lets everything out.
    pub(crate) fn finish(self) {
        Self::finish_all([self]);
    }

    /// Whether there is something to keep. Events that come from no change take numbers too, which must
    /// not be taken again.
    fn is_to_be_kept(&self) -> bool {
        !self.changes.is_empty() || self.rows.seq != self.seq
    }

    /// Lets out what belongs together: all of it is kept, or nothing.
    fn finish_all<const N: usize>(mut all: [Self; N]) {
        let storage = all[0].app.config.storage.as_deref();
        let is_barrier = all.iter().any(|one| one.is_barrier);
        let leaving = all.iter_mut().map(|one| Leaving {
            outbox: &one.account.outbox,
            record: (storage.is_some() && one.is_to_be_kept()).then(|| Record {
                account: one.account.id().to_owned(),
                seq: one.rows.seq,
                changes: std::mem::take(&mut one.changes),
            }),
            deliveries: std::mem::take(&mut one.deliveries),
        });
        outbox::release(storage, is_barrier, leaving);
    }

    /// Tells when everything has left, which somebody lets out.
    fn receipt(&mut self) -> Receipt {
        if self.app.config.storage.is_none() {
            return Receipt(None);
        }
        let (sender, receiver) = oneshot::channel();
        self.deliver(Delivery::Notice(sender));
        Receipt(Some(receiver))
    }

    /// Lets everything out, and tells when it has left.
    pub(crate) fn finish_with_receipt(mut self) -> Receipt {
        let receipt = self.receipt();
        self.finish();
        receipt
    }
}

impl App {
    pub(crate) fn commit<A>(
        self: &Arc<Self>,
        account: &Arc<Account>,
        name: &str,
        data: &Value,
        decide: impl FnOnce(&Context<'_>) -> Outcome<A>,
    ) -> (A, Receipt) {
        let mut commit = Commit::new(self, account);
        let Outcome { effects, answer } = decide(&commit.context());
        commit.happen(&Cause::of(name, account, data), effects, None);
        (answer, commit.finish_with_receipt())
    }

    /// Decides about two accounts at once, and lets the effects of each happen. The answer may be given
    /// when the receipts say so.
    pub(crate) fn commit_both<A>(
        self: &Arc<Self>,
        accounts: [&Arc<Account>; 2],
        name: &str,
        data: &Value,
        decide: impl FnOnce(&Context<'_>, &Context<'_>) -> Outcome<A, [Effects; 2]>,
    ) -> (A, [Receipt; 2]) {
        let [mine, theirs] = accounts;
        let (one, other) = lock_both(mine, theirs);
        let mut commits = [
            Commit::with(self, mine, one),
            Commit::with(self, theirs, other),
        ];
        let Outcome { effects, answer } = decide(&commits[0].context(), &commits[1].context());
        for ((commit, account), effects) in commits.iter_mut().zip(accounts).zip(effects) {
            commit.happen(&Cause::of(name, account, data), effects, None);
        }
        let receipts = commits.each_mut().map(Commit::receipt);
        Commit::finish_all(commits);
        (answer, receipts)
    }

    /// Decides about something whose id no other account may have, and gives the answer when it may be
    /// told.
    pub(crate) async fn create<A>(
        self: &Arc<Self>,
        account: &Arc<Account>,
        name: &str,
        data: &Value,
        is_foreign: impl FnOnce(&Store) -> bool,
        decide: impl FnOnce(&Context<'_>, bool) -> Outcome<A>,
    ) -> A {
        let (answer, receipt) = {
            let _turn = self.store.creation();
            let is_foreign = is_foreign(&self.store);
            let mut commit = Commit::new(self, account);
            if is_foreign {
                commit.wait_for_others();
            }
            let Outcome { effects, answer } = decide(&commit.context(), is_foreign);
            commit.happen(&Cause::of(name, account, data), effects, None);
            (answer, commit.finish_with_receipt())
        };
        receipt.wait().await;
        answer
    }

    /// The account of a public key, made at first sight, and when its token may be told. An account
    /// keeps its token for good.
    pub(crate) fn signed_in(&self, key: PublicKey) -> (Arc<Account>, Receipt) {
        let mut turn = None;
        let known = self.store.account_of_key(&key).or_else(|| {
            turn = Some(self.store.creation());
            self.store.account_of_key(&key)
        });
        let is_new = known.is_none();
        let ids = &self.config.ids;
        let account = known.unwrap_or_else(|| Account::new(ids.record(), ids.token()));
        let rows = account.lock();
        let created = is_new.then(|| {
            let token = account.token().to_owned();
            let created_at = self.now();
            let change = Change::AccountCreated(NewAccount {
                key,
                token,
                created_at,
            });
            self.follow(&account, &change);
            Record {
                account: account.id().to_owned(),
                seq: rows.seq,
                changes: vec![change],
            }
        });
        let (sender, receiver) = oneshot::channel();
        let leaving = Leaving {
            outbox: &account.outbox,
            record: created,
            deliveries: vec![Delivery::Notice(sender)],
        };
        outbox::release(self.config.storage.as_deref(), false, [leaving]);
        drop(rows);
        (account, Receipt(Some(receiver)))
    }

    /// Puts back what was kept, before anybody is served: each account first, then what it has, in the
    /// order in which it came. Nobody is connected yet, so that no machine is active.
    pub fn restore(&self, record: Record) {
        let stay_active = self.config.policy.machines_stay_active;
        for mut change in record.changes {
            let account = match &change {
                Change::AccountCreated(new) => {
                    Some(Account::new(record.account.clone(), new.token.clone()))
                }
                _ if record.account.is_empty() => Some(Arc::clone(&self.store.nobody)),
                _ => self.store.account(&record.account),
            };
            let Some(account) = account else { continue };
            match &mut change {
                Change::MachineCreated(machine) => machine.active &= stay_active,
                Change::MachinePresence { active, .. } => *active &= stay_active,
                _ => {}
            }
            let mut rows = account.lock();
            rows.seq = rows.seq.max(record.seq);
            self.follow(&account, &change);
            rows.apply(change);
        }
    }

    /// Decides, lets it happen, and gives the answer when it may be told.
    pub(crate) async fn decide<A>(
        self: &Arc<Self>,
        account: &Arc<Account>,
        name: &str,
        data: &Value,
        decide: impl FnOnce(&Context<'_>) -> Outcome<A>,
    ) -> A {
        let (answer, receipt) = self.commit(account, name, data, decide);
        receipt.wait().await;
        answer
    }

    /// Reads rows, and gives what they show when it may be told.
    pub(crate) async fn read<A>(
        self: &Arc<Self>,
        account: &Arc<Account>,
        look: impl FnOnce(&Context<'_>) -> A,
    ) -> A {
        let (answer, receipt) = {
            let commit = Commit::new(self, account);
            let answer = look(&commit.context());
            (answer, commit.finish_with_receipt())
        };
        receipt.wait().await;
        answer
    }

    /// Lets something happen that a seam has kept back.
    pub(crate) fn happen(self: &Arc<Self>, account: &Arc<Account>, effects: Effects) {
        let mut commit = Commit::new(self, account);
        commit.happen(&Cause::of("kept", account, &Value::Null), effects, None);
        commit.finish();
    }

    /// What is shared by all accounts follows a change of one.
    fn follow(&self, account: &Arc<Account>, change: &Change) {
        match change {
            Change::AccountCreated(new) => self.store.add(new.key, account),
            Change::Entered(connection) => self.connections.add(Arc::clone(connection)),
            Change::Left(id) => self.connections.remove(*id),
            Change::MachineCreated(machine) => self.store.own_machine(&machine.id, account),
            Change::ArtifactCreated(artifact) => self.store.own_artifact(&artifact.id, account),
            Change::ArtifactDeleted(id) => self.store.release_artifact(id, account),
            _ => {}
        }
    }
}

impl<'a> Cause<'a> {
    pub(crate) fn of(name: &'a str, account: &'a Arc<Account>, data: &'a Value) -> Self {
        Self {
            name,
            account,
            connection: None,
            ack: None,
            data,
        }
    }
}

#[cfg(test)]
mod tests;
