//! What the judge of histories needs for a record: the traffic of twenty accounts, each with a phone, an
//! agent and a daemon, as a right server answers it, with a quiet point now and then.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use serde_json::{Value, json};
use touchstone_client::trace::{Exchange, Kind, QUIET, Record, Traced};
use touchstone_client::{Args, Direction};
use touchstone_history::{Judge, Knowledge};

const ACCOUNTS: usize = 20;
/// How often each account does everything once.
const TURNS: usize = 500;
/// After how many turns everything has arrived.
const QUIET_EVERY: usize = 20;

/// A recording while it is made.
#[derive(Default)]
struct Recording {
    records: Vec<Record>,
    acks: u64,
}

impl Recording {
    fn put(&mut self, conn: &str, kind: Kind) {
        self.records.push(Record {
            t_us: 10 * self.records.len() as u64,
            conn: conn.to_owned(),
            kind,
            recipients: None,
        });
    }

    fn exchange(&mut self, conn: &str, url: &str, request: Value, response: Value) {
        let exchange = Exchange {
            method: "POST".to_owned(),
            url: url.to_owned(),
            status: Some(200),
            request: Some(request),
            response: Some(response),
            ms: 0,
            us: Some(5),
        };
        self.put(conn, Kind::Http(exchange));
    }

    fn event(&mut self, conn: &str, direction: Direction, name: &str, data: &Value) {
        let packet = Traced::Event {
            name: name.to_owned(),
            args: Args::one(data).expect("JSON"),
            ack: Some(self.acks),
            attachments: 0,
        };
        self.put(conn, Kind::Packet(direction, packet));
    }

    fn answer(&mut self, conn: &str, direction: Direction, data: &Value) {
        let packet = Traced::Ack {
            id: self.acks,
            args: Args::one(data).expect("JSON"),
            attachments: 0,
        };
        self.put(conn, Kind::Packet(direction, packet));
    }

    /// A call that is answered after `meanwhile`.
    fn call(
        &mut self,
        conn: &str,
        name: &str,
        data: &Value,
        answer: &Value,
        meanwhile: impl FnOnce(&mut Self),
    ) {
        self.acks += 1;
        self.event(conn, Direction::Sent, name, data);
        meanwhile(self);
        self.answer(conn, Direction::Received, answer);
    }

    fn begin(&mut self, account: usize) {
        let token = format!("a{account}…");
        self.exchange(
            "http",
            "/v1/auth",
            json!({"publicKey": account}),
            json!({"success": true, "token": token}),
        );
        let row = json!({"session": {"id": format!("s{account}"), "metadata": "m", "metadataVersion": 0}});
        self.exchange(
            &format!("http/a{account}"),
            "/v1/sessions",
            json!({"tag": "t", "metadata": "m"}),
            row,
        );
        for (role, scope) in [
            ("phone", json!({"clientType": "user-scoped"})),
            (
                "agent",
                json!({"clientType": "session-scoped", "sessionId": format!("s{account}")}),
            ),
            (
                "daemon",
                json!({"clientType": "machine-scoped", "machineId": format!("m{account}")}),
            ),
        ] {
            let conn = format!("{role}{account}");
            let mut auth = scope;
            auth["token"] = json!(token);
            self.put(&conn, Kind::Packet(Direction::Sent, Traced::Connect(auth)));
            let admitted = Traced::Connect(json!({"sid": conn}));
            self.put(&conn, Kind::Packet(Direction::Received, admitted));
            self.call(&conn, "ping", &Value::Null, &json!({}), |_| {});
        }
        let method = json!({"method": "bash"});
        self.event(
            &format!("agent{account}"),
            Direction::Sent,
            "rpc-register",
            &method,
        );
    }

    /// A message, a change of the session, a heartbeat, and a call.
    fn turn(&mut self, account: usize, turn: usize) {
        let (phone, agent) = (format!("phone{account}"), format!("agent{account}"));
        let sid = format!("s{account}");
        let seq = turn + 1;
        let local_id = format!("l{turn}");
        let text = "0123456789abcdef".repeat(75);
        self.event(
            &agent,
            Direction::Sent,
            "message",
            &json!({"sid": sid, "message": text, "localId": local_id}),
        );
        let message = json!({
            "id": format!("{sid}-{turn}"), "seq": seq, "localId": local_id,
            "content": {"t": "encrypted", "c": text}, "createdAt": 1, "updatedAt": 1,
        });
        let update = |nth: usize, body: Value| {
            json!({
                "id": format!("{sid}-u{nth}"), "seq": nth, "createdAt": 1_753_000_000_000_u64, "body": body,
            })
        };
        let told = update(
            2 * turn + 1,
            json!({"t": "new-message", "sid": sid, "message": message}),
        );
        self.event(&phone, Direction::Received, "update", &told);
        let value = json!(format!("value {turn}"));
        let written = update(
            2 * turn + 2,
            json!({
                "t": "update-session", "id": sid, "metadata": {"value": value, "version": turn + 1},
            }),
        );
        let data = json!({"sid": sid, "metadata": value, "expectedVersion": turn});
        let answer = json!({"result": "success", "version": turn + 1, "metadata": value});
        self.call(&agent, "update-metadata", &data, &answer, |recording| {
            recording.event(&phone, Direction::Received, "update", &written);
            recording.event(&agent, Direction::Received, "update", &written);
        });
        let time = 1_753_000_000_000_u64 + turn as u64;
        self.event(
            &agent,
            Direction::Sent,
            "session-alive",
            &json!({"sid": sid, "time": time}),
        );
        let activity = json!({"type": "activity", "id": sid, "active": true, "activeAt": time, "thinking": false});
        self.event(&phone, Direction::Received, "ephemeral", &activity);
        let request = json!({"method": "bash", "params": format!("command {account} {turn}")});
        let result = json!(format!("result {account} {turn}"));
        let answer = json!({"ok": true, "result": result});
        self.call(&phone, "rpc-call", &request, &answer, |recording| {
            recording.event(&agent, Direction::Received, "rpc-request", &request);
            recording.answer(&agent, Direction::Sent, &result);
        });
    }
}

fn history() -> Vec<Record> {
    let mut recording = Recording::default();
    (1..=ACCOUNTS).for_each(|account| recording.begin(account));
    for turn in 0..TURNS {
        (1..=ACCOUNTS).for_each(|account| recording.turn(account, turn));
        if turn % QUIET_EVERY == 0 {
            recording.put("-", Kind::Mark(QUIET.to_owned()));
        }
    }
    recording.records
}

fn judge(criterion: &mut Criterion) {
    let records = history();
    let mut group = criterion.benchmark_group("judge");
    group.sample_size(10);
    group.throughput(Throughput::Elements(records.len() as u64));
    for (name, knowledge) in [
        ("complete", Knowledge::Complete),
        ("partial", Knowledge::Partial),
    ] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let mut judge = Judge::new(knowledge);
                let found: usize = records.iter().map(|record| judge.hear(record).len()).sum();
                assert_eq!(found + judge.finish().len(), 0, "a right server is accused");
            });
        });
    }
    group.finish();
}

criterion_group!(benches, judge);
criterion_main!(benches);
