//! Hears what the server does during a replay.
//!
//! Every connection has a listener that writes into one log, in the order of arrival; ids are learned as
//! soon as an answer stands beside the recorded one.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use serde_json::Value;
use tokio::{
    sync::watch,
    time::{Instant, timeout_at},
};
use touchstone_client::{
    Conduct, Direction, End, Frame, Tap,
    trace::{Kind, Record, Traced},
};
use touchstone_history::Judge;

use super::{
    found::Found,
    heard::{Heard, What},
    lock,
    names::Names,
    script::Recording,
};

/// How much is kept of what the server does. More than this, and than twice what was recorded, is a flood.
const BOUNDS: Bounds = Bounds {
    things: 1_000_000,
    bytes: 256 << 20,
};

/// Whether the server asked for an answer.
pub(super) enum Asked {
    /// It asks now, under this id.
    Now(u64),
    /// It asked then, and does not now.
    Then,
    /// It did not even then.
    Never,
}

/// What the server does, from all connections, in order.
pub(super) struct Log {
    kept: Mutex<Kept>,
    pub(super) changed: watch::Sender<()>,
    /// What was answered then, to learn ids from, by connection and ack id.
    answers: HashMap<(String, u64), Value>,
    /// What CONNECT was answered with then: the ids of connections, by connection.
    admitted: HashMap<String, Value>,
    /// What the server asked for an answer to then, by connection and ack id: its [`question`], and its
    /// place among those.
    asked: HashMap<(String, u64), (Question, usize)>,
    bounds: Bounds,
}

struct Bounds {
    things: usize,
    bytes: usize,
}

impl Bounds {
    fn of(recording: &Recording) -> Self {
        let bytes: usize = recording.heard.iter().map(|one| size(&one.what)).sum();
        Self {
            things: BOUNDS.things.max(2 * recording.heard.len()),
            bytes: BOUNDS.bytes.max(2 * bytes),
        }
    }
}

pub(super) struct Kept {
    start: Instant,
    pub(super) heard: Vec<Heard>,
    judge: Judge,
    violations: Vec<Found>,
    ended: HashSet<String>,
    /// The ack ids that the server asks for now, in order.
    asked: HashMap<Question, Vec<u64>>,
    pub(super) names: Names,
    bytes: usize,
    pub(super) overflowed: bool,
    closed: bool,
}

impl Kept {
    fn t_us(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// What no right server does of all that happened.
    pub(super) fn judged(&mut self) -> Vec<Found> {
        let end = Found::at(self.t_us(), self.judge.finish());
        self.violations.extend(end);
        std::mem::take(&mut self.violations)
    }
}

impl Log {
    pub(super) fn new(recording: &Recording, now_ms: u64) -> Self {
        let mut answers = HashMap::new();
        let mut admitted = HashMap::new();
        let mut asked = HashMap::new();
        let mut questions: HashMap<Question, usize> = HashMap::new();
        for heard in &recording.heard {
            match &heard.what {
                What::Admitted(data) => {
                    admitted.insert(heard.conn.clone(), data.clone());
                }
                What::Ack { id, args } => {
                    answers.insert((heard.conn.clone(), *id), args.clone());
                }
                What::Event {
                    args,
                    ack: Some(id),
                    ..
                } => {
                    let question = question(&heard.conn, args);
                    let count = questions.entry(question.clone()).or_default();
                    asked.insert((heard.conn.clone(), *id), (question, *count));
                    *count += 1;
                }
                _ => {}
            }
        }
        Self {
            kept: Mutex::new(Kept {
                start: Instant::now(),
                heard: Vec::new(),
                judge: Judge::new(recording.knowledge),
                violations: Vec::new(),
                ended: HashSet::new(),
                asked: HashMap::new(),
                names: Names::new(recording.header.started_at, now_ms),
                bytes: 0,
                overflowed: false,
                closed: false,
            }),
            changed: watch::Sender::new(()),
            answers,
            admitted,
            asked,
            bounds: Bounds::of(recording),
        }
    }

    /// Whether the server has sent more than is kept, so that nothing more is heard.
    pub(super) fn is_full(&self) -> bool {
        self.kept().overflowed
    }

    pub(super) fn kept(&self) -> MutexGuard<'_, Kept> {
        lock(&self.kept)
    }

    /// Microseconds since the replay began.
    pub(super) fn t_us(&self) -> u64 {
        self.kept().t_us()
    }

    pub(super) fn restart(&self, start: Instant) {
        self.kept().start = start;
    }

    /// Waits until a connection has ended, at most for `patience`.
    pub(super) async fn ended(&self, conn: &str, patience: Duration) {
        let until = Instant::now() + patience;
        let mut changed = self.changed.subscribe();
        loop {
            changed.borrow_and_update();
            let ended = self.kept().ended.contains(conn);
            if ended || timeout_at(until, changed.changed()).await.is_err() {
                return;
            }
        }
    }

    /// From now on nothing is kept: the replay is over, and connections are closed.
    pub(super) fn close(&self) {
        self.kept().closed = true;
    }

    /// Lets the judge hear what happened.
    pub(super) fn judge(&self, conn: &str, kind: Kind) {
        let mut kept = self.kept();
        if kept.closed || kept.overflowed {
            return;
        }
        let record = Record {
            t_us: kept.t_us(),
            conn: conn.to_owned(),
            kind,
            recipients: None,
        };
        let found = kept.judge.hear(&record);
        kept.violations.extend(Found::at(record.t_us, found));
    }

    pub(super) fn hear(&self, conn: &str, what: What) {
        {
            let mut kept = self.kept();
            if kept.closed || kept.overflowed {
                return;
            }
            if let What::Ack { id, args } = &what
                && let Some(then) = self.answers.get(&(conn.to_owned(), *id))
            {
                kept.names.learn_all(then, args);
            }
            if let What::Admitted(data) = &what
                && let Some(then) = self.admitted.get(conn)
            {
                kept.names.learn_all(then, data);
            }
            if let What::Event {
                args,
                ack: Some(id),
                ..
            } = &what
            {
                let question = question(conn, &kept.names.formerly(args));
                kept.asked.entry(question).or_default().push(*id);
            }
            if matches!(what, What::Ended(_)) {
                kept.ended.insert(conn.to_owned());
            }
            kept.bytes += size(&what);
            let Bounds { things, bytes } = self.bounds;
            kept.overflowed = kept.heard.len() >= things || kept.bytes > bytes;
            let t_us = kept.t_us();
            kept.heard.push(Heard {
                t_us,
                conn: conn.to_owned(),
                what,
            });
        }
        self.changed.send_replace(());
    }

    /// The ack id that the server asks for now where it asked for `id` then.
    pub(super) fn asked_as(&self, conn: &str, id: u64) -> Asked {
        let Some((question, place)) = self.asked.get(&(conn.to_owned(), id)) else {
            return Asked::Never;
        };
        let kept = self.kept();
        let now = kept.asked.get(question).and_then(|ids| ids.get(*place));
        now.map_or(Asked::Then, |now| Asked::Now(*now))
    }
}

/// What tells calls of clients apart: the connection that is called, and the method.
type Question = (String, String);

fn question(conn: &str, args: &Value) -> Question {
    let method = args[0]["method"].as_str().unwrap_or_default();
    (conn.to_owned(), method.to_owned())
}

fn size(what: &What) -> usize {
    match what {
        What::Event { args, .. } | What::Ack { args, .. } | What::Refused(args) => {
            args.to_string().len()
        }
        What::Answered(_, Some((_, body))) => body.to_string().len(),
        What::Admitted(_) | What::Ended(_) | What::Answered(_, None) => 0,
    }
}

/// Hears one connection.
pub(super) struct Listener {
    conn: String,
    /// The name that the recording has for the token.
    account: Option<String>,
    log: Arc<Log>,
    over: AtomicBool,
}

impl Listener {
    pub(super) fn new(conn: &str, account: Option<String>, log: &Arc<Log>) -> Self {
        Self {
            conn: conn.to_owned(),
            account,
            log: Arc::clone(log),
            over: AtomicBool::new(false),
        }
    }

    /// A connection ends once, however often that is said.
    fn hear(&self, what: What) {
        let ended = matches!(what, What::Ended(_));
        if !(ended && self.over.swap(true, Ordering::Relaxed)) {
            self.log.hear(&self.conn, what);
        }
    }
}

impl Tap for Listener {
    fn frame(&self, _: Instant, direction: Direction, frame: &Frame) {
        let mut packet = Traced::of(frame);
        if direction == Direction::Received {
            let packet = packet.clone();
            self.log.judge(&self.conn, Kind::Packet(direction, packet));
        } else {
            if let (Traced::Connect(auth), Some(name)) = (&mut packet, &self.account) {
                auth["token"] = format!("{name}…").into();
            }
            return self.log.judge(&self.conn, Kind::Packet(direction, packet));
        }
        if let Some(what) = What::of(packet) {
            self.hear(what);
        }
    }

    fn conduct(&self, _: Instant, conduct: Conduct) {
        self.log.judge(&self.conn, Kind::conduct(conduct));
    }

    fn ended(&self, _: Instant, end: &End) {
        let ended = Kind::Mark(format!("ended: {end}"));
        self.log.judge(&self.conn, ended);
        if !matches!(end, End::ClientClosed) {
            self.hear(What::Ended(end.to_string()));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        awaited::Awaited,
        settled::Settled,
        testing::{lines, recording},
    };

    #[tokio::test]
    async fn a_flood_is_not_kept_and_nothing_is_waited_for_behind_it() {
        let recording = recording(&lines("0 u > ping#1\n1 u < #1 {}\n2 u < update {}"));
        let mut log = Log::new(&recording, 0);
        assert_eq!(
            (log.bounds.things, log.bounds.bytes),
            (BOUNDS.things, BOUNDS.bytes)
        );
        log.bounds.things = 1;
        let hear = |log: &Log| {
            let (name, args) = ("flood".to_owned(), json!([]));
            log.hear(
                "u",
                What::Event {
                    name,
                    args,
                    ack: None,
                },
            );
        };
        hear(&log);
        assert!(!log.is_full());
        hear(&log);
        hear(&log);
        assert!(log.is_full());
        assert_eq!(log.kept().heard.len(), 2);
        let settled = Settled::new(&recording);
        let mut awaited = Awaited::new(&recording, &settled);
        awaited.before(u64::MAX);
        // It is ready without any wait.
        let settled = tokio::time::timeout(Duration::ZERO, awaited.settle(&log));
        assert!(settled.await.is_ok());
    }
}
