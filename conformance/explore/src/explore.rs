//! Runs one plan after the other, keeps what the judge finds, and shrinks it at the end.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;
use touchstone_client::trace::Record;
use touchstone_history::{Judge, Keeps, Knowledge, Violation};

use crate::{
    diagram::Diagram,
    generate::tree,
    round::{self, Round, RoundError},
    shrink::{self, Shrunk},
    target::Target,
};

/// How many findings are shrunk. Most of many have one cause.
const SHRUNK: usize = 3;
/// After how many rounds in a row that could not be run there is no use in going on.
const BROKEN: u64 = 20;
/// How often a round is tried again that an unsteady network did not let run.
const AGAIN: u64 = 10;
/// The rules that say that something did not come.
const OMISSIONS: [&str; 3] = ["history.answers", "history.loss", "history.rpc"];

/// How long it goes on.
#[derive(Debug, Clone, Copy)]
pub enum Extent {
    /// So long; a round that has begun is ended.
    For(Duration),
    /// So many rounds.
    Rounds(u64),
}

/// How a server is explored.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The seed of the first round. The second has the next one, and so on.
    pub seed: u64,
    /// Seeds of rounds that come before all others.
    pub first: Vec<u64>,
    /// Tells this run's accounts from those of all others.
    pub nonce: u64,
    /// How long.
    pub extent: Extent,
    /// How many rounds run at the same time.
    pub jobs: usize,
    /// How long a finding may be made smaller.
    pub shrink_for: Duration,
    /// Whether the first violation ends it.
    pub fail_fast: bool,
}

/// How far it is.
#[derive(Debug, Clone, Copy, Default)]
pub struct Progress {
    /// Rounds that were run to their end.
    pub rounds: u64,
    /// Events, requests and connections in them.
    pub operations: u64,
    /// Requirements that were broken.
    pub broken: usize,
    /// How many connections and steps the smallest history has that is looked for at the moment.
    pub shrinking: Option<usize>,
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// As it was meant to.
    Done,
    /// By the user.
    Interrupted,
}

/// What was explored.
#[derive(Debug)]
pub struct Explored {
    /// Rounds that were run to their end.
    pub rounds: u64,
    /// Events, requests and connections in them.
    pub operations: u64,
    /// How long it took, without shrinking.
    pub elapsed: Duration,
    /// What the server kept over its restarts, if it was restarted.
    pub keeps: Option<Keeps>,
    /// What was found, MUST before SHOULD.
    pub findings: Vec<Finding>,
    /// How many rounds could not be run.
    pub unrun: u64,
    /// Why the last of those could not.
    pub error: Option<RoundError>,
    /// How it ended.
    pub ended: Ended,
}

/// A broken requirement, in the smallest history that was found.
#[derive(Debug)]
pub struct Finding {
    /// What the judge says of it.
    pub violation: Violation,
    /// In how many rounds it was broken.
    pub rounds: u64,
    /// The seed of the round that was made smaller.
    pub seed: u64,
    /// What to do to see it, one step each.
    pub steps: Vec<String>,
    /// Connections and steps before and after.
    pub shrunk: [usize; 2],
    /// How often it showed when the smallest history was repeated, and how often that was.
    pub shown: [u32; 2],
    /// A sequence diagram of it.
    pub diagram: Diagram,
    /// The history.
    pub records: Vec<Record>,
}

/// A requirement that was broken, before its history is made smaller.
#[derive(Debug)]
pub(crate) struct Suspect {
    pub(crate) violation: Violation,
    pub(crate) seed: u64,
    pub(crate) size: usize,
    pub(crate) rounds: u64,
    /// The round that showed it.
    pub(crate) records: Arc<Vec<Record>>,
}

/// What a round of `target` shows to be wrong. What was waited for in vain is waited for briefly from then on
/// where something is said to be missing, and after a second time where nothing is.
pub(crate) fn judge(round: &Round, target: &Target) -> (Vec<Violation>, Option<Keeps>) {
    let mut judge = Judge::new(Knowledge::Complete).rpc_timeout(target.rpc_timeout);
    let mut found: Vec<Violation> = round
        .records
        .iter()
        .flat_map(|record| judge.hear(record))
        .collect();
    found.extend(judge.finish());
    let is_accused = found.iter().any(|one| OMISSIONS.contains(&one.rule));
    target.missed(&round.missed, is_accused);
    (found, judge.keeps())
}

/// Explores `target` until it is done, or `stop` ends it.
pub async fn explore(
    target: Arc<Target>,
    settings: &Settings,
    stop: &CancellationToken,
    on: &dyn Fn(Progress),
) -> Explored {
    let began = Instant::now();
    let finish = stop.child_token();
    let (mut rounds, mut tasks) = start(&target, settings, &finish);
    let deadline = match settings.extent {
        Extent::For(long) => began + long,
        Extent::Rounds(_) => began + Duration::from_secs(365 * 24 * 3600),
    };
    let mut progress = Progress::default();
    let mut suspects: BTreeMap<&'static str, Suspect> = BTreeMap::new();
    let (mut unrun, mut error, mut failed) = (0, None, 0);
    let mut keeps = None;
    loop {
        let round = tokio::select! {
            round = rounds.recv() => round,
            () = sleep_until(deadline), if !finish.is_cancelled() => {
                finish.cancel();
                continue;
            }
        };
        let Some((seed, size, outcome)) = round else {
            break;
        };
        match outcome {
            Ok(Done {
                operations,
                violations,
                records,
                keeps: kept,
            }) => {
                keeps = worse(keeps, kept);
                failed = 0;
                progress.rounds += 1;
                progress.operations += operations;
                suspect(&mut suspects, seed, size, violations, records);
            }
            Err(reason) => {
                failed += 1;
                unrun += 1;
                error = Some(reason);
            }
        }
        progress.broken = suspects.len();
        on(progress);
        if settings.fail_fast && !suspects.is_empty() {
            break;
        }
        if failed >= BROKEN {
            finish.cancel();
        }
    }
    tasks.shutdown().await;
    let elapsed = began.elapsed();
    let mut explored = Explored {
        rounds: progress.rounds,
        operations: progress.operations,
        elapsed,
        keeps,
        findings: Vec::new(),
        unrun,
        error,
        ended: match stop.is_cancelled() {
            true => Ended::Interrupted,
            false => Ended::Done,
        },
    };
    explored.findings = shrink_all(&target, settings, suspects, stop, progress, on).await;
    explored
}

/// The seed of a round with its number of steps, and what came of it.
type Outcome = (u64, usize, Result<Done, RoundError>);

/// A round that was judged.
struct Done {
    operations: u64,
    violations: Vec<Violation>,
    /// What happened, where that breaks a requirement.
    records: Vec<Record>,
    keeps: Option<Keeps>,
}

/// Runs rounds, several at a time, until `finish` is cancelled or there are enough.
fn start(
    target: &Arc<Target>,
    settings: &Settings,
    finish: &CancellationToken,
) -> (mpsc::Receiver<Outcome>, JoinSet<()>) {
    let (sender, receiver) = mpsc::channel(settings.jobs);
    let mut tasks = JoinSet::new();
    let next = Arc::new(AtomicU64::new(0));
    let first: Arc<[u64]> = settings.first.clone().into();
    let most = match settings.extent {
        Extent::For(_) => u64::MAX,
        Extent::Rounds(rounds) => rounds.saturating_add(first.len() as u64),
    };
    for _ in 0..settings.jobs {
        let (target, sender, next) = (Arc::clone(target), sender.clone(), Arc::clone(&next));
        let (finish, first, settings) = (finish.clone(), Arc::clone(&first), settings.clone());
        tasks.spawn(async move {
            while !finish.is_cancelled() {
                let index = next.fetch_add(1, Ordering::Relaxed);
                if index >= most {
                    return;
                }
                let seed = match first.get(usize::try_from(index).unwrap_or(usize::MAX)) {
                    Some(seed) => *seed,
                    None => settings.seed.wrapping_add(index - first.len() as u64),
                };
                let plan = tree(seed).current().effective();
                let size = plan.len();
                let nonce = settings.nonce.wrapping_add(index);
                let mut ran = Box::pin(round::run(&plan, &target, nonce)).await;
                for again in 1..=AGAIN {
                    if ran.is_ok() || !target.is_unsteady {
                        break;
                    }
                    // Its accounts are others than those of all rounds.
                    let nonce = nonce ^ (again << 56);
                    ran = Box::pin(round::run(&plan, &target, nonce)).await;
                }
                let outcome = ran.map(|round| {
                    let (violations, keeps) = judge(&round, &target);
                    Done {
                        operations: round.operations,
                        records: match violations.is_empty() {
                            true => Vec::new(),
                            false => round.records,
                        },
                        violations,
                        keeps,
                    }
                });
                if sender.send((seed, size, outcome)).await.is_err() {
                    return;
                }
            }
        });
    }
    (receiver, tasks)
}

/// What was kept over several restarts.
fn worse(one: Option<Keeps>, other: Option<Keeps>) -> Option<Keeps> {
    match (one, other) {
        (Some(one), Some(other)) if one != other => Some(Keeps::Some),
        (one, other) => one.or(other),
    }
}

/// Keeps of each requirement the smallest round that broke it.
fn suspect(
    suspects: &mut BTreeMap<&'static str, Suspect>,
    seed: u64,
    size: usize,
    violations: Vec<Violation>,
    records: Vec<Record>,
) {
    let records = Arc::new(records);
    let mut of_round: BTreeMap<&'static str, Violation> = BTreeMap::new();
    for violation in violations {
        of_round.entry(violation.requirement).or_insert(violation);
    }
    for (requirement, violation) in of_round {
        let known = suspects.entry(requirement).or_insert_with(|| Suspect {
            violation: violation.clone(),
            seed,
            size,
            rounds: 0,
            records: Arc::clone(&records),
        });
        known.rounds += 1;
        if size < known.size {
            (known.violation, known.seed, known.size) = (violation, seed, size);
            known.records = Arc::clone(&records);
        }
    }
}

/// Makes the histories smaller, those of a MUST first. What shows in the same small history is told with it.
async fn shrink_all(
    target: &Target,
    settings: &Settings,
    suspects: BTreeMap<&'static str, Suspect>,
    stop: &CancellationToken,
    mut progress: Progress,
    on: &dyn Fn(Progress),
) -> Vec<Finding> {
    let mut open: Vec<Suspect> = suspects.into_values().collect();
    let is_should = |level| level == touchstone_history::Level::Should;
    open.sort_by_key(|one| {
        (
            is_should(one.violation.level),
            std::cmp::Reverse(one.rounds),
        )
    });
    let mut findings = Vec::new();
    for nth in 0.. {
        if open.is_empty() {
            break;
        }
        let suspect = open.remove(0);
        let time = match nth < SHRUNK && !stop.is_cancelled() {
            true => settings.shrink_for,
            false => Duration::ZERO,
        };
        let shrunk = shrink::shrink(target, &suspect, settings.nonce, time, stop, |size| {
            progress.shrinking = Some(size);
            on(progress);
        });
        let shrunk = Box::pin(shrunk).await;
        let (with, without): (Vec<_>, Vec<_>) = open
            .into_iter()
            .partition(|other| shrunk.find(other.violation.requirement).is_some());
        open = without;
        findings.push(finding(&suspect, &shrunk, target));
        findings.extend(with.iter().map(|other| finding(other, &shrunk, target)));
    }
    findings.sort_by_key(|one| is_should(one.violation.level));
    findings
}

fn finding(suspect: &Suspect, shrunk: &Shrunk, target: &Target) -> Finding {
    let requirement = suspect.violation.requirement;
    let violation = shrunk
        .find(requirement)
        .unwrap_or(&suspect.violation)
        .clone();
    Finding {
        rounds: suspect.rounds,
        seed: shrunk.seed,
        steps: crate::steps::steps(&shrunk.plan, target.urls.len(), target.crash.is_some()),
        shrunk: [shrunk.from, shrunk.plan.len()],
        shown: shrunk.shown,
        diagram: Diagram::of(&shrunk.records, &violation.records),
        records: shrunk.records.clone(),
        violation,
    }
}
