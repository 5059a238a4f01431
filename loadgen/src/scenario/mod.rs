//! Scenarios: who connects to a server, and what they do there.
//!
//! A scenario is a TOML text; `fixtures/scenarios` holds the built-in ones, of which `production`
//! explains every key. Parsing refuses what is unknown or contradicts itself, so that a plan made
//! from a [`Scenario`] cannot fail. Nothing here draws random numbers or knows a clock.

mod check;
mod connection;
mod event;
mod quantity;
mod recorded;

pub use self::{
    connection::{Churn, HalfOpen, Herd, How, Shift, Slow, Turn},
    event::{EventKind, Scope},
    quantity::{Load, Permille, Scale, ScaleError, Size, Span},
    recorded::Recorded,
};

use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use touchstone_output::suggest::problem;

/// Why a text is no scenario. One line, with the place and what was perhaps meant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("scenario {name}: {problem}")]
pub struct ScenarioError {
    /// The scenario's name or path.
    pub name: String,
    /// What is wrong with it, and where.
    pub problem: String,
}

/// A whole scenario. All of its counts are those at scale 1.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Scenario {
    /// The name of a built-in scenario, or the path of a file; reports show it.
    #[serde(skip)]
    pub name: String,
    /// One sentence on what it is good for.
    pub description: String,
    /// How many of each there are.
    pub population: Population,
    /// How connections come about.
    #[serde(default)]
    pub connect: Connect,
    /// What user-scoped connections do besides traffic.
    #[serde(default)]
    pub user: RoleRules,
    /// What session-scoped connections do besides traffic.
    #[serde(default)]
    pub session: RoleRules,
    /// What machine-scoped connections do besides traffic.
    #[serde(default)]
    pub machine: RoleRules,
    /// How callees answer.
    #[serde(default)]
    pub rpc: Rpc,
    /// The parts of the run, in order.
    pub phases: Vec<Phase>,
    /// What is emitted.
    #[serde(default)]
    pub traffic: Vec<Traffic>,
    /// Agents that think and rest in turn.
    #[serde(default)]
    pub turn: Vec<Turn>,
    /// Agents that begin while the run lasts, and end for good.
    #[serde(default)]
    pub shift: Vec<Shift>,
    /// Connections that come and go all the time.
    #[serde(default)]
    pub churn: Vec<Churn>,
    /// Connections that drop at once and come back.
    #[serde(default)]
    pub herd: Vec<Herd>,
    /// Connections that stop reading for a while.
    #[serde(default)]
    pub slow: Vec<Slow>,
    /// Connections that fall silent and stay open.
    #[serde(default)]
    pub half_open: Vec<HalfOpen>,
    /// When a delivery counts as late or lost.
    #[serde(default)]
    pub audit: AuditRules,
    /// Beyond what the result says more about this machine than about the server.
    #[serde(default)]
    pub bounds: Bounds,
    /// What the result must satisfy, as CEL expressions over the report.
    #[serde(default)]
    pub slo: Vec<String>,
}

/// How many accounts there are, and how many connections of each role in all of them together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Population {
    /// Accounts. All else is spread evenly over them.
    pub accounts: u32,
    /// User-scoped connections.
    #[serde(default)]
    pub users: u32,
    /// Sessions, each with `per-session` session-scoped connections.
    #[serde(default)]
    pub sessions: u32,
    /// Connections of each session.
    #[serde(default = "one")]
    pub per_session: u32,
    /// Machines, each with one machine-scoped connection.
    #[serde(default)]
    pub machines: u32,
    /// What a scale multiplies.
    #[serde(default)]
    pub scales: Scales,
}

/// What a scale multiplies.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scales {
    /// Accounts, and with them everything.
    #[default]
    Accounts,
    /// User-scoped connections alone.
    Users,
    /// Sessions alone.
    Sessions,
    /// Machines alone.
    Machines,
}

/// How connections come about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Connect {
    /// The time over which the first connections are spread evenly.
    pub ramp: Span,
    /// How long an attempt may take.
    pub timeout: Span,
}

impl Default for Connect {
    fn default() -> Self {
        Self {
            ramp: Span::from_secs(1),
            timeout: Span::from_secs(20),
        }
    }
}

/// What each connection of a role does besides traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct RoleRules {
    /// RPC methods that are registered right behind CONNECT.
    pub registrations: u32,
    /// Whether the state is written right behind CONNECT, as daemons and agents do.
    pub write_state: bool,
    /// Whether a heartbeat is sent right behind CONNECT, as daemons do.
    pub alive_on_connect: bool,
    /// Whether the first heartbeat after an outage is as old as that, as those of agents are.
    pub stale_heartbeat: bool,
    /// The time after which a connection that the server ended, or that failed, is tried again.
    pub retry: Span,
    /// The distance of further attempts from the first one, however long each takes. Without it, each
    /// comes `retry` after the failure of the one before.
    pub retry_grid: Span,
    /// How much longer all this may be, at random.
    pub retry_jitter: Span,
}

impl Default for RoleRules {
    fn default() -> Self {
        Self {
            registrations: 0,
            write_state: false,
            alive_on_connect: false,
            stale_heartbeat: false,
            retry: Span::from_secs(1),
            retry_grid: Span::ZERO,
            retry_jitter: Span::ZERO,
        }
    }
}

/// How callees answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Rpc {
    /// How long a callee works before it answers.
    pub handler_delay: Span,
    /// How much longer that may be, at random.
    pub handler_jitter: Span,
    /// How long a caller, or whoever else asked for an ack, waits.
    pub timeout: Span,
}

impl Default for Rpc {
    fn default() -> Self {
        Self {
            handler_delay: Span::ZERO,
            handler_jitter: Span::ZERO,
            timeout: Span::from_secs(30),
        }
    }
}

/// A part of the run.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Phase {
    /// What reports call it.
    pub name: String,
    /// How long it lasts.
    pub duration: Span,
    /// By what all rates are multiplied; two numbers are a ramp from one to the other.
    #[serde(default)]
    pub load: Load,
    /// Whether its latencies count. Deliveries are always audited.
    #[serde(default = "yes")]
    pub counted: bool,
}

/// The three kinds of connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// A user's app, which hears of everything.
    User,
    /// An agent, bound to a session.
    Session,
    /// A daemon, bound to a machine.
    Machine,
}

impl Role {
    /// Each role, in the order in which an account's connections are numbered.
    pub const ALL: [Self; 3] = [Self::User, Self::Session, Self::Machine];

    /// The role in one word.
    pub fn word(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Session => "session",
            Self::Machine => "machine",
        }
    }

    /// The role's `clientType` in CONNECT.
    pub fn client_type(self) -> &'static str {
        match self {
            Self::User => "user-scoped",
            Self::Session => "session-scoped",
            Self::Machine => "machine-scoped",
        }
    }
}

/// Something that connections of one role emit again and again.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Traffic {
    /// Who emits it.
    pub from: Role,
    /// What is emitted.
    pub event: EventKind,
    /// The mean time between two emits of one connection at load 1.
    pub every: Span,
    /// How emits follow one another.
    #[serde(default)]
    pub timing: Timing,
    /// How many are emitted at once each time.
    #[serde(default = "one")]
    pub burst: u32,
    /// The share of the role's connections that do this.
    #[serde(default = "everyone")]
    pub share: Permille,
    /// Bytes of opaque content.
    #[serde(default)]
    pub size: Size,
    /// Which of the account's sessions or machines it concerns, or who is called.
    #[serde(default)]
    pub to: Aim,
}

/// How emits follow one another.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Timing {
    /// Independent of each other, as people are.
    #[default]
    Poisson,
    /// At equal distances, as timers are; each connection starts at a random moment.
    Periodic,
}

/// Which of an account's sessions or machines an event concerns.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Aim {
    /// The sender's own; for user-scoped connections, and for calls, a random one.
    #[default]
    Own,
    /// A random one each time.
    Any,
    /// The account's first, so that all contend for it.
    First,
}

/// When a delivery counts as late or lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct AuditRules {
    /// From the planned send to the arrival; what takes longer is late.
    pub late_after: Span,
    /// What has not arrived is lost once something that was sent so much later has arrived at the
    /// same connection, or once nothing has for so long. A run waits four times as long at its end.
    pub lost_after: Span,
    /// How long after its CONNECT answer a connection may miss events without blame, and how long
    /// before its DISCONNECT what it sends may be lost.
    pub grace: Span,
}

impl Default for AuditRules {
    fn default() -> Self {
        Self {
            late_after: Span::from_secs(2),
            lost_after: Span::from_secs(15),
            grace: Span::from_millis(250),
        }
    }
}

/// Beyond what the load is not that of the scenario, and the run is invalid. At least ten events have to
/// be late or unsent for that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Bounds {
    /// The 99th percentile of the time from the planned to the actual send.
    pub lag_p99: Span,
    /// The share of its cores that the generator may use.
    pub cpu: Permille,
    /// The share of planned emits that may stay unsent.
    pub unsent: Permille,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            lag_p99: Span::from_millis(20),
            cpu: Permille::new(900),
            unsent: Permille::new(1),
        }
    }
}

impl Bounds {
    /// Whether the generator uses more of its cores than it may.
    pub(crate) fn is_busy(&self, share: f64) -> bool {
        share * 1000.0 > self.cpu.get() as f64
    }
}

impl Scenario {
    /// Parses the text of a scenario; `name` is for messages and reports.
    ///
    /// # Errors
    /// It is no TOML, has unknown or missing keys, or contradicts itself.
    pub fn parse(name: &str, text: &str) -> Result<Self, ScenarioError> {
        let wrong = |problem| ScenarioError {
            name: name.to_owned(),
            problem,
        };
        let mut scenario: Self = toml::from_str(text).map_err(|error| {
            let at = error.span().map(|span| span.start);
            wrong(problem(text, at, error.message()))
        })?;
        name.clone_into(&mut scenario.name);
        check::consistent(&scenario).map_err(wrong)?;
        Ok(scenario)
    }

    /// Multiplies the population; what exists stays at least one.
    ///
    /// # Errors
    /// The result has more than a million of anything.
    pub fn scaled(mut self, scale: Scale) -> Result<Self, ScenarioError> {
        let population = &mut self.population;
        let counts: &mut [&mut u32] = match population.scales {
            Scales::Accounts => &mut [
                &mut population.accounts,
                &mut population.users,
                &mut population.sessions,
                &mut population.machines,
            ],
            Scales::Users => &mut [&mut population.users],
            Scales::Sessions => &mut [&mut population.sessions],
            Scales::Machines => &mut [&mut population.machines],
        };
        for count in counts {
            **count = scale.of(**count);
        }
        match check::consistent(&self) {
            Ok(()) => Ok(self),
            Err(problem) => Err(ScenarioError {
                problem: format!("at scale {scale}: {problem}"),
                name: self.name,
            }),
        }
    }

    /// Makes all phases together last `duration`: the last counted one is shortened or
    /// lengthened.
    ///
    /// # Errors
    /// The other phases alone last longer.
    pub fn lasting(mut self, duration: Span) -> Result<Self, ScenarioError> {
        let total = self.duration();
        let Some(last) = self.phases.iter_mut().rev().find(|phase| phase.counted) else {
            return Ok(self);
        };
        let others = total.us() - last.duration.us();
        if duration.us() <= others {
            return Err(ScenarioError {
                name: self.name,
                problem: format!(
                    "a duration of {duration} leaves nothing for phase {:?}: the other phases \
                     alone last {}",
                    last.name,
                    Span::from_us(others)
                ),
            });
        }
        last.duration = Span::from_us(duration.us() - others);
        Ok(self)
    }

    /// A fingerprint of what it says: 64 hexadecimal digits. Name, description, comments and layout
    /// do not count, and a scaled scenario is another one.
    pub fn digest(&self) -> String {
        let mut said = self.clone();
        said.name.clear();
        said.description.clear();
        let digest = Sha256::digest(format!("{said:?}"));
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// How long all phases last together.
    pub fn duration(&self) -> Span {
        Span::from_us(self.phases.iter().map(|phase| phase.duration.us()).sum())
    }

    /// The connections of all roles together.
    pub fn connections(&self) -> u64 {
        let Population {
            users,
            sessions,
            per_session,
            machines,
            ..
        } = self.population;
        u64::from(users) + u64::from(sessions) * u64::from(per_session) + u64::from(machines)
    }

    /// What connections of a role do besides traffic.
    pub fn rules(&self, role: Role) -> &RoleRules {
        match role {
            Role::User => &self.user,
            Role::Session => &self.session,
            Role::Machine => &self.machine,
        }
    }
}

fn one() -> u32 {
    1
}

fn yes() -> bool {
    true
}

fn everyone() -> Permille {
    Permille::new(1000)
}

#[cfg(test)]
mod tests;
