//! Watching over the workers, second by second, until they are done.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::{
    RunPlan, finish,
    finish::Seen,
    host,
    look::{self, Look, Used},
    probe::Dialect,
    workers::Worker,
};

/// Seconds without any connection after which a server counts as dead.
const DEAD_AFTER: u32 = 5;

/// Looks at the workers every second until they are done.
pub(super) async fn until_done(
    plan: &RunPlan,
    workers: &[Worker],
    dialect: Dialect,
    start: Instant,
) -> Seen {
    let mut watch = Watch::new(plan, dialect);
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
                at = &mut ends_early, if watch.seen.ended_us.is_none() => watch.seen.ended_us = Some(at),
                () = &mut done => break true,
                () = sleep_until(until) => break false,
            }
        };
        let look = Look::at(workers);
        watch.note(number, &look, since_start());
        if is_over {
            break;
        }
        if watch.is_dead(&look) {
            for worker in workers {
                worker.signals.stop.cancel();
                worker.signals.abandon.cancel();
            }
        }
    }
    let mut seen = watch.seen;
    // Whoever ends a run that only waits takes nothing from it.
    seen.ended_us = seen.ended_us.filter(|at| *at < plan.schedule.end_us());
    seen
}

/// What was seen of a run so far.
struct Watch<'a> {
    plan: &'a RunPlan,
    seen: Seen,
    /// What this machine had used when the run began.
    machine_before: [u64; 2],
    /// What was used a second ago.
    before: Used,
    /// How many seconds there has been no connection.
    without_any: u32,
}

impl<'a> Watch<'a> {
    fn new(plan: &'a RunPlan, dialect: Dialect) -> Self {
        let machine = host::machine_cpu();
        Self {
            plan,
            seen: Seen {
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
            },
            machine_before: machine,
            before: Used { cpu: 0, machine },
            without_any: 0,
        }
    }

    /// Adds one second, and shows it.
    fn note(&mut self, number: u32, look: &Look, duration_us: u64) {
        let (plan, seen) = (self.plan, &mut self.seen);
        seen.peak = seen.peak.max(look.open);
        seen.duration_us = duration_us;
        let phase = look::phase_at(plan, duration_us.saturating_sub(1));
        seen.phase_connections.resize(phase + 1, look.open);
        seen.phase_connections[phase] = look.open;
        let second = finish::second(number, look.open, &look.second);
        seen.series.push(second.clone());
        let now = Used {
            cpu: look.cpu,
            machine: host::machine_cpu(),
        };
        if !look.is_draining {
            seen.machine_share = host::share([self.machine_before, now.machine]);
        }
        let elapsed = Duration::from_micros(duration_us);
        let snapshot = look.snapshot(plan, elapsed, second, [self.before, now]);
        seen.open_files = seen.open_files.max(snapshot.health.open_files);
        plan.progress.send_replace(snapshot);
        self.before = now;
    }

    /// Whether the server has just been found to be dead: the run has failed then, and ends here.
    fn is_dead(&mut self, look: &Look) -> bool {
        let has_lost_all = look.wanted > 0
            && look.open == 0
            && look.connections.failed + look.connections.dropped > 0;
        self.without_any = if has_lost_all {
            self.without_any + 1
        } else {
            0
        };
        let is_dead = self.without_any == DEAD_AFTER;
        if is_dead {
            let seen = &mut self.seen;
            seen.failure = Some(format!(
                "no connection was open for {DEAD_AFTER} seconds: the server is gone, or keeps none"
            ));
            seen.ended_us.get_or_insert(seen.duration_us);
        }
        is_dead
    }
}
