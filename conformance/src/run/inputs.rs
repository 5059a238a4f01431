//! What was sent to the server last: whom to suspect when it dies, and which input it was.
//!
//! A server that dies of an input may answer for a moment longer, so whoever notices the death need not be
//! whoever caused it.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::shared::Shared;
use crate::doctor;

/// How long a server has to live after a case before the case is cleared of killing it, at least. A
/// process that dies of an unhandled rejection was seen to answer for another 200 ms.
pub(crate) const SLOW_DEATH: Duration = Duration::from_millis(500);

/// How often the server is asked meanwhile.
const POLL: Duration = Duration::from_millis(20);

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

/// A run of a case that sends its inputs one by one: after each of them the server has to live for a
/// while before the next one is sent.
#[derive(Debug)]
pub(crate) struct Steps {
    linger: Duration,
    killer: Mutex<Option<String>>,
}

impl Steps {
    pub(crate) fn new(linger: Duration) -> Self {
        Self {
            linger,
            killer: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<String>> {
        self.killer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `text` was sent: returns when the server has lived for long enough, or has died of it.
    pub(crate) async fn after(&self, shared: &Shared, text: &str) {
        if self.lock().is_some() || lives_on(shared, self.linger).await {
            return;
        }
        self.lock().get_or_insert_with(|| text.to_owned());
    }

    /// The input of which the server died, if it did.
    pub(crate) fn killer(&self) -> Option<String> {
        self.lock().clone()
    }
}

/// Whether the server still answers for so long, asked again and again with requests that need its event
/// loop, and handles events then.
pub(crate) async fn lives_on(shared: &Shared, linger: Duration) -> bool {
    let until = Instant::now() + linger;
    let mut poll = tokio::time::interval(POLL);
    loop {
        poll.tick().await;
        if !doctor::is_alive(shared).await {
            return false;
        }
        if Instant::now() >= until {
            return doctor::handles_events(shared).await;
        }
    }
}
