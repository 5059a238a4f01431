//! Nothing arrives twice on one connection.

use serde_json::Value;

use super::{Rule, bounded::Bounded, versioned::announced};
use crate::{
    account::{Account, Accounts},
    finding::Findings,
    judge::Knowledge,
    print::{print, prints},
    requirement as r,
    story::Happening,
};

pub(crate) static RULE: Rule = Rule {
    name: "history.duplicates",
    needs: Knowledge::Partial,
    text: "An update reaches a connection at most once: no message, no version of a value, and no update with \
           the same id and body arrives there again. Two different updates have different ids.",
};

/// How many updates are remembered, over all connections.
const UPDATES: usize = 200_000;

#[derive(Debug)]
pub(crate) struct Duplicates {
    /// What arrived on a connection.
    arrived: Bounded<(u64, u64), u64>,
    /// The body that an id of an update belongs to.
    ids: Bounded<(Account, String), (u64, u64)>,
}

impl Default for Duplicates {
    fn default() -> Self {
        Self {
            arrived: Bounded::new(UPDATES),
            ids: Bounded::new(UPDATES),
        }
    }
}

impl Duplicates {
    pub(crate) fn hear(
        &mut self,
        happening: &Happening<'_>,
        accounts: &Accounts,
        findings: &mut Findings,
    ) {
        let Happening::Received(connection, "update", update, now) = happening else {
            return;
        };
        let Some(body) = update.get("body") else {
            return;
        };
        let id = update.get("id").and_then(Value::as_str);
        let body_print = print(body);
        if let Some(id) = id {
            let account = accounts.root(connection.account);
            let known = self
                .ids
                .insert_new((account, id.to_owned()), (body_print, now.record));
            if let Some((_, record)) = known.filter(|(print, _)| *print != body_print) {
                let text = format!("Two different updates have the id {id}.");
                findings.add(RULE.name, &r::ID_UNIQUE, [*record, now.record], text);
            }
        }
        let kind = body["t"].as_str().unwrap_or("an update");
        // A message or a version is the same one under any envelope.
        let key = match (body.pointer("/message/id"), id) {
            (Some(message), _) if kind == "new-message" => prints(&[&body["sid"], message]),
            _ if !announced(body).is_empty() => body_print,
            (_, Some(_)) => prints(&[&update["id"], body]),
            (_, None) => return,
        };
        if let Some(record) = self
            .arrived
            .insert_new((connection.number, key), now.record)
        {
            let text = format!("{kind} arrived twice on {}.", connection.name);
            findings.add(RULE.name, &r::NO_DUPLICATE, [*record, now.record], text);
        }
    }
}
