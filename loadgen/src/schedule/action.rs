//! What a connection can do, and what it says when it has opened.

use crate::scenario::{EventKind, How, Role, RoleRules, Scenario, Span};

/// Something that one connection does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Action {
    /// When, in microseconds from the start of the schedule.
    pub at: u64,
    /// Which of the account's connections.
    pub peer: u32,
    /// What.
    pub what: What,
}

/// What a connection can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// It opens.
    Connect,
    /// It ends.
    Drop(How),
    /// It ends for good, once its last ping is answered.
    Leave,
    /// It reads nothing until it resumes.
    StopReading,
    /// It reads again.
    ResumeReading,
    /// It reads nothing and answers no pings any more.
    FallSilent,
    /// It emits an event.
    Emit(Emit),
}

/// An event to be emitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Emit {
    /// Which event.
    pub kind: EventKind,
    /// Which of the account's sessions or machines it concerns; for a call, which connection is
    /// called.
    pub target: u32,
    /// Bytes of opaque content; for a call, of its parameters.
    pub size: u32,
    /// A number of its own: it chooses the method of a call, and how long its callee works.
    pub choice: u32,
    /// Whether the sender is in a turn; heartbeats say so.
    pub thinking: bool,
    /// How many connections must receive it, if all live as planned.
    pub recipients: u32,
}

impl Action {
    /// The bytes that stand for it in the schedule's digest.
    pub(super) fn canonical(&self) -> [u8; 40] {
        let (tag, fields) = match self.what {
            What::Connect => (0, [0; 5]),
            What::Drop(How::Disconnect) => (1, [0; 5]),
            What::Drop(How::Abort) => (2, [0; 5]),
            What::StopReading => (3, [0; 5]),
            What::ResumeReading => (4, [0; 5]),
            What::FallSilent => (5, [0; 5]),
            What::Leave => (7, [0; 5]),
            What::Emit(emit) => {
                let kind = u32::try_from(emit.kind.index()).unwrap_or(u32::MAX);
                // In a place that is 0 otherwise, so that schedules without turns are what they were.
                let kind = kind | u32::from(emit.thinking) << 16;
                (
                    6,
                    [kind, emit.target, emit.size, emit.choice, emit.recipients],
                )
            }
        };
        let mut bytes = [0; 40];
        bytes[..8].copy_from_slice(&self.at.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.peer.to_le_bytes());
        bytes[12..16].copy_from_slice(&u32::to_le_bytes(tag));
        for (place, field) in bytes[16..].chunks_exact_mut(4).zip(fields) {
            place.copy_from_slice(&field.to_le_bytes());
        }
        bytes
    }
}

/// Bytes of opaque content in what is written right behind CONNECT.
pub(crate) const INTRODUCTION: u32 = 120;

/// The events that a connection emits right behind CONNECT, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Introduction {
    /// The heartbeat that it could not send before.
    pub(crate) stale: Option<EventKind>,
    /// Its state.
    pub(crate) write: Option<EventKind>,
    /// A heartbeat, behind the methods that it registers.
    pub(crate) alive: Option<EventKind>,
}

impl Introduction {
    /// What a connection of this role says; `is_torn` where it did not want the one before to end.
    pub(crate) fn of(rules: &RoleRules, role: Role, is_torn: bool) -> Self {
        let (alive, write) = match role {
            Role::Machine => (EventKind::MachineAlive, EventKind::MachineUpdateState),
            Role::Session | Role::User => (EventKind::SessionAlive, EventKind::UpdateState),
        };
        Self {
            stale: (is_torn && rules.stale_heartbeat).then_some(alive),
            write: rules.write_state.then_some(write),
            alive: rules.alive_on_connect.then_some(alive),
        }
    }
}

/// How long a callee works on a call with this `choice`.
pub(crate) fn handler_delay(scenario: &Scenario, choice: u32) -> Span {
    let rpc = &scenario.rpc;
    let jitter = (u128::from(rpc.handler_jitter.us()) * u128::from(choice)) >> 32;
    Span::from_us(rpc.handler_delay.us() + u64::try_from(jitter).unwrap_or_default())
}
