//! `POST /v1/machines`: the machine of an id, made and announced at first sight, in two updates.

use super::{Context, Outcome};
use crate::announce::{Event, Update};
use crate::builders::MachineRow;
use crate::router::RecipientFilter;
use crate::store::{Change, Machine};

pub(crate) struct Create {
    pub(crate) id: String,
    pub(crate) metadata: String,
    pub(crate) daemon_state: Option<String>,
    pub(crate) key: Option<String>,
    /// Whether another account has a machine of this id.
    pub(crate) is_foreign: bool,
}

/// `None` if another account has the machine.
pub(crate) fn decide(cx: &Context<'_>, asked: Create) -> Outcome<Option<MachineRow>> {
    if let Some(known) = cx.rows.machine(&asked.id) {
        return Outcome::of(Some(known));
    }
    if asked.is_foreign {
        return Outcome::of(None);
    }
    let machine = Machine {
        metadata: cx.new_cell(Some(asked.metadata)),
        daemon_state: cx.new_cell(asked.daemon_state),
        data_encryption_key: asked.key,
        // A machine whose daemon connected before it was provisioned is already there.
        active: cx.rows.registry.has_machine(&asked.id),
        active_at: cx.now,
        created_at: cx.now,
        updated_at: cx.now,
        id: asked.id,
    };
    let (row, machine_id) = (machine.row(), machine.id.clone());
    let filter = RecipientFilter::MachineScopedOnly {
        machine_id: machine_id.clone(),
    };
    let first = Update::NewMachine(row.clone());
    let second = Update::UpdateMachine {
        machine_id,
        metadata: Some(machine.metadata.versioned()),
        daemon_state: None,
    };
    Outcome::of(Some(row))
        .change(Change::MachineCreated(Box::new(machine)))
        .event(Event::update(first, RecipientFilter::UserScopedOnly))
        .event(Event::update(second, filter))
}
