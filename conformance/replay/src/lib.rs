//! Replay: the client side of a recording is sent to a server again, and what the server does is held
//! against what was recorded.
//!
//! `read` makes a `script` of a trace: what clients did, and what was `heard` of the server. `drive` carries
//! it out, behind what has to be there before (`prepare`) and in the names of now (`translate`), while
//! `listen` hears the server anew. What must hold of any history is `judged` in both. `compare` holds one
//! against the other as a pure function: `pairing` finds the counterpart of each thing, with the ids
//! that `names` has learned. What the recording settles (`settled`, by `calls` and connections `outside`
//! of the contract) and the `contract` determines is compared one to one; everything else is an
//! observation. Whether the failure of a case is mended is decided by the case itself, which the caller
//! runs again.

mod alike;
mod awaited;
mod barrier;
mod calls;
mod compare;
mod contract;
mod drive;
mod found;
mod heard;
mod judged;
mod listen;
mod markdown;
mod names;
mod outcome;
mod outside;
mod page;
mod pairing;
mod payload;
mod prepare;
mod read;
mod render;
mod report;
mod request;
mod script;
mod settled;
#[cfg(test)]
mod testing;
mod translate;

use std::{
    panic::resume_unwind,
    path::PathBuf,
    sync::{Mutex, MutexGuard, PoisonError, atomic::AtomicUsize},
    time::Duration,
};

use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;
use touchstone_client::trace::TraceError;

pub use self::judged::Judged;
pub use self::outcome::{Item, Outcome};
pub use self::payload::Difference;
pub use self::render::SCHEMA;
pub use self::report::{Counts, Repair, ReplayReport, ReplayRun, Replayed, Unsent};
pub use self::script::{RecordedCase, Recording};
use touchstone_client::Clock;
use touchstone_harness::Target;

/// Why a recording could not be replayed at all.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// The file is no trace.
    #[error("cannot read the trace {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: TraceError,
    },
    /// The trace holds nothing that a client sent.
    #[error("nothing to replay in {path}: no client sends anything in it")]
    NothingSent {
        /// The file.
        path: PathBuf,
    },
    /// The trace lacks its beginning, so that what follows would mean something else.
    #[error("{path} lacks its beginning: {mark}")]
    Incomplete {
        /// The file.
        path: PathBuf,
        /// What its recorder says about it.
        mark: String,
    },
    /// The server does not answer.
    #[error("{0}")]
    Unreachable(String),
}

/// How to replay.
#[derive(Debug)]
pub struct ReplayPlan<'a> {
    /// The server.
    pub target: &'a Target,
    /// How many times as fast as it was recorded; as fast as the server allows where none. Either way
    /// a step waits for what its client had received before it in the recording.
    pub speed: Option<f64>,
    /// Where new names come from: the same seed on a server that remembers finds the old accounts.
    pub seed: u64,
    /// Where the wall clock is read.
    pub clock: Clock,
    /// Ends the replay; what was replayed by then is compared.
    pub stop: CancellationToken,
    /// Counts the steps that were sent, of this recording and of others.
    pub sent: &'a AtomicUsize,
}

/// How long something that was recorded is waited for beyond the time that it took then. The least of
/// them; slow servers are given more.
const PATIENCE: Duration = Duration::from_secs(3);

/// Replays a recording.
///
/// # Errors
/// The server cannot be reached. That single steps cannot be carried out is part of the report.
pub async fn replay(
    mut recording: Recording,
    plan: &ReplayPlan<'_>,
) -> Result<ReplayReport, ReplayError> {
    let started = tokio::time::Instant::now();
    let started_at = plan.clock.unix_ms();
    let settled = settled::Settled::new(&recording);
    let mut played = drive::play(&recording, plan, &settled).await?;
    // A long recording takes a while, in which whoever waits for the report may change their mind.
    let compared = spawn_blocking(move || {
        let verdicts = compare::compare(&mut recording, &mut played, &settled);
        (recording, played, verdicts)
    });
    let (recording, played, verdicts) = match compared.await {
        Ok(compared) => compared,
        Err(error) => resume_unwind(error.into_panic()),
    };
    let mut unsent = played.unsent;
    unsent.extend(verdicts.unsent);
    let is_blocked = |item: &Item| matches!(item.outcome, Outcome::Blocked { .. });
    let is_whole =
        !played.interrupted && unsent.is_empty() && !verdicts.items.iter().any(is_blocked);
    Ok(ReplayReport {
        started_at,
        duration: started.elapsed(),
        trace: recording.path,
        recorded_by: recording.header.tool,
        recorded_from: recording.header.target,
        case: recording.case,
        judged: judged::judged(&recording.violations, &played.violations, is_whole),
        items: verdicts.items,
        unsent,
        decisions: recording.decisions,
        interrupted: played.interrupted,
        repair: None,
    })
}

/// Nothing that holds these locks can panic half-way, so a poisoned one is still sound.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
