//! Reads a trace into a script. What the recorder noted of connections becomes what their client did; what
//! a client does by itself, such as answering pings, is left to the client of the replay.

use std::{
    collections::{HashMap, HashSet},
    path::Path,
};

use touchstone_client::{
    Direction,
    trace::{
        CONTRIVED, DROPPED, Exchange, Header, Kind, QUIET, RESTARTED, RESTARTED_DURABLE, Reader,
        Record, TraceError, Traced,
    },
};

use super::{
    ReplayError,
    found::Found,
    heard::{Heard, What, without_doubles},
    script::{Act, RecordedCase, Recording, Step, Unknown, is_sign_in, token_name},
};
use touchstone_harness::marks::{CASE, SUITE, VERDICT};
use touchstone_history::{Judge, Knowledge};

impl Recording {
    /// Reads a trace file.
    ///
    /// # Errors
    /// The file is no trace, lacks its beginning, or holds nothing that a client sent.
    pub fn read(path: &Path) -> Result<Self, ReplayError> {
        let reader = Reader::open(path).map_err(|source| unreadable(path, source))?;
        let header = reader.header().clone();
        Self::of(path, header, reader)
    }

    pub(super) fn of(
        path: &Path,
        header: Header,
        records: impl Iterator<Item = Result<Record, TraceError>>,
    ) -> Result<Self, ReplayError> {
        let mut builder = Builder::default();
        let knowledge = Knowledge::of(&header.tool);
        let mut judge = Judge::new(knowledge);
        let mut violations: Vec<Found> = Vec::new();
        let mut times = Vec::new();
        for record in records {
            let record = record.map_err(|source| unreadable(path, source))?;
            times.push(record.t_us);
            if builder.unknown.is_none() {
                violations.extend(Found::at(record.t_us, judge.hear(&record)));
            }
            builder.take(record);
        }
        let end = times.last().copied().unwrap_or(0);
        violations.extend(Found::at(end, judge.finish()));
        let recording = builder.finish(path, header)?;
        let broken = violations.iter().flat_map(|found| &found.violation.records);
        let broken_us = broken.filter_map(|record| {
            let place = usize::try_from(*record).ok()?.checked_sub(1)?;
            times.get(place).copied()
        });
        Ok(Self {
            knowledge,
            broken_us: broken_us.collect(),
            violations,
            ..recording
        })
    }
}

fn unreadable(path: &Path, source: TraceError) -> ReplayError {
    ReplayError::Read {
        path: path.to_owned(),
        source,
    }
}

/// An event cannot be sent without its attachments, nor these without it.
fn note_losses(steps: &mut [Step]) {
    const WHY: &str = "the trace does not hold the bytes of an attachment";
    for at in 0..steps.len() {
        let Act::Send(Traced::Event { attachments, .. } | Traced::Ack { attachments, .. }) =
            &steps[at].act
        else {
            continue;
        };
        let (conn, count) = (steps[at].conn.clone(), *attachments);
        let attached = |step: &Step| step.conn == conn && is_binary(&step.act);
        let rest = steps[at + 1..]
            .iter()
            .filter(|step| attached(step))
            .take(count);
        let lost = rest.filter(|step| is_without_bytes(&step.act)).count() > 0;
        if lost && let Act::Send(packet) = &steps[at].act {
            steps[at].act = Act::Lost(packet.clone(), WHY);
            let rest = steps[at + 1..]
                .iter_mut()
                .filter(|step| attached(step))
                .take(count);
            for step in rest {
                if let Act::Send(packet) = &step.act {
                    step.act = Act::Lost(packet.clone(), WHY);
                }
            }
        }
    }
    for step in steps {
        if let Act::Send(packet @ Traced::Binary { bytes: None, .. }) = &step.act {
            step.act = Act::Lost(packet.clone(), WHY);
        }
    }
}

fn is_binary(act: &Act) -> bool {
    matches!(act, Act::Send(Traced::Binary { .. }))
}

fn is_without_bytes(act: &Act) -> bool {
    matches!(act, Act::Send(Traced::Binary { bytes: None, .. }))
}

/// How long a connection has to leave a ping unanswered to be one that answers none, in microseconds.
const MUTE_US: u64 = 500_000;

/// What is known of a connection while its records are read.
#[derive(Default)]
struct Conn {
    open: bool,
    /// The server has said that it is over.
    over: bool,
    /// It may change its transport, which it does by itself.
    upgrades: bool,
    pings: usize,
    pongs: usize,
    first_ping_us: Option<u64>,
    last_us: u64,
}

impl Conn {
    fn is_mute(&self) -> bool {
        self.pongs == 0
            && self
                .first_ping_us
                .is_some_and(|first| self.last_us.saturating_sub(first) > MUTE_US)
    }
}

/// Why nothing is compared where a recording was begun while connections were open.
pub(super) const MIDWAY: &str =
    "the recording began in the middle: what its connections did before is not known";
/// Why nothing is compared behind a pause of the recording.
const PAUSED: &str = "the recording was off before it came: what happened meanwhile is not known";
/// How long before a pause something may have been sent whose effects came in it, in microseconds.
const UNANSWERED_US: u64 = 500_000;
/// Why nothing is compared behind a restart.
const RESTART: &str = "the server was restarted before it came, which a replay does not do";
/// How the mark begins that a pause leaves.
const PAUSE: &str = "gap: the recording was off";

#[derive(Default)]
struct Builder {
    steps: Vec<Step>,
    heard: Vec<Heard>,
    conns: HashMap<String, Conn>,
    /// Connections whose first record is no beginning of a connection.
    midway: HashSet<String>,
    heard_midway: Vec<Heard>,
    unknown: Option<Unknown>,
    /// When the last record came.
    last_us: u64,
    exchanges: usize,
    signed_in: Vec<String>,
    case: Option<String>,
    verdict: Option<String>,
    decisions: usize,
    /// What the recorder says of what it could not keep.
    dropped: Option<String>,
}

impl Builder {
    fn take(&mut self, record: Record) {
        if record.recipients.is_some() {
            self.decisions += 1;
            return;
        }
        let Record {
            t_us, conn, kind, ..
        } = record;
        if !matches!(kind, Kind::Mark(_)) {
            self.last_us = t_us;
        }
        if self.is_midway(&conn, &kind) {
            if let Kind::Packet(Direction::Received, packet) = kind
                && let Some(what) = What::of(packet)
            {
                self.heard_midway.push(Heard { t_us, conn, what });
            }
            return;
        }
        if let Some(conduct) = kind.as_conduct() {
            return self.step(t_us, conn, Act::Do(conduct));
        }
        match kind {
            Kind::Mark(text) if text == QUIET || text == CONTRIVED => {
                self.step(t_us, conn, Act::Note(text));
            }
            Kind::Mark(text) if conn == SUITE => {
                if let Some(id) = text.strip_prefix(CASE) {
                    self.case = Some(id.to_owned());
                } else if let Some(verdict) = text.strip_prefix(VERDICT) {
                    self.verdict = Some(verdict.to_owned());
                }
            }
            Kind::Mark(text) => {
                if let Some(why) = text.strip_prefix("ended: ") {
                    self.end(t_us, conn, why);
                } else if text.starts_with(PAUSE) {
                    self.unknown(t_us, PAUSED);
                } else if text == RESTARTED || text == RESTARTED_DURABLE {
                    self.unknown(t_us, RESTART);
                } else if text.starts_with(DROPPED) {
                    self.dropped.get_or_insert(text);
                }
            }
            Kind::Http(exchange) => self.http(t_us, conn, exchange),
            Kind::Packet(Direction::Sent, packet) => self.sent(t_us, conn, packet),
            Kind::Packet(Direction::Received, packet) => self.received(t_us, conn, packet),
        }
    }

    /// Whether a record is of a connection that was open before the recording began.
    fn is_midway(&mut self, conn: &str, kind: &Kind) -> bool {
        if self.midway.contains(conn) {
            return true;
        }
        let begins = match kind {
            Kind::Packet(Direction::Received, packet) => matches!(packet, Traced::Open(_)),
            Kind::Packet(Direction::Sent, packet) => matches!(packet, Traced::Connect(_)),
            Kind::Http(_) | Kind::Mark(_) => return false,
        };
        let midway = !begins && !self.conns.contains_key(conn);
        if midway {
            self.midway.insert(conn.to_owned());
        }
        midway
    }

    /// From here on nobody knows what the server holds.
    fn unknown(&mut self, then_us: u64, why: &'static str) {
        let unanswered_us = self.last_us.saturating_sub(UNANSWERED_US);
        self.unknown.get_or_insert(Unknown {
            then_us,
            unanswered_us,
            why,
        });
    }

    fn step(&mut self, t_us: u64, conn: String, act: Act) {
        self.steps.push(Step { t_us, conn, act });
    }

    fn hear(&mut self, t_us: u64, conn: String, what: What) {
        self.heard.push(Heard { t_us, conn, what });
    }

    /// Whatever a connection does first, its transport is opened before.
    fn opened(&mut self, t_us: u64, conn: &str) {
        let state = self.conns.entry(conn.to_owned()).or_default();
        if !std::mem::replace(&mut state.open, true) {
            self.step(t_us, conn.to_owned(), Act::Open);
        }
    }

    fn conn(&mut self, t_us: u64, conn: &str) -> &mut Conn {
        let state = self.conns.entry(conn.to_owned()).or_default();
        state.last_us = t_us;
        state
    }

    fn sent(&mut self, t_us: u64, conn: String, packet: Traced) {
        let state = self.conn(t_us, &conn);
        // The client answers pings and changes transports by itself.
        let by_itself = match packet {
            Traced::Pong(_) => {
                state.pongs += 1;
                state.pongs <= state.pings
            }
            Traced::Ping(_) | Traced::Upgrade | Traced::Noop => state.upgrades,
            _ => false,
        };
        if !by_itself {
            self.opened(t_us, &conn);
            self.step(t_us, conn, Act::Send(packet));
        }
    }

    fn received(&mut self, t_us: u64, conn: String, packet: Traced) {
        let state = self.conn(t_us, &conn);
        match &packet {
            Traced::Ping(_) => {
                state.pings += 1;
                state.first_ping_us.get_or_insert(t_us);
            }
            Traced::Open(data) => {
                state.upgrades = data["upgrades"]
                    .as_array()
                    .is_some_and(|all| !all.is_empty());
                return self.opened(t_us, &conn);
            }
            _ => {}
        }
        if let Some(what) = What::of(packet) {
            let ended = matches!(what, What::Ended(_));
            // A connection ends once, however often that is said.
            if ended && std::mem::replace(&mut state.over, true) {
                return;
            }
            self.hear(t_us, conn, what);
        }
    }

    /// Whoever ended it, the client lets go of it then.
    fn end(&mut self, t_us: u64, conn: String, why: &str) {
        let by_client = why == touchstone_client::End::ClientClosed.to_string();
        let state = self.conn(t_us, &conn);
        if !std::mem::replace(&mut state.open, false) {
            return;
        }
        let told = std::mem::replace(&mut state.over, true);
        if !by_client && !told && !why.starts_with("refused") {
            self.hear(t_us, conn.clone(), What::Ended(why.to_owned()));
        }
        self.step(t_us, conn, Act::Close);
    }

    fn http(&mut self, t_us: u64, conn: String, exchange: Exchange) {
        let took = exchange
            .us
            .unwrap_or(exchange.ms.saturating_mul(1_000).saturating_add(1_000));
        let index = self.exchanges;
        self.exchanges += 1;
        let answer = exchange.status.map(|status| {
            let body = exchange.response.clone().unwrap_or_default();
            (status, body)
        });
        if is_sign_in(&exchange)
            && let Some(name) = token_name(exchange.response.as_ref())
            && !self.signed_in.contains(&name)
        {
            self.signed_in.push(name);
        }
        self.hear(t_us, conn.clone(), What::Answered(index, answer));
        self.step(t_us.saturating_sub(took), conn, Act::Http(index, exchange));
    }
    fn finish(mut self, path: &Path, header: Header) -> Result<Recording, ReplayError> {
        let path = path.to_owned();
        if let Some(mark) = self.dropped {
            return Err(ReplayError::Incomplete { path, mark });
        }
        if self.steps.is_empty() && self.midway.is_empty() {
            return Err(ReplayError::NothingSent { path });
        }
        // An exchange is recorded when it ends, and has to be sent when it began.
        self.steps.sort_by_key(|step| step.t_us);
        note_losses(&mut self.steps);
        let mut accounts = HashMap::new();
        for step in &self.steps {
            if let Act::Send(Traced::Connect(auth)) = &step.act
                && let Some(account) = token_name(Some(auth))
            {
                accounts.entry(step.conn.clone()).or_insert(account);
            }
        }
        if !self.midway.is_empty() {
            self.unknown = Some(Unknown {
                then_us: 0,
                unanswered_us: 0,
                why: MIDWAY,
            });
            let known: HashSet<&String> = accounts.values().chain(&self.signed_in).collect();
            let lacks_account = |conn: &str| {
                let account = conn.strip_prefix("http/").map(str::to_owned);
                account.is_some_and(|account| !known.contains(&account))
            };
            self.steps.retain(|step| !lacks_account(&step.conn));
            let (midway, heard) = self
                .heard
                .into_iter()
                .partition(|heard: &Heard| lacks_account(&heard.conn));
            self.heard = heard;
            self.heard_midway.extend::<Vec<_>>(midway);
        }
        let verdict = self.verdict.unwrap_or_default();
        let case = self.case.map(|id| RecordedCase { id, verdict });
        let mute = self.conns.into_iter().filter(|(_, conn)| conn.is_mute());
        Ok(Recording {
            path,
            header,
            heard: without_doubles(&self.steps, self.heard),
            steps: self.steps,
            case,
            signed_in: self.signed_in,
            mute: mute.map(|(name, _)| name).collect(),
            accounts,
            midway: self.heard_midway,
            unknown: self.unknown,
            knowledge: Knowledge::Partial,
            violations: Vec::new(),
            broken_us: HashSet::new(),
            decisions: self.decisions,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use touchstone_client::Args;

    use super::*;

    fn record(t_us: u64, conn: &str, kind: Kind) -> Record {
        Record {
            t_us,
            conn: conn.into(),
            kind,
            recipients: None,
        }
    }

    fn event(name: &str) -> Traced {
        Traced::Event {
            name: name.into(),
            args: Args::from(json!({})),
            ack: None,
            attachments: 0,
        }
    }

    fn read(records: Vec<Record>) -> Result<Recording, ReplayError> {
        let records = records.into_iter().map(Ok);
        Recording::of(Path::new("t"), Header::new("t", "u", 0), records)
    }

    #[test]
    fn exchanges_are_steps_of_the_time_when_they_began() {
        use Direction::{Received, Sent};
        let exchange = Exchange {
            method: "POST".into(),
            url: "/v1/auth".into(),
            status: Some(200),
            request: None,
            response: Some(json!({"token": "a1…"})),
            ms: 3,
            us: Some(3_500),
        };
        let recording = read(vec![
            record(10, "u", Kind::Packet(Received, Traced::Open(json!({})))),
            record(
                20,
                "u",
                Kind::Packet(Sent, Traced::Connect(json!({"token": "a1…"}))),
            ),
            record(
                30,
                "u",
                Kind::Packet(Received, Traced::Connect(json!({"sid": "s"}))),
            ),
            record(35, "u", Kind::Packet(Received, Traced::Ping(String::new()))),
            record(40, "u", Kind::Packet(Sent, Traced::Pong(String::new()))),
            record(50, "u", Kind::Packet(Sent, Traced::Pong("unasked".into()))),
            record(2_000, "u", Kind::Packet(Sent, event("ping"))),
            record(3_000, "u", Kind::Packet(Received, event("update"))),
            record(4_000, "http/a1", Kind::Http(exchange)),
            record(
                5_000,
                "u",
                Kind::Mark("ended: closed by this client".into()),
            ),
            record(6_000, SUITE, Kind::Mark("case: a.case".into())),
            record(6_000, SUITE, Kind::Mark("verdict: fail".into())),
        ])
        .unwrap();
        let steps: Vec<_> = recording
            .steps
            .iter()
            .map(|step| (step.t_us, step.conn.as_str()))
            .collect();
        assert_eq!(
            steps,
            [
                (10, "u"),
                (20, "u"),
                (50, "u"),
                (500, "http/a1"),
                (2_000, "u"),
                (5_000, "u")
            ]
        );
        let classes: Vec<_> = recording
            .heard
            .iter()
            .map(|heard| heard.what.class())
            .collect();
        assert_eq!(classes, ["connect", "event update ", "http 0"]);
        assert_eq!(recording.signed_in, ["a1"]);
        assert_eq!(recording.failed_case(), Some("a.case"));
    }

    #[test]
    fn what_was_open_before_the_recording_began_is_not_replayed() {
        use Direction::{Received, Sent};
        let exchange = Exchange {
            method: "POST".into(),
            url: "/v1/sessions".into(),
            status: Some(200),
            request: None,
            response: Some(json!({"session": {"id": "s"}})),
            ms: 3,
            us: Some(3_500),
        };
        let connect = |token: &str| Kind::Packet(Sent, Traced::Connect(json!({"token": token})));
        let recording = read(vec![
            record(10, "old", Kind::Packet(Received, event("update"))),
            record(20, "old", Kind::Packet(Sent, event("ping"))),
            record(30, "http/a1", Kind::Http(exchange.clone())),
            record(40, "new", connect("a2…")),
            record(50, "new", Kind::Packet(Sent, event("ping"))),
            record(60, "http/a2", Kind::Http(exchange)),
            record(70, "old", Kind::Mark("ended: the server closed it".into())),
        ])
        .unwrap();
        let conns: Vec<_> = recording.steps.iter().map(|one| &*one.conn).collect();
        assert_eq!(conns, ["http/a2", "new", "new", "new"]);
        let midway: Vec<_> = recording
            .midway
            .iter()
            .map(|one| one.what.class())
            .collect();
        assert_eq!(midway, ["event update ", "http 0"]);
        assert_eq!(recording.unknown.unwrap().why, MIDWAY);

        let paused = Kind::Mark("gap: the recording was off for 2.0 s".into());
        let recording = read(vec![
            record(10, "u", connect("a1…")),
            record(90, "-", paused),
        ]);
        let unknown = recording.unwrap().unknown.unwrap();
        assert_eq!((unknown.then_us, unknown.why), (90, PAUSED));
    }

    #[test]
    fn what_cannot_be_replayed_is_told() {
        let told = |records| read(records).unwrap_err().to_string();
        assert_eq!(
            told(vec![]),
            "nothing to replay in t: no client sends anything in it"
        );
        let mark = Kind::Mark("earlier records dropped: 5".into());
        assert_eq!(
            told(vec![record(0, "-", mark)]),
            "t lacks its beginning: earlier records dropped: 5"
        );
    }
}
