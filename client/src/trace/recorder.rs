//! Recording what several connections send and receive, within bounds.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use serde_json::Value;
use tokio::time::Instant;

use super::line::redact_raw;
use super::record::{DROPPED, Exchange, Kind, Record, Traced, hide_proofs};
use crate::{
    codec::Frame,
    error::End,
    secret::Secret,
    tap::{Conduct, Direction, Tap},
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
///
/// Records show `a1…`, `a2…` in place of each token, in the order in which tokens were first seen, so
/// that a reader can tell accounts apart and learns nothing else of them. An empty one stays.
#[derive(Debug, Clone)]
pub struct Recorder {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    start: Instant,
    bounds: Bounds,
    kept: Mutex<Kept>,
    tokens: Mutex<HashMap<Secret, usize>>,
    /// How many connections have been called so.
    taps: Mutex<HashMap<String, u32>>,
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
    Http(Option<Secret>, Box<Exchange>),
    Mark(String),
    Conduct(Conduct),
}

impl Recorder {
    /// An empty recorder, whose time counts from `start`.
    pub fn new(start: Instant, bounds: Bounds) -> Self {
        Self {
            shared: Arc::new(Shared {
                start,
                bounds,
                kept: Mutex::default(),
                tokens: Mutex::default(),
                taps: Mutex::default(),
            }),
        }
    }

    /// A tap for one connection, for `ConnectOptions::tap`. The second connection of a name is
    /// recorded as `name#2`, and so on: whoever reads the trace has to tell them apart.
    pub fn tap(&self, conn: &str) -> Arc<dyn Tap> {
        let taps = self.shared.taps.lock();
        let mut taps = taps.unwrap_or_else(PoisonError::into_inner);
        let count = taps.entry(conn.to_owned()).or_insert(0);
        *count += 1;
        let conn = match *count {
            1 => conn.into(),
            count => format!("{conn}#{count}").into(),
        };
        Arc::new(ConnectionTap {
            conn,
            shared: Arc::clone(&self.shared),
        })
    }

    /// Leaves a note, about a connection or about none (`-`).
    pub fn mark(&self, conn: &str, text: impl Into<String>) {
        self.mark_at(Instant::now(), conn, text);
    }

    /// The same of something that was seen at `at`.
    pub fn mark_at(&self, at: Instant, conn: &str, text: impl Into<String>) {
        self.keep(at, conn, What::Mark(text.into()));
    }

    /// Adds an HTTP exchange that ended at `at`.
    pub fn http_at(&self, at: Instant, token: Option<&Secret>, exchange: Exchange) {
        self.keep(at, "http", What::Http(token.cloned(), Box::new(exchange)));
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
        self.learn_tokens(kept);
        let first = kept
            .entries
            .front()
            .map_or(self.shared.start, |entry| entry.at);
        let loss = (kept.dropped > 0).then(|| {
            let text = format!("{DROPPED}: {}", kept.dropped);
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

    /// Every token gets its name where it is first seen in its own place, before texts are looked
    /// through for tokens.
    fn learn_tokens(&self, kept: &Kept) {
        for entry in &kept.entries {
            if let What::Frame(Direction::Sent, frame) = &entry.what
                && let Frame::Text(text) = frame
                && text.starts_with("40{")
                && let Traced::Connect(mut data) = Traced::of(frame)
            {
                self.rename(&mut data);
            } else if let What::Http(token, exchange) = &entry.what {
                if let Some(token) = token {
                    self.name(token);
                }
                let bodies = [&exchange.request, &exchange.response];
                for mut body in bodies.into_iter().flatten().cloned() {
                    self.rename(&mut body);
                }
            }
        }
    }

    fn record(&self, entry: &Entry) -> Record {
        let elapsed = entry.at.saturating_duration_since(self.shared.start);
        let mut conn = entry.conn.to_string();
        let kind = match &entry.what {
            What::Frame(direction, frame) => {
                let mut packet = Traced::of(frame);
                match &mut packet {
                    Traced::Connect(data) => self.rename(data),
                    Traced::Raw(text) => {
                        self.rename_within(text);
                        *text = redact_raw(text);
                    }
                    Traced::Binary { bytes, .. } => {
                        bytes.take_if(|bytes| self.knows_any_in(bytes));
                    }
                    _ => {}
                }
                Kind::Packet(*direction, packet)
            }
            What::Http(token, exchange) => {
                if let Some(token) = token {
                    conn = format!("{conn}/{}", self.name(token));
                }
                let mut exchange = Exchange::clone(exchange);
                let bodies = [&mut exchange.request, &mut exchange.response];
                for body in bodies.into_iter().flatten() {
                    self.rename(body);
                    hide_proofs(body);
                }
                Kind::Http(exchange)
            }
            What::Mark(text) => Kind::Mark(text.clone()),
            What::Conduct(conduct) => Kind::conduct(*conduct),
        };
        Record {
            t_us: u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX),
            conn,
            kind,
            recipients: None,
        }
    }

    /// Puts the name of a token in its place.
    fn rename(&self, data: &mut Value) {
        if let Some(Value::String(token)) = data.get_mut("token")
            && !token.is_empty()
        {
            *token = format!("{}…", self.name(&Secret::new(token.as_str())));
        }
    }

    /// Notes a token before it is seen, so that it is not shown in a text that is no CONNECT either.
    /// Gives what records show in its place, without the `…`.
    pub fn know(&self, token: &Secret) -> String {
        self.name(token)
    }

    /// Puts the names of all known tokens in their places.
    fn rename_within(&self, text: &mut String) {
        for (token, number) in &*self.tokens() {
            if text.contains(token.expose()) {
                *text = text.replace(token.expose(), &format!("a{number}…"));
            }
        }
    }

    fn knows_any_in(&self, bytes: &[u8]) -> bool {
        let text = String::from_utf8_lossy(bytes);
        self.tokens()
            .keys()
            .any(|token| text.contains(token.expose()))
    }

    fn tokens(&self) -> MutexGuard<'_, HashMap<Secret, usize>> {
        let tokens = self.shared.tokens.lock();
        tokens.unwrap_or_else(PoisonError::into_inner)
    }

    fn name(&self, token: &Secret) -> String {
        let mut tokens = self.tokens();
        let next = tokens.len() + 1;
        format!("a{}", tokens.entry(token.clone()).or_insert(next))
    }

    fn keep(&self, at: Instant, conn: &str, what: What) {
        self.shared.keep(Entry {
            at,
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
                What::Http(_, exchange) => json(&exchange.request) + json(&exchange.response),
                What::Mark(text) => text.len(),
                What::Conduct(_) => 0,
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

    fn conduct(&self, at: Instant, conduct: Conduct) {
        self.shared.keep(Entry {
            at,
            conn: Arc::clone(&self.conn),
            what: What::Conduct(conduct),
        });
    }

    fn ended(&self, at: Instant, end: &End) {
        self.shared.keep(Entry {
            at,
            conn: Arc::clone(&self.conn),
            what: What::Mark(format!("ended: {end}")),
        });
    }
}
