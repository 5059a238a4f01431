//! When things happen: side by side, late, and late answers.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::oneshot;
use touchstone_reference_server::seams::{
    Call, Connection, ConnectionId, Frame, HttpRequest, Routed as _, Seams, Server, Wait,
};

/// Waits for so long and for nobody.
pub(crate) fn after(time: Duration) -> Wait {
    Box::pin(async move {
        tokio::time::sleep(time).await;
        Box::new(()) as Box<dyn Send>
    })
}

/// Queues, by a key, in which each waits for the one before it.
#[derive(Debug)]
pub(crate) struct Lanes<K>(Arc<Mutex<HashMap<K, Last>>>);

/// The last one in a queue: its number, and what fails when it is done.
#[derive(Debug)]
struct Last {
    number: u64,
    done: oneshot::Receiver<()>,
}

/// Held by who is at work; the next one goes on when it is dropped.
struct Turn<K: Eq + Hash> {
    lanes: Arc<Mutex<HashMap<K, Last>>>,
    key: K,
    number: u64,
    _done: oneshot::Sender<()>,
}

impl<K: Eq + Hash> Drop for Turn<K> {
    fn drop(&mut self) {
        let mut lanes = lock(&self.lanes);
        if lanes
            .get(&self.key)
            .is_some_and(|last| last.number == self.number)
        {
            lanes.remove(&self.key);
        }
    }
}

impl<K: Clone + Eq + Hash + Send + 'static> Lanes<K> {
    pub(crate) fn new() -> Self {
        Self(Arc::default())
    }

    /// Waits for so long, and for whoever has entered the queue before.
    pub(crate) fn enter(&self, key: K, time: Duration) -> Wait {
        let (sender, receiver) = oneshot::channel();
        let mut lanes = lock(&self.0);
        let before = lanes.remove(&key);
        let number = before.as_ref().map_or(0, |before| before.number + 1);
        let last = Last {
            number,
            done: receiver,
        };
        lanes.insert(key.clone(), last);
        let turn = Turn {
            lanes: Arc::clone(&self.0),
            key,
            number,
            _done: sender,
        };
        Box::pin(async move {
            tokio::time::sleep(time).await;
            if let Some(before) = before {
                // It fails once the one before is done, and never yields anything.
                let _ = before.done.await;
            }
            Box::new(turn) as Box<dyn Send>
        })
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Each event is handled some milliseconds after it came. Messages of a connection to one session keep
/// their order, and so do registrations of one method; all else overtakes.
#[derive(Debug)]
pub(super) struct AsyncHandlers {
    longest: u64,
    count: AtomicU64,
    lanes: Lanes<(ConnectionId, &'static str, String)>,
}

impl AsyncHandlers {
    pub(super) fn new(milliseconds: u64) -> Self {
        Self {
            longest: milliseconds,
            count: AtomicU64::new(0),
            lanes: Lanes::new(),
        }
    }

    /// As if at random, and the same in each run.
    fn time(&self) -> Duration {
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        let mixed = count.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        Duration::from_millis(mixed % (self.longest + 1))
    }
}

impl Seams for AsyncHandlers {
    fn before_call(&self, _server: &Server, call: &Call<'_>) -> Option<Wait> {
        let name = |field: &str| {
            call.data
                .get(field)
                .map(Value::to_string)
                .unwrap_or_default()
        };
        let lane = match call.event {
            "message" => ("message", name("sid")),
            "rpc-register" | "rpc-unregister" => ("method", name("method")),
            _ => return Some(after(self.time())),
        };
        let key = (call.connection.id(), lane.0, lane.1);
        Some(self.lanes.enter(key, self.time()))
    }
}

/// Everything that comes in takes its time, in its order.
#[derive(Debug)]
pub(super) struct Latency {
    time: Duration,
    lanes: Lanes<ConnectionId>,
}

impl Latency {
    pub(super) fn new(milliseconds: u64) -> Self {
        Self {
            time: Duration::from_millis(milliseconds),
            lanes: Lanes::new(),
        }
    }
}

impl Seams for Latency {
    fn before_admission(&self, _server: &Server, _auth: &Value) -> Option<Wait> {
        Some(after(self.time))
    }

    fn before_call(&self, _server: &Server, call: &Call<'_>) -> Option<Wait> {
        Some(self.lanes.enter(call.connection.id(), self.time))
    }

    fn before_request(&self, _server: &Server, request: &HttpRequest<'_>) -> Option<Wait> {
        (!request.is_socket).then(|| after(self.time))
    }
}

/// What is asked is done at once, and answered later.
#[derive(Debug)]
pub(super) struct SlowAnswers(pub(super) Duration);

impl Seams for SlowAnswers {
    fn send(&self, connection: &Arc<Connection>, frame: &Frame) -> bool {
        let is_answer = frame.starts_with('3');
        if is_answer {
            let (time, connection, frame) = (self.0, Arc::clone(connection), frame.clone());
            tokio::spawn(async move {
                tokio::time::sleep(time).await;
                connection.push(frame);
            });
        }
        !is_answer
    }
}
