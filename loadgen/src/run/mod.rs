//! Running a schedule against a server.
//!
//! The coordinator, [`run`], makes what is needed, starts the workers, looks at them every second
//! and writes the report. Each worker is a thread with a runtime of its own, so that its processor
//! time can be told from that of everything else in the process. It sends each event when it is
//! due, whatever became of those before it.

mod cell;
mod common;
mod finish;
mod host;
mod limits;
mod look;
mod packet;
mod payload;
mod peer;
mod probe;
mod provision;
mod stats;
mod worker;

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicU64},
    thread::JoinHandle,
    time::Duration,
};
use touchstone_output::text::display_url;
use touchstone_output::text::plural;

use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep, sleep_until},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use touchstone_client::{
    Clock, ConnectOptions,
    provision::{ProvisionError, Provisioner},
    trace::Recorder,
};
use url::Url;

pub use self::host::FileLimit;
use self::{
    common::Common,
    finish::Seen,
    look::{Look, Used},
    probe::Dialect,
    provision::{Directory, Provided},
    stats::Stats,
    worker::Signals,
};
use crate::{
    audit::{Rules, Wide},
    progress::{Snapshot, Stage},
    report::{Report, model::Recipients},
    scenario::Scale,
    schedule::{Account, Schedule, Summary},
};

/// Everything that a run needs.
#[derive(Debug)]
pub struct RunPlan {
    /// What reports call the server.
    pub name: String,
    /// Its nodes, at least one. Connections are spread over them.
    pub urls: Vec<Url>,
    /// How connections are opened: path, TLS, headers. URL, auth and timeout are set by the run.
    pub options: ConnectOptions,
    /// Makes accounts, sessions and machines exist.
    pub provisioner: Arc<Provisioner>,
    /// What is to happen.
    pub schedule: Arc<Schedule>,
    /// What that comes to.
    pub summary: Summary,
    /// The scale that the schedule was made with, for the report.
    pub scale: Scale,
    /// Who may receive more than what it needs; measured before the run if not said.
    pub recipients: Option<Recipients>,
    /// Threads that drive connections, at least one.
    pub workers: usize,
    /// When the schedule is to begin, in Unix milliseconds; as soon as possible if not said.
    pub start_at: Option<u64>,
    /// Tells this run from others on the same server: accounts and stamps are made of it, so take a
    /// random number.
    pub id: u32,
    /// Connections from one source address to loopback addresses, [`PORTS`] unless a test says
    /// otherwise. Those beyond come from 127.0.0.2, and so on.
    pub ports: u64,
    /// Whether the server runs in this process, and needs a file for each connection too.
    pub is_embedded: bool,
    /// This program's version, for the report.
    pub version: String,
    /// Where Unix time comes from.
    pub clock: Clock,
    /// Told every second how it goes.
    pub progress: watch::Sender<Snapshot>,
    /// Ends the run early; what ran is reported.
    pub stop: CancellationToken,
    /// What of it is recorded.
    pub trace: Option<Trace>,
}

/// What of a run is recorded. That costs processor time and memory per packet.
#[derive(Debug, Clone)]
pub struct Trace {
    /// Sees all that connections send and receive, under names like `1/session-2`, and how their
    /// accounts are made. A mark says what is left out.
    pub recorder: Recorder,
    /// Of how many accounts: the first of the schedule that have connections.
    pub accounts: u32,
}

/// Connections to loopback addresses from one source address. Linux has 28 000 ports to choose from,
/// but tries every second one first: once those are used up, it looks at all of them for each further
/// connection, which then takes a millisecond of processor time.
pub const PORTS: u64 = 12_000;

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// More connections than open files are allowed.
    #[error(transparent)]
    Files(#[from] FileLimit),
    /// The server did not make what is needed.
    #[error("cannot prepare {target}")]
    Server {
        /// What reports call the server.
        target: String,
        /// What went wrong.
        source: Box<ProvisionError>,
    },
    /// What the user gave to make accounts from does not do.
    #[error("cannot make what the scenario needs")]
    Provision(#[source] Box<ProvisionError>),
    /// Not one connection came about.
    #[error("no connection to {target} came about: {reason}")]
    Unreachable {
        /// What reports call the server.
        target: String,
        /// What most attempts ended with.
        reason: String,
    },
    /// The run was ended before it began.
    #[error("ended before the schedule began")]
    Stopped,
    /// The start that was asked for is over.
    #[error("the start was to be {late_ms} ms ago: making the accounts took longer")]
    StartMissed {
        /// By how much.
        late_ms: u64,
    },
    /// Threads or runtimes could not be made.
    #[error("cannot start a worker")]
    Worker(#[source] io::Error),
    /// A worker ended before its time: a bug.
    #[error("a worker panicked")]
    WorkerLost,
}

/// From the moment when all is ready until the schedule begins.
const LEAD: Duration = Duration::from_millis(50);
/// Seconds without any connection after which a server counts as dead.
const DEAD_AFTER: u32 = 5;

impl Trace {
    /// The number behind that of the last account that is recorded.
    fn end(&self, plan: &RunPlan) -> u32 {
        let mut recorded = plan.schedule.accounts().take(self.accounts as usize);
        recorded.by_ref().last().map_or(0, |last| last.index + 1)
    }

    /// Says at the beginning of the recording what it will not have.
    fn mark(&self, plan: &RunPlan) {
        let (mut accounts, mut connections) = (0, 0);
        for account in plan.schedule.accounts().take(self.accounts as usize) {
            accounts += 1;
            connections += u64::from(account.connections());
        }
        let of = plan
            .schedule
            .accounts()
            .map(|account| u64::from(account.connections()));
        let all = of.sum::<u64>();
        self.recorder.mark(
            "-",
            format!(
                "recorded: {connections} of {}, those of {accounts} of {}",
                plural(all, "connection"),
                plural(plan.summary.accounts, "account"),
            ),
        );
    }
}

/// A thread that drives connections, as the coordinator sees it.
struct Worker {
    stats: Arc<Mutex<Stats>>,
    signals: Signals,
    thread: JoinHandle<()>,
}

impl Worker {
    /// Nothing that holds this lock can panic half-way, so a poisoned one is still sound.
    fn stats(&self) -> MutexGuard<'_, Stats> {
        self.stats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs a schedule and returns what it found.
///
/// # Errors
/// Nothing ran: see [`RunError`]. A run that went wrong on the way has a report that says so.
///
/// # Panics
/// Without any URL or worker.
pub async fn run(plan: RunPlan) -> Result<Report, RunError> {
    assert!(
        !plan.urls.is_empty() && plan.workers > 0,
        "a plan has URLs and workers"
    );
    let connections = plan.summary.connections;
    let sides = 1 + u64::from(plan.is_embedded);
    let open_files_limit = host::allow_files(connections * sides)?;
    if let Some(traced) = &plan.trace {
        traced.mark(&plan);
    }
    let mut accounts = prepare(&plan).await?;
    let dialect = tokio::select! {
        dialect = Dialect::of(&plan, &mut accounts) => dialect,
        () = plan.stop.cancelled() => return Err(RunError::Stopped),
    };
    let (start, started_at) = begin(&plan).await?;
    let workers = spawn(&plan, dialect.wide, accounts, start)?;
    let mut seen = watch_over(&plan, &workers, dialect, start).await;
    seen.started_at = started_at;
    seen.open_files_limit = open_files_limit;
    let mut all = Vec::new();
    let mut shares = Vec::new();
    for worker in workers {
        // It has said that it is done, or is gone.
        let joined = tokio::task::spawn_blocking(|| worker.thread.join()).await;
        if !matches!(joined, Ok(Ok(()))) {
            return Err(RunError::WorkerLost);
        }
        let stats = Arc::into_inner(worker.stats).ok_or(RunError::WorkerLost)?;
        let stats = stats.into_inner().unwrap_or_else(PoisonError::into_inner);
        shares.push(stats.cpu_counted);
        all.push(stats);
    }
    let stats = finish::total(all, &plan.schedule);
    if stats.connections.opened == 0 && stats.connections.failed > 0 {
        let most = stats.refusals.iter().max_by_key(|(_, count)| **count);
        return Err(RunError::Unreachable {
            target: plan.name,
            reason: most.map_or_else(String::new, |(reason, _)| reason.clone()),
        });
    }
    if seen.failure.is_none() {
        seen.failure = failure(&stats);
    }
    let report = finish::report(&plan, &stats, finish::cpu_share(&shares), seen);
    plan.progress
        .send_modify(|snapshot| snapshot.stage = Stage::Finished);
    Ok(report)
}

/// Why a run that came to its end has failed all the same, if so.
fn failure(stats: &Stats) -> Option<String> {
    let dropped = stats.connections.dropped;
    if dropped > 0 {
        return Some(format!(
            "the server ended {} that the scenario keeps",
            plural(dropped, "connection")
        ));
    }
    if stats.mute > 0 {
        return Some(format!(
            "the server answered nothing any more at {}",
            plural(stats.mute, "connection")
        ));
    }
    let missing = stats.wanted.saturating_sub(stats.open);
    (missing > 0).then(|| {
        format!(
            "{} that the scenario wants never came about",
            plural(missing, "connection")
        )
    })
}

/// Makes what the schedule needs.
async fn prepare(plan: &RunPlan) -> Result<Vec<(Account, Provided)>, RunError> {
    let (made, mut seen) = watch::channel(0);
    let provided = provision::provide(plan, &made);
    tokio::pin!(provided);
    let base = Snapshot {
        stage: Stage::Preparing,
        total: Duration::from_micros(plan.schedule.end_us()),
        wanted: plan.summary.accounts,
        ..Snapshot::default()
    };
    loop {
        let open = *seen.borrow_and_update();
        plan.progress.send_replace(Snapshot {
            open,
            ..base.clone()
        });
        tokio::select! {
            provided = &mut provided => {
                return provided.map_err(|source| if finish::is_servers(&source) {
                    RunError::Server { target: plan.name.clone(), source: Box::new(source) }
                } else {
                    RunError::Provision(Box::new(source))
                });
            }
            () = plan.stop.cancelled() => return Err(RunError::Stopped),
            changed = seen.changed() => debug_assert!(changed.is_ok(), "the sender is above"),
        }
    }
}

/// Decides when the schedule begins, in both clocks.
async fn begin(plan: &RunPlan) -> Result<(Instant, u64), RunError> {
    if let Some(at) = plan.start_at {
        plan.progress
            .send_modify(|snapshot| snapshot.stage = Stage::Waiting);
        let now = plan.clock.unix_ms();
        if at < now {
            return Err(RunError::StartMissed { late_ms: now - at });
        }
        // What is left is slept through after the workers are there.
        let wait = Duration::from_millis(at - now).saturating_sub(LEAD);
        tokio::select! {
            () = sleep(wait) => {}
            () = plan.stop.cancelled() => return Err(RunError::Stopped),
        }
    }
    let now = plan.clock.unix_ms();
    let lead = plan
        .start_at
        .map_or(LEAD, |at| Duration::from_millis(at.saturating_sub(now)));
    let lead_ms = u64::try_from(lead.as_millis()).unwrap_or_default();
    Ok((Instant::now() + lead, now + lead_ms))
}

fn spawn(
    plan: &RunPlan,
    wide: Wide,
    accounts: Vec<(Account, Provided)>,
    start: Instant,
) -> Result<Vec<Worker>, RunError> {
    let mut directory = Directory::default();
    for (account, provided) in &accounts {
        directory.add(account.index, provided);
    }
    let directory = Arc::new(directory);
    let mut parts: Vec<Vec<_>> = (0..plan.workers).map(|_| Vec::new()).collect();
    for (index, account) in accounts.into_iter().enumerate() {
        parts[index % plan.workers].push(account);
    }
    let trace = plan
        .trace
        .as_ref()
        .map(|traced| (traced.recorder.clone(), traced.end(plan)));
    let audit = plan.schedule.scenario().audit;
    let rules = Rules {
        wide,
        late_after: audit.late_after.us(),
        lost_after: audit.lost_after.us(),
        grace: audit.grace.us(),
    };
    let mut workers = Vec::new();
    for (number, part) in parts.into_iter().enumerate() {
        let mut stats = Stats::new(&plan.schedule);
        stats.nodes = plan.urls.iter().map(display_url).collect();
        let stats = Arc::new(Mutex::new(stats));
        let signals = Signals {
            stop: plan.stop.child_token(),
            abandon: CancellationToken::new(),
            draining: CancellationToken::new(),
            finished: CancellationToken::new(),
        };
        let common = Arc::new(Common {
            schedule: Arc::clone(&plan.schedule),
            rules,
            options: plan.options.clone(),
            trace: trace.clone(),
            urls: plan.urls.clone(),
            directory: Arc::clone(&directory),
            run: plan.id,
            start,
            clock: plan.clock,
            stats: Arc::clone(&stats),
            ports: plan.ports,
            progress: AtomicU64::new(0),
            changed: Notify::new(),
            cells: TaskTracker::new(),
        });
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(RunError::Worker)?;
        let of_worker = signals.clone();
        let thread = std::thread::Builder::new()
            .name(format!("load-{number}"))
            .spawn(move || {
                // Told even if this thread panics, which is found out when it is joined.
                let _finished = of_worker.finished.clone().drop_guard();
                runtime.block_on(Box::pin(worker::drive(common, part, of_worker)));
            })
            .map_err(RunError::Worker)?;
        workers.push(Worker {
            stats,
            signals,
            thread,
        });
    }
    Ok(workers)
}

/// Looks at the workers every second until they are done.
async fn watch_over(plan: &RunPlan, workers: &[Worker], dialect: Dialect, start: Instant) -> Seen {
    let mut seen = Seen {
        dialect,
        started_at: 0,
        duration_us: 0,
        ended_us: None,
        machine_share: 0.0,
        failure: None,
        series: Vec::new(),
        phase_connections: Vec::new(),
        peak: 0,
        open_files: 0,
        open_files_limit: 0,
    };
    let mut without_any = 0;
    let machine_before = host::machine_cpu();
    let mut before = Used {
        cpu: 0,
        machine: machine_before,
    };
    let since_start = || {
        let elapsed = Instant::now().saturating_duration_since(start);
        u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX)
    };
    let ends_early = async {
        plan.stop.cancelled().await;
        since_start()
    };
    tokio::pin!(ends_early);
    for number in 0_u32.. {
        let until = start + Duration::from_secs(u64::from(number) + 1);
        let done = async {
            for worker in workers {
                worker.signals.finished.cancelled().await;
            }
        };
        tokio::pin!(done);
        let is_over = loop {
            tokio::select! {
                // Workers may be done as soon as they are told to end.
                biased;
                at = &mut ends_early, if seen.ended_us.is_none() => seen.ended_us = Some(at),
                () = &mut done => break true,
                () = sleep_until(until) => break false,
            }
        };
        let look = Look::at(workers);
        seen.peak = seen.peak.max(look.open);
        seen.duration_us = since_start();
        let elapsed = Duration::from_micros(seen.duration_us);
        let phase = look::phase_at(plan, seen.duration_us.saturating_sub(1));
        seen.phase_connections.resize(phase + 1, look.open);
        seen.phase_connections[phase] = look.open;
        let second = finish::second(number, look.open, &look.second);
        seen.series.push(second.clone());
        let now = Used {
            cpu: look.cpu,
            machine: host::machine_cpu(),
        };
        if !look.is_draining {
            seen.machine_share = host::share([machine_before, now.machine]);
        }
        let snapshot = look.snapshot(plan, elapsed, second, [before, now]);
        seen.open_files = seen.open_files.max(snapshot.health.open_files);
        plan.progress.send_replace(snapshot);
        before = now;
        if is_over {
            break;
        }
        let is_dead = look.wanted > 0
            && look.open == 0
            && look.connections.failed + look.connections.dropped > 0;
        without_any = if is_dead { without_any + 1 } else { 0 };
        if without_any == DEAD_AFTER {
            seen.failure = Some(format!(
                "no connection was open for {DEAD_AFTER} seconds: the server is gone, or keeps none"
            ));
            seen.ended_us.get_or_insert(seen.duration_us);
            for worker in workers {
                worker.signals.stop.cancel();
                worker.signals.abandon.cancel();
            }
        }
    }
    // Whoever ends a run that only waits takes nothing from it.
    seen.ended_us = seen.ended_us.filter(|at| *at < plan.schedule.end_us());
    seen
}
