//! What both directions of a connection know.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use crate::gate::{Gates, Shared};

/// What both directions of a connection know.
pub(crate) struct LinkState {
    gate: Mutex<Shared>,
    /// The polls that wait for their answers: their numbers, and their sessions where they have one.
    polls: Mutex<VecDeque<(u64, Option<String>)>>,
}

impl LinkState {
    pub(crate) fn new(gates: &Gates) -> Self {
        Self {
            gate: Mutex::new(Shared::new(gates())),
            polls: Mutex::default(),
        }
    }

    pub(super) fn gate(&self) -> Shared {
        let gate = self.gate.lock();
        gate.unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn become_of(&self, session: Shared) {
        *self.gate.lock().unwrap_or_else(PoisonError::into_inner) = session;
    }

    pub(super) fn expect_poll(&self, number: u64, sid: Option<String>) {
        let mut polls = self.polls.lock().unwrap_or_else(PoisonError::into_inner);
        polls.push_back((number, sid));
    }

    /// The session of the poll that this is the answer to; nothing inside where it opens one.
    pub(super) fn polled(&self, number: u64) -> Option<Option<String>> {
        let mut polls = self.polls.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some((poll, sid)) = polls.pop_front_if(|(poll, _)| *poll <= number) {
            if poll == number {
                return Some(sid);
            }
        }
        None
    }
}
