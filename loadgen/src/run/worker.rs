//! A worker: one thread that drives the connections of its accounts, each action at its time.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::{
    task::yield_now,
    time::{interval, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{cell::Cell, common::Common, host, peer, provision::Provided};
use crate::schedule::{Account, Action, What};

/// Actions that are performed before connections get their turn.
const BATCH: usize = 256;
/// How often what has waited too long is given up.
const SWEEP: u64 = 1_000_000;
/// Of the time after which an event is lost, how many at most are waited at the end while there still
/// is something that arrives.
pub(super) const PATIENCE: u32 = 4;
/// How long the server may be silent while it has to answer every connection once, at the end.
const PROOF: Duration = Duration::from_secs(10);
/// How long connections may take to close, at the end.
const FAREWELL: Duration = Duration::from_secs(2);

/// What the coordinator tells a worker.
#[derive(Debug, Clone)]
pub(super) struct Signals {
    /// Emit no more, and wait for what is under way.
    pub(super) stop: CancellationToken,
    /// Do not wait for what is under way either.
    pub(super) abandon: CancellationToken,
    /// Set by the worker when it only waits.
    pub(super) draining: CancellationToken,
    /// Set by the worker when it is done, or gone.
    pub(super) finished: CancellationToken,
}

/// Drives accounts to the end of the schedule and of what it has caused.
pub(super) async fn drive(
    common: Arc<Common>,
    accounts: Vec<(Account, Provided)>,
    signals: Signals,
) {
    let schedule = Arc::clone(&common.schedule);
    let mut cells = Vec::with_capacity(accounts.len());
    let mut plans = Vec::with_capacity(accounts.len());
    let mut due = BinaryHeap::with_capacity(accounts.len());
    for (account, provided) in accounts {
        let mut plan = schedule.actions(account);
        if let Some(first) = plan.next() {
            due.push(Reverse((first.at, cells.len())));
            plans.push((first, plan));
            cells.push(Arc::new(Cell::new(account, provided, Arc::clone(&common))));
        }
    }
    let mut swept = 0;
    let mut performed = 0;
    // Before the start the clock stands at 0, at which the first actions are due.
    tokio::select! {
        () = signals.stop.cancelled() => {}
        () = sleep_until(common.start) => {}
    }
    loop {
        let now = common.now();
        if now >= swept + SWEEP {
            swept = now;
            cells.iter().for_each(|cell| cell.sweep(now));
            clock_cpu(&common, now);
        }
        let next = due.peek().map(|Reverse((at, _))| *at);
        let wake = next.unwrap_or(schedule.end_us()).min(swept + SWEEP);
        if next.is_none() && now >= schedule.end_us() || signals.stop.is_cancelled() {
            break;
        }
        if next.is_none_or(|at| at > now) {
            let wake = common.start + Duration::from_micros(wake);
            tokio::select! {
                () = signals.stop.cancelled() => {}
                () = sleep_until(wake) => {}
            }
            continue;
        }
        if let Some(Reverse((_, index))) = due.pop() {
            let (action, plan) = &mut plans[index];
            perform(&cells[index], *action, now);
            if let Some(following) = plan.next() {
                due.push(Reverse((following.at, index)));
                *action = following;
            }
        }
        performed += 1;
        if performed % BATCH == 0 {
            yield_now().await;
        }
    }
    clock_cpu(&common, common.now());
    signals.draining.cancel();
    let is_under_way = drain(&common, &cells, &signals.abandon).await;
    cells.iter().for_each(|cell| cell.finish(is_under_way));
    clock_cpu(&common, common.now());
    // Letting go of a socket closes it; the runtime goes when they are closed, or soon after.
    drop(cells);
    common.cells.close();
    let _ = timeout(FAREWELL, common.cells.wait()).await;
}

fn perform(cell: &Arc<Cell>, action: Action, now: u64) {
    let Action { at, peer, what } = action;
    match what {
        What::Connect => peer::want(cell, peer, at),
        What::Drop(how) => cell.close(peer, how, now),
        What::Leave => cell.leave(peer, now),
        What::StopReading => cell.stop_reading(peer, true, now),
        What::ResumeReading => cell.stop_reading(peer, false, now),
        What::FallSilent => cell.fall_silent(peer, now),
        What::Emit(emit) => cell.emit(peer, emit, at, now),
    }
}

/// Waits until all has arrived, for as long as there is progress. Returns whether there still was
/// when it had waited long enough.
async fn drain(common: &Common, cells: &[Arc<Cell>], abandon: &CancellationToken) -> bool {
    let lost_after = Duration::from_micros(common.rules.lost_after);
    let all_has_come = async {
        // One after the other is enough: all must be done in the end.
        for cell in cells {
            let mut seen = 0;
            while cell.is_waiting(&mut seen) {
                common.changed.notified().await;
            }
        }
    };
    // Nothing is awaited where nothing must arrive, so that this has to be proved.
    let nothing_more_comes = async {
        cells.iter().for_each(|cell| cell.ask_for_proof());
        for cell in cells {
            while cell.unproved() > 0 {
                common.changed.notified().await;
            }
        }
    };
    let drained = async {
        let all_has_come = progressing(common, cells, lost_after, all_has_come);
        if timeout(lost_after * PATIENCE, all_has_come).await.is_err() {
            return true;
        }
        if progressing(common, cells, PROOF, nothing_more_comes)
            .await
            .is_none()
        {
            let mute = cells.iter().map(|cell| cell.unproved() as u64).sum();
            common.stats().mute = mute;
        }
        false
    };
    tokio::select! {
        is_under_way = drained => is_under_way,
        () = abandon.cancelled() => false,
    }
}

/// Waits for something, and ends without it once nothing has arrived for `patience`. What has waited
/// too long is given up meanwhile.
async fn progressing(
    common: &Common,
    cells: &[Arc<Cell>],
    patience: Duration,
    all: impl Future<Output = ()>,
) -> Option<()> {
    common.progressed(common.now());
    let silent = async {
        let mut sweeps = interval(Duration::from_micros(SWEEP));
        loop {
            sweeps.tick().await;
            let now = common.now();
            cells.iter().for_each(|cell| cell.sweep(now));
            // What was given up is awaited no longer.
            common.changed.notify_one();
            let since = now.saturating_sub(common.progress.load(Ordering::Relaxed));
            if Duration::from_micros(since) >= patience {
                return;
            }
        }
    };
    tokio::select! {
        biased;
        () = all => Some(()),
        () = silent => None,
    }
}

/// Notes the thread's processor time.
fn clock_cpu(common: &Common, now: u64) {
    common.stats().clock_cpu(now, host::thread_cpu());
}
