//! What of the recording is still to come before the next step of a replay.

use std::{collections::HashMap, time::Duration};

use tokio::time::{Instant, timeout_at};

use super::{
    PATIENCE,
    heard::{CONNECT, Heard},
    listen::{Kept, Log},
    script::Recording,
    settled::{OPENING, Settled, UNCAUSED},
};

/// A timer that is late by more than this is that of a machine which is too busy.
const BUSY: Duration = Duration::from_millis(20);

/// The slowest delivery that is reckoned with.
const SLOW: Duration = Duration::from_millis(500);

/// What of the recording has to be here before the next step.
pub(super) struct Awaited<'a> {
    settled: &'a Settled,
    /// Of each thing that was heard: when, its connection and class, and its place among those.
    queue: std::vec::IntoIter<Expected>,
    held: Option<Expected>,
    open: Vec<Expected>,
    given_up: HashMap<Class, usize>,
    /// How many things have come, of those that were heard, by connection and class.
    came: HashMap<Class, usize>,
    looked_at: usize,
    lost: u32,
    /// How many of them are answers to CONNECT.
    unanswered: u32,
    last_sent_us: u64,
    /// When the next step was sent in the recording.
    next_us: u64,
    pub(super) slowest: Duration,
}

type Class = (String, String);

struct Expected {
    t_us: u64,
    class: Class,
    count: usize,
}

impl<'a> Awaited<'a> {
    pub(super) fn new(recording: &Recording, settled: &'a Settled) -> Self {
        let is_certain =
            |heard: &&Heard| !matches!(settled.why_sent(heard), Some(OPENING | UNCAUSED));
        let mut counts: HashMap<Class, usize> = HashMap::new();
        let queue: Vec<_> = recording
            .heard
            .iter()
            .filter(is_certain)
            .map(|heard| {
                let class = (heard.conn.clone(), heard.what.class());
                let count = counts.entry(class.clone()).or_default();
                *count += 1;
                Expected {
                    t_us: heard.t_us,
                    class,
                    count: *count,
                }
            })
            .collect();
        Self {
            settled,
            queue: queue.into_iter(),
            held: None,
            open: Vec::new(),
            given_up: HashMap::new(),
            came: HashMap::new(),
            looked_at: 0,
            lost: 0,
            unanswered: 0,
            last_sent_us: 0,
            next_us: 0,
            slowest: Duration::ZERO,
        }
    }

    /// Everything that was here before `t_us` is wanted now.
    pub(super) fn before(&mut self, t_us: u64) {
        self.next_us = t_us;
        while let Some(next) = self.held.take().or_else(|| self.queue.next()) {
            if next.t_us >= t_us {
                self.held = Some(next);
                return;
            }
            self.open.push(next);
        }
    }

    /// Waits for what is wanted. What does not come is not waited for again, and whoever loses much
    /// is waited for less.
    pub(super) async fn settle(&mut self, log: &Log) {
        let mut began = Instant::now();
        let lost = self.lost;
        let last = self.open.iter().map(|one| one.t_us).max();
        let lag = last.map_or(0, |last| last.saturating_sub(self.last_sent_us));
        let lag = Duration::from_micros(lag);
        let mut changed = log.changed.subscribe();
        loop {
            changed.borrow_and_update();
            {
                let kept = log.kept();
                if kept.overflowed {
                    return;
                }
                self.look_at(&kept);
            }
            let (given_up, came) = (&self.given_up, &self.came);
            self.open.retain(|one| {
                let [lost, came] = [given_up, came].map(|all| all.get(&one.class).copied());
                lost.unwrap_or(0) + came.unwrap_or(0) < one.count
            });
            let shorter = |lost: u32| (PATIENCE / (1 + lost)).max(PATIENCE / 10);
            let until = |one: &Expected| {
                // What is sent before CONNECT was answered is another story than what is sent behind it.
                let patience = match one.class.1.as_str() {
                    CONNECT => shorter(self.unanswered),
                    _ => shorter(self.lost),
                };
                let lag = one.t_us.saturating_sub(self.last_sent_us);
                began + Duration::from_micros(lag) + patience
            };
            let Some(next) = self.open.iter().map(until).min() else {
                // How long one waited for nothing, or as long as then, says nothing about the server's
                // pace.
                if self.lost == lost {
                    let beyond = began.elapsed().saturating_sub(lag);
                    self.slowest = self.slowest.max(beyond).min(SLOW);
                }
                return;
            };
            if timeout_at(next, changed.changed()).await.is_err() {
                let now = Instant::now();
                // While this machine was too busy to look, it was too busy for what was to come as well.
                let stalled = now.saturating_duration_since(next);
                if stalled > BUSY {
                    began += stalled;
                    continue;
                }
                let (late, open) = std::mem::take(&mut self.open)
                    .into_iter()
                    .partition(|one| until(one) <= now);
                self.open = open;
                let late: Vec<Expected> = late;
                for one in late {
                    self.unanswered += u32::from(one.class.1 == CONNECT);
                    *self.given_up.entry(one.class).or_default() += 1;
                    self.lost = self.lost.saturating_add(1);
                }
            }
        }
    }

    /// Counts what has come. What a connection gets that was opened after its cause, as a slow broker hands
    /// it on, stands for nothing that is wanted.
    fn look_at(&mut self, kept: &Kept) {
        for heard in &kept.heard[self.looked_at..] {
            let former = heard.formerly(&kept.names, self.next_us);
            if self.settled.why_sent(&former) != Some(OPENING) {
                let class = (heard.conn.clone(), heard.what.class());
                *self.came.entry(class).or_default() += 1;
            }
        }
        self.looked_at = kept.heard.len();
    }

    pub(super) fn sent(&mut self, t_us: u64) {
        self.last_sent_us = t_us;
    }
}
