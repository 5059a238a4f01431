//! Who is active: which heartbeats count, and the sweep that notices silence.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::MissedTickBehavior;

use crate::app::App;
use crate::builders;
use crate::faults::{Fault, Faults};
use crate::router::{ConnectionId, Routed as _};
use crate::store::Account;

/// When a heartbeat says that its sender was active: its own `time`, in whole milliseconds and never
/// in the future. `None` if it is missing, no number, or too old to mean anything.
pub(crate) fn heartbeat_time(
    time: Option<f64>,
    now: i64,
    timeout: Duration,
    faults: &Faults,
) -> Option<i64> {
    let time = time.filter(|time| time.is_finite())?;
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a cast of a float saturates"
    )]
    let time = time.floor() as i64;
    let timeout = i64::try_from(timeout.as_millis()).unwrap_or(i64::MAX);
    if time < now.saturating_sub(timeout) {
        return None;
    }
    Some(if faults.on(Fault::FutureTime) {
        time
    } else {
        time.min(now)
    })
}

/// Sweeps until the server stops.
pub(crate) async fn run(app: Arc<App>) {
    let mut idle = Idle::default();
    let mut ticks = tokio::time::interval(app.config.sweep_interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        for account in app.store.accounts() {
            sweep(&app, &account);
        }
        if app.faults().on(Fault::IdleEnds) {
            idle.sweep(&app);
        }
    }
}

/// How many sweeps a connection may be silent with the fault `idle-ends`.
const IDLE_SWEEPS: u32 = 6;

/// How many events each connection had sent, and for how many sweeps, for the fault that ends those
/// that send none.
#[derive(Default)]
struct Idle(HashMap<ConnectionId, (u64, u32)>);

impl Idle {
    fn sweep(&mut self, app: &App) {
        let mut seen = HashMap::new();
        for connection in app.everyone.all() {
            let events = connection.events();
            let silent = match self.0.get(&connection.id()) {
                Some((before, sweeps)) if *before == events => sweeps + 1,
                _ => 0,
            };
            if silent >= IDLE_SWEEPS {
                connection.end();
            }
            seen.insert(connection.id(), (events, silent));
        }
        self.0 = seen;
    }
}

/// Makes the sessions and machines of an account inactive that have been silent for too long, and
/// announces each.
fn sweep(app: &App, account: &Account) {
    if app.faults().on(Fault::NeverSwept) {
        return;
    }
    let timeout = i64::try_from(app.config.presence_timeout.as_millis()).unwrap_or(i64::MAX);
    let oldest = app.now().saturating_sub(timeout);
    let mut state = account.lock();
    let mut gone = Vec::new();
    for session in state.sessions.values_mut() {
        if session.active && session.active_at < oldest {
            session.active = false;
            gone.push(builders::session_activity(
                &session.id,
                false,
                session.active_at,
                None,
            ));
        }
    }
    for machine in state.machines.values_mut() {
        if machine.active && machine.active_at < oldest {
            machine.active = false;
            gone.push(builders::machine_activity(
                &machine.id,
                false,
                machine.active_at,
            ));
        }
    }
    for payload in gone {
        app.ephemeral(account, &state, payload);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_800_000_000_000;

    #[track_caller]
    fn check(time: Option<f64>, expected: Option<i64>) {
        let timeout = Duration::from_secs(600);
        assert_eq!(
            heartbeat_time(time, NOW, timeout, &Faults::default()),
            expected,
            "{time:?}"
        );
    }

    #[test]
    #[expect(clippy::cast_precision_loss, reason = "times are far below 2^53")]
    fn heartbeats_are_clamped_or_ignored() {
        let now = NOW as f64;
        check(Some(now), Some(NOW));
        check(Some(now - 0.5), Some(NOW - 1));
        check(Some(now + 3_600_000.0), Some(NOW));
        check(Some(f64::MAX), Some(NOW));
        check(Some(now - 600_000.0), Some(NOW - 600_000));
        for ignored in [
            now - 600_001.0,
            0.0,
            -5.0,
            f64::MIN,
            f64::NAN,
            f64::INFINITY,
        ] {
            check(Some(ignored), None);
        }
        check(None, None);
    }
}
