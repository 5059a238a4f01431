//! What was sent to the server last: whom to suspect when it dies, and which input it was.
//!
//! A server that dies of an input may answer for a moment longer, so whoever notices the death need not be
//! whoever caused it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

/// Something that was sent to the server.
#[derive(Debug, Clone)]
pub(crate) struct Input {
    pub(crate) at: Instant,
    /// The case that sent it.
    pub(crate) case: String,
    /// What it was, shortened.
    pub(crate) text: String,
}

/// The inputs of a run, as far as they matter for who killed the server.
#[derive(Debug, Default)]
pub(crate) struct Inputs {
    last: Mutex<Option<Input>>,
}

impl Inputs {
    fn lock(&self) -> MutexGuard<'_, Option<Input>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `case` sends this.
    pub(crate) fn note(&self, case: &str, text: String) {
        *self.lock() = Some(Input {
            at: Instant::now(),
            case: case.to_owned(),
            text,
        });
    }

    /// What was sent last.
    pub(crate) fn last(&self) -> Option<Input> {
        self.lock().clone()
    }
}
