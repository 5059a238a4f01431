//! What connections go through besides what they send: turns, shifts, coming and going, stalling.

use serde::Deserialize;

use super::{Permille, Role, Span, everyone};

/// Session-scoped connections that think and rest in turn. They say so with a heartbeat at each
/// change, and with each in between.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Turn {
    /// The share of the session-scoped connections that do this.
    #[serde(default = "everyone")]
    pub share: Permille,
    /// The mean time that a turn takes at load 1.
    pub lasts: Span,
    /// The mean time until the next one at load 1.
    pub pause: Span,
}

/// Session-scoped connections that open at any time after the ramp and end for good, as agents do: with
/// a last write of the metadata, `session-end` and a `ping`, of which the answer is awaited.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Shift {
    /// The share of the session-scoped connections that do this.
    #[serde(default = "everyone")]
    pub share: Permille,
    /// The mean time from the beginning to the end.
    pub online: Span,
}

/// How a connection is dropped.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum How {
    /// With a DISCONNECT packet, as official clients leave.
    #[default]
    Disconnect,
    /// With a TCP reset, as processes die.
    Abort,
}

/// Connections that come and go all the time.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Churn {
    /// Whose connections.
    pub from: Role,
    /// The share of the role's connections that do this.
    #[serde(default = "everyone")]
    pub share: Permille,
    /// The mean time that a connection stays.
    pub online: Span,
    /// The mean time until it is back.
    pub offline: Span,
    /// How it leaves.
    #[serde(default)]
    pub how: How,
}

/// Connections that drop at once and come back, as after the restart of a proxy.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Herd {
    /// When, from the beginning of the run.
    pub at: Span,
    /// Whose connections.
    pub from: Vec<Role>,
    /// The share of the roles' connections that drop.
    #[serde(default = "everyone")]
    pub share: Permille,
    /// When they are back.
    pub back_after: Span,
    /// How much later that may be, at random.
    #[serde(default)]
    pub back_jitter: Span,
    /// How they leave.
    #[serde(default)]
    pub how: How,
}

/// Connections that stop reading for a while, again and again.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Slow {
    /// Whose connections.
    pub from: Role,
    /// The share of the role's connections that do this.
    #[serde(default = "everyone")]
    pub share: Permille,
    /// The mean time between two stops.
    pub every: Span,
    /// How long they read nothing.
    pub stop: Span,
}

/// Connections that fall silent and stay open: they read nothing and answer no pings any more.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct HalfOpen {
    /// Whose connections.
    pub from: Role,
    /// The share of the role's connections that do this.
    pub share: Permille,
    /// When, from the beginning of the run.
    pub at: Span,
}
