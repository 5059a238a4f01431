//! Decisions as tables: rows and a call in, what happens and what is answered out. No socket, no server.

use std::time::Duration;

use serde_json::value::to_raw_value;
use serde_json::{Value, json};

use super::*;
use crate::announce::Announcement;
use crate::builders::{KvChange, Stamp};
use crate::clock::Clock;
use crate::decide::artifact_create::is_base64;
use crate::ids::Ids;
use crate::router::{RecipientFilter, Scope};
use crate::test_stand::connection;

mod bounds;

const NOW: i64 = 1_800_000_000_000;

/// An account with a session, a machine and an artifact, and a connection of it.
struct World {
    rows: Rows,
    config: Config,
    me: Arc<Connection>,
}

impl World {
    fn new() -> Self {
        let config = Config {
            clock: Clock::manual(NOW).0,
            ids: Ids::seeded(1),
            presence_timeout: Duration::from_secs(600),
            ..Config::default()
        };
        let (me, _) = connection(1, Scope::User);
        let mut world = Self {
            rows: Rows::default(),
            config,
            me,
        };
        world.apply(connection::enter(&world.context(), &world.me).effects);
        let session = session_create::Create {
            tag: "t".to_owned(),
            metadata: "m".to_owned(),
            agent_state: None,
            key: None,
        };
        world.apply(session_create::decide(&world.context(), session).effects);
        let machine = machine_create::Create {
            id: "pc".to_owned(),
            metadata: "m".to_owned(),
            daemon_state: None,
            key: None,
            is_foreign: false,
        };
        world.apply(machine_create::decide(&world.context(), machine).effects);
        let artifact = artifact_create::Create {
            id: "art",
            header: "aGk=",
            body: "aGk=",
            key: "aGk=",
            is_foreign: false,
        };
        world.apply(artifact_create::decide(&world.context(), &artifact).effects);
        world
    }

    fn context(&self) -> Context<'_> {
        Context::new(&self.rows, &self.config)
    }

    fn sid(&self) -> String {
        self.rows
            .tagged("t")
            .map(|session| session.id)
            .unwrap_or_default()
    }

    fn apply(&mut self, effects: Effects) {
        let changes = effects.changes.into_iter();
        changes.for_each(|change| self.rows.apply(change));
    }

    fn decide(&self, event: &str, data: &Value) -> Outcome<Reply> {
        let (_, decide, _) = DECISIONS.iter().find(|(name, ..)| *name == event).unwrap();
        let raw = to_raw_value(data).unwrap();
        let call = Call {
            connection: &self.me,
            data: &Data::parse(Some(&raw)),
            raw: Some(&raw),
            is_foreign: false,
            attachments: &[],
        };
        decide(&self.context(), &call)
    }

    /// Decides, compares, and lets it happen.
    #[track_caller]
    #[expect(
        clippy::needless_pass_by_value,
        reason = "rows read better without borrows"
    )]
    fn check(&mut self, event: &str, data: Value, answer: Value, changes: usize, events: &[&str]) {
        let outcome = self.decide(event, &data);
        let reply = match outcome.answer {
            Reply::Ack(answer) | Reply::Refused(answer, _) | Reply::Notice(_, answer) => answer,
            Reply::Ignored(_) => "ignored".into(),
            Reply::Nothing => Value::Null,
            Reply::Forward(forward) => json!({ "to": forward.callee.socket_id() }),
        };
        assert_eq!(reply, answer, "the answer to {event} {data}");
        let told: Vec<String> = outcome.effects.events.iter().map(told).collect();
        assert_eq!(told, events, "the events of {event} {data}");
        assert_eq!(
            outcome.effects.changes.len(),
            changes,
            "the changes of {event} {data}"
        );
        self.apply(outcome.effects);
    }
}

/// An event's type and filter, and whether it skips somebody.
fn told(event: &Event) -> String {
    let stamp = Stamp {
        seq: 1,
        id: "u",
        at: NOW,
    };
    let kind = match &event.what {
        Announcement::Update(update) => update.build(stamp).as_json()["body"]["t"].clone(),
        Announcement::Ephemeral(payload) => payload.as_json()["type"].clone(),
        Announcement::Ready(name, _) => (*name).into(),
    };
    let filter = match event.filter {
        RecipientFilter::AllInterestedInSession { .. } => "session",
        RecipientFilter::UserScopedOnly => "user",
        RecipientFilter::MachineScopedOnly { .. } => "machine",
        RecipientFilter::AllUserAuthenticatedConnections => "all",
    };
    let skip = if event.skip.is_some() {
        " but the sender"
    } else {
        ""
    };
    format!("{} to {filter}{skip}", kind.as_str().unwrap_or_default())
}

#[test]
fn parts_of_sessions_and_machines() {
    let mut world = World::new();
    let sid = world.sid();
    let update = |value: Value, version: Value| json!({ "sid": sid, "metadata": value, "expectedVersion": version });
    let now = json!({ "result": "version-mismatch", "version": 0, "metadata": "m" });
    for other in [json!(1), json!(-1), json!(0.5), json!(1e300)] {
        world.check(
            "update-metadata",
            update(json!("n"), other),
            now.clone(),
            0,
            &[],
        );
    }
    let error = json!({ "result": "error" });
    for wrong in [
        update(json!(1), json!(0)),
        update(Value::Null, json!(0)),
        update(json!("n"), json!("0")),
    ] {
        world.check("update-metadata", wrong, error.clone(), 0, &[]);
    }
    let unknown = json!({ "sid": "x", "metadata": "n", "expectedVersion": 0 });
    world.check("update-metadata", unknown, error, 0, &[]);
    let success = json!({ "result": "success", "version": 1, "metadata": "n" });
    world.check(
        "update-metadata",
        update(json!("n"), json!(0)),
        success,
        1,
        &["update-session to session"],
    );
    let state = |value: Value, version| json!({ "sid": sid, "agentState": value, "expectedVersion": version });
    let success = json!({ "result": "success", "version": 1, "agentState": "s" });
    world.check(
        "update-state",
        state(json!("s"), 0),
        success,
        1,
        &["update-session to session"],
    );
    let cleared = json!({ "result": "success", "version": 2, "agentState": null });
    world.check(
        "update-state",
        state(Value::Null, 1),
        cleared,
        1,
        &["update-session to session"],
    );

    let machine =
        |field: &str, version| json!({ "machineId": "pc", field: "d", "expectedVersion": version });
    let mismatch = json!({ "result": "version-mismatch", "version": 1, "metadata": "m" });
    world.check(
        "machine-update-metadata",
        machine("metadata", 0),
        mismatch,
        0,
        &[],
    );
    let success = json!({ "result": "success", "version": 2, "metadata": "d" });
    world.check(
        "machine-update-metadata",
        machine("metadata", 1),
        success,
        1,
        &["update-machine to machine"],
    );
    // Its state makes a machine active.
    let success = json!({ "result": "success", "version": 1, "daemonState": "d" });
    world.check(
        "machine-update-state",
        machine("daemonState", 0),
        success,
        2,
        &["update-machine to machine"],
    );
    let missing = json!({ "result": "error", "message": "Invalid parameters" });
    world.check(
        "machine-update-state",
        json!({ "machineId": "" }),
        missing,
        0,
        &[],
    );
}

#[test]
fn messages_and_heartbeats() {
    let mut world = World::new();
    let sid = world.sid();
    let message = |local: Value| json!({ "sid": sid, "message": "x", "localId": local });
    let told = &["new-message to session but the sender"];
    world.check("message", message(json!("a")), Value::Null, 1, told);
    world.check("message", message(json!("a")), json!("ignored"), 0, &[]);
    world.check("message", message(json!("b")), Value::Null, 1, told);
    for never in [Value::Null, json!(7), Value::Null, json!(7)] {
        world.check("message", message(never), Value::Null, 1, told);
    }
    world.check(
        "message",
        json!({ "sid": "x", "message": "x" }),
        json!("ignored"),
        0,
        &[],
    );
    let seqs: Vec<u64> = world
        .rows
        .messages()
        .flat_map(|(_, all)| all)
        .map(|one| one.seq)
        .collect();
    assert_eq!(seqs, [1, 2, 3, 4, 5, 6]);

    let alive = |time: Value| json!({ "sid": sid, "time": time });
    let active = &["activity to user"];
    for time in [json!(NOW), json!(NOW + 5_000), json!(NOW - 600_000)] {
        world.check("session-alive", alive(time), Value::Null, 1, active);
    }
    for time in [json!(NOW - 600_001), Value::Null, json!("1"), json!(-1)] {
        world.check("session-alive", alive(time), json!("ignored"), 0, &[]);
    }
    world.check("session-end", alive(json!(NOW)), Value::Null, 1, active);
    world.check("session-alive", alive(json!(NOW)), json!("ignored"), 0, &[]);
    let alive = json!({ "machineId": "pc", "time": NOW });
    world.check(
        "machine-alive",
        alive,
        Value::Null,
        1,
        &["machine-activity to user"],
    );
    world.check("ping", json!({ "anything": 1 }), json!({}), 0, &[]);
}

#[test]
fn heartbeats_are_never_from_the_future_and_never_too_old() {
    let world = World::new();
    #[expect(clippy::cast_precision_loss, reason = "times stay far below 2^53")]
    let now = NOW as f64;
    for (time, expected) in [
        (now, Some(NOW)),
        (now - 0.5, Some(NOW - 1)),
        (f64::MAX, Some(NOW)),
        (now - 600_000.0, Some(NOW - 600_000)),
        (now - 600_001.0, None),
        (0.0, None),
        (f64::MIN, None),
        (f64::NAN, None),
        (f64::INFINITY, None),
    ] {
        assert_eq!(
            world.context().heartbeat_time(Some(time)),
            expected,
            "{time}"
        );
    }
    assert_eq!(world.context().heartbeat_time(None), None);
}

#[test]
fn artifacts() {
    let mut world = World::new();
    let update =
        |header: Value, body: Value| json!({ "artifactId": "art", "header": header, "body": body });
    let part = |data: &str, version: i64| json!({ "data": data, "expectedVersion": version });
    let error = |message: &str| json!({ "result": "error", "message": message });
    for (data, answer) in [
        (json!({}), "Invalid parameters"),
        (update(Value::Null, Value::Null), "No updates provided"),
        (update(json!(1), Value::Null), "Invalid header parameters"),
        (
            update(Value::Null, json!({ "data": "aGk=" })),
            "Invalid body parameters",
        ),
        (update(part("no base64", 1), Value::Null), "Internal error"),
        (
            json!({ "artifactId": "x", "body": part("aGk=", 1) }),
            "Artifact not found",
        ),
    ] {
        world.check("artifact-update", data, error(answer), 0, &[]);
    }
    // A mismatch of one part stops both.
    let now = json!({ "version": 1, "currentVersion": 1, "data": "aGk=", "currentData": "aGk=" });
    let stale = json!({ "result": "version-mismatch", "body": now });
    world.check(
        "artifact-update",
        update(part("AA==", 1), part("AA==", 7)),
        stale,
        0,
        &[],
    );
    let both = json!({
        "result": "success",
        "header": { "version": 2, "data": "AA==" },
        "body": { "version": 2, "data": "AA==" },
    });
    let told = &["update-artifact to user"];
    world.check(
        "artifact-update",
        update(part("AA==", 1), part("AA==", 1)),
        both,
        3,
        told,
    );
    assert_eq!(world.rows.artifact("art").map(|row| row.seq), Some(1));
    let delete = json!({ "artifactId": "art" });
    let done = json!({ "result": "success" });
    world.check(
        "artifact-delete",
        delete.clone(),
        done,
        1,
        &["delete-artifact to user"],
    );
    world.check(
        "artifact-delete",
        delete.clone(),
        error("Artifact not found"),
        0,
        &[],
    );
    world.check("artifact-read", delete, error("Artifact not found"), 0, &[]);
}

#[test]
fn base64_is_standard_and_padded() {
    let world = World::new();
    for good in ["", "aGk=", "YmR5", "+/+/", "AA=="] {
        assert!(is_base64(&world.context(), good), "{good}");
    }
    for bad in ["aGk", "!!!", "-_-_", "aGk= ", "aGk=\n", "AB==", "é"] {
        assert!(!is_base64(&world.context(), bad), "{bad}");
    }
}

#[test]
fn methods_and_connections() {
    let mut world = World::new();
    let method = json!({ "method": "m" });
    let call = |world: &mut World, answer| {
        world.check("rpc-call", json!({ "method": "m" }), answer, 0, &[]);
    };
    let fail = |error: &str| json!({ "ok": false, "error": error });
    call(&mut world, fail("RPC method not available"));
    let (other, _) = connection(2, Scope::Machine("pc".to_owned()));
    world.apply(connection::enter(&world.context(), &other).effects);
    let registered = Change::Registered {
        method: "m".to_owned(),
        connection: Arc::clone(&other),
        is_owner: true,
    };
    world.rows.apply(registered);
    call(&mut world, json!({ "to": "2" }));
    // The last registrant owns the method, and the one before takes over when it unregisters.
    world.check("rpc-register", method.clone(), method.clone(), 1, &[]);
    call(&mut world, fail("Cannot call RPC on the same socket"));
    world.check("rpc-unregister", method.clone(), method, 1, &[]);
    call(&mut world, json!({ "to": "2" }));
    let leave = connection::leave(&world.context(), &other);
    let events: Vec<String> = leave.effects.events.iter().map(told).collect();
    assert_eq!(events, ["machine-activity to user"]);
    world.apply(leave.effects);
    call(&mut world, fail("RPC method not available"));
    assert!(
        !world
            .rows
            .machine("pc")
            .is_some_and(|machine| machine.active)
    );
}

#[test]
fn keys_are_written_together_or_not_at_all() {
    let mut world = World::new();
    let write = |key: &str, value: Option<&str>, version| KvChange {
        key: key.to_owned(),
        value: value.map(str::to_owned),
        version,
    };
    let outcome = kv::decide(
        &world.context(),
        &[write("a", Some("1"), -1), write("b", Some("1"), -1)],
    );
    assert_eq!(
        outcome.answer,
        Ok(vec![write("a", Some("1"), 0), write("b", Some("1"), 0)])
    );
    world.apply(outcome.effects);
    let stale = kv::decide(
        &world.context(),
        &[write("a", None, 0), write("b", None, -1)],
    );
    assert_eq!(stale.answer, Err(vec![write("b", Some("1"), 0)]));
    assert!(stale.effects.changes.is_empty() && stale.effects.events.is_empty());
}
