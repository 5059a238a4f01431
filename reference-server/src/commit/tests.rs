use std::sync::{Mutex, PoisonError};
use std::thread;

use futures_util::FutureExt as _;
use serde_json::json;
use serde_json::value::to_raw_value;

use super::*;
use crate::builders::MachineRow;
use crate::config::Config;
use crate::decide::{self, friends};
use crate::dispatch::dispatch;
use crate::ids::Ids;
use crate::outbox::Storage;
use crate::router::Scope;
use crate::test_stand::{Packets, connection};

/// Keeps what it is given when it is told to.
#[derive(Default)]
struct Slow(Mutex<Vec<Waiting>>);

type Waiting = (Vec<Record>, Box<dyn FnOnce() + Send>);

impl Slow {
    /// Keeps what was given n-th of what waits.
    fn keep(&self, place: usize) -> Vec<Record> {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (records, kept) = waiting.remove(place);
        drop(waiting);
        kept();
        records
    }
}

impl std::fmt::Debug for Slow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Slow")
    }
}

impl Storage for Slow {
    fn store(&self, records: Vec<Record>, kept: Box<dyn FnOnce() + Send>) {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.push((records, kept));
    }
}

struct Stand {
    app: Arc<App>,
    storage: Arc<Slow>,
    account: Arc<Account>,
    me: Arc<Connection>,
    packets: Packets,
    sid: String,
}

impl Stand {
    fn new() -> Self {
        let storage = Arc::new(Slow::default());
        let config = Config {
            ids: Ids::seeded(3),
            storage: Some(Arc::clone(&storage) as Arc<dyn Storage>),
            send_queue: 8,
            ..Config::default()
        };
        let app = Arc::new(App::new(config));
        let (me, packets) = connection(1, Scope::User);
        let account = Account::new(me.account_id().to_owned(), "token".to_owned());
        let mut commit = Commit::new(&app, &account);
        let effects = decide::connection::enter(&commit.context(), &me).effects;
        commit.happen(&Cause::of("enter", &account, &Value::Null), effects, None);
        commit.finish();
        let session = decide::session_create::Create {
            tag: "t".to_owned(),
            metadata: "m".to_owned(),
            agent_state: None,
            key: None,
        };
        let decide = |cx: &Context<'_>| decide::session_create::decide(cx, session);
        let (row, _) = app.commit(&account, "session-create", &Value::Null, decide);
        storage.keep(0);
        packets.take();
        let sid = row.id;
        Self {
            app,
            storage,
            account,
            me,
            packets,
            sid,
        }
    }

    fn send(&self, event: &str, data: &Value, ack: u64) {
        let raw = to_raw_value(data).unwrap();
        dispatch(
            &self.app,
            Arc::clone(&self.account),
            &self.me,
            event,
            Some(&raw),
            &[],
            Some(ack),
        );
    }

    /// Changes the metadata; the version is the one before.
    fn change(&self, version: u64, ack: u64) {
        let value = format!("v{version}");
        let data = json!({ "sid": self.sid, "metadata": value, "expectedVersion": version });
        self.send("update-metadata", &data, ack);
    }

    /// The names of the events and the numbers of the answers that were sent.
    #[track_caller]
    fn check(&self, expected: &[&str]) {
        let packets = self.packets.take();
        let short = |packet: &String| {
            packet
                .split(['"', '['])
                .find(|part| part.len() > 1)
                .unwrap_or_default()
                .to_owned()
        };
        assert_eq!(
            packets.iter().map(short).collect::<Vec<_>>(),
            expected,
            "{packets:?}"
        );
    }
}

/// Makes a machine.
fn machine(cx: &Context<'_>, is_foreign: bool) -> Outcome<Option<MachineRow>> {
    let asked = decide::machine_create::Create {
        id: "pc".to_owned(),
        metadata: "m".to_owned(),
        daemon_state: None,
        key: None,
        is_foreign,
    };
    decide::machine_create::decide(cx, asked)
}

#[test]
fn nothing_leaves_before_what_it_saw_is_kept() {
    let stand = Stand::new();
    stand.change(0, 10);
    stand.send("ping", &json!({}), 11);
    let account = &stand.account;
    let look = |cx: &Context<'_>| cx.rows.session(&stand.sid).map(|row| row.metadata);
    let mut read = Box::pin(stand.app.read(account, look));
    assert_eq!(
        (&mut read).now_or_never(),
        None,
        "a read shows what is not kept"
    );
    stand.check(&[]);
    let record = stand.storage.keep(0).remove(0);
    assert_eq!((record.seq, record.changes.len()), (2, 1));
    stand.check(&["update", "310", "311"]);
    assert_eq!(read.now_or_never().flatten().as_deref(), Some("v0"));
    // With nothing on its way, nothing waits.
    stand.send("ping", &json!({}), 12);
    stand.check(&["312"]);
}

#[test]
fn what_is_kept_first_does_not_leave_first() {
    let stand = Stand::new();
    stand.change(0, 10);
    stand.change(1, 11);
    stand.storage.keep(1);
    stand.check(&[]);
    stand.storage.keep(0);
    stand.check(&["update", "310", "update", "311"]);
}

#[test]
fn whoever_sends_more_than_can_be_kept_is_disconnected() {
    let stand = Stand::new();
    stand.change(0, 10);
    for ack in 11..18 {
        stand.send("ping", &json!({}), ack);
        assert!(!stand.packets.is_ended(), "{ack}");
    }
    stand.send("ping", &json!({}), 18);
    assert!(stand.packets.is_ended());
}

#[test]
fn both_sides_of_a_friendship_are_kept_together() {
    let stand = Stand::new();
    let (mine, _) = stand.app.signed_in([1; 32]);
    let (theirs, _) = stand.app.signed_in([2; 32]);
    stand.storage.keep(0);
    stand.storage.keep(0);
    let pair = [&mine, &theirs];
    let (_, receipts) = stand
        .app
        .commit_both(pair, "friends-add", &Value::Null, friends::add);
    let waiting = receipts.map(|receipt| Box::pin(receipt.wait()));
    let accounts = stand.storage.keep(0).into_iter().map(|one| one.account);
    assert_eq!(accounts.collect::<Vec<_>>(), [mine.id(), theirs.id()]);
    for one in waiting {
        assert_eq!(one.now_or_never(), Some(()));
    }
}

#[test]
fn nobody_is_told_a_token_that_is_not_kept() {
    let stand = Stand::new();
    let (account, first) = stand.app.signed_in([1; 32]);
    let (again, second) = stand.app.signed_in([1; 32]);
    assert_eq!(account.id(), again.id());
    let mut both = [first, second].map(|receipt| Box::pin(receipt.wait()));
    assert!(both.iter_mut().all(|one| one.now_or_never().is_none()));
    let kept = stand.storage.keep(0);
    assert!(matches!(kept[0].changes[..], [Change::AccountCreated(_)]));
    assert!(both.iter_mut().all(|one| one.now_or_never().is_some()));
}

#[test]
fn a_number_that_an_event_took_without_a_change_is_kept() {
    let stand = Stand::new();
    let told = crate::announce::Update::DeleteSession("s".to_owned());
    let event = Event::update(told, crate::router::RecipientFilter::UserScopedOnly);
    let effects = Effects {
        changes: Vec::new(),
        events: vec![event],
    };
    stand.app.happen(&stand.account, effects);
    stand.check(&[]);
    let record = stand.storage.keep(0).remove(0);
    assert_eq!((record.seq, record.changes.len()), (2, 0));
    stand.check(&["update"]);
}

#[test]
fn a_refusal_waits_until_what_it_is_for_is_kept() {
    let stand = Stand::new();
    let (other, _) = stand.app.signed_in([1; 32]);
    stand.storage.keep(0);
    let create = |account: &Arc<Account>| {
        let account = Arc::clone(account);
        let app = Arc::clone(&stand.app);
        Box::pin(async move {
            let is_foreign = |store: &Store| store.is_foreign_machine("pc", &account);
            app.create(
                &account,
                "machine-create",
                &Value::Null,
                is_foreign,
                machine,
            )
            .await
        })
    };
    let mut owner = create(&other);
    assert_eq!((&mut owner).now_or_never(), None);
    let mut refused = create(&stand.account);
    assert_eq!((&mut refused).now_or_never(), None, "told what is not kept");
    assert_eq!(stand.storage.keep(0).len(), 1);
    assert!(owner.now_or_never().is_some_and(|row| row.is_some()));
    assert_eq!(stand.storage.keep(0).len(), 0);
    assert_eq!(refused.now_or_never(), Some(None));
}

#[test]
fn a_server_goes_on_with_what_was_kept() {
    let stand = Stand::new();
    let records = Mutex::new(Vec::new());
    let keep = || {
        let mut records = records.lock().unwrap_or_else(PoisonError::into_inner);
        records.extend(stand.storage.keep(0));
    };
    let (account, _) = stand.app.signed_in([1; 32]);
    keep();
    let create = |cx: &Context<'_>| machine(cx, false);
    drop(
        stand
            .app
            .commit(&account, "machine-create", &Value::Null, create),
    );
    keep();
    let active = Change::MachinePresence {
        id: "pc".to_owned(),
        active: true,
        at: 1,
    };
    let effects = Effects {
        changes: vec![active],
        events: Vec::new(),
    };
    stand.app.happen(&account, effects);
    keep();
    let request = |cx: &Context<'_>| decide::pairing::request(cx, [7; 32], true);
    let nobody = &stand.app.store.nobody;
    drop(
        stand
            .app
            .commit(nobody, "auth-request", &Value::Null, request),
    );
    keep();

    let again = App::new(Config::default());
    for record in records.into_inner().unwrap_or_else(PoisonError::into_inner) {
        again.restore(record);
    }
    let known = again
        .store
        .account_of_token(account.token())
        .expect("the account");
    assert_eq!(known.id(), account.id());
    assert_eq!(
        again.store.account_of_key(&[1; 32]).unwrap().id(),
        account.id()
    );
    assert_eq!(known.look(|rows| rows.seq), 2);
    assert_eq!(known.machine("pc").map(|row| row.active), Some(false));
    assert!(again.store.is_foreign_machine("pc", &stand.account));
    let waits = again
        .store
        .nobody
        .look(|rows| rows.pairings.get(&[7; 32]).cloned());
    assert_eq!(waits.map(|pairing| pairing.supports_v2), Some(true));
}

#[test]
fn friends_of_both_sides_at_once_do_not_wait_for_each_other() {
    let app = Arc::new(App::new(Config::default()));
    let accounts = [[1; 32], [2; 32]].map(|key| app.signed_in(key).0);
    let both = |[mine, theirs]: [usize; 2]| {
        for _ in 0..500 {
            let pair = [&accounts[mine], &accounts[theirs]];
            let (_, receipts) = app.commit_both(pair, "friends-add", &Value::Null, friends::add);
            drop(receipts);
            let (_, receipts) =
                app.commit_both(pair, "friends-remove", &Value::Null, friends::remove);
            drop(receipts);
        }
    };
    thread::scope(|scope| {
        scope.spawn(|| both([0, 1]));
        scope.spawn(|| both([1, 0]));
    });
    let relation =
        |at: usize, other: usize| accounts[at].look(|rows| rows.relation(accounts[other].id()));
    use crate::builders::RelationshipStatus::{Friend, None, Pending, Requested};
    let sides = (relation(0, 1), relation(1, 0));
    let right = [
        (None, None),
        (Requested, Pending),
        (Pending, Requested),
        (Friend, Friend),
    ];
    assert!(right.contains(&sides), "{sides:?}");
}
