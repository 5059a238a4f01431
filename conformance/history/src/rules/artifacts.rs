//! Artifacts come and go: what is read of one that was made or deleted.

use std::collections::HashMap;

use serde_json::Value;

use super::{Rule, bounded::Bounded};
use crate::{
    account::{Account, Accounts},
    finding::Findings,
    judge::Knowledge,
    print::{print, whole},
    requirement as r,
    story::{Asked, Call, Happening, Moment},
};

pub(crate) static RULE: Rule = Rule {
    name: "history.artifacts",
    needs: Knowledge::Complete,
    text: "An artifact that an account has made, and nobody deleted, is there: it is read, and made again it is \
           answered as it is. One that was deleted and not made again is not read any more. Who makes an artifact \
           first is answered with what it sent. Each change raises the artifact's seq.",
};

/// How much is kept of all artifacts until the next quiet point. From there on nothing is judged.
const MOST: usize = 100_000;

#[derive(Debug)]
pub(crate) struct Artifacts {
    lives: HashMap<(Account, String), Vec<Deed>>,
    kept: usize,
    /// Artifacts that there were before the last quiet point: nobody knows any more who made or deleted them.
    before: Bounded<(Account, String), ()>,
}

impl Default for Artifacts {
    fn default() -> Self {
        Self {
            lives: HashMap::new(),
            kept: 0,
            before: Bounded::new(MOST),
        }
    }
}

/// Something that was done with an artifact, between two moments. What was never answered has no end.
#[derive(Debug)]
struct Deed {
    what: What,
    began: u64,
    ended: Option<Moment>,
}

#[derive(Debug, PartialEq, Eq)]
enum What {
    /// It was made, and answered as a row; whether that is what was sent, if it was told.
    Made(Row, Option<bool>),
    Read(Row),
    /// It was not found.
    Missed,
    Changed,
    /// It was deleted, or may have been.
    Deleted(bool),
    /// It may have been made, by somebody who was told no row.
    Unclear,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Row {
    seq: Option<u64>,
    version: Option<u64>,
    header: u64,
}

impl Artifacts {
    pub(crate) fn hear(
        &mut self,
        happening: &Happening<'_>,
        accounts: &Accounts,
        findings: &mut Findings,
    ) {
        match happening {
            // What is never answered, or with an error, may have its effect at any time.
            Happening::Called(call) if call.event == "artifact-delete" => {
                self.called(call, accounts, What::Deleted(false));
            }
            Happening::Called(call) if call.event == "artifact-create" => {
                self.called(call, accounts, What::Unclear);
            }
            Happening::Answered(call, answer, now) => {
                if let (Some(id), Some(what)) = (id_of(call), by_event(call, answer)) {
                    let account = accounts.root(call.connection.account);
                    self.note(account, id, what, call.began.at, Some(*now));
                }
            }
            Happening::Asked(asked) => {
                if let (Some((id, what)), Some(account)) = (by_request(asked), asked.account) {
                    let ended = Some(asked.ended);
                    self.note(accounts.root(account), id, what, asked.began, ended);
                }
            }
            Happening::Quiet(_) => self.settle(findings),
            _ => {}
        }
    }

    fn called(&mut self, call: &Call, accounts: &Accounts, what: What) {
        if let Some(id) = id_of(call) {
            let account = accounts.root(call.connection.account);
            self.note(account, id, what, call.began.at, None);
        }
    }

    fn note(&mut self, account: Account, id: &str, what: What, began: u64, ended: Option<Moment>) {
        self.kept += 1;
        if self.kept >= MOST {
            return;
        }
        let deeds = self.lives.entry((account, id.to_owned())).or_default();
        // The answer takes the place of the call.
        let is_call = |deed: &Deed| {
            let is_of_it = matches!(
                (&deed.what, &what),
                (What::Deleted(_), What::Deleted(_)) | (What::Unclear, What::Made(..))
            );
            is_of_it && deed.began == began && deed.ended.is_none()
        };
        if let Some(place) = deeds.iter().position(is_call).filter(|_| ended.is_some()) {
            deeds.remove(place);
        }
        deeds.push(Deed { what, began, ended });
    }

    fn settle(&mut self, findings: &mut Findings) {
        let mut lives: Vec<_> = self.lives.drain().collect();
        lives.sort_unstable_by(|(one, _), (other, _)| one.1.cmp(&other.1));
        for ((account, id), deeds) in lives {
            if self.before.insert_new((account, id.clone()), ()).is_none()
                && self.kept < MOST
                && !self.before.has_forgotten()
            {
                Life(&id, &deeds).judge(findings);
            }
        }
        self.kept = 0;
    }
}

/// All that was done with an artifact of an account.
struct Life<'a>(&'a str, &'a [Deed]);

impl Life<'_> {
    fn judge(&self, findings: &mut Findings) {
        let Self(id, deeds) = *self;
        let is_deletion = |deed: &&Deed| matches!(deed.what, What::Deleted(_));
        if let Some(deletion) = deeds.iter().find(is_deletion) {
            if deeds.iter().filter(is_deletion).count() == 1 {
                self.is_gone(deletion, findings);
            }
            return;
        }
        let ends = |deed: &Deed| deed.ended.map_or(0, |ended| ended.record);
        let mut add = |requirement, deeds: [&Deed; 2], text: String| {
            findings.add(RULE.name, requirement, deeds.map(ends), text);
        };
        let makes = |deed: &&Deed| matches!(deed.what, What::Made(..) | What::Unclear);
        if let (Some(deed), 1) = (deeds.iter().find(makes), deeds.iter().filter(makes).count())
            && let What::Made(_, Some(false)) = deed.what
        {
            let text = format!("Who made artifact {id} was answered with another one.");
            add(&r::ARTIFACT_MADE, [deed, deed], text);
        }
        for (made, row) in deeds.iter().filter_map(|deed| match deed.what {
            What::Made(row, _) => Some((deed, row)),
            _ => None,
        }) {
            for later in deeds.iter().filter(|later| made.is_before(later)) {
                match later.what {
                    What::Missed => {
                        let text =
                            format!("Artifact {id} could not be read, and nobody deleted it.");
                        add(&r::ARTIFACT_READ, [made, later], text);
                    }
                    What::Made(again, _)
                        if row.version == again.version && row.header != again.header =>
                    {
                        let text = format!("Artifact {id} was made again, and replaced.");
                        add(&r::ARTIFACT_AGAIN, [made, later], text);
                    }
                    _ => {}
                }
            }
        }
        self.rises(&mut add);
    }

    /// A single deletion: what was not made after it is gone.
    fn is_gone(&self, deletion: &Deed, findings: &mut Findings) {
        let Self(id, deeds) = *self;
        let (What::Deleted(true), Some(ended)) = (&deletion.what, deletion.ended) else {
            return;
        };
        let may_make = |deed: &Deed| {
            matches!(deed.what, What::Made(..) | What::Unclear) && !deed.is_before(deletion)
        };
        if deeds.iter().any(may_make) {
            return;
        }
        let is_read = |deed: &&Deed| matches!(deed.what, What::Read(_)) && deletion.is_before(deed);
        if let Some(read) = deeds.iter().find(is_read) {
            let text = format!("Artifact {id} was read after it had been deleted.");
            let record = read.ended.map_or(0, |ended| ended.record);
            let records = [ended.record, record];
            findings.add(RULE.name, &r::ARTIFACT_DELETED, records, text);
        }
    }

    /// Each change raises the seq.
    fn rises(&self, add: &mut impl FnMut(&'static r::Requirement, [&Deed; 2], String)) {
        let Self(id, deeds) = *self;
        let seen = || {
            deeds.iter().filter_map(|deed| match deed.what {
                What::Made(row, _) | What::Read(row) => Some((deed, row.seq?)),
                _ => None,
            })
        };
        for change in deeds.iter().filter(|deed| deed.what == What::Changed) {
            let before = seen().filter(|(deed, _)| deed.is_before(change));
            let after = seen().filter(|(deed, _)| change.is_before(deed));
            if let (Some((deed, high)), Some((_, low))) = (
                before.max_by_key(|(_, seq)| *seq),
                after.min_by_key(|(_, seq)| *seq),
            ) && low <= high
            {
                let text = format!("Artifact {id} was changed, and its seq stayed {low}.");
                return add(&r::ARTIFACT_STEP, [deed, change], text);
            }
        }
    }
}

impl Deed {
    fn is_before(&self, other: &Self) -> bool {
        self.ended.is_some_and(|ended| ended.at < other.began)
    }
}

fn id_of(call: &Call) -> Option<&str> {
    let key = match call.event.as_str() {
        "artifact-create" => "id",
        "artifact-read" | "artifact-update" | "artifact-delete" => "artifactId",
        _ => return None,
    };
    call.data.get(key)?.as_str()
}

fn row(artifact: &Value) -> Row {
    Row {
        seq: whole(artifact.get("seq")),
        version: whole(artifact.get("headerVersion")),
        header: print(&artifact["header"]),
    }
}

fn by_event(call: &Call, answer: &Value) -> Option<What> {
    let is_done = answer["result"] == "success";
    let artifact = answer
        .get("artifact")
        .filter(|artifact| artifact.is_object());
    Some(match (call.event.as_str(), artifact) {
        ("artifact-create", Some(artifact)) if is_done => made(artifact, &call.data),
        ("artifact-read", Some(artifact)) if is_done => What::Read(row(artifact)),
        ("artifact-read", _) if answer["result"] == "error" => What::Missed,
        ("artifact-update", _) if is_done => What::Changed,
        ("artifact-delete", _) => What::Deleted(is_done),
        _ => return None,
    })
}

fn made(artifact: &Value, sent: &Value) -> What {
    let is_sent = |key: &str| artifact[key] == sent[key];
    What::Made(
        row(artifact),
        Some(["id", "header", "body"].iter().all(|key| is_sent(key))),
    )
}

fn by_request<'a>(asked: &Asked<'a>) -> Option<(&'a str, What)> {
    let answer = asked.exchange.response.as_ref().unwrap_or(&Value::Null);
    let artifact = answer.get("artifact").unwrap_or(answer);
    let rest = asked.path.strip_prefix("/v1/artifacts")?;
    if let ("POST", "") = (asked.method, rest) {
        let request = asked.exchange.request.as_ref()?;
        let id = request.get("id")?.as_str()?;
        let is_row = asked.is_done && artifact.get("headerVersion").is_some();
        return Some((
            id,
            if is_row {
                made(artifact, request)
            } else {
                What::Unclear
            },
        ));
    }
    let id = rest.strip_prefix('/')?;
    let what = match (asked.method, asked.is_missed) {
        ("GET", true) => What::Missed,
        ("GET", _) if asked.is_done => What::Read(row(artifact)),
        ("POST", _) if asked.is_done => What::Changed,
        ("DELETE", _) => What::Deleted(asked.is_done),
        _ => return None,
    };
    Some((id, what))
}
