//! The 17 event builders: from a stored row to the payload that is sent. They run under the lock of
//! an account, once per event however many receive it.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use serde_json::{Map, Value, json};
use touchstone_reference_server::builders::{
    self, ArtifactRow, KvChange, MachineRow, MessageRow, RelationshipStatus, SessionRow, Stamp,
    Versioned,
};

const NOW: i64 = 1_750_000_000_000;
const STAMP: Stamp<'static> = Stamp {
    seq: 42,
    id: "a1b2c3d4e5f6",
    at: NOW,
};
const ID: &str = "cabcdefghijklmnopqrstuvwx";

/// Ciphertext of a size that metadata and states have.
fn text() -> String {
    "bWV0YWRhdGEh".repeat(20)
}

fn session() -> SessionRow {
    SessionRow {
        id: ID.to_owned(),
        seq: 3,
        metadata: text(),
        metadata_version: 2,
        agent_state: Some(text()),
        agent_state_version: 9,
        data_encryption_key: Some(text()),
        active: true,
        active_at: NOW,
        created_at: NOW,
        updated_at: NOW,
    }
}

fn message() -> MessageRow {
    MessageRow {
        id: ID.to_owned(),
        seq: 17,
        content: json!({ "t": "encrypted", "c": "bWVzc2FnZSEh".repeat(100) }),
        local_id: Some(ID.to_owned()),
        created_at: NOW,
        updated_at: NOW,
    }
}

fn machine() -> MachineRow {
    MachineRow {
        id: ID.to_owned(),
        seq: 3,
        metadata: text(),
        metadata_version: 2,
        daemon_state: Some(text()),
        daemon_state_version: 9,
        data_encryption_key: None,
        active: true,
        active_at: NOW,
        created_at: NOW,
        updated_at: NOW,
    }
}

fn artifact() -> ArtifactRow {
    ArtifactRow {
        id: ID.to_owned(),
        header: text(),
        header_version: 2,
        body: "Ym9keWJvZHkh".repeat(300),
        body_version: 5,
        data_encryption_key: Some(text()),
        seq: 7,
        created_at: NOW,
        updated_at: NOW,
    }
}

fn updates(criterion: &mut Criterion) {
    let (session, message, machine, artifact) = (session(), message(), machine(), artifact());
    let part = Versioned {
        value: Some(text()),
        version: 8,
    };
    let part = Some(&part);
    let settings = json!({ "settings": { "value": text(), "version": 3 } });
    let profile: Map<String, Value> = settings.as_object().expect("an object").clone();
    let post = json!({ "kind": "friend_accepted", "uid": ID });
    let changes: Vec<KvChange> = (0..10)
        .map(|n| KvChange {
            key: format!("key-{n}"),
            value: Some(text()),
            version: n,
        })
        .collect();
    let friend = RelationshipStatus::Friend;

    let mut group = criterion.benchmark_group("update builders");
    let mut bench = |name: &str, build: &dyn Fn() -> builders::UpdatePayload| {
        group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
            bencher.iter(|| black_box(build()));
        });
    };
    bench("new-session", &|| {
        builders::new_session(black_box(&session), STAMP)
    });
    bench("update-session", &|| {
        builders::update_session(black_box(ID), part, part, STAMP)
    });
    bench("delete-session", &|| {
        builders::delete_session(black_box(ID), STAMP)
    });
    bench("new-message", &|| {
        builders::new_message(black_box(&message), ID, STAMP)
    });
    bench("update-account", &|| {
        builders::update_account(black_box(ID), &profile, STAMP)
    });
    bench("new-machine", &|| {
        builders::new_machine(black_box(&machine), STAMP)
    });
    bench("update-machine", &|| {
        builders::update_machine(black_box(ID), part, part, STAMP)
    });
    bench("new-artifact", &|| {
        builders::new_artifact(black_box(&artifact), STAMP)
    });
    bench("update-artifact", &|| {
        builders::update_artifact(black_box(ID), part, part, STAMP)
    });
    bench("delete-artifact", &|| {
        builders::delete_artifact(black_box(ID), STAMP)
    });
    bench("relationship-updated", &|| {
        builders::relationship_updated(black_box(ID), friend, NOW, STAMP)
    });
    bench("new-feed-post", &|| {
        builders::new_feed_post(black_box(ID), &post, "c1", NOW, STAMP)
    });
    bench("kv-batch-update", &|| {
        builders::kv_batch_update(black_box(&changes), STAMP)
    });
    group.finish();
}

fn ephemerals(criterion: &mut Criterion) {
    let tokens = json!({ "total": 1_200, "input": 1_000, "output": 200 });
    let cost = json!({ "total": 0.012, "input": 0.01, "output": 0.002 });

    let mut group = criterion.benchmark_group("ephemeral builders");
    let mut bench = |name: &str, build: &dyn Fn() -> builders::EphemeralPayload| {
        group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
            bencher.iter(|| black_box(build()));
        });
    };
    bench("activity", &|| {
        builders::session_activity(black_box(ID), true, NOW, Some(true))
    });
    bench("machine-activity", &|| {
        builders::machine_activity(black_box(ID), true, NOW)
    });
    bench("usage", &|| {
        builders::usage(black_box(ID), "claude", &tokens, &cost, NOW)
    });
    bench("machine-status", &|| {
        builders::machine_status(black_box(ID), true, NOW)
    });
    group.finish();
}

criterion_group!(benches, updates, ephemerals);
criterion_main!(benches);
