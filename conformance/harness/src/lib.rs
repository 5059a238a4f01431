//! What runs cases and judges: ledger, stage, run, verdict, evidence, and reports.
//!
//! The harness knows no case: whoever has some hands in a [`case::Registry`]. It looks at a server from
//! outside, through `touchstone-client`, and judges raw JSON against `touchstone-fixtures`. It must not
//! know any particular server, and no verdict may come from a type that a server is built with. It must
//! not print, exit, or read the environment: [`run`] gives a stream of [`RunEvent`]s, and [`report`]
//! renders them to a writer.
//!
//! Three rules keep verdicts honest. What must not arrive is proved by a sentinel, never by waiting.
//! What is missing is charged to the requirement that is at fault: a server that loses single updates is
//! told so, whatever case met it. And a failure is repeated alone before it stands.

pub mod absent;
mod alive;
mod baseline;
pub mod case;
mod clock;
mod compare;
pub mod ctx;
mod doctor;
mod event;
pub mod evidence;
pub mod focus;
mod inputs;
pub mod ledger;
pub mod marks;
pub mod opaque;
pub mod own;
pub mod pace;
pub mod peer;
mod plan;
pub mod provide;
pub mod report;
mod run;
mod scope;
mod shape;
pub mod shared;
pub mod stage;
mod steps;
mod target;
mod verdict;
pub mod words;

pub use baseline::{Baseline, BaselineError};
pub use case::{Case, Registry};
pub use compare::{Comparison, Recorded};
pub use doctor::DoctorError;
pub use event::{
    CaseReport, Dialect, Direction, DoctorReport, Reporter, RequirementReport, RunEvent, RunReport,
    StaleEntry, Summary, TargetSummary, TraceLine,
};
pub use focus::{Focus, Part};
pub use ledger::{Basis, Level, Requirement};
pub use plan::{PatternError, Plan, Selection};
pub use run::{RunError, run};
pub use target::{Capability, Target, Timeouts};
pub use verdict::{Finding, Mismatch, Verdict};
