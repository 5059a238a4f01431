//! The judge accepts every history that a sequential server can make, however its calls overlap, and finds
//! each way of breaking one.

use std::collections::{BTreeMap, HashMap};

use proptest::prelude::*;
use serde_json::{Value, json};
use touchstone_client::{
    Args, Direction,
    trace::{Exchange, Kind, QUIET, Record, Traced},
};
use touchstone_history::{Judge, Knowledge, Violation};

/// What one connection does, and how long each part of it takes.
#[derive(Debug, Clone)]
struct Step {
    who: usize,
    what: What,
    /// From the call to its effect, from that to the answer, and to each delivery.
    takes: [u64; 3],
}

#[derive(Debug, Clone)]
enum What {
    /// A write of a session's metadata, with the version that is current this many versions before.
    Write { session: usize, behind: u64 },
    /// A message, and whether its localId was used before.
    Say { session: usize, again: bool },
    /// A call of the method that the last connection has registered.
    Call,
}

/// A way to break a history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Break {
    Twice,
    Lost,
    Overtaken,
    SecondWinner,
    OldMismatch,
    OtherValue,
    OtherRead,
    WrittenAllTheSame,
    ToItsSender,
    WrongSession,
    SeqAgain,
    LocalIdAgain,
    OtherContent,
    OtherResult,
    RequestTwice,
    OtherParams,
    OtherAccount,
}

/// Every way, and the rule that has to find it.
const BREAKS: [(Break, &str); 17] = [
    (Break::Twice, "history.duplicates"),
    (Break::Lost, "history.loss"),
    (Break::Overtaken, "history.sending"),
    (Break::SecondWinner, "history.versions"),
    (Break::OldMismatch, "history.versions"),
    (Break::OtherValue, "history.versions"),
    (Break::OtherRead, "history.versions"),
    (Break::WrittenAllTheSame, "history.versions"),
    (Break::ToItsSender, "history.sending"),
    (Break::WrongSession, "history.audience"),
    (Break::SeqAgain, "history.messages"),
    (Break::LocalIdAgain, "history.messages"),
    (Break::OtherContent, "history.sending"),
    (Break::OtherResult, "history.rpc"),
    (Break::RequestTwice, "history.rpc"),
    (Break::OtherParams, "history.rpc"),
    (Break::OtherAccount, "history.isolation"),
];

const SESSIONS: [&str; 2] = ["s-one", "s-two"];
/// Two user-scoped connections, one for each session, and the callee of every call, `c4`.
const SCOPES: [Option<usize>; 5] = [None, None, Some(0), Some(1), None];
const STRANGER: &str = "stranger";

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let what = prop_oneof![
        (0..2_usize, prop_oneof![4 => Just(0_u64), 1 => 1..3_u64])
            .prop_map(|(session, behind)| What::Write { session, behind }),
        (0..2_usize, prop::bool::weighted(0.2))
            .prop_map(|(session, again)| What::Say { session, again }),
        Just(What::Call),
    ];
    let step = (0..4_usize, what, prop::array::uniform3(1..60_u64));
    prop::collection::vec(
        step.prop_map(|(who, what, takes)| Step { who, what, takes }),
        1..40,
    )
}

/// A server that does one thing after the other, and what is recorded of it.
#[derive(Default)]
struct World {
    records: Vec<(u64, Record)>,
    order: u64,
    /// Version and value of each session's metadata.
    metadata: [(u64, String); 2],
    seqs: [u64; 2],
    local_ids: HashMap<(usize, String), ()>,
    said: Vec<(usize, String)>,
    senders: HashMap<String, usize>,
    update_seq: u64,
    /// When the last thing reached each connection.
    arrived: BTreeMap<String, u64>,
    acks: u64,
    end: u64,
    breaks: Option<Break>,
    struck: bool,
}

impl World {
    fn put(&mut self, at: u64, conn: &str, kind: Kind) {
        self.order += 1;
        self.end = self.end.max(at);
        let record = Record {
            t_us: at,
            conn: conn.to_owned(),
            kind,
            recipients: None,
        };
        self.records.push((self.order, record));
    }

    fn event(
        &mut self,
        at: u64,
        conn: &str,
        direction: Direction,
        name: &str,
        data: &Value,
        ack: Option<u64>,
    ) {
        let packet = Traced::Event {
            name: name.to_owned(),
            args: Args::one(data).expect("data of its own"),
            ack,
            attachments: 0,
        };
        self.put(at, conn, Kind::Packet(direction, packet));
    }

    fn ack(&mut self, at: u64, conn: &str, direction: Direction, id: u64, data: &Value) {
        let args = Args::one(data).expect("data of its own");
        let packet = Traced::Ack {
            id,
            args,
            attachments: 0,
        };
        self.put(at, conn, Kind::Packet(direction, packet));
    }

    /// Whether the history is broken here: at the first chance.
    fn strikes(&mut self, kind: Break) -> bool {
        let strikes = self.breaks == Some(kind) && !self.struck;
        self.struck |= strikes;
        strikes
    }

    fn exchange(
        &mut self,
        at: u64,
        conn: &str,
        method: &str,
        url: &str,
        request: Value,
        response: Value,
    ) {
        let exchange = Exchange {
            method: method.to_owned(),
            url: url.to_owned(),
            status: Some(200),
            request: (!request.is_null()).then_some(request),
            response: Some(response),
            ms: 0,
            us: Some(5),
        };
        self.put(at, conn, Kind::Http(exchange));
    }

    fn connect(&mut self, at: u64, conn: &str, token: &str, session: Option<usize>) {
        let mut auth = json!({"token": token, "clientType": "user-scoped"});
        if let Some(session) = session {
            auth["clientType"] = "session-scoped".into();
            auth["sessionId"] = SESSIONS[session].into();
        }
        self.put(
            at,
            conn,
            Kind::Packet(Direction::Sent, Traced::Connect(auth)),
        );
        self.put(
            at + 1,
            conn,
            Kind::Packet(Direction::Received, Traced::Connect(json!({"sid": "x"}))),
        );
        self.event(at + 2, conn, Direction::Sent, "ping", &json!(null), Some(0));
        self.ack(at + 3, conn, Direction::Received, 0, &json!({}));
    }

    fn begin(&mut self) {
        for (key, token) in [("k1", "a1…"), ("k2", "a2…")] {
            let response = json!({"success": true, "token": token});
            self.exchange(
                1,
                "http",
                "POST",
                "/v1/auth",
                json!({"publicKey": key}),
                response,
            );
        }
        for (index, id) in SESSIONS.into_iter().enumerate() {
            self.metadata[index] = (0, format!("m{index}"));
            let row = json!({"session": {"id": id, "metadata": format!("m{index}"), "metadataVersion": 0}});
            self.exchange(
                2,
                "http/a1",
                "POST",
                "/v1/sessions",
                json!({"tag": id}),
                row,
            );
        }
        for (index, session) in SCOPES.into_iter().enumerate() {
            self.connect(3, &format!("c{index}"), "a1…", session);
        }
        self.connect(3, STRANGER, "a2…", None);
        self.event(
            10,
            "c4",
            Direction::Sent,
            "rpc-register",
            &json!({"method": "m"}),
            None,
        );
        self.event(
            11,
            "c4",
            Direction::Received,
            "rpc-registered",
            &json!({"method": "m"}),
            None,
        );
    }

    /// Sends an update to a session's audience, each at its time, in order.
    fn announce(&mut self, at: u64, delay: u64, session: usize, skip: Option<usize>, body: &Value) {
        self.update_seq += 1;
        let update = json!({"id": format!("u{}", self.update_seq), "seq": self.update_seq, "body": body, "createdAt": 1});
        for (index, scope) in SCOPES.into_iter().enumerate() {
            let is_theirs = scope.is_none_or(|own| own == session);
            let is_message = body["t"] == "new-message";
            if !is_theirs && is_message && self.strikes(Break::WrongSession) {
                self.deliver(at, delay, index, &update);
            }
            if !is_theirs {
                continue;
            }
            if skip == Some(index) && !self.strikes(Break::ToItsSender) {
                continue;
            }
            if self.strikes(Break::Lost) {
                continue;
            }
            let mut told = update.clone();
            if !is_message && self.strikes(Break::OtherValue) {
                told["body"]["metadata"]["value"] = "other".into();
            }
            if is_message && self.strikes(Break::OtherContent) {
                told["body"]["message"]["content"]["c"] = "other".into();
            }
            self.deliver(at, delay, index, &told);
            if self.strikes(Break::Twice) {
                self.deliver(at, delay, index, &told);
            }
        }
        if self.strikes(Break::OtherAccount) {
            self.event(
                at + delay,
                STRANGER,
                Direction::Received,
                "update",
                &update,
                None,
            );
        }
    }

    fn deliver(&mut self, at: u64, delay: u64, index: usize, update: &Value) {
        let conn = format!("c{index}");
        let last = self.arrived.get(&conn).copied().unwrap_or(0);
        let at = (at + delay).max(last);
        self.arrived.insert(conn.clone(), at);
        self.event(at, &conn, Direction::Received, "update", update, None);
    }

    fn run(steps: &[Step], breaks: Option<Break>) -> (Vec<Record>, bool) {
        let mut world = Self {
            breaks,
            ..Self::default()
        };
        world.begin();
        // What a connection sends is handled in the order sent.
        let mut handled = [0; SCOPES.len()];
        let mut effects: Vec<(u64, u64, &Step)> = Vec::new();
        for (index, step) in (0_u64..).zip(steps) {
            let began = 100 + index * 10;
            let effect = (began + step.takes[0]).max(handled[step.who] + 1);
            handled[step.who] = effect;
            effects.push((effect, began, step));
        }
        effects.sort_by_key(|(effect, began, _)| (*effect, *began));
        for (effect, began, step) in effects {
            match &step.what {
                What::Write { session, behind } => {
                    world.write(began, effect, step, *session, *behind);
                }
                What::Say { session, again } => world.say(began, effect, step, *session, *again),
                What::Call => world.call(began, effect, step),
            }
        }
        world.finish()
    }

    fn write(&mut self, began: u64, effect: u64, step: &Step, session: usize, behind: u64) {
        let conn = format!("c{}", step.who);
        self.acks += 1;
        let id = self.acks;
        let (version, value) = self.metadata[session].clone();
        let expected = version.saturating_sub(behind);
        let wanted = format!("v{id}");
        let data =
            json!({"sid": SESSIONS[session], "metadata": wanted, "expectedVersion": expected});
        self.event(
            began,
            &conn,
            Direction::Sent,
            "update-metadata",
            &data,
            Some(id),
        );
        let answered = effect + step.takes[1];
        let is_current = expected == version;
        if is_current {
            self.metadata[session] = (version + 1, wanted.clone());
            let told = json!({"value": wanted, "version": version + 1});
            let body = json!({"t": "update-session", "id": SESSIONS[session], "metadata": told});
            let answer = json!({"result": "success", "version": version + 1, "metadata": wanted});
            self.announce(effect, step.takes[2], session, None, &body);
            self.ack(answered, &conn, Direction::Received, id, &answer);
            return;
        }
        let mut answer =
            json!({"result": "version-mismatch", "version": version, "metadata": value});
        if self.strikes(Break::SecondWinner) {
            answer = json!({"result": "success", "version": expected + 1, "metadata": wanted});
        } else if version > 1
            && self.arrived.values().all(|at| *at < began)
            && self.strikes(Break::OldMismatch)
        {
            // By the time of the call every connection had been told of the present one.
            answer["version"] = 0.into();
            answer["metadata"] = format!("m{session}").into();
        } else if self.strikes(Break::WrittenAllTheSame) {
            let told = json!({"value": wanted, "version": version + 1});
            self.metadata[session] = (version + 1, wanted);
            let body = json!({"t": "update-session", "id": SESSIONS[session], "metadata": told});
            self.announce(effect, step.takes[2], session, None, &body);
        }
        self.ack(answered, &conn, Direction::Received, id, &answer);
    }

    fn say(&mut self, began: u64, effect: u64, step: &Step, session: usize, again: bool) {
        let conn = format!("c{}", step.who);
        self.acks += 1;
        let mut local_id = format!("l{}", self.acks);
        // Of a message that several have sent nobody knows whose it is.
        let again = again
            && !matches!(
                self.breaks,
                Some(Break::ToItsSender | Break::Overtaken | Break::Lost)
            );
        let old = self.said.iter().find(|(of, _)| *of == session).cloned();
        if let (true, Some((_, old))) = (again, old) {
            local_id = old;
        }
        let content = format!("c-{local_id}");
        let data = json!({"sid": SESSIONS[session], "message": content, "localId": local_id});
        self.event(began, &conn, Direction::Sent, "message", &data, None);
        let is_known = self
            .local_ids
            .insert((session, local_id.clone()), ())
            .is_some();
        if is_known && !self.strikes(Break::LocalIdAgain) {
            return;
        }
        self.said.push((session, local_id.clone()));
        self.senders.insert(local_id.clone(), step.who);
        if self.seqs[session] == 0 || !self.strikes(Break::SeqAgain) {
            self.seqs[session] += 1;
        }
        let message = json!({
            "id": format!("msg{}", self.acks), "seq": self.seqs[session], "localId": local_id,
            "content": {"t": "encrypted", "c": content},
        });
        let body = json!({"t": "new-message", "sid": SESSIONS[session], "message": message});
        self.announce(effect, step.takes[2], session, Some(step.who), &body);
    }

    fn call(&mut self, began: u64, effect: u64, step: &Step) {
        let conn = format!("c{}", step.who);
        self.acks += 1;
        let id = self.acks;
        let data = json!({"method": "m", "params": id});
        self.event(began, &conn, Direction::Sent, "rpc-call", &data, Some(id));
        let mut request = data;
        if self.strikes(Break::OtherParams) {
            request["params"] = "other".into();
        }
        self.event(
            effect,
            "c4",
            Direction::Received,
            "rpc-request",
            &request,
            Some(id),
        );
        if self.strikes(Break::RequestTwice) {
            self.event(
                effect,
                "c4",
                Direction::Received,
                "rpc-request",
                &request,
                Some(id + 1_000_000),
            );
        }
        let replied = effect + step.takes[1];
        self.ack(replied, "c4", Direction::Sent, id, &json!(format!("r{id}")));
        let mut answer = json!({"ok": true, "result": format!("r{id}")});
        if self.strikes(Break::OtherResult) {
            answer["result"] = "r0".into();
        }
        self.ack(
            replied + step.takes[2],
            &conn,
            Direction::Received,
            id,
            &answer,
        );
    }

    /// Lets two messages of one sender to one session arrive in the other order.
    fn overtake(&mut self) {
        let mut seen: HashMap<(String, usize, usize), usize> = HashMap::new();
        for index in 0..self.records.len() {
            let (_, record) = &self.records[index];
            let Kind::Packet(Direction::Received, Traced::Event { args, .. }) = &record.kind else {
                continue;
            };
            let data = args.data().expect("data of its own");
            let local_id = data["body"]["message"]["localId"].as_str();
            let Some(sender) = local_id.and_then(|local_id| self.senders.get(local_id)) else {
                continue;
            };
            let session = SESSIONS
                .into_iter()
                .position(|id| data["body"]["sid"] == id)
                .expect("a session of its own");
            if let Some(earlier) = seen.insert((record.conn.clone(), *sender, session), index) {
                let kind = self.records[index].1.kind.clone();
                self.records[index].1.kind =
                    std::mem::replace(&mut self.records[earlier].1.kind, kind);
                self.struck = true;
                return;
            }
        }
    }

    fn finish(mut self) -> (Vec<Record>, bool) {
        let end = self.end + 10;
        self.put(end, "-", Kind::Mark(QUIET.to_owned()));
        let rows = SESSIONS.into_iter().zip(self.metadata.clone()).map(|(id, (version, value))| {
            json!({"id": id, "metadata": value, "metadataVersion": version})
        });
        let mut rows: Vec<Value> = rows.collect();
        if self.metadata[0].0 > 0 && self.strikes(Break::OtherRead) {
            rows[0]["metadataVersion"] = 0.into();
            rows[0]["metadata"] = "m0".into();
        }
        self.exchange(
            end + 10,
            "http/a1",
            "GET",
            "/v1/sessions",
            Value::Null,
            json!({"sessions": rows}),
        );
        if self.breaks == Some(Break::Overtaken) {
            self.overtake();
        }
        let mut records = self.records;
        records.sort_by_key(|(order, record)| (record.t_us, *order));
        (
            records.into_iter().map(|(_, record)| record).collect(),
            self.struck,
        )
    }
}

fn judge(records: &[Record], knowledge: Knowledge) -> Vec<Violation> {
    let mut judge = Judge::new(knowledge);
    let mut violations: Vec<Violation> = records
        .iter()
        .flat_map(|record| judge.hear(record))
        .collect();
    violations.extend(judge.finish());
    // Shapes are the schemas', which have tests of their own; the payloads here are as short as can be.
    violations.retain(|found| found.rule != "history.shapes");
    violations
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn a_right_history_is_accepted(steps in steps()) {
        let (records, _) = World::run(&steps, None);
        for knowledge in [Knowledge::Complete, Knowledge::Partial] {
            let violations = judge(&records, knowledge);
            prop_assert!(violations.is_empty(), "{violations:#?}");
        }
    }

    #[test]
    fn what_is_broken_is_found_by_its_rule(steps in steps(), at in 0..BREAKS.len()) {
        let (kind, rule) = BREAKS[at];
        let (records, struck) = World::run(&steps, Some(kind));
        prop_assume!(struck);
        let violations = judge(&records, Knowledge::Complete);
        prop_assert!(violations.iter().any(|found| found.rule == rule), "{kind:?}: {violations:#?}");
    }
}
