//! What rests on a step that could not be replayed: nothing of the same account that comes behind it can
//! be held against the server.

use super::{
    compare::{Excuse, Outcome},
    drive::Played,
    payload::shown,
    report::Unsent,
    script::{Heard, Recording},
};

/// From when on an account's things rest on a step that could not be replayed.
pub(super) struct Barrier {
    account: Option<String>,
    then_us: u64,
    now_us: u64,
    why: String,
}

impl Barrier {
    /// Everything in an account in which only others did something.
    pub(super) fn watched(account: String) -> Self {
        Self {
            account: Some(account),
            then_us: 0,
            now_us: 0,
            why: "nothing that the recording holds causes it: others did, in an account that was watched"
                .to_owned(),
        }
    }

    pub(super) fn new(unsent: &Unsent, recording: &Recording, played: &Played) -> Self {
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
pub(super) struct Barriers(pub(super) Vec<Barrier>);

impl Barriers {
    /// An outcome that counts for nothing where it rests on a step that could not be replayed.
    pub(super) fn over(
        &self,
        recording: &Recording,
        heard: &Heard,
        is_now: bool,
        outcome: Outcome,
    ) -> Outcome {
        let (differences, seen) = match outcome {
            Outcome::Different(differences) => (differences, shown(&heard.what)),
            Outcome::Missing(seen) | Outcome::Extra(seen) => (Vec::new(), seen),
            outcome => return outcome,
        };
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
            Some(barrier) => Outcome::Excused {
                by: Excuse::Blocked,
                why: barrier.why.clone(),
                differences,
                seen,
            },
            None if !differences.is_empty() => Outcome::Different(differences),
            None if is_now => Outcome::Extra(seen),
            None => Outcome::Missing(seen),
        }
    }
}
