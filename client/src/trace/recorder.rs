//! Recording what several connections send and receive, within bounds.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::time::Instant;

use super::record::{Exchange, Kind, Record, Traced};
use crate::{
    codec::Frame,
    tap::{Direction, Tap},
};

/// How much a [`Recorder`] keeps. When it is full the oldest entries go, and are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Entries.
    pub entries: usize,
    /// Bytes of frames, texts and HTTP bodies, roughly.
    pub bytes: usize,
}

impl Default for Bounds {
    /// 10 000 entries, 8 MiB.
    fn default() -> Self {
        Self {
            entries: 10_000,
            bytes: 8 << 20,
        }
    }
}

/// Keeps what connections send and receive, in the order in which it happens. Cheap to clone;
/// clones share what is kept.
///
/// Frames are kept as they are and decoded when somebody looks, so that recording costs little
/// where most recordings are thrown away, as those of passing conformance cases are.
#[derive(Debug, Clone)]
pub struct Recorder {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    start: Instant,
    bounds: Bounds,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    entries: VecDeque<Entry>,
    bytes: usize,
    dropped: u64,
}

#[derive(Debug)]
struct Entry {
    at: Instant,
    conn: Arc<str>,
    what: What,
}

#[derive(Debug)]
enum What {
    Frame(Direction, Frame),
    Http(Exchange),
    Mark(String),
}

impl Recorder {
    /// An empty recorder, whose time counts from `start`.
    pub fn new(start: Instant, bounds: Bounds) -> Self {
        Self {
            shared: Arc::new(Shared {
                start,
                bounds,
                kept: Mutex::default(),
            }),
        }
    }

    /// A tap for one connection, for `ConnectOptions::tap`.
    pub fn tap(&self, conn: &str) -> Arc<dyn Tap> {
        Arc::new(ConnectionTap {
            conn: conn.into(),
            shared: Arc::clone(&self.shared),
        })
    }

    /// Leaves a note, about a connection or about none (`-`).
    pub fn mark(&self, conn: &str, text: impl Into<String>) {
        self.keep(conn, What::Mark(text.into()));
    }

    /// Adds an HTTP exchange that has just ended.
    pub fn http(&self, conn: &str, exchange: Exchange) {
        self.keep(conn, What::Http(exchange));
    }

    /// How many entries had to go.
    pub fn dropped(&self) -> u64 {
        self.kept().dropped
    }

    /// All that is kept, oldest first. Where entries had to go, the first record is a mark that
    /// says how many.
    pub fn records(&self) -> Vec<Record> {
        self.read(&self.kept())
    }

    /// Takes all that is kept, as [`records`](Self::records) shows it, for whoever writes it to a
    /// file while the recording goes on. The count of the dropped begins anew.
    pub fn drain(&self) -> Vec<Record> {
        let taken = std::mem::take(&mut *self.kept());
        self.read(&taken)
    }

    fn read(&self, kept: &Kept) -> Vec<Record> {
        let first = kept
            .entries
            .front()
            .map_or(self.shared.start, |entry| entry.at);
        let loss = (kept.dropped > 0).then(|| {
            let text = format!("earlier records dropped: {}", kept.dropped);
            self.record(&Entry {
                at: first,
                conn: "-".into(),
                what: What::Mark(text),
            })
        });
        loss.into_iter()
            .chain(kept.entries.iter().map(|entry| self.record(entry)))
            .collect()
    }

    fn record(&self, entry: &Entry) -> Record {
        let elapsed = entry.at.saturating_duration_since(self.shared.start);
        Record {
            t_us: u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX),
            conn: entry.conn.to_string(),
            kind: match &entry.what {
                What::Frame(direction, frame) => Kind::Packet(*direction, Traced::of(frame)),
                What::Http(exchange) => Kind::Http(exchange.clone()),
                What::Mark(text) => Kind::Mark(text.clone()),
            },
            recipients: None,
        }
    }

    fn keep(&self, conn: &str, what: What) {
        self.shared.keep(Entry {
            at: Instant::now(),
            conn: conn.into(),
            what,
        });
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.shared.kept()
    }
}

impl Shared {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, entry: Entry) {
        let mut kept = self.kept();
        kept.bytes += entry.cost();
        kept.entries.push_back(entry);
        while kept.entries.len() > self.bounds.entries || kept.bytes > self.bounds.bytes {
            let Some(gone) = kept.entries.pop_front() else {
                break;
            };
            kept.bytes -= gone.cost();
            kept.dropped += 1;
        }
    }
}

impl Entry {
    fn cost(&self) -> usize {
        let json = |body: &Option<serde_json::Value>| {
            body.as_ref().map_or(0, |body| body.to_string().len())
        };
        size_of::<Self>()
            + match &self.what {
                What::Frame(_, frame) => frame.len(),
                What::Http(exchange) => json(&exchange.request) + json(&exchange.response),
                What::Mark(text) => text.len(),
            }
    }
}

struct ConnectionTap {
    conn: Arc<str>,
    shared: Arc<Shared>,
}

impl Tap for ConnectionTap {
    fn frame(&self, at: Instant, direction: Direction, frame: &Frame) {
        let what = What::Frame(direction, frame.clone());
        self.shared.keep(Entry {
            at,
            conn: Arc::clone(&self.conn),
            what,
        });
    }
}
