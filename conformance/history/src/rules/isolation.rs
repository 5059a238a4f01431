//! Nothing of one account reaches another.

use serde_json::Value;
use touchstone_fixtures::{Subject, broadcast, subject_of};

use super::{Rule, bounded::Bounded};
use crate::{
    account::{Account, Accounts},
    finding::Findings,
    judge::Knowledge,
    requirement as r,
    story::Happening,
};

pub(crate) static RULE: Rule = Rule {
    name: "history.isolation",
    needs: Knowledge::Partial,
    text: "No update or ephemeral about a session of one account reaches a connection of another one. Two \
           accounts are told apart by the keys that they signed in with. No account changes a session of another \
           one.",
};

/// How many sessions are remembered.
const SESSIONS: usize = 200_000;

#[derive(Debug)]
pub(crate) struct Isolation {
    /// Whose a session is, and the record that shows it. Their ids are made by the server.
    owners: Bounded<String, (Account, u64)>,
}

impl Default for Isolation {
    fn default() -> Self {
        Self {
            owners: Bounded::new(SESSIONS),
        }
    }
}

impl Isolation {
    pub(crate) fn hear(
        &mut self,
        happening: &Happening<'_>,
        accounts: &Accounts,
        findings: &mut Findings,
    ) {
        match happening {
            Happening::Asked(asked) => {
                if let Some((account, id)) = asked.made_session() {
                    self.owners
                        .insert_new(id.to_owned(), (account, asked.ended.record));
                }
            }
            Happening::Answered(call, answer, now) if answer["result"] == "success" => {
                let Some((Subject::Session, key)) = subject_of(&call.event) else {
                    return;
                };
                let id = call.data[key].as_str().unwrap_or_default();
                let Some((owner, record)) = self.owners.get(&id.to_owned()) else {
                    return;
                };
                if accounts.are_surely_two(*owner, call.connection.account) {
                    let text = format!(
                        "{} by {} changed session {id} of another account.",
                        call.event, call.connection.name
                    );
                    let records = [*record, call.began.record, now.record];
                    findings.add(RULE.name, &r::SESSION_FOREIGN, records, text);
                }
            }
            Happening::Received(connection, event @ ("update" | "ephemeral"), payload, now) => {
                let body = if *event == "update" {
                    payload.get("body").unwrap_or(&Value::Null)
                } else {
                    *payload
                };
                let name = body
                    .get("t")
                    .or_else(|| body.get("type"))
                    .and_then(Value::as_str);
                let Some((Subject::Session, id)) =
                    name.and_then(broadcast).and_then(|one| one.id(body))
                else {
                    return;
                };
                let Some((owner, record)) = self.owners.get(&id.to_owned()) else {
                    return;
                };
                if accounts.are_surely_two(*owner, connection.account) {
                    let text = format!(
                        "{} about session {id} of another account reached {}.",
                        name.unwrap_or_default(),
                        connection.name
                    );
                    findings.add(RULE.name, &r::ISOLATED, [*record, now.record], text);
                }
            }
            _ => {}
        }
    }
}
