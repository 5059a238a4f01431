//! The conformance suite: requirements, cases, the harness that runs them, verdicts, and reports.
//!
//! The suite looks at a server from outside, through `touchstone-client`, and judges raw JSON against
//! `touchstone-fixtures`. It must not know any particular server, and no verdict may come from a type
//! that a server is built with. It must not print, exit, or read the environment: [`run`] gives a stream
//! of [`RunEvent`]s, and [`report`] renders them to a writer.
//!
//! Three rules keep verdicts honest. What must not arrive is proved by a sentinel, never by waiting.
//! What is missing is charged to the requirement that is at fault: a server that loses single updates is
//! told so, whatever case met it. And a failure is repeated alone before it stands.

mod absent;
mod baseline;
mod case;
mod cases;
mod catalogue;
mod clock;
mod compare;
mod ctx;
mod doctor;
mod event;
mod evidence;
mod explain;
mod focus;
mod launch;
mod ledger;
mod opaque;
mod pace;
mod peer;
mod plan;
mod provide;
mod readback;
pub mod replay;
pub mod report;
mod run;
mod shape;
mod spawn;
mod stage;
mod target;
mod verdict;
mod words;

pub use baseline::{Baseline, BaselineError, StaleEntry};
pub use case::{Case, cases};
pub use catalogue::catalogue;
pub use clock::Clock;
pub use compare::{Comparison, Recorded};
pub use doctor::{DoctorError, DoctorReport};
pub use event::{
    CaseReport, Dialect, Direction, Reporter, RequirementReport, RunEvent, RunReport, Summary,
    TargetSummary, TraceLine,
};
pub use explain::explain;
pub use focus::{Focus, Part};
pub use launch::{LaunchError, launch};
pub use ledger::{Basis, Level, Requirement, requirements};
pub use plan::{PatternError, Plan, Selection};
pub use run::{RunError, StopSignals, run};
pub use spawn::{Server, SpawnCommand, SpawnError};
pub use target::{Capability, Target, Timeouts};
pub use verdict::{Finding, Mismatch, Verdict};

pub(crate) use touchstone_output::text::error_chain;
