//! From the records of a trace back to what was seen: the way that `record` went.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value;
use touchstone_client::{
    Direction as Way,
    trace::{DROPPED, Kind, Record, Traced},
};

use super::record::DECISION;
use super::{Origin, What};
use crate::event::{Direction, Lint, Scope};

/// Whose the connections of a trace are, as far as it has been read.
#[derive(Debug, Default)]
pub(super) struct Origins {
    by_conn: HashMap<String, Origin>,
}

impl Origins {
    /// Whose record it is. A connection's CONNECT says more than its name.
    pub(super) fn of(&mut self, record: &Record) -> Origin {
        let origin = self
            .by_conn
            .entry(record.conn.clone())
            .or_insert_with(|| Origin {
                account: record.conn.strip_prefix("http/").unwrap_or_default().into(),
                conn: match record.conn.as_str() {
                    "-" => "".into(),
                    conn => conn.into(),
                },
                scope: Scope::None,
            });
        if let Kind::Packet(Way::Sent, Traced::Connect(auth)) = &record.kind {
            let text = |key: &str| auth[key].as_str().unwrap_or_default();
            let shared = |key: &str| Arc::<str>::from(text(key));
            origin.account = text("token").trim_end_matches('…').into();
            origin.scope = match text("clientType") {
                "session-scoped" => Scope::Session(shared("sessionId")),
                "machine-scoped" => Scope::Machine(shared("machineId")),
                _ => Scope::User,
            };
        }
        origin.clone()
    }
}

/// What a record shows. Nothing for heartbeats and the packets of the transport, unless something is
/// wrong there.
pub(super) fn what_of(record: Record, lints: &[Lint]) -> Option<What> {
    what(record).or_else(|| Some(What::Note(lints.first()?.text.clone())))
}

fn what(record: Record) -> Option<What> {
    let text = |value: &Value| {
        value["message"]
            .as_str()
            .unwrap_or("without a message")
            .to_owned()
    };
    Some(match record.kind {
        Kind::Mark(mark) => match mark.split_once(": ") {
            Some(("ended" | "lost", why)) => What::Connection("lost", why.to_owned()),
            Some(("refused", why)) => What::Connection("refused", why.to_owned()),
            Some(("failed", why)) => What::Connection("failed", why.to_owned()),
            Some(("connected", what)) => What::Connection("connected", what.to_owned()),
            Some(("gap", what)) => What::Gap(what.to_owned()),
            Some((DROPPED, count)) => What::Gap(format!(
                "{count} earlier records were dropped by whoever recorded"
            )),
            _ => What::Note(mark),
        },
        Kind::Http(exchange) => What::Http(exchange),
        Kind::Packet(way, packet) => {
            let direction = match way {
                Way::Sent => Direction::Sent,
                Way::Received => Direction::Received,
            };
            match packet {
                Traced::Event { name, args, .. }
                    if name == DECISION && record.recipients.is_some() =>
                {
                    What::Decision(args.first_raw()?.to_owned())
                }
                Traced::Event {
                    name, args, ack, ..
                } => What::Event {
                    direction,
                    name,
                    args,
                    ack,
                },
                Traced::Ack { id, args, .. } => What::Ack {
                    direction,
                    id,
                    args,
                },
                Traced::Connect(answer) if direction == Direction::Received => {
                    What::Accepted(answer["sid"].as_str().map(Arc::from))
                }
                Traced::Connect(auth) => What::Connect(auth),
                Traced::ConnectError(data) => What::Connection("refused", text(&data)),
                Traced::Disconnect if direction == Direction::Received => {
                    What::Connection("disconnected", "by the server".to_owned())
                }
                Traced::Disconnect => What::Connection("disconnected", "by this client".to_owned()),
                Traced::Raw(text) => What::Note(format!("no packet: {text}")),
                _ => return None,
            }
        }
    })
}
