//! `machineUpdateHandler`: metadata, daemon state and presence of machines.

use super::{Answer, Call, cas, failed};
use crate::builders;
use crate::faults::Fault;
use crate::presence::heartbeat_time;
use crate::router::RecipientFilter;

/// `machine-alive`: a heartbeat. One that is missing its time or too old is ignored.
pub(super) fn alive(call: &Call<'_>) -> Answer {
    let timeout = call.app.config.presence_timeout;
    let time = heartbeat_time(
        call.data.number("time"),
        call.app.now(),
        timeout,
        call.faults(),
    );
    let (Some(id), Some(time)) = (call.data.text("machineId"), time) else {
        return Answer::Ignored("machineId or time is missing, of a wrong type, or too old");
    };
    let mut state = call.account().lock();
    let Some(machine) = state.machines.get_mut(id) else {
        return Answer::Ignored("the account has no machine of this id");
    };
    machine.active = true;
    machine.active_at = time;
    call.app.ephemeral(
        call.account(),
        &state,
        builders::machine_activity(id, true, time),
    );
    Answer::Never
}

/// `machine-update-metadata`.
pub(super) fn update_metadata(call: &Call<'_>) -> Answer {
    change(call, "metadata")
}

/// `machine-update-state`: who writes its daemon's state is active.
pub(super) fn update_state(call: &Call<'_>) -> Answer {
    change(call, "daemonState")
}

fn change(call: &Call<'_>, field: &str) -> Answer {
    let (Some(id), Some(value), Some(expected)) = (
        call.data.name("machineId"),
        call.data.text(field),
        call.data.number("expectedVersion"),
    ) else {
        return Answer::Now(failed("Invalid parameters"));
    };
    let (now, faults) = (call.app.now(), call.faults());
    let mut state = call.account().lock();
    let Some(machine) = state.machines.get_mut(id) else {
        return Answer::Now(failed("Machine not found"));
    };
    let is_metadata = field == "metadata";
    let (cell, other) = if is_metadata {
        (&mut machine.metadata, &mut machine.daemon_state)
    } else {
        (&mut machine.daemon_state, &mut machine.metadata)
    };
    let change = cas::change(cell, field, Some(value.to_owned()), expected, faults);
    if let Some(part) = change.written {
        machine.updated_at = now;
        if faults.on(Fault::VersionsShared) {
            other.raise();
        }
        if !is_metadata && call.app.config.policy.state_makes_active {
            machine.active = true;
            machine.active_at = now;
        }
        let filter = RecipientFilter::MachineScopedOnly {
            machine_id: id.to_owned(),
        };
        call.app.update(
            call.account(),
            &mut state,
            filter,
            call.skipped(),
            |stamp| {
                let (metadata, daemon_state) = if is_metadata {
                    (Some(&part), None)
                } else {
                    (None, Some(&part))
                };
                builders::update_machine(id, metadata, daemon_state, stamp)
            },
        );
    }
    Answer::Now(change.answer)
}
