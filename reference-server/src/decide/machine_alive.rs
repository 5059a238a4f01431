//! `machine-alive`: a heartbeat. One that is missing its time or too old is ignored.

use super::{Call, Context, Outcome};
use crate::announce::Event;
use crate::builders;
use crate::seams::Reply;
use crate::store::Change;

pub(super) fn decide(cx: &Context<'_>, call: &Call<'_>) -> Outcome<Reply> {
    let time = cx.heartbeat_time(call.data.number("time"));
    let (Some(id), Some(at)) = (call.data.text("machineId"), time) else {
        let reason = "machineId or time is missing, of a wrong type, or too old";
        return Outcome::of(Reply::Ignored(reason));
    };
    if !cx.rows.machines.contains_key(id) {
        return Outcome::of(Reply::Ignored("the account has no machine of this id"));
    }
    let (id, active) = (id.to_owned(), true);
    let told = builders::machine_activity(&id, active, at);
    Outcome::of(Reply::Nothing)
        .change(Change::MachinePresence { id, active, at })
        .event(Event::ephemeral(told))
}
