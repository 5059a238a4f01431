//! Who is active: which heartbeats count, and the sweep that notices silence.

use super::{Context, Outcome};
use crate::announce::Event;
use crate::builders;
use crate::store::Change;

impl Context<'_> {
    /// When a heartbeat says that its sender was active: its own `time`, in whole milliseconds and
    /// never in the future. `None` if it is missing, not a number, or too old to mean anything.
    pub(super) fn heartbeat_time(&self, time: Option<f64>) -> Option<i64> {
        let time = time.filter(|time| time.is_finite())?;
        #[expect(
            clippy::cast_possible_truncation,
            reason = "a cast of a float saturates"
        )]
        let time = time.floor() as i64;
        (time >= self.oldest()).then_some(time.min(self.now))
    }

    /// The oldest time at which somebody who is active can have been active last.
    fn oldest(&self) -> i64 {
        let timeout = self.config.presence_timeout.as_millis();
        let timeout = i64::try_from(timeout).unwrap_or(i64::MAX);
        self.now.saturating_sub(timeout)
    }
}

/// The sweep: sessions and machines that have been silent for too long become inactive, and each is
/// announced.
pub(crate) fn sweep(cx: &Context<'_>) -> Outcome<()> {
    let oldest = cx.oldest();
    let mut outcome = Outcome::of(());
    for session in cx.rows.sessions.values() {
        if session.active && session.active_at < oldest {
            let (id, at) = (session.id.clone(), session.active_at);
            let told = builders::session_activity(&id, false, at, None);
            let ended = session.ended;
            let change = Change::SessionPresence {
                id,
                active: false,
                ended,
                at,
            };
            outcome = outcome.change(change).event(Event::ephemeral(told));
        }
    }
    for machine in cx.rows.machines.values() {
        if machine.active && machine.active_at < oldest {
            let (id, at) = (machine.id.clone(), machine.active_at);
            let told = builders::machine_activity(&id, false, at);
            let change = Change::MachinePresence {
                id,
                active: false,
                at,
            };
            outcome = outcome.change(change).event(Event::ephemeral(told));
        }
    }
    outcome
}
