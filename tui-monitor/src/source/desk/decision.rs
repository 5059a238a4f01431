//! Decisions of the server's router: entries of their own, or what was meant to become of an event
//! that our own connections got.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Value, value::RawValue};

use super::{COPIES_WITHIN_US, Desk, Draft, Seen, copy_key};
use crate::event::{Amendment, Direction, Entity, Input, Kind, Recipients, Routed};
use crate::lint;
use crate::source::{Origin, facts};

/// The payload as it was sent, to the last space: by its text a presence event is known again.
#[derive(Deserialize)]
struct Sent<'a> {
    #[serde(borrow)]
    payload: &'a RawValue,
}

impl Desk {
    pub(super) fn decision(&mut self, draft: &Draft<'_>, raw: &str) -> Input {
        let decision: Value = serde_json::from_str(raw).unwrap_or(Value::Null);
        let name = decision["event"].as_str().unwrap_or("update");
        let payload = &decision["payload"];
        let text = serde_json::from_str::<Sent<'_>>(raw).map_or("null", |sent| sent.payload.get());
        let facts = facts::of_event(name, payload);
        let (routed, ours) = self.routed(&decision);
        let filter = decision["filter"]["type"].as_str().unwrap_or_default();
        let misrouted = lint::of_filter(&facts.event, filter);
        let told = decision["account"].as_str().unwrap_or_default();
        let account = self.account_of(told, ours, facts.entity.as_ref());

        let key = copy_key(&account, &facts, text);
        let seen = key.as_ref().and_then(|key| self.seen.get_mut(key));
        let is_copy = |seen: &&mut Seen| {
            facts.kind == Kind::Update
                || draft.t_us.saturating_sub(seen.first_us) < COPIES_WITHIN_US
        };
        if let Some(seen) = seen.filter(is_copy) {
            return Input::Amend(Amendment {
                number: seen.number,
                receipt: None,
                routed: Some(Box::new(routed)),
                cause: None,
                lints: Vec::from_iter(misrouted),
            });
        }

        let mut lints = self.decided.see(draft.t_us, &account, name, payload);
        lints.extend(misrouted);
        lints.extend(facts::unknown_type(name, payload).and_then(|name| self.unknown.say(name)));
        let mut entry = self.entry(draft, facts.kind, &facts.event, text);
        if let Some(key) = key {
            let seen = Seen {
                number: entry.number,
                first_us: draft.t_us,
                by: Vec::new(),
            };
            self.seen.put(&key, seen);
        }
        entry.account = account;
        entry.direction = Direction::Inside;
        entry.seq = facts.seq;
        entry.id = facts.id;
        entry.entity = facts.entity;
        entry.lints = lints;
        entry.recipients = Recipients::Routed(Box::new(routed));
        if facts.kind == Kind::Update {
            self.find_cause(draft.t_us, payload, &mut entry);
        }
        entry.into()
    }

    /// Our label of an account that the router calls `told`: that of our own connections among the
    /// recipients, or of who made the session that it is about. Else what the router says.
    fn account_of(
        &mut self,
        told: &str,
        ours: Option<Origin>,
        entity: Option<&Entity>,
    ) -> Arc<str> {
        let told = Arc::<str>::from(told);
        let label = ours.map(|origin| origin.account).or_else(|| {
            let known = self.accounts.get_mut(&told).cloned();
            let Some(Entity::Session(id)) = entity else {
                return known;
            };
            known.or_else(|| self.accounts.get_mut(id).cloned())
        });
        if let Some(label) = &label {
            self.accounts.put(&told, Arc::clone(label));
        }
        label.unwrap_or(told)
    }

    /// Who is meant, by the labels of our own connections where they are among them; and one of those.
    fn routed(&mut self, decision: &Value) -> (Routed, Option<Origin>) {
        let mut ours = None;
        let mut label = |id: &Value| {
            let id: Arc<str> = id.as_str()?.into();
            Some(match self.sids.get_mut(&id) {
                Some(origin) => {
                    ours.get_or_insert_with(|| origin.clone());
                    Arc::clone(&origin.conn)
                }
                None => id,
            })
        };
        let recipients = decision["recipients"].as_array();
        let routed = Routed {
            filter: decision["filter"].to_string().into(),
            recipients: recipients
                .map_or_else(Vec::new, |ids| ids.iter().filter_map(&mut label).collect()),
            skipped: label(&decision["skipped"]),
            receipts: Vec::new(),
        };
        (routed, ours)
    }
}
