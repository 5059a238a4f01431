//! A client comes or goes. A machine is active while it has a connection, and is announced when its
//! first one comes and when its last one goes.

use std::sync::Arc;

use super::{Context, Outcome};
use crate::announce::Event;
use crate::builders;
use crate::connection::Connection;
use crate::router::{Routed as _, Scope};
use crate::store::Change;

/// A client is connected.
pub(crate) fn enter(cx: &Context<'_>, connection: &Arc<Connection>) -> Outcome<()> {
    let outcome = Outcome::of(()).change(Change::Entered(Arc::clone(connection)));
    match connection.scope() {
        Scope::Machine(id) => outcome.machine(cx, id, true),
        Scope::User | Scope::Session(_) => outcome,
    }
}

/// A client has left: its methods go to those who registered them before.
pub(crate) fn leave(cx: &Context<'_>, connection: &Connection) -> Outcome<()> {
    let id = connection.id();
    let mut outcome = Outcome::of(()).change(Change::Left(id));
    for method in cx.rows.methods.of(id) {
        let (method, connection) = (method.to_owned(), id);
        outcome = outcome.change(Change::Unregistered { method, connection });
    }
    let others = cx.rows.connections().filter(|other| other.id() != id);
    match connection.scope() {
        Scope::Machine(machine)
            if !others
                .into_iter()
                .any(|one| one.scope() == connection.scope()) =>
        {
            outcome.machine(cx, machine, false)
        }
        _ => outcome,
    }
}

impl Outcome<()> {
    /// A machine came or went: its row says so too, if it has one.
    fn machine(self, cx: &Context<'_>, id: &str, active: bool) -> Self {
        let (id, at) = (id.to_owned(), cx.now);
        let told = builders::machine_activity(&id, active, at);
        self.change(Change::MachinePresence { id, active, at })
            .event(Event::ephemeral(told))
    }
}
