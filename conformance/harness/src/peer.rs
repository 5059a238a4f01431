//! One connection of a case: a socket, and everything that arrived on it, in order.
//!
//! A task takes events from the client's bounded queue as they come, so that arrival order and time
//! are those of the wire and not those of the case. Waiting is level-triggered: whoever waits looks at
//! the log first, so nothing can be missed between two waits.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde_json::Value;
use tokio::{
    sync::watch,
    task::AbortHandle,
    time::{Instant, timeout_at},
};
use touchstone_client::{Args, CallError, End, Events, Socket};

/// How many events of one connection are kept. A case causes a few hundred at most; a server that
/// floods must not fill the memory.
const MAX_ARRIVALS: usize = 20_000;

/// How many bytes of events of one connection are kept. The largest values that cases send are half a
/// megabyte each.
const MAX_ARRIVED_BYTES: usize = 16 << 20;

/// One event that arrived.
#[derive(Debug, Clone)]
pub struct Arrival {
    /// When it was read from the wire.
    pub at: Instant,
    /// Place among everything that arrived on the connection, acks included.
    pub order: u64,
    /// The event's name.
    pub name: String,
    /// Its arguments as they came, for matching by marker.
    pub raw: String,
    /// Its first argument; null where it has none.
    pub data: Value,
    /// What its answer has to name, where it asks for one.
    pub ack: Option<u64>,
}

impl Arrival {
    /// `body.t` of an update, `type` of an ephemeral.
    pub fn kind(&self) -> Option<&str> {
        match self.name.as_str() {
            "update" => self.data.pointer("/body/t")?.as_str(),
            "ephemeral" => self.data.get("type")?.as_str(),
            _ => None,
        }
    }

    /// The envelope's id, which is what makes two deliveries the same event.
    pub fn envelope_id(&self) -> Option<&str> {
        self.data
            .get("id")
            .filter(|_| self.name == "update")?
            .as_str()
    }
}

/// The answer to a call.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The first argument of the ack; null where it has none.
    pub data: Value,
    /// Place among everything that arrived on the connection.
    pub order: u64,
}

/// The reason in the data of an event `error`: its message, or all of it.
pub(crate) fn reason_in(data: &Value) -> String {
    let message = data.get("message").unwrap_or(data);
    message
        .as_str()
        .map_or_else(|| message.to_string(), str::to_owned)
}

#[derive(Debug, Default)]
struct Log {
    arrivals: Vec<Arrival>,
    bytes: usize,
    /// How many events have been taken from the queue, whether they were kept or not.
    taken: u64,
    overflowed: bool,
    ended: Option<End>,
}

/// How an RPC callee answers: gets the data of `rpc-request`, gives the arguments of the ack, or nothing
/// to stay silent.
type Responder = Box<dyn Fn(&Value) -> Option<Args> + Send>;

struct Inner {
    log: Mutex<Log>,
    responder: Mutex<Option<Responder>>,
    changed: watch::Sender<()>,
}

impl Log {
    /// Keeps an arrival. False when there is no room for it: from then on nothing is kept.
    fn keep(&mut self, arrival: Arrival) -> bool {
        self.taken += 1;
        self.bytes = self.bytes.saturating_add(arrival.raw.len());
        self.overflowed |= self.arrivals.len() >= MAX_ARRIVALS || self.bytes > MAX_ARRIVED_BYTES;
        if !self.overflowed {
            self.arrivals.push(arrival);
        }
        !self.overflowed
    }
}

impl Inner {
    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection with its log. Dropping it closes the connection.
pub struct Peer {
    /// Its name in the trace.
    pub name: String,
    /// Who it is, for a reader of the report.
    pub who: String,
    /// Its sending half.
    pub socket: Socket,
    inner: Arc<Inner>,
    pump: AbortHandle,
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.pump.abort();
    }
}

impl std::fmt::Debug for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Peer")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl Peer {
    /// `maxPayload`, or the size that all servers are expected to take where none is announced.
    pub fn payload_limit(&self) -> usize {
        let announced = self.socket.handshake().max_payload.unwrap_or(1_000_000);
        usize::try_from(announced).unwrap_or(usize::MAX)
    }

    /// Takes over a connection.
    pub fn new(name: &str, socket: Socket, events: Events) -> Self {
        let inner = Arc::new(Inner {
            log: Mutex::default(),
            responder: Mutex::default(),
            changed: watch::Sender::new(()),
        });
        let pump = tokio::spawn(pump(Arc::clone(&inner), socket.clone(), events)).abort_handle();
        Self {
            name: name.to_owned(),
            who: format!("the connection {name}"),
            socket,
            inner,
            pump,
        }
    }

    /// Waits until `look` finds what it wants in the log. `None` when `deadline` passes or the connection
    /// ends first.
    pub async fn wait<T>(
        &self,
        deadline: Instant,
        mut look: impl FnMut(&[Arrival]) -> Option<T>,
    ) -> Option<T> {
        let mut changed = self.inner.changed.subscribe();
        loop {
            changed.borrow_and_update();
            {
                let log = self.inner.log();
                let found = look(&log.arrivals);
                if found.is_some() || log.ended.is_some() {
                    return found;
                }
            }
            timeout_at(deadline, changed.changed()).await.ok()?.ok()?;
        }
    }

    /// Waits for the first arrival that `wanted` accepts.
    pub async fn wait_for(
        &self,
        deadline: Instant,
        mut wanted: impl FnMut(&Arrival) -> bool,
    ) -> Option<Arrival> {
        self.wait(deadline, |log| {
            log.iter().find(|arrival| wanted(arrival)).cloned()
        })
        .await
    }

    /// Waits until `count` finds `wanted` things in the log, for as long as they keep coming: the wait
    /// ends when `patience` has passed since the last time that there were more of them. Gives how many
    /// there are.
    pub async fn wait_while_coming(
        &self,
        patience: Duration,
        wanted: usize,
        mut count: impl FnMut(&[Arrival]) -> usize,
    ) -> usize {
        let mut seen = 0;
        loop {
            let more = |log: &[Arrival]| Some(count(log)).filter(|now| *now > seen);
            match self.wait(Instant::now() + patience, more).await {
                Some(now) if now < wanted => seen = now,
                Some(now) => return now,
                None => return seen,
            }
        }
    }

    /// Waits until the connection has ended.
    pub async fn wait_end(&self, deadline: Instant) -> Option<End> {
        let mut changed = self.inner.changed.subscribe();
        loop {
            changed.borrow_and_update();
            if let Some(end) = self.ended() {
                return Some(end);
            }
            timeout_at(deadline, changed.changed()).await.ok()?.ok()?;
        }
    }

    /// How the connection ended, if it has.
    pub fn ended(&self) -> Option<End> {
        self.inner.log().ended.clone()
    }

    /// What the server said with its last event `error`, if it sent one.
    pub fn reason(&self) -> Option<String> {
        let errors = self.all(|arrival| arrival.name == "error");
        errors.last().map(|arrival| reason_in(&arrival.data))
    }

    /// The arrivals that `wanted` accepts, so far.
    pub fn all(&self, mut wanted: impl FnMut(&Arrival) -> bool) -> Vec<Arrival> {
        let log = self.inner.log();
        log.arrivals
            .iter()
            .filter(|arrival| wanted(arrival))
            .cloned()
            .collect()
    }

    /// Whether more arrived than is kept, so that absence proves nothing.
    pub fn overflowed(&self) -> bool {
        self.inner.log().overflowed
    }

    /// Sends an event with an ack and waits for the answer. When it is here, all that came before it on
    /// the connection is in the log.
    pub async fn call_within(
        &self,
        event: &str,
        args: impl Into<Args>,
        patience: Duration,
    ) -> Result<Answer, CallError> {
        let reply = self.socket.call(event, args, patience).await?;
        self.catch_up(reply.events).await;
        let data = reply.data().unwrap_or(Value::Null);
        Ok(Answer {
            data,
            order: reply.arrival,
        })
    }

    /// Waits until so many events have been taken from the queue: they are there already, only the task
    /// that takes them may not have had its turn.
    async fn catch_up(&self, events: u64) {
        let mut changed = self.inner.changed.subscribe();
        loop {
            changed.borrow_and_update();
            {
                let log = self.inner.log();
                if log.taken >= events || log.overflowed || log.ended.is_some() {
                    return;
                }
            }
            if changed.changed().await.is_err() {
                return;
            }
        }
    }

    /// Answers each `rpc-request` from now on with what `responder` gives.
    pub fn respond(&self, responder: impl Fn(&Value) -> Option<Args> + Send + 'static) {
        let mut slot = self
            .inner
            .responder
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *slot = Some(Box::new(responder));
    }
}

async fn pump(inner: Arc<Inner>, socket: Socket, mut events: Events) {
    loop {
        match events.recv().await {
            Ok(event) => {
                let arrival = Arrival {
                    at: event.at,
                    order: event.arrival,
                    name: event.name().to_owned(),
                    raw: event.args.as_str().to_owned(),
                    data: event.data().unwrap_or(Value::Null),
                    ack: event.ack,
                };
                let answer = event.ack.and_then(|id| {
                    let responder = inner
                        .responder
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner);
                    let args = responder.as_ref()?(&arrival.data)?;
                    Some((id, args))
                });
                // What is not kept need not be looked for, again and again, by those who wait.
                let news = {
                    let mut log = inner.log();
                    let flooded = log.overflowed;
                    log.keep(arrival) || !flooded
                };
                if news {
                    inner.changed.send_replace(());
                }
                if let Some((id, args)) = answer {
                    // A connection that ended meanwhile says so through the log.
                    let _ = socket.answer(id, args).await;
                }
            }
            Err(end) => {
                inner.log().ended = Some(end);
                inner.changed.send_replace(());
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_not_kept() {
        #[track_caller]
        fn check(bytes: usize, kept: usize) {
            let mut log = Log::default();
            let arrival = Arrival {
                at: Instant::now(),
                order: 0,
                name: "update".into(),
                raw: "x".repeat(bytes),
                data: Value::Null,
                ack: None,
            };
            assert!((0..kept).all(|_| log.keep(arrival.clone())));
            assert!(!log.overflowed);
            assert!(!log.keep(arrival.clone()) && log.overflowed);
            // Nor is what comes later: a log with a gap would tell of an order that never was.
            let small = Arrival {
                raw: String::new(),
                ..arrival
            };
            assert!(!log.keep(small));
            assert_eq!(log.arrivals.len(), kept);
        }
        check(0, MAX_ARRIVALS);
        check(MAX_ARRIVED_BYTES / 4, 4);
    }
}
