//! Entries for tests, at fixed times.

use std::sync::Arc;

use crate::event::{Direction, Entity, Entry, Kind, Receipt, Recipients, Scope};

/// When tests take place: 2027-01-15 08:00:00 UTC.
pub(crate) const START_MS: u64 = 1_800_000_000_000;

/// An update or ephemeral, a quarter of a second after the one with the number before.
pub(crate) fn entry(number: u64, event: &str) -> Entry {
    let t_us = number * 250_000;
    let raw: Arc<str> = format!(
        r#"{{"id":"u{number}","seq":{number},"body":{{"t":"{event}","sid":"s1"}},"createdAt":{START_MS}}}"#
    )
    .into();
    let ephemeral = touchstone_fixtures::EPHEMERAL_TYPES.contains(&event);
    Entry {
        number,
        at_ms: START_MS + t_us / 1000,
        t_us,
        account: "a1".into(),
        conn: "a1/user".into(),
        scope: Scope::User,
        kind: if ephemeral {
            Kind::Ephemeral
        } else {
            Kind::Update
        },
        direction: Direction::Received,
        event: event.into(),
        entity: Some(Entity::Session("s1".into())),
        seq: Some(number),
        id: Some(format!("u{number}").into()),
        ack: None,
        size: u32::try_from(raw.len()).unwrap(),
        raw,
        recipients: Recipients::Ours(vec![Receipt {
            conn: "a1/user".into(),
            scope: Scope::User,
            t_us,
        }]),
        latency_us: None,
        link: None,
        lints: Vec::new(),
    }
}

/// One of the entries of a remote call.
pub(crate) fn rpc(
    number: u64,
    link: u64,
    event: &str,
    direction: Direction,
    raw: &str,
    latency_us: Option<u64>,
) -> Entry {
    Entry {
        kind: Kind::Rpc,
        direction,
        entity: Some(Entity::Method("a:bash".into())),
        seq: None,
        id: None,
        ack: Some(link),
        raw: raw.into(),
        recipients: Recipients::Unknown,
        latency_us,
        link: Some(link),
        ..entry(number, event)
    }
}
