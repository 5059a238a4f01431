//! What the names in an expression stand for.

use cel::common::types::{CelDouble, CelInt, CelList, CelNull, CelString};
use cel::common::value::{CowVal, Val};
use cel::context::VariableResolver;

use crate::event::{Direction, Entity, Entry, Recipients, Scope};

/// The fields of an entry, made when an expression asks for them: nothing is copied but numbers, and
/// the payload is parsed only for `body`.
#[derive(Debug)]
pub(super) struct Fields<'a>(pub(super) &'a Entry);

impl VariableResolver for Fields<'_> {
    fn resolve<'b>(&'b self, name: &str) -> Option<CowVal<'b, 'b>> {
        let entry = self.0;
        Some(match name {
            "type" => text(&entry.event),
            "kind" => text(entry.kind.as_str()),
            "size" => number(Some(entry.size)),
            "seq" => number(entry.seq),
            "account" => text(&entry.account),
            "conn" => text(&entry.conn),
            "scope" => text(entry.scope.as_str()),
            "session" => match (&entry.entity, &entry.scope) {
                (Some(Entity::Session(id)), _) | (None, Scope::Session(id)) => text(id),
                _ => null(),
            },
            "machine" => match (&entry.entity, &entry.scope) {
                (Some(Entity::Machine(id)), _) | (None, Scope::Machine(id)) => text(id),
                _ => null(),
            },
            "artifact" => match &entry.entity {
                Some(Entity::Artifact(id)) => text(id),
                _ => null(),
            },
            "method" => match &entry.entity {
                Some(Entity::Method(name)) => text(name),
                _ => null(),
            },
            "entity" => entry
                .entity
                .as_ref()
                .map_or_else(null, |one| text(one.id())),
            "body" => body(entry),
            "raw" => text(&entry.raw),
            "recipients" => number(entry.recipients.count().map(|count| count as u64)),
            "receivers" => list(receivers(entry)),
            "skipped" => match &entry.recipients {
                Recipients::Routed(routed) => routed.skipped.as_deref().map_or_else(null, text),
                _ => null(),
            },
            "filter" => match &entry.recipients {
                Recipients::Routed(routed) => filter_type(&routed.filter),
                _ => null(),
            },
            "lints" => list(entry.lints.iter().map(|lint| lint.rule).collect()),
            "latency" => match entry.latency_us {
                #[expect(
                    clippy::cast_precision_loss,
                    reason = "microseconds of a latency fit a double for centuries"
                )]
                Some(us) => CowVal::owned(CelDouble::from(us as f64 / 1e3)),
                None => null(),
            },
            "direction" => text(match entry.direction {
                Direction::Sent => "sent",
                Direction::Received => "received",
                Direction::Inside => "inside",
            }),
            "number" => number(Some(entry.number)),
            "at" => number(Some(entry.at_ms)),
            "id" => entry.id.as_deref().map_or_else(null, text),
            "ack" => number(entry.ack),
            "link" => number(entry.link),
            _ => return None,
        })
    }
}

fn text(text: &str) -> CowVal<'_, '_> {
    CowVal::owned(CelString::from(text))
}

fn number<'b>(value: Option<impl TryInto<i64>>) -> CowVal<'b, 'b> {
    match value {
        Some(value) => CowVal::owned(CelInt::from(value.try_into().unwrap_or(i64::MAX))),
        None => null(),
    }
}

fn null<'b>() -> CowVal<'b, 'b> {
    CowVal::owned(CelNull)
}

fn list(texts: Vec<&str>) -> CowVal<'_, '_> {
    let items: Vec<Box<dyn Val + '_>> = texts
        .into_iter()
        .map(|text| Box::new(CelString::from(text)) as Box<dyn Val + '_>)
        .collect();
    CowVal::owned(CelList::from(items))
}

fn receivers(entry: &Entry) -> Vec<&str> {
    match &entry.recipients {
        Recipients::Unknown => Vec::new(),
        Recipients::Ours(receipts) => receipts.iter().map(|receipt| &*receipt.conn).collect(),
        Recipients::Routed(routed) => routed.recipients.iter().map(|one| &**one).collect(),
    }
}

fn filter_type<'b>(filter: &str) -> CowVal<'b, 'b> {
    let parsed: Option<serde_json::Value> = serde_json::from_str(filter).ok();
    let name = parsed.as_ref().and_then(|filter| filter["type"].as_str());
    name.map_or_else(null, |name| CowVal::owned(CelString::from(name.to_owned())))
}

/// The payload as a value of expressions; null for the sentences of the monitor's own entries.
fn body<'b>(entry: &Entry) -> CowVal<'b, 'b> {
    let parsed: Option<serde_json::Value> = serde_json::from_str(&entry.raw).ok();
    let value = parsed.and_then(|parsed| cel::to_value(parsed).ok());
    let boxed: Option<Box<dyn Val>> = value.and_then(|value| value.try_into().ok());
    boxed.map_or_else(null, CowVal::Owned)
}
