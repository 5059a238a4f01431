//! What rests on a step that could not be replayed: nothing of the same account that comes behind it can
//! be held against the server.

use std::collections::HashMap;

use serde_json::Value;

use super::{
    drive::Played,
    heard::{Heard, What},
    outcome::Outcome,
    payload::Difference,
    report::Unsent,
    script::{Exchanged, Recording, Step, Unknown},
};

/// From when on an account's things rest on a step that could not be replayed.
struct Barrier {
    account: Option<String>,
    then_us: u64,
    now_us: u64,
    why: String,
}

impl Barrier {
    /// Everything in an account in which only others did something.
    fn watched(account: String) -> Self {
        Self {
            account: Some(account),
            then_us: 0,
            now_us: 0,
            why: "others caused it, which `watch --record` does not hold; `check --trace DIR` and \
                  `load --trace FILE` record what is sent, too"
                .to_owned(),
        }
    }

    /// Everything from where on nobody knows what the server holds.
    fn unknown(recording: &Recording, played: &Played) -> Option<Self> {
        let Unknown {
            then_us,
            unanswered_us,
            why,
        } = recording.unknown?;
        let behind = |step: &Step| step.t_us >= unanswered_us;
        let step = recording.steps.iter().position(behind);
        let now_us = step.and_then(|step| played.sent_us.get(step).copied());
        Some(Self {
            account: None,
            then_us,
            now_us: now_us.unwrap_or_default(),
            why: why.to_owned(),
        })
    }

    fn new(unsent: &Unsent, recording: &Recording, played: &Played) -> Self {
        let at = |times: Option<u64>| times.unwrap_or_default();
        Self {
            account: recording.account_of(&unsent.conn),
            then_us: at(unsent
                .step
                .and_then(|step| Some(recording.steps.get(step)?.t_us))),
            now_us: at(unsent
                .step
                .and_then(|step| played.sent_us.get(step).copied())),
            why: format!("it comes after {}: {}", unsent.what, unsent.why),
        }
    }
}

/// All of them.
pub(super) struct Barriers(Vec<Barrier>);

impl Barriers {
    /// Behind every step that could not be sent or that is `lacking` its route, over accounts in which
    /// others did everything, and where the recording lacks what came before.
    pub(super) fn new(recording: &Recording, played: &Played, lacking: &[Unsent]) -> Self {
        let unsent = played.unsent.iter().chain(lacking);
        let behind = unsent.map(|one| Barrier::new(one, recording, played));
        let watched = recording.watched_only().into_iter().map(Barrier::watched);
        let unknown = Barrier::unknown(recording, played);
        Self(behind.chain(watched).chain(unknown).collect())
    }

    /// An outcome that counts for nothing where it rests on a step that could not be replayed.
    pub(super) fn over(
        &self,
        recording: &Recording,
        heard: &Heard,
        is_now: bool,
        outcome: Outcome,
    ) -> Outcome {
        if outcome == Outcome::Same {
            return outcome;
        }
        let account = recording.account_of(&heard.conn);
        let barrier = self.0.iter().find(|barrier| {
            let since = if is_now {
                barrier.now_us
            } else {
                barrier.then_us
            };
            heard.t_us >= since && (barrier.account.is_none() || barrier.account == account)
        });
        match barrier {
            Some(barrier) => Outcome::Blocked {
                why: barrier.why.clone(),
                was: match outcome {
                    Outcome::Observed { was, .. } => was,
                    outcome => Box::new(outcome),
                },
            },
            None => outcome,
        }
    }
}

/// The requests that were carried out then, and for which the server has no route now.
pub(super) fn lacking_routes(
    requests: &HashMap<usize, Exchanged>,
    then: &[Heard],
    pairs: &HashMap<usize, (&Heard, Vec<Difference>)>,
) -> Vec<Unsent> {
    let lacks =
        |status: u16, body: &Value| matches!(status, 404 | 501) && body.get("path").is_some();
    let mut lacking = Vec::new();
    for (at, (now, _)) in pairs {
        let (What::Answered(index, then), What::Answered(_, Some((status, body)))) =
            (&then[*at].what, &now.what)
        else {
            continue;
        };
        let lacked = then
            .as_ref()
            .is_some_and(|(then, body)| then == status || lacks(*then, body));
        if !lacked
            && lacks(*status, body)
            && let Some(request) = requests.get(index)
        {
            lacking.push(Unsent {
                conn: now.conn.clone(),
                what: format!("{} {}", request.method, request.url),
                why: format!("the server has no such route ({status})"),
                step: Some(request.step),
            });
        }
    }
    lacking.sort_by_key(|one| one.step);
    lacking
}
