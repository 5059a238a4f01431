//! Histories written by hand.

#![allow(dead_code, reason = "not every test needs all of it")]

use serde_json::{Value, json};
use touchstone_client::{
    Args, Direction,
    trace::{Exchange, Kind, QUIET, Record, Traced},
};
use touchstone_history::{Judge, Keeps, Knowledge};

#[derive(Default)]
pub(crate) struct History {
    records: Vec<Record>,
    /// How much later everything is than ten microseconds after what came before.
    later: u64,
    /// Whether the second account acts now.
    pub(crate) is_other: bool,
}

impl History {
    pub(crate) fn put(&mut self, conn: &str, kind: Kind) {
        let count = self.records.len() as u64;
        self.records.push(Record {
            t_us: 10 * count + self.later,
            conn: conn.to_owned(),
            kind,
            recipients: None,
        });
    }

    /// Lets some seconds pass.
    pub(crate) fn wait(&mut self, seconds: u64) {
        self.later += seconds * 1_000_000;
    }

    pub(crate) fn quiet(&mut self) {
        self.put("-", Kind::Mark(QUIET.to_owned()));
    }

    /// Signs in: with the same key as everybody of that account.
    pub(crate) fn sign_in(&mut self, account: &str) {
        let token = json!({"success": true, "token": format!("{account}…")});
        self.asked(
            "POST",
            "/v1/auth",
            200,
            json!({"publicKey": account}),
            token,
        );
    }

    /// A request that took so many microseconds.
    pub(crate) fn took(
        &mut self,
        us: u64,
        method: &str,
        url: &str,
        request: Value,
        response: Value,
    ) {
        self.asked(method, url, 200, request, response);
        if let Some(Kind::Http(exchange)) = self.records.last_mut().map(|record| &mut record.kind) {
            exchange.us = Some(us);
        }
    }

    pub(crate) fn asked(
        &mut self,
        method: &str,
        url: &str,
        status: u16,
        request: Value,
        response: Value,
    ) {
        let exchange = Exchange {
            method: method.to_owned(),
            url: url.to_owned(),
            status: Some(status),
            request: (!request.is_null()).then_some(request),
            response: Some(response),
            ms: 0,
            us: Some(1),
        };
        let conn = match url {
            "/v1/auth" => "http",
            _ if self.is_other => "http/a2",
            _ => "http/a1",
        };
        self.put(conn, Kind::Http(exchange));
    }

    pub(crate) fn connect(&mut self, conn: &str) {
        let token = if self.is_other { "a2…" } else { "a1…" };
        let auth = json!({"token": token, "clientType": "user-scoped"});
        self.put(conn, Kind::Packet(Direction::Sent, Traced::Connect(auth)));
        let admitted = Traced::Connect(json!({"sid": conn}));
        self.put(conn, Kind::Packet(Direction::Received, admitted));
    }

    pub(crate) fn event(
        &mut self,
        conn: &str,
        direction: Direction,
        name: &str,
        data: &Value,
        ack: Option<u64>,
    ) {
        let packet = Traced::Event {
            name: name.to_owned(),
            args: Args::one(data).expect("JSON"),
            ack,
            attachments: 0,
        };
        self.put(conn, Kind::Packet(direction, packet));
    }

    pub(crate) fn call(&mut self, conn: &str, name: &str, data: &Value, answer: &Value) {
        let id = self.records.len() as u64;
        self.event(conn, Direction::Sent, name, data, Some(id));
        self.ack(conn, Direction::Received, id, answer);
    }

    pub(crate) fn ack(&mut self, conn: &str, direction: Direction, id: u64, answer: &Value) {
        let args = Args::one(answer).expect("JSON");
        let packet = Traced::Ack {
            id,
            args,
            attachments: 0,
        };
        self.put(conn, Kind::Packet(direction, packet));
    }

    pub(crate) fn leave(&mut self, conn: &str) {
        self.put(conn, Kind::Packet(Direction::Sent, Traced::Disconnect));
    }

    pub(crate) fn message(
        &mut self,
        conn: &str,
        seq: u64,
        [id, of_session, local_id]: [&str; 3],
        number: u64,
    ) {
        let message = json!({
            "id": id, "seq": number, "localId": local_id, "content": {"t": "encrypted", "c": "x"},
            "createdAt": 1_753_000_000_000_u64, "updatedAt": 1_753_000_000_000_u64,
        });
        let body = json!({"t": "new-message", "sid": of_session, "message": message});
        let update = json!({"id": format!("u{seq}"), "seq": seq, "createdAt": 1_753_000_000_000_u64, "body": body});
        self.event(conn, Direction::Received, "update", &update, None);
    }

    /// The requirements that it breaks, and what was kept over a restart.
    pub(crate) fn judged(&self) -> (Vec<&'static str>, Option<Keeps>) {
        let mut judge = Judge::new(Knowledge::Complete);
        let mut found: Vec<_> = self
            .records
            .iter()
            .flat_map(|record| judge.hear(record))
            .collect();
        found.extend(judge.finish());
        let mut broken: Vec<_> = found.iter().map(|one| one.requirement).collect();
        broken.sort_unstable();
        broken.dedup();
        (broken, judge.keeps())
    }
}
