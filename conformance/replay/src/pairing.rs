//! Which recorded thing is which thing now.
//!
//! Answers are told by what they answer. Deliveries are told by connection, type and content, in
//! whatever order they came, and else by what they are about. What stands beside its counterpart
//! teaches the names by which the rest is found.

use std::collections::{HashMap, VecDeque};

use super::{
    heard::{Heard, What, type_of},
    names::Names,
    payload::{Difference, compared, message_number, shown},
};

/// How many deliveries of one kind ahead are looked through for the counterpart of one.
const AHEAD: usize = 256;

/// Places in the recording, by connection and class.
type ByClass<'a> = HashMap<(&'a str, String), Vec<usize>>;

/// What was paired, and what is left.
pub(super) struct Pairing<'a> {
    /// Ids of the recording and of now, as far as they have been learned.
    pub(super) names: Names,
    /// The counterpart of each recorded thing, and where they differ.
    pub(super) pairs: HashMap<usize, (&'a Heard, Vec<Difference>)>,
    /// What came now and has no counterpart yet, by connection and class.
    waiting: HashMap<(&'a str, String), VecDeque<&'a Heard>>,
}

impl<'a> Pairing<'a> {
    /// Finds the counterpart of everything that was recorded, as far as it has one.
    pub(super) fn new(names: Names, then: &'a [Heard], now: &'a [Heard]) -> Self {
        let mut pairing = Self {
            names,
            pairs: HashMap::new(),
            waiting: HashMap::new(),
        };
        for heard in now {
            let queue = pairing.waiting.entry(class(heard)).or_default();
            queue.push_back(heard);
        }
        // What has only one possible counterpart comes first, since ids are learned from it.
        let is_event = |at: &usize| matches!(then[*at].what, What::Event { .. });
        let (events, answers): (Vec<usize>, Vec<usize>) = (0..then.len()).partition(is_event);
        for at in answers {
            pairing.pair(then, at, |_, _| true);
        }
        let rest: Vec<usize> = events
            .into_iter()
            .filter(|at| {
                let like = &then[*at].what;
                let is_same =
                    |names: &Names, now: &What| compared(names, like, now).differences.is_empty();
                !pairing.pair(then, *at, is_same)
            })
            .collect();
        for at in rest {
            let about = entity(&then[at].what);
            pairing.pair(then, at, |names, now| {
                let renamed = about.map(|(id, active)| (names.renamed(id), active));
                entity(now).map(|(id, active)| (id.to_owned(), active)) == renamed
            });
        }
        pairing
    }

    /// Where one of several alike is missing, or is one too many, what is settled then and what is settled
    /// now belong together, and the one that is over is another.
    pub(super) fn keep_settled(
        &mut self,
        then: &'a [Heard],
        is_settled_then: impl Fn(&Heard) -> bool,
        is_settled_now: impl Fn(&Names, &Heard) -> bool,
    ) {
        let Self {
            names,
            pairs,
            waiting,
        } = self;
        let is_alike = |then: &Heard, now: &Heard| {
            compared(names, &then.what, &now.what)
                .differences
                .is_empty()
                && message_number(&then.what, &now.what).is_none()
        };
        // Each thing is looked at once: recordings are long. These could take the place of another.
        let (mut loose, mut early) = (ByClass::new(), ByClass::new());
        let mut missing = Vec::new();
        for (at, heard) in then.iter().enumerate() {
            if !matches!(heard.what, What::Event { .. }) {
                continue;
            }
            match (pairs.get(&at), is_settled_then(heard)) {
                (None, true) => missing.push(at),
                (Some((now, differences)), is_settled)
                    if differences.is_empty() && is_settled != is_settled_now(names, now) =>
                {
                    let places = if is_settled { &mut early } else { &mut loose };
                    places.entry(class(heard)).or_default().push(at);
                }
                _ => {}
            }
        }
        for at in missing {
            let Some(others) = loose.get_mut(&class(&then[at])) else {
                continue;
            };
            let fits = |other: &usize| {
                pairs
                    .get(other)
                    .is_some_and(|(now, _)| is_alike(&then[at], now))
            };
            if let Some(place) = others.iter().take(AHEAD).position(fits)
                && let Some(pair) = pairs.remove(&others.remove(place))
            {
                pairs.insert(at, pair);
            }
        }
        for (key, queue) in waiting {
            let Some(others) = early.get_mut(key) else {
                continue;
            };
            for now in queue.iter_mut().filter(|now| is_settled_now(names, now)) {
                let fits = |other: &usize| is_alike(&then[*other], now);
                if let Some(place) = others.iter().take(AHEAD).position(fits)
                    && let Some((paired, _)) = pairs.get_mut(&others.remove(place))
                {
                    std::mem::swap(paired, now);
                }
            }
        }
    }

    /// What came and was not recorded.
    pub(super) fn take_rest(&mut self) -> Vec<&'a Heard> {
        let mut rest: Vec<_> = self.waiting.drain().flat_map(|(_, queue)| queue).collect();
        rest.sort_by_key(|heard| heard.t_us);
        rest
    }

    /// Compares a recorded thing with the first that `fits`, and tells whether there was one.
    fn pair(&mut self, then: &'a [Heard], at: usize, fits: impl Fn(&Names, &What) -> bool) -> bool {
        let like = &then[at];
        let Self { names, waiting, .. } = self;
        let Some(queue) = waiting.get_mut(&class(like)) else {
            return false;
        };
        let mut ahead = queue.iter().take(AHEAD);
        let Some(place) = ahead.position(|now| fits(names, &now.what)) else {
            return false;
        };
        let Some(now) = queue.remove(place) else {
            return false;
        };
        let mut found = compared(names, &like.what, &now.what);
        if found.differences.is_empty() {
            names.learn_all(&shown(&like.what), &shown(&now.what));
            for (old, new) in found.learned {
                names.learn(&old, &new);
            }
        }
        found
            .differences
            .extend(message_number(&like.what, &now.what));
        self.pairs.insert(at, (now, found.differences));
        true
    }
}

fn class(heard: &Heard) -> (&str, String) {
    (&heard.conn, heard.what.class())
}

/// What an event is about, and whether it says that this has come or gone.
fn entity(what: &What) -> Option<(&str, Option<bool>)> {
    let What::Event { name, args, .. } = what else {
        return None;
    };
    let data = args.get(0)?;
    let body = if name == "update" {
        &data["body"]
    } else {
        data
    };
    let is_presence = type_of(name, args).ends_with("activity");
    let active = body["active"].as_bool().filter(|_| is_presence);
    let id = ["sid", "machineId", "artifactId", "uid", "method", "id"]
        .into_iter()
        .find_map(|key| body.get(key)?.as_str())?;
    Some((id, active))
}
