//! Who is on stage, and how events and their recipients are described. Plain data.

use tokio::time::Instant;
use touchstone_fixtures::{EPHEMERAL_TYPES, UPDATE_TYPES};

use crate::{focus::Clue, ledger::Requirement, peer::Arrival};

/// The members of the cast.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// User-scoped, account A.
    U1,
    /// Another user-scoped one of account A.
    U2,
    /// Session-scoped on session S1 of account A.
    S1,
    /// Another one on session S1.
    S1B,
    /// Session-scoped on another session of account A.
    S2,
    /// Machine-scoped on machine M1 of account A.
    M1,
    /// Machine-scoped on another machine of account A.
    M2,
    /// User-scoped, account B.
    V1,
    /// Account B, session-scoped with the id of A's session S1.
    VS,
    /// Account B, machine-scoped with the id of A's machine M1.
    VM,
}

impl Role {
    /// Everyone.
    pub const ALL: [Self; 10] = [
        Self::U1,
        Self::U2,
        Self::S1,
        Self::S1B,
        Self::S2,
        Self::M1,
        Self::M2,
        Self::V1,
        Self::VS,
        Self::VM,
    ];

    /// Its name in traces.
    pub fn name(self) -> &'static str {
        match self {
            Self::U1 => "u1",
            Self::U2 => "u2",
            Self::S1 => "s1",
            Self::S1B => "s1b",
            Self::S2 => "s2",
            Self::M1 => "m1",
            Self::M2 => "m2",
            Self::V1 => "v1",
            Self::VS => "vs",
            Self::VM => "vm",
        }
    }

    /// Who the role is, for a reader of the report.
    pub fn described(self) -> &'static str {
        match self {
            Self::U1 => "a user-scoped connection (u1)",
            Self::U2 => "another user-scoped connection (u2)",
            Self::S1 => "a connection of the session (s1)",
            Self::S1B => "another connection of the session (s1b)",
            Self::S2 => "a connection of another session (s2)",
            Self::M1 => "a connection of the machine (m1)",
            Self::M2 => "a connection of another machine (m2)",
            Self::V1 => "a second account's user-scoped connection (v1)",
            Self::VS => "a second account's session connection (vs)",
            Self::VM => "a second account's machine connection (vm)",
        }
    }

    /// The word for what kind of connection it is.
    pub(super) fn scope(self) -> &'static str {
        match self {
            Self::U1 | Self::U2 | Self::V1 => "user-scoped",
            Self::S1 | Self::S1B | Self::S2 | Self::VS => "session-scoped",
            Self::M1 | Self::M2 | Self::VM => "machine-scoped",
        }
    }

    pub(super) fn is_foreign(self) -> bool {
        matches!(self, Self::V1 | Self::VS | Self::VM)
    }
}

/// Which events are meant: a name, a kind, and a marker that occurs in them.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// `update` or `ephemeral`.
    pub(super) event: &'static str,
    pub(super) kind: &'static str,
    marker: String,
    since: Option<Instant>,
}

impl Wanted {
    /// Updates with `body.t` of `kind` that contain `marker`.
    pub fn update(kind: &'static str, marker: impl Into<String>) -> Self {
        Self {
            event: "update",
            kind,
            marker: marker.into(),
            since: None,
        }
    }

    /// Ephemerals of type `kind` that contain `marker`.
    pub fn ephemeral(kind: &'static str, marker: impl Into<String>) -> Self {
        Self {
            event: "ephemeral",
            kind,
            marker: marker.into(),
            since: None,
        }
    }

    /// Whether it is of this kind.
    pub fn is(&self, kind: &str) -> bool {
        self.kind == kind
    }

    /// Only what arrives after `since`.
    pub fn since(self, since: Instant) -> Self {
        Self {
            since: Some(since),
            ..self
        }
    }

    /// What tells its packets.
    pub(crate) fn clue(&self) -> Clue {
        let markers = Some(&self.marker).filter(|marker| !marker.is_empty());
        Clue::of(markers)
    }

    /// The kind of thing that is waited for: `update new-message`.
    pub fn named(&self) -> String {
        format!("{} {}", self.event, self.kind)
    }

    /// Whether `arrival` has the marker and is nothing that the specification knows: what is meant may have
    /// come so.
    pub(super) fn resembles(&self, arrival: &Arrival) -> bool {
        let is_known = match arrival.name.as_str() {
            "update" => arrival
                .kind()
                .is_some_and(|kind| UPDATE_TYPES.contains(&kind)),
            "ephemeral" => arrival
                .kind()
                .is_some_and(|kind| EPHEMERAL_TYPES.contains(&kind)),
            _ => true,
        };
        !is_known
            && !self.marker.is_empty()
            && arrival.raw.contains(&self.marker)
            && self.since.is_none_or(|since| arrival.at > since)
    }

    /// Whether `arrival` is meant.
    pub fn matches(&self, arrival: &Arrival) -> bool {
        arrival.name == self.event
            && arrival.kind() == Some(self.kind)
            && arrival.raw.contains(&self.marker)
            && self.since.is_none_or(|since| arrival.at > since)
    }
}

/// Who has to receive an event, and who must not.
#[derive(Debug)]
pub struct Delivery<'a> {
    /// The event.
    pub wanted: Wanted,
    /// Who receives it exactly once.
    pub reaches: &'a [Role],
    /// Judges that they do.
    pub by: &'static Requirement,
    /// Who does not receive it, each group judged by its requirement. Connections of the other account
    /// need not be named: they never receive anything of this one.
    pub spares: &'a [(&'a [Role], &'static Requirement)],
}
