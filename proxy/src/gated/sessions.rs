//! Engine.IO sessions by their id: packets of one come on several connections, in the bodies of requests and
//! of answers.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use touchstone_client::Frame as Packet;

use crate::gate::Shared;
use crate::scan::Side;

/// Sessions of which nothing came for so long are forgotten: heartbeats come more often.
const PATIENCE: Duration = Duration::from_secs(600);
/// How many packets of the proxy itself may wait for one side.
const INSERTED: usize = 64;

/// The sessions that were opened by long-polling.
#[derive(Default)]
pub(crate) struct Sessions(Mutex<HashMap<String, Arc<Session>>>);

/// One of them.
pub(super) struct Session {
    pub(super) gate: Shared,
    state: Mutex<State>,
}

struct State {
    used: Instant,
    from_client: Queued,
    from_server: Queued,
}

/// What goes on with the next body that one side sends.
#[derive(Default)]
struct Queued {
    /// Packets of the proxy itself.
    inserted: Vec<Packet>,
    /// A message that goes on behind the next one.
    behind: Option<Vec<Packet>>,
}

impl Sessions {
    pub(super) fn get(&self, sid: &str) -> Option<Arc<Session>> {
        let session = self.sessions().get(sid).cloned()?;
        session.state().used = Instant::now();
        Some(session)
    }

    pub(super) fn open(&self, sid: &str, gate: Shared) -> Arc<Session> {
        let now = Instant::now();
        let session = Arc::new(Session {
            gate,
            state: Mutex::new(State {
                used: now,
                from_client: Queued::default(),
                from_server: Queued::default(),
            }),
        });
        let mut sessions = self.sessions();
        sessions.retain(|_, one| now.saturating_duration_since(one.state().used) < PATIENCE);
        sessions.insert(sid.to_owned(), Arc::clone(&session));
        session
    }

    fn sessions(&self) -> MutexGuard<'_, HashMap<String, Arc<Session>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Session {
    /// Lets a packet go on with the next body that `from` sends.
    pub(super) fn insert(&self, from: Side, packet: Packet) {
        self.with(from, |queued| {
            if queued.inserted.len() < INSERTED {
                queued.inserted.push(packet);
            }
        });
    }

    pub(super) fn take_inserted(&self, from: Side) -> Vec<Packet> {
        self.with(from, |queued| std::mem::take(&mut queued.inserted))
    }

    pub(super) fn has_behind(&self, from: Side) -> bool {
        self.with(from, |queued| queued.behind.is_some())
    }

    pub(super) fn put_behind(&self, from: Side, packets: Vec<Packet>) {
        self.with(from, |queued| queued.behind = Some(packets));
    }

    pub(super) fn take_behind(&self, from: Side) -> Option<Vec<Packet>> {
        self.with(from, |queued| queued.behind.take())
    }

    fn with<T>(&self, from: Side, act: impl FnOnce(&mut Queued) -> T) -> T {
        let mut state = self.state();
        match from {
            Side::Client => act(&mut state.from_client),
            Side::Server => act(&mut state.from_server),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
