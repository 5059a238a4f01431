//! Nothing of one account reaches another.

use serde_json::Value;
use touchstone_fixtures::{Subject, broadcast, subject_of};

use super::{Rule, bounded::Bounded};
use crate::{
    account::{Account, Accounts},
    finding::Findings,
    judge::Knowledge,
    requirement as r,
    story::{Asked, Call, Happening, Moment},
};

pub(crate) static RULE: Rule = Rule {
    name: "history.isolation",
    needs: Knowledge::Partial,
    text: "No update or ephemeral about a session of one account reaches a connection of another one. Two \
           accounts are told apart by the keys that they signed in with. No account changes a session of another \
           one, reports usage of it, or reads its access keys. The same tag of two accounts names a session of each.",
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
                    let record = asked.ended.record;
                    let owner = self.owners.insert_new(id.to_owned(), (account, record));
                    if let Some((owner, before)) = owner
                        && accounts.are_surely_two(*owner, account)
                    {
                        let text = format!(
                            "A request for a session was answered with session {id} of another account."
                        );
                        findings.add(RULE.name, &r::SAME_TAG, [*before, record], text);
                    }
                }
                self.asked_pair(asked, accounts, findings);
            }
            Happening::Answered(call, answer, now) => {
                self.answered(call, answer, *now, accounts, findings);
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
    /// No account has access keys of a session of another one.
    fn asked_pair(&self, asked: &Asked<'_>, accounts: &Accounts, findings: &mut Findings) {
        let pair = asked.path.strip_prefix("/v1/access-keys/");
        let id = pair
            .and_then(|pair| pair.split('/').next())
            .filter(|_| asked.is_done);
        let owner = id.and_then(|id| self.owners.get(&id.to_owned()));
        if let (Some((owner, record)), Some(account)) = (owner, asked.account)
            && accounts.are_surely_two(*owner, account)
        {
            let text = format!(
                "{} {} was done, whose session is another account's.",
                asked.method, asked.path
            );
            let records = [*record, asked.ended.record];
            findings.add(RULE.name, &r::ACCESS_KEY_PAIR, records, text);
        }
    }

    /// No account is told that it did anything with a session of another one.
    fn answered(
        &self,
        call: &Call,
        answer: &Value,
        now: Moment,
        accounts: &Accounts,
        findings: &mut Findings,
    ) {
        let is_done = ["success", "ok"].iter().any(|key| answer[*key] == true)
            || answer["result"] == "success";
        let (Some((Subject::Session, key)), true) = (subject_of(&call.event), is_done) else {
            return;
        };
        let id = call.data[key].as_str().unwrap_or_default();
        let Some((owner, record)) = self.owners.get(&id.to_owned()) else {
            return;
        };
        if !accounts.are_surely_two(*owner, call.connection.account) {
            return;
        }
        let (requirement, did) = match call.event.as_str() {
            "access-key-get" if answer["accessKey"].is_null() => {
                (&r::ACCESS_KEY_UNKNOWN, "was answered for")
            }
            "access-key-get" => (&r::ACCESS_KEY_FOREIGN, "read an access key of"),
            "usage-report" => (&r::USAGE_FOREIGN, "reported usage of"),
            _ => (&r::SESSION_FOREIGN, "changed"),
        };
        let text = format!(
            "{} by {} {did} session {id} of another account.",
            call.event, call.connection.name
        );
        let records = [*record, call.began.record, now.record];
        findings.add(RULE.name, requirement, records, text);
    }
}
