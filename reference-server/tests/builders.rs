//! The 17 builders: what they make of a row, and that it keeps to the contract's schemas.

use serde_json::{Map, Value, json};
use touchstone_fixtures::{
    EPHEMERAL_TYPES, EventKind, UPDATE_TYPES, validate_ephemeral, validate_update,
};
use touchstone_reference_server::builders::{
    self, ArtifactRow, EphemeralPayload, KvChange, MachineRow, MessageRow, RelationshipStatus,
    SessionRow, Stamp, UpdatePayload, Versioned,
};

const AT: i64 = 1_800_000_000_000;
const STAMP: Stamp<'static> = Stamp {
    seq: 7,
    id: "k3v9q0x1m2n4",
    at: AT + 5,
};

fn part(value: &str, version: u64) -> Versioned {
    Versioned {
        value: Some(value.to_owned()),
        version,
    }
}

fn session() -> SessionRow {
    SessionRow {
        id: "session".to_owned(),
        seq: 0,
        metadata: "metadata".to_owned(),
        metadata_version: 2,
        agent_state: None,
        agent_state_version: 0,
        data_encryption_key: Some("a2V5".to_owned()),
        active: true,
        active_at: AT,
        created_at: AT - 2,
        updated_at: AT - 1,
    }
}

fn machine() -> MachineRow {
    MachineRow {
        id: "machine".to_owned(),
        seq: 0,
        metadata: "metadata".to_owned(),
        metadata_version: 1,
        daemon_state: Some("state".to_owned()),
        daemon_state_version: 3,
        data_encryption_key: None,
        active: false,
        active_at: AT,
        created_at: AT - 2,
        updated_at: AT - 1,
    }
}

fn artifact() -> ArtifactRow {
    ArtifactRow {
        id: "artifact".to_owned(),
        header: "aGVhZGVy".to_owned(),
        header_version: 1,
        body: "Ym9keQ==".to_owned(),
        body_version: 2,
        data_encryption_key: Some("a2V5".to_owned()),
        seq: 1,
        created_at: AT,
        updated_at: AT + 1,
    }
}

fn message() -> MessageRow {
    MessageRow {
        id: "message".to_owned(),
        seq: 4,
        content: json!({ "t": "encrypted", "c": "text" }),
        local_id: Some("local".to_owned()),
        created_at: AT,
        updated_at: AT,
    }
}

fn updates() -> Vec<UpdatePayload> {
    let settings = Map::from_iter([("settings".to_owned(), json!(part("settings", 5)))]);
    let changes = [
        KvChange {
            key: "kept".to_owned(),
            value: Some("dg==".to_owned()),
            version: 0,
        },
        KvChange {
            key: "deleted".to_owned(),
            value: None,
            version: 3,
        },
    ];
    let cleared = Versioned {
        value: None,
        version: 2,
    };
    vec![
        builders::new_session(&session(), STAMP),
        builders::new_message(&message(), "session", STAMP),
        builders::update_session("session", Some(&part("metadata", 3)), None, STAMP),
        builders::update_session("session", Some(&part("metadata", 3)), Some(&cleared), STAMP),
        builders::delete_session("session", STAMP),
        builders::update_account("account", &settings, STAMP),
        builders::new_machine(&machine(), STAMP),
        builders::update_machine("machine", Some(&part("metadata", 2)), None, STAMP),
        builders::update_machine("machine", None, Some(&part("state", 4)), STAMP),
        builders::new_artifact(&artifact(), STAMP),
        builders::update_artifact("artifact", Some(&part("aGVhZGVy", 2)), None, STAMP),
        builders::update_artifact("artifact", None, Some(&part("Ym9keQ==", 3)), STAMP),
        builders::delete_artifact("artifact", STAMP),
        builders::relationship_updated("other", RelationshipStatus::Friend, AT, STAMP),
        builders::new_feed_post(
            "post",
            &json!({ "kind": "friend_request" }),
            "0-1",
            AT,
            STAMP,
        ),
        builders::kv_batch_update(&changes, STAMP),
    ]
}

fn ephemerals() -> Vec<EphemeralPayload> {
    let (tokens, cost) = (json!({ "total": 10, "input": 4 }), json!({ "total": 0.5 }));
    vec![
        builders::session_activity("session", true, AT, Some(true)),
        builders::session_activity("session", false, AT, None),
        builders::machine_activity("machine", true, AT),
        builders::usage("session", "key", &tokens, &cost, AT),
        builders::machine_status("machine", true, AT),
    ]
}

fn known(kind: &EventKind) -> String {
    match kind {
        EventKind::Known(name) => (*name).to_owned(),
        other => panic!("not a known type: {other:?}"),
    }
}

#[test]
fn updates_keep_to_the_contract_and_all_types_are_built() {
    let mut built = Vec::new();
    for payload in updates() {
        let report = validate_update(payload.as_json());
        assert_eq!(report.violations, [], "{}", payload.as_json());
        built.push(known(&report.kind));
    }
    for t in UPDATE_TYPES {
        assert!(built.iter().any(|built| built == t), "nothing built {t}");
    }
}

#[test]
fn ephemerals_keep_to_the_contract_and_all_types_are_built() {
    let mut built = Vec::new();
    for payload in ephemerals() {
        let report = validate_ephemeral(payload.as_json());
        assert_eq!(report.violations, [], "{}", payload.as_json());
        built.push(known(&report.kind));
    }
    for kind in EPHEMERAL_TYPES {
        assert!(
            built.iter().any(|built| built == kind),
            "nothing built {kind}"
        );
    }
}

/// One payload a line, keys in the order in which they travel.
#[test]
fn payloads_travel_like_this() {
    let updates = updates()
        .into_iter()
        .map(|payload| payload.as_json().to_string());
    let ephemerals = ephemerals()
        .into_iter()
        .map(|payload| payload.as_json().to_string());
    insta::assert_snapshot!(updates.chain(ephemerals).collect::<Vec<_>>().join("\n"));
}

/// The golden bodies of the contract that carry a whole row come out of the builders key by key.
#[test]
fn golden_rows_come_back() {
    #[track_caller]
    fn check(schema: &str, build: impl Fn(&Value) -> Option<UpdatePayload>) {
        let mut count = 0;
        for golden in touchstone_fixtures::goldens().filter(|golden| golden.schema == schema) {
            let payload =
                build(&golden.value).unwrap_or_else(|| panic!("{schema} {}: no row", golden.case));
            assert_eq!(
                payload.as_json()["body"],
                golden.value,
                "{schema} {}",
                golden.case
            );
            count += 1;
        }
        assert!(count > 0, "no golden payload of {schema}");
    }
    fn row<T: serde::de::DeserializeOwned>(body: &Value, id: &str) -> Option<T> {
        let mut row = body.clone();
        let id = row.as_object_mut()?.shift_remove(id)?;
        row["id"] = id;
        serde_json::from_value(row).ok()
    }
    check("update/new-session", |body| {
        Some(builders::new_session(&row(body, "id")?, STAMP))
    });
    check("update/new-machine", |body| {
        Some(builders::new_machine(&row(body, "machineId")?, STAMP))
    });
    check("update/new-artifact", |body| {
        Some(builders::new_artifact(&row(body, "artifactId")?, STAMP))
    });
    check("update/new-message", |body| {
        let message = serde_json::from_value(body["message"].clone()).ok()?;
        Some(builders::new_message(
            &message,
            body["sid"].as_str()?,
            STAMP,
        ))
    });
    check("update/kv-batch-update", |body| {
        let changes: Vec<KvChange> = serde_json::from_value(body["changes"].clone()).ok()?;
        Some(builders::kv_batch_update(&changes, STAMP))
    });
}
