use std::sync::{Mutex, PoisonError};
use std::thread;

use futures_util::FutureExt as _;
use serde_json::json;
use serde_json::value::to_raw_value;

use super::*;
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

type Waiting = (Record, Box<dyn FnOnce() + Send>);

impl Slow {
    /// Keeps what was given n-th of what waits.
    fn keep(&self, place: usize) -> Record {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (record, kept) = waiting.remove(place);
        drop(waiting);
        kept();
        record
    }
}

impl std::fmt::Debug for Slow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Slow")
    }
}

impl Storage for Slow {
    fn store(&self, record: Record, kept: Box<dyn FnOnce() + Send>) {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.push((record, kept));
    }
}

struct Stand {
    app: Arc<App>,
    storage: Arc<Slow>,
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
            ..Config::default()
        };
        let app = Arc::new(App::new(config));
        let (me, packets) = connection(1, Scope::User);
        let mut commit = Commit::new(&app, me.account());
        let effects = decide::connection::enter(&commit.context(), &me).effects;
        commit.happen(
            &Cause::of("enter", me.account(), &Value::Null),
            effects,
            None,
        );
        commit.finish();
        let session = decide::session_create::Create {
            tag: "t".to_owned(),
            metadata: "m".to_owned(),
            agent_state: None,
            key: None,
        };
        let decide = |cx: &Context<'_>| decide::session_create::decide(cx, session);
        let (row, _) = app.commit(me.account(), "session-create", &Value::Null, decide);
        storage.keep(0);
        packets.take();
        let sid = row.id;
        Self {
            app,
            storage,
            me,
            packets,
            sid,
        }
    }

    fn send(&self, event: &str, data: &Value, ack: u64) {
        let raw = to_raw_value(data).unwrap();
        dispatch(&self.app, &self.me, event, Some(&raw), &[], Some(ack));
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

#[test]
fn nothing_leaves_before_what_it_saw_is_kept() {
    let stand = Stand::new();
    stand.change(0, 10);
    stand.send("ping", &json!({}), 11);
    let account = stand.me.account();
    let look = |cx: &Context<'_>| cx.rows.session(&stand.sid).map(|row| row.metadata);
    let mut read = Box::pin(stand.app.read(account, look));
    assert_eq!(
        (&mut read).now_or_never(),
        None,
        "a read shows what is not kept"
    );
    stand.check(&[]);
    let record = stand.storage.keep(0);
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
fn friends_of_both_sides_at_once_do_not_wait_for_each_other() {
    let app = Arc::new(App::new(Config::default()));
    let accounts = [[1; 32], [2; 32]].map(|key| app.sign_in(key));
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
