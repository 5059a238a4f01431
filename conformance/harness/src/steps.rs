//! Sending inputs one by one, to find the one that ends the server.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::{alive, shared::Shared};

/// How long a server has to live after a case before the case is cleared of killing it, at least. A
/// process that dies of an unhandled rejection was seen to answer for another 200 ms.
pub(crate) const SLOW_DEATH: Duration = Duration::from_millis(500);

/// How often the server is asked meanwhile.
const POLL: Duration = Duration::from_millis(20);

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
        if !alive::is_alive(shared).await {
            return false;
        }
        if Instant::now() >= until {
            return alive::handles_events(shared).await;
        }
    }
}
