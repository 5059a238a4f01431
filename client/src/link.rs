//! What a connection's task and its handles share.

use std::{
    collections::HashMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU8, AtomicU64, Ordering},
    },
};

use futures_util::task::AtomicWaker;
use tokio::sync::{Notify, oneshot};

use crate::{
    error::End,
    handshake::Handshake,
    queue::{Bounds, Queue},
    received::Reply,
};

/// A switch that makes a client misbehave, or ends it.
#[derive(Debug, Clone, Copy)]
#[repr(u8)]
pub(crate) enum Switch {
    StopReading = 1,
    IgnorePings = 2,
    Abort = 4,
}

#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) handshake: Handshake,
    state: Mutex<State>,
    queue: Mutex<Queue>,
    /// Notified at each change of phase and transport.
    pub(crate) changed: Notify,
    driver: AtomicWaker,
    switches: AtomicU8,
    next_ack: AtomicU64,
    stray_acks: AtomicU64,
}

#[derive(Debug)]
struct State {
    /// The Socket.IO id that CONNECT was answered with. It stays after the end, so that who
    /// waits for the answer learns of it even if the server ends the connection right behind.
    sid: Option<String>,
    end: Option<End>,
    acks: HashMap<u64, oneshot::Sender<Reply>>,
    /// Whether the transport is a WebSocket or why it will not be one, once known.
    upgrade: Option<Result<(), String>>,
}

impl Link {
    pub(crate) fn new(handshake: Handshake, bounds: Bounds) -> Self {
        Self {
            handshake,
            state: Mutex::new(State {
                sid: None,
                end: None,
                acks: HashMap::new(),
                upgrade: None,
            }),
            queue: Mutex::new(Queue::new(bounds)),
            changed: Notify::new(),
            driver: AtomicWaker::new(),
            switches: AtomicU8::new(0),
            next_ack: AtomicU64::new(0),
            stray_acks: AtomicU64::new(0),
        }
    }

    /// Nothing that holds these locks can panic half-way, so a poisoned one is still sound.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn sid(&self) -> Option<String> {
        self.state().sid.clone()
    }

    pub(crate) fn end(&self) -> Option<End> {
        self.state().end.clone()
    }

    /// CONNECT was answered. A second answer changes nothing.
    pub(crate) fn connected(&self, sid: String) {
        self.state().sid.get_or_insert(sid);
        self.changed.notify_waiters();
    }

    /// The connection is over: whoever waits for anything is told. Only the first end counts.
    pub(crate) fn settle(&self, end: End) {
        let acks = {
            let mut state = self.state();
            if state.end.is_some() {
                return;
            }
            let over = || Err(format!("the connection is over: {end}"));
            state.upgrade.get_or_insert_with(over);
            state.end = Some(end);
            std::mem::take(&mut state.acks)
        };
        // Dropping a sender wakes its reply, which then finds the end.
        drop(acks);
        self.changed.notify_waiters();
        self.queue().wake_consumer();
    }

    pub(crate) fn set_upgrade(&self, outcome: Result<(), String>) {
        self.state().upgrade = Some(outcome);
        self.changed.notify_waiters();
    }

    pub(crate) fn upgrade(&self) -> Option<Result<(), String>> {
        self.state().upgrade.clone()
    }

    /// Makes room for the reply to a message that is about to be queued. After the end the
    /// receiver fails at once.
    pub(crate) fn expect_ack(&self) -> (u64, oneshot::Receiver<Reply>) {
        let id = self.next_ack.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = oneshot::channel();
        let mut state = self.state();
        if state.end.is_none() {
            state.acks.insert(id, sender);
        }
        (id, receiver)
    }

    pub(crate) fn forget_ack(&self, id: u64) {
        self.state().acks.remove(&id);
    }

    pub(crate) fn resolve_ack(&self, id: u64, reply: Reply) {
        let waiting = self.state().acks.remove(&id);
        // A reply that nobody waits for any more is as stray as one that nobody asked for.
        if waiting.is_none_or(|waiting| waiting.send(reply).is_err()) {
            self.stray_acks.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn stray_acks(&self) -> u64 {
        self.stray_acks.load(Ordering::Relaxed)
    }

    pub(crate) fn set(&self, switch: Switch, on: bool) {
        if on {
            self.switches.fetch_or(switch as u8, Ordering::AcqRel);
        } else {
            self.switches.fetch_and(!(switch as u8), Ordering::AcqRel);
        }
        self.wake_driver();
    }

    pub(crate) fn switches(&self) -> u8 {
        self.switches.load(Ordering::Acquire)
    }

    pub(crate) fn is_set(&self, switch: Switch) -> bool {
        self.switches() & switch as u8 != 0
    }

    pub(crate) fn wake_driver(&self) {
        self.driver.wake();
    }

    pub(crate) fn register_driver(&self, waker: &std::task::Waker) {
        self.driver.register(waker);
    }
}
