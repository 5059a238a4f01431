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
mod watch;
mod worker;
mod workers;

use std::{io, sync::Arc, time::Duration};
use touchstone_output::text::plural;

use tokio::{
    sync,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;
use touchstone_client::{
    Clock, ConnectOptions,
    provision::{ProvisionError, Provisioner},
    trace::Recorder,
};
use url::Url;

pub use self::host::FileLimit;
use self::{probe::Dialect, provision::Provided, stats::Stats};
use crate::{
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
    pub progress: sync::watch::Sender<Snapshot>,
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
    let workers = workers::start(&plan, dialect.wide, accounts, start)?;
    let mut seen = watch::until_done(&plan, &workers, dialect, start).await;
    seen.started_at = started_at;
    seen.open_files_limit = open_files_limit;
    let (stats, cpu_share) = workers::join(workers, &plan.schedule).await?;
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
    let report = finish::report(&plan, &stats, cpu_share, seen);
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
    let (made, mut seen) = sync::watch::channel(0);
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
