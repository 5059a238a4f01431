//! What is done in a round: connections, and phases of steps that run at the same time.

use std::{
    collections::{BTreeSet, HashSet},
    mem::{Discriminant, discriminant},
};

/// How many accounts a plan may use.
pub(crate) const ACCOUNTS: u8 = 2;
/// How many sessions each account has from the beginning, and as many more that steps may make.
pub(crate) const SESSIONS: u8 = 2;
/// How many machines each account has.
pub(crate) const MACHINES: u8 = 2;

/// How many more machines steps may make.
pub(crate) const SPARE: u8 = 2;

/// A round, before it is run. The same seed gives the same plan.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Plan {
    /// Who takes part, besides the observer that each account has.
    pub(crate) cast: Vec<Actor>,
    /// One after the other; the steps of a phase run at the same time, those of one actor in their order.
    pub(crate) phases: Vec<Vec<Step>>,
}

/// A connection that comes at the beginning.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Actor {
    /// Its place among all that a plan may have. The first of them are the observers of the accounts.
    pub(crate) id: u8,
    pub(crate) account: u8,
    pub(crate) scope: Scope,
    pub(crate) wire: Wire,
}

impl Actor {
    /// The node of a cluster that it connects to.
    pub(crate) fn node(&self, nodes: usize) -> usize {
        usize::from(self.id) % nodes
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Scope {
    User,
    /// User-scoped, with the ids of a session and a machine that it does not need.
    Surplus,
    /// The same, with ids of the other account.
    Foreign,
    /// Session-scoped, for a session of the other account.
    ForeignSession,
    Session(u8),
    Machine(u8),
}

impl Scope {
    /// Whether it names what it does not need, or must not have: a server may refuse that.
    pub(crate) fn is_odd(self) -> bool {
        matches!(self, Self::Surplus | Self::Foreign | Self::ForeignSession)
    }

    pub(crate) fn is_user(self) -> bool {
        matches!(self, Self::User | Self::Surplus | Self::Foreign)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Wire {
    WebSocket,
    Polling,
    Upgrade,
}

/// Something that an actor does.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Step {
    pub(crate) actor: u8,
    pub(crate) act: Act,
    /// How often, without waiting for answers in between.
    pub(crate) times: u16,
}

/// Which version a write expects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Expect {
    /// The one that is known.
    Current,
    /// The one before.
    Stale,
    /// One that there will not be.
    Future,
    /// As large as 2^32 and the current one together.
    Wide,
}

/// What a callee does with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Callee {
    /// Answers with the params.
    Echo,
    /// Answers with a value of the catalogue.
    Value(u8),
    /// Answers later.
    Slow,
    /// Answers so late that a time-out may be near.
    Late,
    /// Never answers.
    Silent,
    /// Drops its connection.
    Dies,
    /// Answers without any argument.
    Empty,
}

/// One of the two parts of a session, machine or artifact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Part {
    First,
    Second,
}

/// Which text is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Text {
    /// A short one that was not sent before.
    Plain,
    /// The same, in an odd form of the catalogue.
    Odd(u8),
}

/// What is done with the first row of another account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Foreign {
    /// A part of its session is written.
    Session(Part),
    /// A part of its machine.
    Machine(Part),
    /// The access key of its session is asked for.
    AccessKey,
    /// An access key of its session is made.
    MakeAccessKey,
    /// Usage of its session is reported.
    Usage,
    /// Its id is given to a machine.
    TakeMachine,
    /// Its id is given to an artifact.
    TakeArtifact,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Act {
    Message {
        session: u8,
        /// A localId that others may send, too.
        local: Option<u8>,
        /// Whether a repeated localId has another text.
        differs: bool,
        text: Text,
    },
    WriteSession {
        session: u8,
        part: Part,
        expect: Expect,
        text: Text,
    },
    ClearState {
        session: u8,
    },
    WriteMachine {
        machine: u8,
        part: Part,
        expect: Expect,
        text: Text,
    },
    SessionAlive {
        session: u8,
        thinking: Option<bool>,
    },
    SessionEnd {
        session: u8,
    },
    MachineAlive {
        machine: u8,
    },
    Ping,
    Usage {
        session: Option<u8>,
        key: u8,
    },
    AccessKey {
        session: u8,
        machine: u8,
    },
    ArtifactCreate {
        artifact: u8,
    },
    ArtifactRead {
        artifact: u8,
    },
    ArtifactUpdate {
        artifact: u8,
        header: Option<Expect>,
        body: Option<Expect>,
    },
    ArtifactDelete {
        artifact: u8,
    },
    Register {
        method: u8,
    },
    /// All methods in one burst.
    RegisterAll,
    Unregister {
        method: u8,
    },
    Call {
        method: u8,
        callee: Callee,
        value: u8,
    },
    /// Something with another account's row.
    Foreign(Foreign),
    PostSession {
        tag: u8,
    },
    DeleteSession {
        tag: u8,
    },
    ArchiveSession {
        session: u8,
    },
    PostMessages {
        session: u8,
        local: Option<u8>,
    },
    PostMachine {
        machine: u8,
    },
    PostArtifact {
        artifact: u8,
    },
    ChangeArtifact {
        artifact: u8,
        expect: Expect,
    },
    RemoveArtifact {
        artifact: u8,
    },
    PostAccessKey {
        session: u8,
        machine: u8,
    },
    PutAccessKey {
        session: u8,
        machine: u8,
        expect: Expect,
    },
    WriteKv {
        key: u8,
        expect: Expect,
        other: bool,
    },
    WriteSettings {
        expect: Expect,
    },
    Drop,
    Leave,
    HalfClose,
    StopReading,
    Return,
}

impl Act {
    /// Whether it makes, changes or reads a row otherwise than by the events of sessions and machines.
    pub(crate) fn is_about_rows(&self) -> bool {
        matches!(
            self,
            Self::Usage { .. }
                | Self::AccessKey { .. }
                | Self::ArtifactCreate { .. }
                | Self::ArtifactRead { .. }
                | Self::ArtifactUpdate { .. }
                | Self::ArtifactDelete { .. }
                | Self::Foreign(_)
                | Self::PostSession { .. }
                | Self::DeleteSession { .. }
                | Self::PostMachine { .. }
                | Self::PostArtifact { .. }
                | Self::ChangeArtifact { .. }
                | Self::RemoveArtifact { .. }
                | Self::PostAccessKey { .. }
                | Self::PutAccessKey { .. }
                | Self::WriteKv { .. }
        )
    }
}

/// A part of a plan: a connection with what it does, or all acts of a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Portion {
    Actor(u8),
    Kind(Discriminant<Act>),
}

impl Plan {
    /// The same without the steps whose actors there are not, and without empty phases.
    pub(crate) fn effective(&self) -> Self {
        let there: BTreeSet<u8> = self.cast.iter().map(|actor| actor.id).collect();
        let is_there = |step: &&Step| step.actor < ACCOUNTS || there.contains(&step.actor);
        let phases = self
            .phases
            .iter()
            .map(|phase| phase.iter().filter(is_there).cloned().collect::<Vec<_>>())
            .filter(|phase| !phase.is_empty())
            .collect();
        Self {
            cast: self.cast.clone(),
            phases,
        }
    }

    /// What can be left out of it at once.
    pub(crate) fn parts(&self) -> Vec<Portion> {
        let mut parts: Vec<_> = self
            .cast
            .iter()
            .map(|actor| Portion::Actor(actor.id))
            .collect();
        for step in self.phases.iter().flatten() {
            let kind = Portion::Kind(discriminant(&step.act));
            if !parts.contains(&kind) {
                parts.push(kind);
            }
        }
        parts
    }

    /// The same without these parts, and without what has no effect then.
    pub(crate) fn without(&self, parts: &HashSet<Portion>) -> Self {
        let is_left = |step: &&Step| !parts.contains(&Portion::Kind(discriminant(&step.act)));
        let is_there = |actor: &&Actor| !parts.contains(&Portion::Actor(actor.id));
        let phases = self.phases.iter();
        let plan = Self {
            cast: self.cast.iter().filter(is_there).cloned().collect(),
            phases: phases
                .map(|phase| phase.iter().filter(is_left).cloned().collect())
                .collect(),
        };
        plan.effective()
    }

    /// The accounts that take part. Each has an observer: a user-scoped connection.
    pub(crate) fn accounts(&self) -> BTreeSet<u8> {
        let of_cast = self.cast.iter().map(|actor| actor.account);
        let steps = self.phases.iter().flatten();
        let of_steps = steps
            .filter(|step| step.actor < ACCOUNTS)
            .map(|step| step.actor);
        let needs_other = |step: &Step| matches!(step.act, Act::Foreign(_));
        let others = self.phases.iter().flatten().any(needs_other)
            || self
                .cast
                .iter()
                .any(|actor| matches!(actor.scope, Scope::Foreign | Scope::ForeignSession));
        let all = if others { 0..ACCOUNTS } else { 0..0 };
        of_cast.chain(of_steps).chain(all).collect()
    }

    /// All connections that come at the beginning, the observers first.
    pub(crate) fn actors(&self) -> Vec<Actor> {
        let observers = self.accounts().into_iter().map(|account| Actor {
            id: account,
            account,
            scope: Scope::User,
            wire: Wire::WebSocket,
        });
        observers.chain(self.cast.iter().cloned()).collect()
    }

    /// How many things a person has to do to follow it: connections and steps.
    pub fn len(&self) -> usize {
        self.actors().len() + self.phases.iter().map(Vec::len).sum::<usize>()
    }

    /// Whether nothing is done.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
