//! What the clients of a recording do: traits of theirs, which nobody judges.
//!
//! A client is known by its account and scope, since a trace has no better name for it: one that comes
//! with the same of both after an end is taken for the one that was there before.

use std::collections::{HashMap, HashSet};

use serde_json::Value;
use touchstone_output::text::plural;

use touchstone_client::Direction;
use touchstone_client::trace::{Exchange, Kind, Record, Traced};

/// How many things of each kind are remembered. What is beyond is left out of the card.
const REMEMBERED: usize = 10_000;

/// Gathers what clients do, record by record.
#[derive(Debug, Default)]
pub struct Clients {
    connections: HashMap<String, Connection>,
    peers: HashMap<Peer, Gone>,
    /// Versions that were told with a mismatch, by account, event and what it is about.
    mismatches: HashMap<(String, String, String), u64>,
    /// Messages without an answer, by account and localId.
    unanswered: HashSet<(String, String)>,
    /// Accounts whose clients came back and have not read anything since.
    unread: HashMap<String, u64>,
    answers: Tally,
    retries: Tally,
    registrations: Tally,
    fetches: Tally,
    repeats: Tally,
    pongs: Tally,
    slowest_pong_us: u64,
    /// The shortest and the longest time between an end and the next CONNECT.
    pauses_us: Option<(u64, u64)>,
}

/// A client, as far as it can be told from others.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
struct Peer {
    account: String,
    scope: String,
}

/// What a client that is gone left behind.
#[derive(Debug)]
struct Gone {
    at_us: u64,
    methods: HashSet<String>,
}

#[derive(Debug, Default)]
struct Connection {
    peer: Peer,
    methods: HashSet<String>,
    /// Methods that were registered before the client was gone.
    missing: HashSet<String>,
    requests: HashSet<u64>,
    calls: HashMap<u64, Call>,
    pinged_us: Option<u64>,
}

/// An event that waits for its answer. Its payload may be large, and is not kept.
#[derive(Debug)]
struct Call {
    event: String,
    about: Option<String>,
    local: Option<String>,
}

/// How often clients did something, of how often they could have.
#[derive(Debug, Default, Clone, Copy)]
struct Tally {
    done: u64,
    all: u64,
}

impl Clients {
    /// Looks at the next record.
    pub fn see(&mut self, record: &Record) {
        match &record.kind {
            Kind::Packet(direction, packet) => {
                self.packet(&record.conn, record.t_us, *direction, packet);
            }
            Kind::Http(exchange) => self.exchange(&record.conn, exchange),
            Kind::Mark(text) if text.starts_with("ended") => self.end(&record.conn, record.t_us),
            Kind::Mark(_) => {}
        }
    }

    /// The card: a line for each trait that showed.
    pub fn card(&self) -> Vec<String> {
        let counted = [
            (self.answers, "answered", "remote call"),
            (
                self.retries,
                "retried with the version that they were told",
                "mismatch",
            ),
            (
                self.registrations,
                "registered again after a reconnect",
                "method",
            ),
            (
                self.fetches,
                "followed by reading what may have been missed",
                "reconnect",
            ),
            (
                self.repeats,
                "sent again with the same localId",
                "unanswered message",
            ),
            (self.pongs, "answered", "heartbeat"),
        ];
        let mut lines: Vec<String> = counted
            .into_iter()
            .filter(|(tally, ..)| tally.all > 0)
            .map(|(tally, done, noun)| {
                let all = match noun {
                    "mismatch" if tally.all != 1 => format!("{} mismatches", tally.all),
                    _ => plural(tally.all, noun),
                };
                format!("{} of {all} {done}", tally.done)
            })
            .collect();
        if self.slowest_pong_us > 0 {
            lines.push(format!(
                "the slowest answer to a heartbeat took {}",
                seconds(self.slowest_pong_us)
            ));
        }
        if let Some((least, most)) = self.pauses_us {
            lines.push(format!(
                "reconnects came {} to {} after the end",
                seconds(least),
                seconds(most)
            ));
        }
        lines
    }

    fn packet(&mut self, name: &str, t_us: u64, direction: Direction, packet: &Traced) {
        if let (Direction::Sent, Traced::Connect(auth)) = (direction, packet) {
            self.connect(name, t_us, auth);
            return;
        }
        let Some(connection) = self.connections.get_mut(name) else {
            return;
        };
        match (direction, packet) {
            (Direction::Received, Traced::Ping(_)) => {
                self.pongs.all += 1;
                connection.pinged_us = Some(t_us);
            }
            (Direction::Sent, Traced::Pong(_)) => {
                if let Some(pinged_us) = connection.pinged_us.take() {
                    self.pongs.done += 1;
                    let took = t_us.saturating_sub(pinged_us);
                    self.slowest_pong_us = self.slowest_pong_us.max(took);
                }
            }
            (
                Direction::Received,
                Traced::Event {
                    name,
                    ack: Some(id),
                    ..
                },
            ) if name == "rpc-request" => {
                self.answers.all += 1;
                connection.requests.insert(*id);
            }
            (Direction::Sent, Traced::Ack { id, .. }) => {
                self.answers.done += u64::from(connection.requests.remove(id));
            }
            (
                Direction::Sent,
                Traced::Event {
                    name: event,
                    args,
                    ack,
                    ..
                },
            ) => {
                let data = args.data().unwrap_or(Value::Null);
                self.call(name, event, &data, *ack);
            }
            (Direction::Received, Traced::Ack { id, args, .. }) => {
                if let Some(call) = connection.calls.remove(id) {
                    let answer = args.data().unwrap_or(Value::Null);
                    let account = connection.peer.account.clone();
                    self.answered(account, call, &answer);
                }
            }
            (_, Traced::Disconnect | Traced::Close) => self.end(name, t_us),
            _ => {}
        }
    }

    fn connect(&mut self, name: &str, t_us: u64, auth: &Value) {
        let text = |key: &str| auth[key].as_str().unwrap_or_default();
        let peer = Peer {
            account: text("token").trim_end_matches('…').to_owned(),
            scope: [text("clientType"), text("sessionId"), text("machineId")].join(" "),
        };
        let mut connection = Connection {
            peer: peer.clone(),
            ..Connection::default()
        };
        if let Some(gone) = self.peers.remove(&peer) {
            let pause = t_us.saturating_sub(gone.at_us);
            let (least, most) = self.pauses_us.unwrap_or((pause, pause));
            self.pauses_us = Some((least.min(pause), most.max(pause)));
            self.registrations.all += gone.methods.len() as u64;
            connection.missing = gone.methods;
            self.fetches.all += 1;
            *self.unread.entry(peer.account).or_default() += 1;
        }
        if self.connections.len() < REMEMBERED {
            self.connections.insert(name.to_owned(), connection);
        }
    }

    fn call(&mut self, name: &str, event: &str, data: &Value, ack: Option<u64>) {
        let Some(connection) = self.connections.get_mut(name) else {
            return;
        };
        let account = connection.peer.account.clone();
        match event {
            "rpc-register" => {
                if let Some(method) = data["method"].as_str() {
                    self.registrations.done += u64::from(connection.missing.remove(method));
                    connection.methods.insert(method.to_owned());
                }
            }
            "rpc-unregister" => {
                connection
                    .methods
                    .remove(data["method"].as_str().unwrap_or_default());
            }
            _ => {}
        }
        let (about, local) = (subject(data), data["localId"].as_str().map(str::to_owned));
        if let Some(local) = &local {
            let key = (account.clone(), local.clone());
            self.repeats.done += u64::from(self.unanswered.remove(&key));
        }
        if let (Some(expected), Some(about)) = (data["expectedVersion"].as_u64(), &about) {
            let key = (account, event.to_owned(), about.clone());
            let told = self.mismatches.remove(&key);
            self.retries.done += u64::from(told == Some(expected));
        }
        if let Some(id) = ack
            && connection.calls.len() < REMEMBERED
        {
            let call = Call {
                event: event.to_owned(),
                about,
                local,
            };
            connection.calls.insert(id, call);
        }
    }

    fn answered(&mut self, account: String, call: Call, answer: &Value) {
        if answer["result"] == "version-mismatch"
            && let (Some(version), Some(about)) = (answer["version"].as_u64(), call.about)
            && self.mismatches.len() < REMEMBERED
        {
            self.retries.all += 1;
            let key = (account, call.event, about);
            self.mismatches.insert(key, version);
        }
    }

    fn exchange(&mut self, conn: &str, exchange: &Exchange) {
        let reads = exchange.method == "GET" && exchange.status == Some(200);
        if let Some(account) = conn.strip_prefix("http/").filter(|_| reads) {
            self.fetches.done += self.unread.remove(account).unwrap_or(0);
        }
    }

    fn end(&mut self, name: &str, at_us: u64) {
        let Some(connection) = self.connections.remove(name) else {
            return;
        };
        for call in connection.calls.into_values() {
            if call.event == "message"
                && let Some(local) = call.local
                && self.unanswered.len() < REMEMBERED
            {
                self.repeats.all += 1;
                let key = (connection.peer.account.clone(), local);
                self.unanswered.insert(key);
            }
        }
        if self.peers.len() < REMEMBERED {
            let gone = Gone {
                at_us,
                methods: connection.methods,
            };
            self.peers.insert(connection.peer, gone);
        }
    }
}

/// What a call is about.
fn subject(data: &Value) -> Option<String> {
    let keys = ["sid", "sessionId", "machineId", "artifactId"];
    let named = keys.iter().filter_map(|key| data[*key].as_str());
    let named: Vec<_> = named.collect();
    (!named.is_empty()).then(|| named.join(" "))
}

fn seconds(us: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "shown with a few digits")]
    let seconds = us as f64 / 1e6;
    format!("{seconds:.3} s")
}

#[cfg(test)]
mod tests {
    use touchstone_client::Frame;

    use super::*;

    fn packets(packets: &[(u64, &str, Direction, &str)]) -> Vec<String> {
        let mut clients = Clients::default();
        for (t_us, conn, direction, text) in packets {
            let kind = match text.strip_prefix("mark ") {
                Some(mark) => Kind::Mark(mark.to_owned()),
                None => Kind::Packet(*direction, Traced::of(&Frame::text((*text).to_owned()))),
            };
            clients.see(&Record {
                t_us: *t_us,
                conn: (*conn).to_owned(),
                kind,
                recipients: None,
            });
        }
        clients.card()
    }

    const CONNECT: &str = r#"40{"token":"a1…","clientType":"machine-scoped","machineId":"m"}"#;

    #[test]
    fn a_client_that_does_everything_again() {
        use Direction::{Received, Sent};
        let card = packets(&[
            (0, "c1", Sent, CONNECT),
            (1, "c1", Sent, r#"42["rpc-register",{"method":"m:x"}]"#),
            (
                2,
                "c1",
                Received,
                r#"420["rpc-request",{"method":"m:x","params":"p"}]"#,
            ),
            (3, "c1", Sent, r#"430["r"]"#),
            (4, "c1", Received, "2"),
            (2_004, "c1", Sent, "3"),
            (
                2_005,
                "c1",
                Sent,
                r#"421["update-metadata",{"sid":"s","expectedVersion":0,"metadata":"x"}]"#,
            ),
            (
                2_006,
                "c1",
                Received,
                r#"431[{"result":"version-mismatch","version":4,"metadata":"y"}]"#,
            ),
            (
                2_007,
                "c1",
                Sent,
                r#"422["update-metadata",{"sid":"s","expectedVersion":4,"metadata":"x"}]"#,
            ),
            (
                2_008,
                "c1",
                Sent,
                r#"423["message",{"sid":"s","localId":"l","message":"z"}]"#,
            ),
            (3_000, "c1", Sent, "mark ended: closed by this client"),
            (503_000, "c2", Sent, CONNECT),
            (
                503_001,
                "c2",
                Sent,
                r#"42["rpc-register",{"method":"m:x"}]"#,
            ),
            (
                503_002,
                "c2",
                Sent,
                r#"423["message",{"sid":"s","localId":"l","message":"z"}]"#,
            ),
        ]);
        assert_eq!(
            card,
            [
                "1 of 1 remote call answered",
                "1 of 1 mismatch retried with the version that they were told",
                "1 of 1 method registered again after a reconnect",
                "0 of 1 reconnect followed by reading what may have been missed",
                "1 of 1 unanswered message sent again with the same localId",
                "1 of 1 heartbeat answered",
                "the slowest answer to a heartbeat took 0.002 s",
                "reconnects came 0.500 s to 0.500 s after the end",
            ]
        );
    }

    #[test]
    fn a_client_that_does_nothing_again() {
        use Direction::{Received, Sent};
        let card = packets(&[
            (0, "c1", Sent, CONNECT),
            (
                1,
                "c1",
                Received,
                r#"420["rpc-request",{"method":"m:x","params":"p"}]"#,
            ),
            (
                2,
                "c1",
                Sent,
                r#"421["update-metadata",{"sid":"s","expectedVersion":0,"metadata":"x"}]"#,
            ),
            (
                3,
                "c1",
                Received,
                r#"431[{"result":"version-mismatch","version":4,"metadata":"y"}]"#,
            ),
            (
                4,
                "c1",
                Sent,
                r#"422["update-metadata",{"sid":"s","expectedVersion":1,"metadata":"x"}]"#,
            ),
            (5, "c1", Received, "2"),
        ]);
        assert_eq!(
            card,
            [
                "0 of 1 remote call answered",
                "0 of 1 mismatch retried with the version that they were told",
                "0 of 1 heartbeat answered",
            ]
        );
    }
}
