//! What the server did then and now, side by side. A pure function.
//!
//! Whatever has a counterpart is compared with it, in whatever order it came; what has none is missing
//! or extra. That is a difference where the recording settles it (`settled`) and the contract does
//! (`contract`); where it rests on a step that could not be replayed it is not compared (`barrier`); and
//! everything else is an observation.

use std::collections::HashMap;

use super::{
    barrier::{Barriers, lacking_routes},
    contract,
    drive::Played,
    heard::{Heard, What, without_doubles},
    names::Names,
    outcome::{Item, Outcome, call_names, item},
    pairing::Pairing,
    payload::{Difference, MESSAGE_SEQ, seen},
    read::MIDWAY,
    report::Unsent,
    script::{Exchanged, Recording},
    settled::{FREE, LAST, RACED, Settled},
};

/// What a comparison brought.
pub(super) struct Verdicts {
    pub(super) items: Vec<Item>,
    /// Steps that turned out to mean nothing to this server.
    pub(super) unsent: Vec<Unsent>,
}

/// Holds what was heard in a replay against the recording. Afterwards neither has it any more.
pub(super) fn compare(
    recording: &mut Recording,
    played: &mut Played,
    settled: &Settled,
) -> Verdicts {
    let then = std::mem::take(&mut recording.heard);
    let now = without_doubles(&recording.steps, std::mem::take(&mut played.heard));
    let mut found = Pairing::new(played.names.clone(), &then, &now);
    found.keep_settled(
        &then,
        |heard| settled.why(heard).is_none(),
        |names, heard| {
            settled
                .why(&formerly(recording, played, names, heard))
                .is_none()
        },
    );
    let requests = recording.requests();
    let mut items: Vec<(&Heard, Outcome)> = Vec::with_capacity(then.len());
    // What came behind the last step was not waited for.
    let cut_us = played.interrupted.then(|| {
        let last = played.sent_us.len().checked_sub(1);
        last.map_or(0, |last| recording.steps[last].t_us)
    });
    let unsent = lacking_routes(&requests, &then, &found.pairs);
    let barriers = Barriers::new(recording, played, &unsent);
    // When the last thing with a counterpart came, by connection and road: what goes to many may come
    // through a broker, and an answer that came behind it proves nothing then.
    let mut last_known: HashMap<(&str, bool), u64> = HashMap::new();
    for (at, heard) in then.iter().enumerate() {
        let outcome = match found.pairs.remove(&at) {
            Some((now, differences)) => {
                for road in [now.what.goes_to_many(), false] {
                    let last = last_known.entry((now.conn.as_str(), road)).or_default();
                    *last = now.t_us.max(*last);
                }
                differing(settled, &requests, heard, now, differences)
            }
            None if cut_us.is_some_and(|cut| heard.t_us >= cut) => continue,
            None => {
                let missing = Outcome::Missing(seen(&heard.what));
                match settled.why_absent(heard) {
                    Some(why) => missing.observed(why),
                    None => missing,
                }
            }
        };
        let outcome = barriers.over(recording, heard, false, outcome);
        items.push((heard, outcome));
    }
    for heard in found.take_rest() {
        let road = (heard.conn.as_str(), heard.what.goes_to_many());
        let is_last = last_known
            .get(&road)
            .is_none_or(|known| heard.t_us > *known);
        let former = formerly(recording, played, &found.names, heard);
        let why = settled.why(&former).or(is_last.then_some(LAST));
        let extra = Outcome::Extra(seen(&heard.what));
        let outcome = match why {
            Some(why) => extra.observed(why),
            None => extra,
        };
        let outcome = barriers.over(recording, heard, true, outcome);
        items.push((heard, outcome));
    }
    for heard in &recording.midway {
        let missing = Outcome::Missing(seen(&heard.what));
        let blocked = Outcome::Blocked {
            why: MIDWAY.to_owned(),
            was: Box::new(missing),
        };
        items.push((heard, blocked));
    }
    let calls = call_names(recording);
    let items = items.into_iter();
    let mut items: Vec<Item> = items
        .map(|(heard, outcome)| item(heard, &calls, outcome))
        .collect();
    items.sort_by_key(|item| item.t_us);
    Verdicts { items, unsent }
}

/// What two counterparts have that is different.
fn differing(
    settled: &Settled,
    requests: &HashMap<usize, Exchanged>,
    then: &Heard,
    now: &Heard,
    differences: Vec<Difference>,
) -> Outcome {
    if differences.is_empty() {
        return Outcome::Same;
    }
    let request = match &then.what {
        What::Answered(index, _) => requests.get(index),
        _ => None,
    };
    let is_free = |one: &Difference| contract::leaves(&then.what, &now.what, request, one);
    let is_number = |one: &Difference| one.path == MESSAGE_SEQ && settled.is_crowded(then);
    let why = settled.why_content(then).or_else(|| {
        let is_free = differences.iter().all(is_free).then_some(FREE);
        is_free.or_else(|| differences.iter().all(is_number).then_some(RACED))
    });
    let different = Outcome::Different(differences);
    match why {
        Some(why) => different.observed(why),
        None => different,
    }
}

/// What came now, as it would stand in the recording: in its names, and before the step that was next.
fn formerly(recording: &Recording, played: &Played, names: &Names, heard: &Heard) -> Heard {
    let next = played.sent_us.partition_point(|sent| *sent <= heard.t_us);
    let next_us = recording.steps.get(next).map(|step| step.t_us);
    heard.formerly(names, next_us.unwrap_or(u64::MAX))
}
