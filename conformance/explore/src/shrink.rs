//! Looks for the smallest history that still breaks a requirement.

use std::{
    collections::HashSet,
    hash::{DefaultHasher, Hash, Hasher},
    time::Duration,
};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use touchstone_client::trace::Record;
use touchstone_history::Violation;

use crate::{
    explore::{Suspect, judge},
    generate::tree,
    plan::Plan,
    round,
    target::Target,
};

/// How often the smallest history is repeated, to tell how often it shows.
const REPEATED: u32 = 20;
/// How long that may take.
const REPEATING: Duration = Duration::from_secs(5);
/// How often a candidate is run at most: a race does not always show.
const MOST: u32 = 10;

/// The smallest history that was found.
#[derive(Debug)]
pub(crate) struct Shrunk {
    pub(crate) plan: Plan,
    pub(crate) seed: u64,
    pub(crate) from: usize,
    pub(crate) records: Vec<Record>,
    pub(crate) violations: Vec<Violation>,
    pub(crate) shown: [u32; 2],
}

impl Shrunk {
    /// What it shows of a requirement.
    pub(crate) fn find(&self, requirement: &str) -> Option<&Violation> {
        self.violations
            .iter()
            .find(|one| one.requirement == requirement)
    }
}

struct Attempts<'a> {
    target: &'a Target,
    requirement: &'static str,
    nonce: u64,
}

impl Attempts<'_> {
    /// Runs a plan up to `times`, until it shows; gives what it then shows.
    async fn shows(&mut self, plan: &Plan, times: u32) -> Option<(Vec<Record>, Vec<Violation>)> {
        for _ in 0..times {
            self.nonce = self.nonce.wrapping_add(1);
            // Its accounts are others than those of the rounds before.
            let nonce = self.nonce ^ (1 << 63);
            let Ok(round) = Box::pin(round::run(plan, self.target, nonce)).await else {
                continue;
            };
            let (violations, _) = judge(&round, self.target);
            if violations
                .iter()
                .any(|one| one.requirement == self.requirement)
            {
                return Some((round.records, violations));
            }
        }
        None
    }
}

/// Shrinks the round of `suspect` for as long as `time`. `on` is told each smaller size.
pub(crate) async fn shrink(
    target: &Target,
    suspect: &Suspect,
    nonce: u64,
    time: Duration,
    stop: &CancellationToken,
    mut on: impl FnMut(usize),
) -> Shrunk {
    let deadline = Instant::now() + time;
    let mut attempts = Attempts {
        target,
        requirement: suspect.violation.requirement,
        nonce: nonce ^ suspect.seed.rotate_left(32),
    };
    let mut tree = tree(suspect.seed);
    let plan = tree.current().effective();
    let mut best = Shrunk {
        from: plan.len(),
        plan,
        seed: suspect.seed,
        records: suspect.records.to_vec(),
        violations: vec![suspect.violation.clone()],
        shown: [0, 0],
    };
    // How rare it is decides how often a candidate is tried.
    let mut times = 0;
    loop {
        if stop.is_cancelled() || (times > 0 && Instant::now() >= deadline) {
            return best;
        }
        times += 1;
        if let Some((records, violations)) = attempts.shows(&best.plan, 1).await {
            (best.records, best.violations) = (records, violations);
            break;
        }
    }
    if time.is_zero() {
        return best;
    }
    let times = (2 * times).clamp(2, MOST);
    let goes_on = || Instant::now() < deadline && !stop.is_cancelled();
    let mut tried = HashSet::from([print(&best.plan)]);
    // Whole connections and kinds of acts first: most of a plan has nothing to do with what it shows.
    let mut kept = best.plan.parts();
    let mut without = HashSet::new();
    let mut size = kept.len().div_ceil(2);
    while size > 0 {
        let mut at = 0;
        while at < kept.len() && goes_on() {
            let end = kept.len().min(at + size);
            let plan = best.plan.without(&kept[at..end].iter().copied().collect());
            match attempts.shows(&plan, times).await {
                Some((records, violations)) => {
                    (best.plan, best.records, best.violations) = (plan, records, violations);
                    without.extend(kept.drain(at..end));
                    on(best.plan.len());
                }
                None => at = end,
            }
        }
        size /= 2;
    }
    let mut is_left = tree.simplify();
    while is_left && goes_on() {
        let plan = tree.current().without(&without);
        let is_same = print(&plan) == print(&best.plan);
        let shows = match is_same || !tried.insert(print(&plan)) {
            true => None,
            false => attempts.shows(&plan, times).await,
        };
        let shows_it = shows.is_some() || is_same;
        if let Some((records, violations)) = shows {
            (best.plan, best.records, best.violations) = (plan, records, violations);
            on(best.plan.len());
        }
        is_left = if shows_it {
            tree.simplify()
        } else {
            tree.complicate()
        };
    }
    let repeating = Instant::now() + REPEATING.min(time);
    while best.shown[1] < REPEATED && Instant::now() < repeating && !stop.is_cancelled() {
        best.shown[1] += 1;
        if attempts.shows(&best.plan, 1).await.is_some() {
            best.shown[0] += 1;
        }
    }
    best
}

fn print(plan: &Plan) -> u64 {
    let mut hasher = DefaultHasher::new();
    plan.hash(&mut hasher);
    hasher.finish()
}
