//! Events that are handled too late.

use std::sync::Arc;
use std::time::Duration;

use touchstone_reference_server::seams::{
    Call, Cause, ConnectionId, Effects, Reply, Routed as _, Rows, Seams, Server, Wait,
};

use crate::liberties::Lanes;
use crate::{Fault, Faults};

/// How long an event waits: longer than its connection needs to end, where it ends behind it.
const MOMENT: Duration = Duration::from_millis(40);

/// Events that are handled too late.
#[derive(Debug)]
pub(crate) struct LateEvents {
    faults: Faults,
    lanes: Lanes<ConnectionId>,
}

impl LateEvents {
    pub(crate) fn new(faults: Faults) -> Self {
        Self {
            faults,
            lanes: Lanes::new(),
        }
    }
}

impl Seams for LateEvents {
    fn before_call(&self, _server: &Server, call: &Call<'_>) -> Option<Wait> {
        let is_late = self.faults.on(Fault::LastEventsLost);
        is_late.then(|| self.lanes.enter(call.connection.id(), MOMENT))
    }

    fn outcome(
        &self,
        _server: &Arc<Server>,
        cause: &Cause<'_>,
        rows: &Rows,
        effects: &mut Effects,
        _reply: Option<&mut Reply>,
    ) {
        let is_event = !["enter", "leave"].contains(&cause.name);
        if is_event
            && self.faults.on(Fault::LastEventsLost)
            && let Some(sender) = cause.connection
            && rows.connections().all(|one| one.id() != sender.id())
        {
            *effects = Effects::default();
        }
    }
}
