//! What the cases of one run share: the target, its pace, and what they have made.
//!
//! Nothing here may change how another case judges: what one case has found out about the server is in
//! its report, and nowhere else.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use touchstone_client::Clock;

use touchstone_client::{Secret, Spawned};
use url::Url;

use crate::inputs::Inputs;
use crate::{
    pace::Pace,
    target::{Capability, Target},
};

/// Shared by all cases of a run.
#[derive(Debug)]
pub struct Shared {
    /// The server under test.
    pub target: Arc<Target>,
    /// How long is waited for what.
    pub pace: Pace,
    /// The wall clock.
    pub clock: Clock,
    /// Where all random choices come from.
    pub(crate) seed: u64,
    pub(crate) salt: u64,
    /// The folder that the trace file of each case goes to.
    pub(crate) traces: Option<String>,
    /// The token of an account whose pings were answered at first, to tell a server that handles no event any
    /// more.
    pub(crate) probe: Option<Secret>,
    /// How long a client may be silent before the server takes it for gone; nothing where that is not known.
    pub(crate) heartbeat: Option<Duration>,
    /// What the target lacks, with the reason.
    pub(crate) missing: HashMap<Capability, String>,
    next_node: AtomicUsize,
    /// The server, where this run has started it.
    pub(crate) server: Option<Spawned>,
    /// What was sent to the server last.
    pub(crate) inputs: Inputs,
    /// The ids of all sessions and machines that were made for this run.
    ids: Mutex<HashSet<String>>,
}

impl Shared {
    pub(crate) fn new(
        target: Arc<Target>,
        clock: Clock,
        seed: u64,
        salt: u64,
        missing: HashMap<Capability, String>,
    ) -> Self {
        Self {
            pace: Pace::new(target.patience, target.settle),
            target,
            clock,
            seed,
            salt,
            traces: None,
            probe: None,
            heartbeat: None,
            missing,
            server: None,
            next_node: AtomicUsize::new(0),
            inputs: Inputs::default(),
            ids: Mutex::default(),
        }
    }

    /// Where the trace file of a case goes.
    pub(crate) fn trace_file(&self, case: &str) -> Option<String> {
        let folder = self.traces.as_ref()?;
        Some(format!("{}/{case}.jsonl", folder.trim_end_matches('/')))
    }

    /// The node for the next connection: all take their turn.
    pub(crate) fn next_url(&self) -> Url {
        let turn = self.next_node.fetch_add(1, Ordering::Relaxed);
        self.target.urls[turn % self.target.urls.len()].clone()
    }

    /// A session or machine with this id was made.
    pub(crate) fn made(&self, id: &str) {
        let mut ids = self.ids.lock().unwrap_or_else(PoisonError::into_inner);
        ids.insert(id.to_owned());
    }

    /// Whether `id` is that of a session or machine that was made for this run.
    pub(crate) fn exists(&self, id: &str) -> bool {
        let ids = self.ids.lock().unwrap_or_else(PoisonError::into_inner);
        ids.contains(id)
    }
}
