//! Reports of usage: one for each session and key of an account.

use serde_json::Value;

use super::{Rule, bounded::Bounded};
use crate::{
    account::{Account, Accounts},
    finding::Findings,
    judge::Knowledge,
    print::prints,
    requirement as r,
    story::{Call, Happening, Moment},
};

pub(crate) static RULE: Rule = Rule {
    name: "history.usage",
    needs: Knowledge::Complete,
    text: "A report of the same session and key keeps its id and the time when it was made, and is renewed; reports \
           of other sessions, keys or accounts have other ids. A valid report without a session is not refused.",
};

/// How many reports are remembered.
const REPORTS: usize = 100_000;
/// How far apart two reports are whose times no server takes for the same.
const APART: u64 = 2_000_000;

type Key = (Account, u64);

#[derive(Debug)]
pub(crate) struct Usage {
    reports: Bounded<Key, Report>,
    /// Whose each id is, and the record that told it.
    ids: Bounded<String, (Key, u64)>,
}

/// A report as it was answered first.
#[derive(Debug)]
struct Report {
    id: String,
    made: Value,
    renewed: Option<u64>,
    ended: Moment,
}

impl Default for Usage {
    fn default() -> Self {
        Self {
            reports: Bounded::new(REPORTS),
            ids: Bounded::new(REPORTS),
        }
    }
}

impl Usage {
    pub(crate) fn hear(
        &mut self,
        happening: &Happening<'_>,
        accounts: &Accounts,
        findings: &mut Findings,
    ) {
        let Happening::Answered(call, answer, now) = happening else {
            return;
        };
        if call.event != "usage-report" {
            return;
        }
        if answer["success"] == true {
            self.reported(call, answer, *now, accounts, findings);
        } else if answer["success"] == false
            && call.data.get("sessionId").is_none()
            && is_valid(&call.data)
        {
            let text = "A valid report of usage without a session was refused.".to_owned();
            let records = [call.began.record, now.record];
            findings.add(RULE.name, &r::USAGE_ALONE, records, text);
        }
    }

    fn reported(
        &mut self,
        call: &Call,
        answer: &Value,
        now: Moment,
        accounts: &Accounts,
        findings: &mut Findings,
    ) {
        let (Some(id), Some(name)) = (answer["reportId"].as_str(), call.data["key"].as_str())
        else {
            return;
        };
        let account = accounts.root(call.connection.account);
        let key = (
            account,
            prints(&[&call.data["sessionId"], &call.data["key"]]),
        );
        let mut add = |requirement, other, text| {
            let records = [other, call.began.record, now.record];
            findings.add(RULE.name, requirement, records, text);
        };
        if let Some((other, record)) = self.ids.insert_new(id.to_owned(), (key, now.record))
            && *other != key
        {
            let (requirement, whose) = match accounts.are_surely_two(other.0, account) {
                true => (&r::USAGE_KEYS, "another account's report"),
                false => (&r::USAGE_OTHER, "the report of another session or key"),
            };
            let text = format!("A report of usage under {name} has the id of {whose}.");
            add(requirement, *record, text);
        }
        // Whether two reports without a session are one is the server's choice.
        if call.data["sessionId"].as_str().is_none_or(str::is_empty) {
            return;
        }
        let renewed = answer["updatedAt"].as_u64();
        let report = Report {
            id: id.to_owned(),
            made: answer["createdAt"].clone(),
            renewed,
            ended: now,
        };
        let Some(known) = self.reports.insert_new(key, report) else {
            return;
        };
        let ended = known.ended;
        if ended.at >= call.began.at {
            return;
        }
        let is_same = known.id == id && known.made == answer["createdAt"];
        let is_apart = call.began.at - ended.at > APART;
        let is_stale = is_apart && renewed.is_some() && renewed <= known.renewed;
        if !is_same || is_stale {
            let what = match is_same {
                true => "was not renewed",
                false => "has another id or another time when it was made",
            };
            let text = format!("A second report of usage under {name} {what}.");
            add(&r::USAGE_SAME, ended.record, text);
        }
    }
}

/// Whether a report has all that it needs.
fn is_valid(data: &Value) -> bool {
    let is_figures = |key: &str| {
        let figures = data[key].as_object();
        let is_figure = |figure: &Value| figure.as_f64().is_some_and(|figure| figure >= 0.0);
        data[key]["total"].is_number()
            && figures.is_some_and(|figures| figures.values().all(is_figure))
    };
    data["key"].as_str().is_some_and(|key| !key.is_empty())
        && is_figures("tokens")
        && is_figures("cost")
}
