//! Who is planned to be there at a moment of an account's schedule, and so who must receive what.

use super::{action::Emit, layout::Account};
use crate::scenario::{EventKind, Role, Scenario, Scope};

/// Who is planned to be there.
#[derive(Debug)]
pub(super) struct Presence {
    pub(super) peers: Vec<Planned>,
    /// Which connections are in a turn; empty where none ever is.
    pub(super) thinking: Vec<bool>,
    users: u32,
    sessions: Vec<u32>,
    machines: Vec<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Planned {
    /// Its shift has not begun, or is over.
    Off,
    Away,
    Here,
    Silent,
}

impl Presence {
    /// Nobody is there yet.
    pub(super) fn new(scenario: &Scenario, account: &Account) -> Self {
        let connections = account.connections() as usize;
        Self {
            peers: vec![Planned::Away; connections],
            thinking: match scenario.turn.as_slice() {
                [] => Vec::new(),
                _ => vec![false; connections],
            },
            users: 0,
            sessions: vec![0; account.sessions as usize],
            machines: vec![0; account.machines as usize],
        }
    }

    /// A connection comes or goes.
    pub(super) fn set(&mut self, account: &Account, peer: u32, planned: Planned) {
        let was = std::mem::replace(&mut self.peers[peer as usize], planned);
        let bound = account.peer(peer);
        let count = match bound.role {
            Role::User => &mut self.users,
            Role::Session => &mut self.sessions[bound.subject as usize],
            Role::Machine => &mut self.machines[bound.subject as usize],
        };
        *count -= u32::from(was == Planned::Here);
        *count += u32::from(planned == Planned::Here);
    }

    /// An event of a connection that is here, with its target, size and choice.
    pub(super) fn emit(
        &self,
        account: &Account,
        sender: u32,
        kind: EventKind,
        of_event: [u32; 3],
    ) -> Emit {
        let [target, size, choice] = of_event;
        let is_thinking = || self.thinking.get(sender as usize).copied();
        Emit {
            kind,
            target,
            size,
            choice,
            thinking: kind == EventKind::SessionAlive && is_thinking().unwrap_or_default(),
            recipients: self.recipients(account, kind, target, sender),
        }
    }

    /// How many connections must receive an event of a connection that is here.
    fn recipients(&self, account: &Account, kind: EventKind, target: u32, sender: u32) -> u32 {
        let bound = account.peer(sender);
        let session = || self.sessions[target as usize];
        match kind.scope() {
            Scope::Nobody => 0,
            Scope::Users => self.users,
            Scope::Session => self.users + session(),
            Scope::SessionWithoutSender => {
                let concerned = bound.role == Role::User
                    || bound.role == Role::Session && bound.subject == target;
                self.users + session() - u32::from(concerned)
            }
            Scope::Machine => self.users + self.machines[target as usize],
            Scope::Callee => u32::from(self.peers[target as usize] == Planned::Here),
        }
    }
}
