//! What the cases of one run share: the target, its pace, and what was learnt about it as a whole.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use url::Url;

use crate::{
    clock::Clock,
    pace::Pace,
    target::{Capability, Target},
};

/// Shared by all cases of a run.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) target: Arc<Target>,
    pub(crate) pace: Pace,
    pub(crate) clock: Clock,
    pub(crate) seed: u64,
    pub(crate) salt: u64,
    /// Whether each case leaves a trace file.
    pub(crate) record: bool,
    /// What the target lacks, with the reason.
    pub(crate) missing: HashMap<Capability, String>,
    next_node: AtomicUsize,
    loses_updates: AtomicBool,
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
            record: false,
            missing,
            next_node: AtomicUsize::new(0),
            loses_updates: AtomicBool::new(false),
        }
    }

    /// The node for the next connection: all take their turn.
    pub(crate) fn next_url(&self) -> Url {
        let turn = self.next_node.fetch_add(1, Ordering::Relaxed);
        self.target.urls[turn % self.target.urls.len()].clone()
    }

    /// Some case has seen a single update get lost.
    pub(crate) fn saw_loss(&self) {
        self.loses_updates.store(true, Ordering::Relaxed);
    }

    /// Whether this server is known to lose single updates, so that one which is missing elsewhere says
    /// nothing about what should have caused it.
    pub(crate) fn loses_updates(&self) -> bool {
        self.loses_updates.load(Ordering::Relaxed)
    }
}
