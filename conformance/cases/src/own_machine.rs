//! A machine of a case's own, with its connection.

use tokio::time::Instant;

use super::cast::USERS;
use touchstone_harness::{
    case::Flow,
    ctx::{Ctx, Scope},
    peer::{Arrival, Peer},
    stage::{Stage, Wanted},
};

/// A machine with a connection of its own, of whose coming the users have heard, where the server announces
/// it: what they hear next of the machine is its heartbeat.
pub(crate) struct OwnMachine {
    pub(crate) id: String,
    /// Its connection, whose end would be announced as well.
    pub(crate) peer: Peer,
    since: Instant,
}

impl OwnMachine {
    /// Makes and connects it on a stage with both users.
    pub(crate) async fn connect(cx: &mut Ctx, stage: &Stage) -> Flow<Self> {
        const KIND: &str = "machine-activity of a new connection";
        let machine = cx.machine(&stage.account).await?;
        let asked = Instant::now();
        let token = stage.account.token();
        let peer = cx
            .connect("machine", token, Scope::Machine(&machine.id))
            .await?;
        for role in USERS {
            let came = announced(&machine.id, true);
            cx.arrival_since(asked, stage.peer(role), KIND, came).await;
        }
        Ok(Self {
            id: machine.id,
            peer,
            since: Instant::now(),
        })
    }

    /// What announces a heartbeat of it.
    pub(crate) fn heartbeat(&self) -> Wanted {
        Wanted::ephemeral("machine-activity", &self.id).since(self.since)
    }
}

/// Announcements of one machine with one value of `active`.
pub(crate) fn announced(id: &str, active: bool) -> impl Fn(&Arrival) -> bool {
    let wanted = Wanted::ephemeral("machine-activity", id);
    move |arrival| wanted.matches(arrival) && arrival.data["active"] == active
}
