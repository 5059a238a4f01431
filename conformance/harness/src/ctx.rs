//! What a case works with: accounts, connections, findings, evidence.
//!
//! Each run of a case gets a fresh one. Everything random comes from the seed and the case's id, except
//! for the salt in names that a server keeps (account keys, ids), which differs from run to run: a
//! server that remembers the last run must not change the verdicts of this one.

use std::{collections::HashMap, fmt::Display, sync::Arc, time::Duration};
use touchstone_output::text::display_url;
use touchstone_output::text::error_chain;

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use serde_json::Value;
use tokio::time::{Instant, sleep};
use touchstone_client::{
    Args, CallError, ConnectError, ConnectOptions, End, connect, provision::Provisioner,
};
use touchstone_fixtures as fixtures;

pub use crate::scope::Scope;
use crate::{
    absent,
    case::{Flow, Stop},
    clock::ServerClock,
    event::{Dialect, TraceLine},
    evidence::{Evidence, shorten},
    focus::{Clue, markers_in},
    ledger::Requirement,
    opaque, own,
    peer::{Answer, Arrival, Peer},
    shape::shape,
    shared::Shared,
    steps::Steps,
    verdict::{Finding, folded},
};

/// The context of one run of one case.
pub struct Ctx {
    /// What the cases of the run share.
    pub shared: Arc<Shared>,
    /// The case's id.
    case: String,
    /// Lets the server prove after each input that it lives, in a run that looks for the deadly one.
    pub(crate) steps: Option<Arc<Steps>>,
    /// When the run of the case began.
    began: Instant,
    /// What was sent and received.
    pub(crate) evidence: Evidence,
    /// What was judged so far.
    pub findings: Vec<Finding>,
    /// What a reader of the verdict should know.
    pub(crate) notes: Vec<String>,
    /// The traits that were noted.
    pub(crate) dialect: Dialect,
    /// The last known version of a field of a record.
    versions: HashMap<(String, &'static str), i64>,
    rng: StdRng,
    names: StdRng,
    salt: String,
    made: u32,
    server_clock: ServerClock,
}

/// The kind of thing that the answer to a ping is.
pub const PING: &str = "ping";

/// Why a call has no answer, where that is a matter of judgment.
#[derive(Debug)]
pub struct NoAnswer {
    /// How long it was waited.
    pub after: Duration,
}

/// Tries of something that needs a moment in the server which nothing announces.
#[derive(Debug)]
pub struct Tries {
    until: Instant,
    began: bool,
}

impl Tries {
    /// Waits until it is time for the next try, and says whether it is the last one. The pause spares the
    /// server, and proves nothing.
    pub async fn next(&mut self) -> bool {
        if std::mem::replace(&mut self.began, true) {
            sleep(BETWEEN_TRIES).await;
        }
        Instant::now() >= self.until
    }
}

/// The pause between tries of the same thing.
const BETWEEN_TRIES: Duration = Duration::from_millis(50);

impl Ctx {
    /// A context for `case_id`. `attempt` tells a repetition from the first run.
    pub(crate) fn new(shared: Arc<Shared>, case_id: &str, attempt: u32) -> Self {
        let seed = mix(shared.seed, case_id);
        let salted = mix(shared.salt ^ u64::from(attempt), case_id);
        let salt = format!("{salted:x}");
        let began = Instant::now();
        Self {
            shared,
            case: case_id.to_owned(),
            steps: None,
            began,
            evidence: Evidence::new(began),
            findings: Vec::new(),
            notes: Vec::new(),
            dialect: Dialect::default(),
            versions: HashMap::new(),
            rng: StdRng::seed_from_u64(seed),
            names: StdRng::seed_from_u64(mix(seed, &salt)),
            salt,
            made: 0,
            server_clock: ServerClock::default(),
        }
    }

    // Findings.

    /// Records that `requirement` held.
    pub fn held(&mut self, requirement: &'static Requirement) {
        self.findings.push(Finding::held(requirement));
    }

    /// Records that `requirement` was broken, unless what the server sends cannot be read any more: that
    /// explains whatever follows, and has a requirement of its own.
    pub fn broken(
        &mut self,
        requirement: &'static Requirement,
        expected: impl Display,
        actual: impl Display,
    ) {
        self.broken_by(Clue::default(), requirement, expected, actual);
    }

    /// As [`broken`](Self::broken), with what is known of the packets that broke it.
    pub fn broken_by(
        &mut self,
        clue: Clue,
        requirement: &'static Requirement,
        expected: impl Display,
        actual: impl Display,
    ) {
        if self.evidence.unreadable().is_some() {
            return;
        }
        let expected = expected.to_string();
        let actual = shorten(&actual.to_string());
        let mark = shorten(&format!("{} is broken here: {actual}", requirement.id));
        self.evidence.mark(&mark);
        self.findings.push(Finding {
            clue: Clue { mark, ..clue },
            ..Finding::broken(requirement, expected, actual)
        });
    }

    /// The findings, each of several equal ones once.
    pub(crate) fn folded(&mut self) -> Vec<Finding> {
        folded(std::mem::take(&mut self.findings))
    }

    /// The trace in which the findings show.
    pub(crate) fn traced(&self, findings: &mut [Finding]) -> Vec<TraceLine> {
        self.evidence.lines(&self.salt, findings)
    }

    /// The requirement that was found broken last.
    pub(crate) fn last_broken(&self) -> Option<&'static Requirement> {
        let last = self
            .findings
            .iter()
            .rfind(|finding| finding.broken.is_some());
        last.map(|finding| finding.requirement)
    }

    /// What a part of a case gives, if the case can go on without it: what it builds on may be broken, and
    /// the other parts are judged all the same. `end` is how the case ends then.
    pub fn part<T>(end: &mut Flow, part: Flow<T>) -> Flow<Option<T>> {
        match part {
            Ok(value) => Ok(Some(value)),
            Err(stop @ (Stop::Judged | Stop::Blocked { .. })) => {
                if end.is_ok() {
                    *end = Err(stop);
                }
                Ok(None)
            }
            Err(stop) => Err(stop),
        }
    }

    /// Records one finding, and tells whether the requirement held.
    pub fn check(
        &mut self,
        requirement: &'static Requirement,
        held: bool,
        expected: impl Display,
        actual: impl Display,
    ) -> bool {
        if held {
            self.held(requirement);
        } else {
            self.broken(requirement, expected, actual);
        }
        held
    }

    /// As [`check`](Self::check), with what is known of the packets that broke it.
    pub fn check_by(
        &mut self,
        clue: Clue,
        requirement: &'static Requirement,
        held: bool,
        expected: impl Display,
        actual: impl Display,
    ) {
        if held {
            self.held(requirement);
        } else {
            self.broken_by(clue, requirement, expected, actual);
        }
    }

    /// As [`check`](Self::check), for what the rest of the case builds on: it ends there when broken.
    pub fn require(
        &mut self,
        requirement: &'static Requirement,
        held: bool,
        expected: impl Display,
        actual: impl Display,
    ) -> Flow {
        if self.check(requirement, held, expected, actual) {
            Ok(())
        } else {
            Err(Stop::Judged)
        }
    }

    /// What tells the first two of `arrivals` whose numbers do not rise, which the connections `names`
    /// received: the values of this case that stand in one of them alone.
    pub fn not_rising<'n>(
        &self,
        arrivals: &[Arrival],
        number: impl Fn(&Arrival) -> Option<i64>,
        names: impl IntoIterator<Item = &'n str>,
    ) -> Clue {
        let pairs = arrivals.windows(2);
        let Some(swapped) = pairs
            .into_iter()
            .find(|pair| number(&pair[0]) >= number(&pair[1]))
        else {
            return Clue::default();
        };
        let own = |at: usize| {
            let other = &swapped[1 - at].raw;
            markers_in(&swapped[at].raw, &self.salt).filter(move |marker| !other.contains(marker))
        };
        Clue::of(own(0).chain(own(1))).wrong(names)
    }

    /// Checks that two values are equal.
    pub fn equal(
        &mut self,
        requirement: &'static Requirement,
        what: &str,
        expected: &Value,
        actual: &Value,
    ) -> bool {
        let expected_text = format!("{what} {expected}");
        self.check(
            requirement,
            carries(actual, expected),
            expected_text,
            actual,
        )
    }

    /// Validates `value` against the schema `name`. Violations of keys that the specification gives
    /// break `must`, those that only real clients need break `should`; where both are one requirement,
    /// the latter break [`own::DETAILS`], so that a decision never counts as the specification.
    pub fn schema(
        &mut self,
        must: &'static Requirement,
        should: &'static Requirement,
        name: &str,
        value: &Value,
    ) -> Flow {
        let Some(schema) = fixtures::schema(name) else {
            return Err(Stop::Trouble(format!("the suite has no schema {name}")));
        };
        let violations = schema.validate(value).err().unwrap_or_default();
        let told = |level: fixtures::Level| -> Vec<String> {
            let of_level = violations
                .iter()
                .filter(|violation| violation.level == level);
            of_level.map(ToString::to_string).collect()
        };
        let expected = format!("the shape of {name}");
        let mut judge = |requirement, told: &[String]| {
            let actual = format!("{} in {value}", told.join("; "));
            self.check(requirement, told.is_empty(), &expected, actual);
        };
        judge(must, &told(fixtures::Level::Must));
        let details = told(fixtures::Level::Should);
        if !std::ptr::eq(must, should) {
            judge(should, &details);
        } else if !details.is_empty() {
            judge(&own::DETAILS, &details);
        }
        Ok(())
    }

    /// Notes a trait of the server for the dialect card.
    pub fn fact(&mut self, name: &str, value: impl Into<Value>) {
        self.dialect.note(name, value.into());
    }

    /// Notes a step in the wire trace.
    pub fn step(&self, text: &str) {
        self.evidence.mark(text);
    }

    /// Tells the reader of the verdict something; once.
    pub fn note(&mut self, text: String) {
        if !self.notes.contains(&text) {
            self.notes.push(text);
        }
    }

    /// The version of `field` of the record `id` as it was last told by the server; 0 where it never
    /// was.
    pub fn version(&self, id: &str, field: &'static str) -> i64 {
        self.versions
            .get(&(id.to_owned(), field))
            .copied()
            .unwrap_or(0)
    }

    /// Remembers the version that the server told.
    pub fn saw_version(&mut self, id: &str, field: &'static str, version: i64) {
        self.versions.insert((id.to_owned(), field), version);
    }

    // Random values.

    /// Text that occurs nowhere else in this run, so that an event can be told by it whatever its keys
    /// are called. It is a value that every server keeps as it is, see [`opaque`].
    pub fn marker(&mut self, what: &str) -> String {
        self.made += 1;
        opaque::marker(what, &self.salt, self.made, self.rng.random())
    }

    /// A version 4 UUID, which is what real servers ask of artifact ids.
    pub fn uuid(&mut self) -> String {
        self.made += 1;
        let high = mix(self.rng.random(), &self.salt);
        let low = mix(self.rng.random(), &self.salt);
        version_4(high, low)
    }

    /// A time for a heartbeat, in Unix milliseconds: of now by the server's clock, not before anything that
    /// this case has made, and after every other time of this case.
    pub fn recent_time(&mut self) -> u64 {
        let here = self.shared.clock.unix_ms();
        self.server_clock.next(here)
    }

    /// Learns the server's clock from the `createdAt` of what it has made since `asked`.
    pub(crate) fn saw_created(&mut self, asked: u64, record: &Value) {
        // What a file or a program hands out may have been made at any time.
        let is_new = matches!(self.shared.target.provisioner, Provisioner::Rest(_));
        if let Some(stamp) = record["createdAt"].as_u64().filter(|_| is_new) {
            let answered = self.shared.clock.unix_ms();
            self.server_clock.stamped(stamp, asked, answered);
        }
    }

    /// Where what a server keeps, such as account keys, comes from.
    pub fn names(&mut self) -> &mut StdRng {
        &mut self.names
    }

    // Time.

    /// When something that must come counts as missing, from now on.
    pub fn deadline(&self) -> Instant {
        Instant::now() + self.shared.pace.patience()
    }

    /// Whether a session or machine of this case may have been silent for as long as the server lets it count
    /// as active, so that it may be inactive now without anybody's doing. A second is left for times that
    /// are rounded.
    pub fn may_be_swept(&self) -> bool {
        let stated = self.shared.target.timeouts.presence;
        stated.is_some_and(|time| self.began.elapsed() + Duration::from_secs(1) >= time)
    }

    /// Tries of something that must be so at last, until [`deadline`](Self::deadline).
    pub fn tries(&self) -> Tries {
        self.tries_within(self.shared.pace.patience())
    }

    /// Tries of something that may take this long.
    pub fn tries_within(&self, time: Duration) -> Tries {
        Tries {
            until: Instant::now() + time,
            began: false,
        }
    }

    /// Kills the server as a crash would, and starts it again. Connections end with it.
    pub async fn restart(&self) -> Flow {
        let Some(server) = &self.shared.server else {
            return Err(Stop::Skip("the server was not started by --spawn".into()));
        };
        self.step("the server is killed");
        server.kill().await;
        let revived = server.revive().await;
        revived.map_err(|error| Stop::Trouble(error_chain(&error)))?;
        self.step("it was started again, and answers");
        Ok(())
    }

    // Connections.

    /// Options for a connection called `name` in the trace, to the next node of the target.
    pub fn options(&self, name: &str, auth: Option<Value>) -> ConnectOptions {
        let target = &self.shared.target;
        let url = self.shared.next_url();
        if target.urls.len() > 1 {
            self.evidence.goes_to(name, display_url(&url));
        }
        let mut options = target
            .server
            .at(url)
            .timeout(self.shared.pace.patience() * 2)
            .tap(self.evidence.tap(name));
        options.auth = auth;
        options
    }

    /// Connects where a refusal is not what the case is about, and proves that the connection is served:
    /// its ping is answered. Events that are sent before that may be lost, which one case judges
    /// (`handshake.early-events`) and no other may stumble over.
    pub async fn connect(&self, name: &str, token: &str, scope: Scope<'_>) -> Flow<Peer> {
        let peer = self.connect_unproved(name, token, scope).await?;
        if self.is_served(&peer).await? || !self.answers_pings() {
            return Ok(peer);
        }
        Err(Stop::Blocked {
            parent: scope.admitted_by(),
            reason: format!("the connection {name} stands, but its pings are not answered"),
        })
    }

    /// As [`connect`](Self::connect), at the moment in which CONNECT is answered.
    pub async fn connect_unproved(&self, name: &str, token: &str, scope: Scope<'_>) -> Flow<Peer> {
        let options = self.options(name, Some(scope.auth(token)));
        let started = Instant::now();
        let (socket, events) = connect(&options).await.map_err(|error| {
            let reason = format!("{name} cannot connect: {}", error_chain(&error));
            match error {
                ConnectError::Refused { .. } | ConnectError::Ended(_) => Stop::Blocked {
                    parent: scope.admitted_by(),
                    reason,
                },
                _ => Stop::Trouble(reason),
            }
        })?;
        self.shared.pace.saw_answer(started.elapsed());
        Ok(Peer::new(name, socket, events))
    }

    /// Whether a ping on `peer` is answered, one of several: the first ones may be lost, when a server
    /// sets up its handlers only after it has answered CONNECT.
    pub async fn is_served(&self, peer: &Peer) -> Flow<bool> {
        let started = Instant::now();
        let mut within = self.shared.pace.settle() / 2;
        loop {
            let left = self
                .shared
                .pace
                .patience_for(PING)
                .saturating_sub(started.elapsed());
            match peer.call_within("ping", (), within.min(left)).await {
                Ok(_) => {
                    self.shared.pace.came(PING, started.elapsed());
                    return Ok(true);
                }
                Err(CallError::Timeout { .. }) if within < left => within *= 2,
                Err(CallError::Timeout { .. }) => {
                    self.shared.pace.missed(PING);
                    return Ok(false);
                }
                Err(CallError::Ended { source, .. }) => return Err(self.dropped(peer, &source)),
            }
        }
    }

    /// Whether this server is not known to leave every ping without an answer.
    pub fn answers_pings(&self) -> bool {
        !self.shared.pace.never_came(PING)
    }

    // Calls.

    /// Calls `event` and gives what was answered, if anything was in time. A call of a kind that never was
    /// answered is waited for in full once, and shorter later on.
    pub async fn ask(
        &self,
        peer: &Peer,
        event: &str,
        args: impl Into<Args>,
    ) -> Flow<Result<Answer, NoAnswer>> {
        let args = args.into();
        let kind = self.kind_of(event, &args);
        let pace = &self.shared.pace;
        let patience = pace.patience_for_call(event, &kind);
        let started = Instant::now();
        let answer = self.ask_within(peer, event, args, patience).await?;
        match &answer {
            Ok(_) => pace.answered(event, &kind, started.elapsed()),
            Err(_) => pace.unanswered(event, &kind),
        }
        Ok(answer)
    }

    /// Waits for an event of a kind that this server may lack: in full at first, and briefly once it is known
    /// that none of its kind comes.
    pub async fn arrival(
        &self,
        peer: &Peer,
        kind: &str,
        wanted: impl FnMut(&Arrival) -> bool,
    ) -> Option<Arrival> {
        self.arrival_since(Instant::now(), peer, kind, wanted).await
    }

    /// As [`arrival`](Self::arrival), where what causes the event was done at `asked`: from then on the time
    /// counts that it takes.
    pub async fn arrival_since(
        &self,
        asked: Instant,
        peer: &Peer,
        kind: &str,
        wanted: impl FnMut(&Arrival) -> bool,
    ) -> Option<Arrival> {
        let pace = &self.shared.pace;
        let deadline = Instant::now() + pace.patience_for(kind);
        let arrival = peer.wait_for(deadline, wanted).await;
        match &arrival {
            Some(arrival) => pace.came(kind, arrival.at.saturating_duration_since(asked)),
            None => pace.missed(kind),
        }
        arrival
    }

    /// Whether calls of this kind were waited for in full, and none was ever answered so far.
    pub(crate) fn never_answers(&self, event: &str, data: &Value) -> bool {
        let kind = self.kind_of(event, &Args::from(data.clone()));
        self.shared.pace.never_came(&kind)
    }

    /// The kind of thing that the answer to this call is.
    fn kind_of(&self, event: &str, args: &Args) -> String {
        match event {
            "ping" if args.is_empty() => PING.to_owned(),
            _ => format!("{event} {}", shape(args, |id| self.shared.exists(id))),
        }
    }

    /// As [`ask`](Self::ask), with a patience of the case's own.
    pub async fn ask_within(
        &self,
        peer: &Peer,
        event: &str,
        args: impl Into<Args>,
        patience: Duration,
    ) -> Flow<Result<Answer, NoAnswer>> {
        let args = args.into();
        let text = self.sends(event, args.as_str());
        let started = Instant::now();
        let answer = peer.call_within(event, args, patience).await;
        let took = started.elapsed();
        self.sent(&text).await;
        match answer {
            Ok(mut answer) => {
                absent::leave_out(event, &mut answer.data);
                // How long an RPC takes is up to whom it calls, and tells nothing of the server.
                if event != "rpc-call" {
                    self.shared.pace.saw_answer(took);
                }
                Ok(Ok(answer))
            }
            Err(CallError::Timeout { after, .. }) => Ok(Err(NoAnswer { after })),
            Err(CallError::Ended { source, .. }) => Err(self.dropped(peer, &source)),
        }
    }

    /// Calls `event`; no answer breaks `requirement` and ends the case.
    pub async fn call(
        &mut self,
        requirement: &'static Requirement,
        peer: &Peer,
        event: &str,
        data: Value,
    ) -> Flow<Value> {
        let shown = shorten(&data.to_string());
        let args = Args::from(data);
        let kind = self.kind_of(event, &args);
        match self.ask(peer, event, args).await? {
            Ok(answer) => Ok(answer.data),
            Err(NoAnswer { after }) => {
                let clue = Clue::default().missing([peer.name.as_str()]);
                self.broken_by(
                    clue,
                    requirement,
                    format!("an acknowledgement of {event} {shown}"),
                    format!("none within {:.1} s", after.as_secs_f64()),
                );
                if let Some(finding) = self.findings.last_mut() {
                    finding.unanswered = Some(kind);
                }
                Err(Stop::Judged)
            }
        }
    }

    /// Sends `event` without asking for an ack.
    pub async fn emit(&self, peer: &Peer, event: &str, data: impl Into<Args>) -> Flow {
        let data = data.into();
        let text = self.sends(event, data.as_str());
        peer.socket
            .emit(event, data)
            .await
            .map_err(|end| self.dropped(peer, &end))?;
        self.sent(&text).await;
        Ok(())
    }

    /// As [`emit`](Self::emit), with binary attachments.
    pub async fn emit_binary(
        &self,
        peer: &Peer,
        event: &str,
        data: Vec<Value>,
        attachments: Vec<Vec<u8>>,
    ) -> Flow {
        let text = self.sends(event, &Value::Array(data.clone()).to_string());
        peer.socket
            .emit_binary(
                event,
                data,
                attachments.into_iter().map(Into::into).collect(),
            )
            .await
            .map_err(|end| self.dropped(peer, &end))?;
        self.sent(&text).await;
        Ok(())
    }

    /// Notes that something is about to be sent, and gives the words for it.
    pub(crate) fn sends(&self, what: &str, data: &str) -> String {
        let text = shorten(format!("{what} {data}").trim_end());
        // Of the pings by which the suite sees whether the server lives, none dies.
        if what != "ping" {
            self.shared.inputs.note(&self.case, text.clone());
        }
        text
    }

    /// To be called when something was sent: a run that looks for a deadly input waits here.
    pub(crate) async fn sent(&self, text: &str) {
        if let Some(steps) = &self.steps {
            steps.after(&self.shared, text).await;
        }
    }

    /// Shows that `peer` is served: its `ping` is answered. That says nothing about events that were sent
    /// before it: handlers of different events may run side by side.
    pub async fn round_trip(&self, peer: &Peer) -> Flow<bool> {
        let answered = self.ask(peer, "ping", ()).await?.is_ok();
        if !answered && !self.answers_pings() {
            return Err(Stop::Blocked {
                parent: &own::PING,
                reason: "no ping is ever answered".into(),
            });
        }
        Ok(answered)
    }

    /// The stop for a connection that ended while the case relied on it. One that was flooded before
    /// proves nothing by its end.
    pub fn dropped(&self, peer: &Peer, end: &End) -> Stop {
        if peer.overflowed() {
            return Stop::flooded(&peer.who);
        }
        let end = error_chain(end);
        Stop::Dropped(match peer.reason() {
            Some(said) => format!("{} ended: {said} ({end})", peer.who),
            None => format!("{} ended: {end}", peer.who),
        })
    }
}

/// Equality of JSON as a client sees it: `1` and `1.0` are the same number.
pub fn same_json(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same_json(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len()
                && a.iter()
                    .all(|(key, a)| b.get(key).is_some_and(|b| same_json(a, b)))
        }
        _ => a == b,
    }
}

/// Whether `actual` says what `expected` says: an object may have further keys, which clients do not know.
fn carries(actual: &Value, expected: &Value) -> bool {
    match (actual, expected) {
        (Value::Object(actual), Value::Object(expected)) => expected
            .iter()
            .all(|(key, part)| actual.get(key).is_some_and(|told| carries(told, part))),
        _ => same_json(actual, expected),
    }
}

/// FNV-1a over the id, then a final mix: stable across versions of the compiler, unlike the standard
/// library's hasher, so that a seed means the same run everywhere.
fn mix(seed: u64, text: &str) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325 ^ seed;
    for byte in text.bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^ (hash >> 33)
}

/// A version 4 UUID out of so many random bits.
pub fn version_4(high: u64, low: u64) -> String {
    format!(
        "{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}",
        high >> 32,
        (high >> 16) & 0xffff,
        high & 0xfff,
        low >> 52,
        low & 0xffff_ffff_ffff
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_compare_by_value() {
        #[track_caller]
        fn check(a: &Value, b: &Value, same: bool) {
            assert_eq!(same_json(a, b), same, "{a} and {b}");
        }
        check(&json!(1), &json!(1.0), true);
        check(&json!({"a": [1, null]}), &json!({"a": [1.0, null]}), true);
        check(&json!({"a": 1}), &json!({"a": 1, "b": 2}), false);
        check(&json!("1"), &json!(1), false);
        check(&json!(null), &json!({}), false);
    }

    #[test]
    fn a_seed_means_the_same_numbers_everywhere() {
        assert_eq!(mix(1, "session.seq"), mix(1, "session.seq"));
        assert_ne!(mix(1, "session.seq"), mix(2, "session.seq"));
        assert_ne!(mix(1, "session.seq"), mix(1, "session.set"));
    }
}
