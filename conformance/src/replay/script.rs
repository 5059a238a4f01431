//! A trace as a script: what clients did, in order, and what the server did then.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    fs::File,
    io::BufReader,
    path::{Path, PathBuf},
};

use serde_json::Value;
use touchstone_client::{
    Args, Conduct, Direction,
    trace::{Exchange, Header, Kind, Reader, Record, TraceError, Traced},
};

use super::ReplayError;
use crate::{
    evidence::{CASE, SUITE, VERDICT},
    verdict::Verdict,
};

/// A trace that was read for replay.
#[derive(Debug)]
pub struct Recording {
    pub(crate) path: PathBuf,
    pub(crate) header: Header,
    /// What clients did, in the order in which they began to.
    pub(super) steps: Vec<Step>,
    /// What the server did, in the order of arrival.
    pub(super) heard: Vec<Heard>,
    /// The case and its verdict, where a conformance run wrote the trace.
    pub(crate) case: Option<RecordedCase>,
    /// Accounts that the trace makes by signing in, by the name of their token.
    pub(super) signed_in: Vec<String>,
    /// Connections that answered no ping.
    pub(super) mute: HashSet<String>,
    /// The account of each connection that sent CONNECT, by the name of its token.
    accounts: HashMap<String, String>,
    /// How many routing decisions of a tap it holds. No client receives them, so they are not replayed.
    pub(super) decisions: usize,
}

/// The case that a trace is the evidence of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedCase {
    /// Its id.
    pub id: String,
    /// Its verdict, in the words of reports.
    pub verdict: String,
}

/// One thing that a client did.
#[derive(Debug, Clone)]
pub(super) struct Step {
    /// When it began, in microseconds of the recording.
    pub(super) t_us: u64,
    pub(super) conn: String,
    pub(super) act: Act,
}

#[derive(Debug, Clone)]
pub(super) enum Act {
    /// The transport is opened.
    Open,
    /// A packet is sent.
    Send(Traced),
    /// A packet was sent that the trace does not hold as a whole.
    Lost(Traced, &'static str),
    /// Something is done to the connection that no packet shows.
    Do(Conduct),
    /// The connection is closed.
    Close,
    /// An HTTP request; its answer is the expectation of the same index.
    Http(usize, Exchange),
}

/// A request over HTTP.
#[derive(Debug, Clone)]
pub(super) struct Exchanged {
    /// The place of its step.
    pub(super) step: usize,
    pub(super) method: String,
    pub(super) url: String,
}

/// One thing that a client got.
#[derive(Debug, Clone)]
pub(super) struct Heard {
    pub(super) t_us: u64,
    pub(super) conn: String,
    pub(super) what: What,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum What {
    /// CONNECT was answered, with this.
    Admitted(Value),
    /// CONNECT was refused.
    Refused(Value),
    Event {
        name: String,
        args: Value,
        ack: Option<u64>,
    },
    Ack {
        id: u64,
        args: Value,
    },
    /// The server ended the connection, or let it end.
    Ended(String),
    /// The answer to an HTTP request: its index, and status and body, or nothing.
    Answered(usize, Option<(u16, Value)>),
}

impl What {
    /// What a packet from the server is, if it is anything that is compared.
    pub(super) fn of(packet: Traced) -> Option<Self> {
        let values = |args: &Args| {
            args.values()
                .map_or_else(|_| Value::String(args.as_str().to_owned()), Value::Array)
        };
        Some(match packet {
            Traced::Connect(data) => Self::Admitted(data),
            Traced::ConnectError(data) => Self::Refused(data),
            Traced::Event {
                name, args, ack, ..
            } => Self::Event {
                args: values(&args),
                name,
                ack,
            },
            Traced::Ack { id, args, .. } => Self::Ack {
                id,
                args: values(&args),
            },
            Traced::Disconnect => Self::Ended("DISCONNECT".into()),
            Traced::Close => Self::Ended("Engine.IO close packet".into()),
            _ => return None,
        })
    }

    /// What counts as the same kind of thing while it is waited for.
    pub(super) fn class(&self) -> String {
        match self {
            Self::Admitted(_) | Self::Refused(_) => "connect".into(),
            Self::Event { name, args, .. } => format!("event {name} {}", type_of(name, args)),
            Self::Ack { id, .. } => format!("ack {id}"),
            Self::Ended(_) => "end".into(),
            Self::Answered(index, _) => format!("http {index}"),
        }
    }
}

/// The type of an update or ephemeral, empty for other events.
pub(super) fn type_of<'a>(name: &str, args: &'a Value) -> &'a str {
    let tag = match name {
        "update" => args.pointer("/0/body/t"),
        "ephemeral" => args.pointer("/0/type"),
        _ => None,
    };
    tag.and_then(Value::as_str).unwrap_or_default()
}

impl Recording {
    /// Reads a trace file.
    ///
    /// # Errors
    /// The file is no trace, lacks its beginning, or holds nothing that a client sent.
    pub fn read(path: &Path) -> Result<Self, ReplayError> {
        let failed = |source| ReplayError::Read {
            path: path.to_owned(),
            source,
        };
        let opened = File::open(path).map_err(|source| TraceError::Io { line: 1, source });
        let reader = Reader::new(BufReader::new(opened.map_err(failed)?)).map_err(failed)?;
        let header = reader.header().clone();
        let records: Vec<Record> = reader.collect::<Result<_, _>>().map_err(failed)?;
        Self::of(path, header, records)
    }

    fn of(path: &Path, header: Header, records: Vec<Record>) -> Result<Self, ReplayError> {
        let lost = records.iter().find_map(|record| match &record.kind {
            Kind::Mark(text) if text.starts_with("earlier records dropped") => Some(text.clone()),
            _ => None,
        });
        if let Some(mark) = lost {
            return Err(ReplayError::Incomplete {
                path: path.to_owned(),
                mark,
            });
        }
        let mut builder = Builder::default();
        for record in records {
            builder.take(record);
        }
        // An exchange is recorded when it ends, and has to be sent when it began.
        builder.steps.sort_by_key(|step| step.t_us);
        note_losses(&mut builder.steps);
        if builder.steps.is_empty() {
            return Err(ReplayError::NothingSent {
                path: path.to_owned(),
            });
        }
        let mut accounts = HashMap::new();
        for step in &builder.steps {
            if let Act::Send(Traced::Connect(auth)) = &step.act
                && let Some(account) = token_name(Some(auth))
            {
                accounts.entry(step.conn.clone()).or_insert(account);
            }
        }
        let case = builder.case.map(|id| RecordedCase {
            id,
            verdict: builder.verdict.unwrap_or_default(),
        });
        Ok(Self {
            path: path.to_owned(),
            header,
            steps: builder.steps,
            heard: builder.heard,
            case,
            signed_in: builder.signed_in,
            mute: builder
                .conns
                .into_iter()
                .filter(|(_, conn)| conn.is_mute())
                .map(|(name, _)| name)
                .collect(),
            decisions: builder.decisions,
            accounts,
        })
    }

    /// The accounts in which others did what connections were told of: nothing was sent in them but
    /// CONNECT. The trace of a case holds all that was sent.
    pub(super) fn watched_only(&self) -> BTreeSet<String> {
        if self.case.is_some() {
            return BTreeSet::new();
        }
        let is_cause = |step: &&Step| match &step.act {
            Act::Send(packet) => !matches!(packet, Traced::Connect(_) | Traced::Disconnect),
            Act::Lost(..) | Act::Http(..) => true,
            Act::Open | Act::Close | Act::Do(_) => false,
        };
        let of = |step: &Step| self.account_of(&step.conn);
        let mut accounts: BTreeSet<String> = self.steps.iter().filter_map(of).collect();
        for cause in self.steps.iter().filter(is_cause) {
            if let Some(account) = of(cause) {
                accounts.remove(&account);
            }
        }
        accounts
    }

    /// What was requested over HTTP, by the index of its answer.
    pub(super) fn requests(&self) -> HashMap<usize, Exchanged> {
        let requests = self.steps.iter().enumerate();
        requests
            .filter_map(|(step, one)| match &one.act {
                Act::Http(index, exchange) => {
                    let exchanged = Exchanged {
                        step,
                        method: exchange.method.clone(),
                        url: exchange.url.clone(),
                    };
                    Some((*index, exchanged))
                }
                _ => None,
            })
            .collect()
    }

    /// The account that a connection or an exchange belongs to, by the name of its token.
    pub(super) fn account_of(&self, conn: &str) -> Option<String> {
        if let Some(account) = conn.strip_prefix("http/") {
            return Some(account.to_owned());
        }
        self.accounts.get(conn).cloned()
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The case whose failure this is the trace of, if it is one.
    pub fn failed_case(&self) -> Option<&str> {
        let bad = [
            Verdict::Fail,
            Verdict::Warn,
            Verdict::Error,
            Verdict::Blocked,
        ];
        let case = self.case.as_ref()?;
        bad.iter()
            .any(|verdict| verdict.as_str() == case.verdict)
            .then_some(case.id.as_str())
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

#[derive(Default)]
struct Builder {
    steps: Vec<Step>,
    heard: Vec<Heard>,
    conns: HashMap<String, Conn>,
    exchanges: usize,
    signed_in: Vec<String>,
    case: Option<String>,
    verdict: Option<String>,
    decisions: usize,
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
        if let Some(conduct) = kind.as_conduct() {
            return self.step(t_us, conn, Act::Do(conduct));
        }
        match kind {
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
                }
            }
            Kind::Http(exchange) => self.http(t_us, conn, exchange),
            Kind::Packet(Direction::Sent, packet) => self.sent(t_us, conn, packet),
            Kind::Packet(Direction::Received, packet) => self.received(t_us, conn, packet),
        }
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
}

/// Whether the exchange made an account, or found it again.
pub(super) fn is_sign_in(exchange: &Exchange) -> bool {
    exchange.method == "POST" && exchange.url == "/v1/auth" && exchange.status == Some(200)
}

/// The name that stands for the token in an answer or in an auth: `a1` for `a1…`.
pub(super) fn token_name(data: Option<&Value>) -> Option<String> {
    let shown = data?.get("token")?.as_str()?;
    shown.strip_suffix('…').map(str::to_owned)
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
