//! The threads that drive connections, as the coordinator sees them.

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicU64},
    thread::JoinHandle,
};

use tokio::{sync::Notify, time::Instant};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use touchstone_output::text::display_url;

use super::{
    RunError, RunPlan,
    common::Common,
    finish,
    provision::{Directory, Provided},
    stats::Stats,
    worker::{self, Signals},
};
use crate::{
    audit::{Rules, Wide},
    schedule::{Account, Schedule},
};

/// A thread that drives connections, as the coordinator sees it.
pub(super) struct Worker {
    stats: Arc<Mutex<Stats>>,
    pub(super) signals: Signals,
    thread: JoinHandle<()>,
}

impl Worker {
    /// Nothing that holds this lock can panic half-way, so a poisoned one is still sound.
    pub(super) fn stats(&self) -> MutexGuard<'_, Stats> {
        self.stats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Starts them, each with its part of the accounts.
pub(super) fn start(
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
    let numbered = parts.into_iter().enumerate();
    numbered
        .map(|(number, part)| {
            let common = common(plan, wide, Arc::clone(&directory), start);
            start_one(number, common, part, plan.stop.child_token()).map_err(RunError::Worker)
        })
        .collect()
}

fn common(plan: &RunPlan, wide: Wide, directory: Arc<Directory>, start: Instant) -> Common {
    let mut stats = Stats::new(&plan.schedule);
    stats.nodes = plan.urls.iter().map(display_url).collect();
    let audit = plan.schedule.scenario().audit;
    let trace = plan.trace.as_ref();
    Common {
        schedule: Arc::clone(&plan.schedule),
        rules: Rules {
            wide,
            late_after: audit.late_after.us(),
            lost_after: audit.lost_after.us(),
            grace: audit.grace.us(),
        },
        options: plan.options.clone(),
        trace: trace.map(|traced| (traced.recorder.clone(), traced.end(plan))),
        urls: plan.urls.clone(),
        directory,
        run: plan.id,
        start,
        clock: plan.clock,
        stats: Arc::new(Mutex::new(stats)),
        ports: plan.ports,
        progress: AtomicU64::new(0),
        changed: Notify::new(),
        cells: TaskTracker::new(),
    }
}

fn start_one(
    number: usize,
    common: Common,
    accounts: Vec<(Account, Provided)>,
    stop: CancellationToken,
) -> io::Result<Worker> {
    let signals = Signals {
        stop,
        abandon: CancellationToken::new(),
        draining: CancellationToken::new(),
        finished: CancellationToken::new(),
    };
    let stats = Arc::clone(&common.stats);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let of_worker = signals.clone();
    let thread = std::thread::Builder::new()
        .name(format!("load-{number}"))
        .spawn(move || {
            // Told even if this thread panics, which is found out when it is joined.
            let _finished = of_worker.finished.clone().drop_guard();
            runtime.block_on(Box::pin(worker::drive(
                Arc::new(common),
                accounts,
                of_worker,
            )));
        })?;
    Ok(Worker {
        stats,
        signals,
        thread,
    })
}

/// Waits for all of them, and gives what they counted and the share of the processor that they used.
pub(super) async fn join(
    workers: Vec<Worker>,
    schedule: &Schedule,
) -> Result<(Stats, f64), RunError> {
    let mut all = Vec::new();
    for worker in workers {
        // It has said that it is done, or is gone.
        let joined = tokio::task::spawn_blocking(|| worker.thread.join()).await;
        if !matches!(joined, Ok(Ok(()))) {
            return Err(RunError::WorkerLost);
        }
        let stats = Arc::into_inner(worker.stats).ok_or(RunError::WorkerLost)?;
        all.push(stats.into_inner().unwrap_or_else(PoisonError::into_inner));
    }
    let shares: Vec<_> = all.iter().map(|stats| stats.cpu_counted).collect();
    Ok((finish::total(all, schedule), finish::cpu_share(&shares)))
}
