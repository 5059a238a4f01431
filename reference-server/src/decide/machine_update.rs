//! `machine-update-metadata` and `machine-update-state`: the two parts of a machine that change by
//! themselves. Who writes its daemon's state is active.

use super::versioned::Write;
use super::{Call, Context, Outcome, failed};
use crate::announce::{Event, Update};
use crate::router::RecipientFilter;
use crate::seams::Reply;
use crate::store::{Change, Part};

/// `machine-update-metadata`.
pub(super) fn metadata(cx: &Context<'_>, call: &Call<'_>) -> Outcome<Reply> {
    decide(cx, call, "metadata")
}

/// `machine-update-state`.
pub(super) fn state(cx: &Context<'_>, call: &Call<'_>) -> Outcome<Reply> {
    decide(cx, call, "daemonState")
}

fn decide(cx: &Context<'_>, call: &Call<'_>, field: &str) -> Outcome<Reply> {
    let data = call.data;
    let fields = (
        data.name("machineId"),
        data.text(field),
        data.number("expectedVersion"),
    );
    let (Some(id), Some(value), Some(expected)) = fields else {
        return failed("Invalid parameters");
    };
    let Some(machine) = cx.rows.machines.get(id) else {
        return failed("Machine not found");
    };
    let (id, is_metadata) = (id.to_owned(), field == "metadata");
    let (cell, part) = match is_metadata {
        true => (&machine.metadata, Part::MachineMetadata(id.clone())),
        false => (&machine.daemon_state, Part::MachineState(id.clone())),
    };
    let write = cx.write(cell, Some(value.to_owned()), expected);
    let outcome = Outcome::of(Reply::Ack(write.answer(field)));
    let Write::Next(now) = write else {
        return outcome;
    };
    let change = Change::written(part, &now, cx.now);
    let (metadata, daemon_state) = if is_metadata {
        (Some(now), None)
    } else {
        (None, Some(now))
    };
    let filter = RecipientFilter::MachineScopedOnly {
        machine_id: id.clone(),
    };
    let update = Update::UpdateMachine {
        machine_id: id.clone(),
        metadata,
        daemon_state,
    };
    let outcome = outcome.change(change).event(Event::update(update, filter));
    if is_metadata || !cx.policy().state_makes_active {
        return outcome;
    }
    let (active, at) = (true, cx.now);
    outcome.change(Change::MachinePresence { id, active, at })
}
