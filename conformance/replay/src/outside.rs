//! Since when a connection is outside of the contract: it breaks the protocol, was refused, or is
//! being ended by the server. What comes on it from then on is the server's choice.

use std::collections::{HashMap, HashSet};

use serde_json::Value;
use touchstone_client::{Conduct, trace::Traced};

use super::{
    heard::What,
    script::{Act, Recording},
};

/// Names of events that Socket.IO keeps for itself.
const RESERVED: &[&str] = &[
    "connect",
    "connect_error",
    "disconnect",
    "disconnecting",
    "error",
];

/// The connections of a recording that are outside of the contract.
pub(super) struct Outside {
    since_us: HashMap<String, u64>,
    /// Of connections that the server ended: when their clients had last sent something.
    ending_us: HashMap<String, u64>,
}

impl Outside {
    pub(super) fn new(recording: &Recording) -> Self {
        let mut since_us: HashMap<String, u64> = HashMap::new();
        let mut put = |conn: &str, at: u64| {
            let since = since_us.entry(conn.to_owned()).or_insert(at);
            *since = at.min(*since);
        };
        let mut admitted: HashMap<&str, u64> = HashMap::new();
        for heard in &recording.heard {
            match heard.what {
                What::Admitted(_) => drop(admitted.entry(&heard.conn).or_insert(heard.t_us)),
                What::Refused(_) => put(&heard.conn, heard.t_us),
                _ => {}
            }
        }
        for mute in &recording.mute {
            put(mute, 0);
        }
        let mut greeted: HashSet<&str> = HashSet::new();
        for step in &recording.steps {
            let conn = step.conn.as_str();
            let is_early = || admitted.get(conn).is_none_or(|at| step.t_us < *at);
            let breaks = match &step.act {
                Act::Send(Traced::Connect(auth)) => !greeted.insert(conn) || !is_auth(auth),
                Act::Send(Traced::Event {
                    name, attachments, ..
                }) => *attachments > 0 || RESERVED.contains(&name.as_str()) || is_early(),
                Act::Send(Traced::Ack { .. } | Traced::Disconnect | Traced::Close) => false,
                Act::Send(_) | Act::Lost(..) => true,
                Act::Do(conduct) => !matches!(conduct, Conduct::Drop | Conduct::AnswerPings),
                Act::Open | Act::Close | Act::Http(..) | Act::Note(_) => false,
            };
            if breaks {
                put(conn, step.t_us);
            }
        }
        Self {
            since_us,
            ending_us: endings(recording),
        }
    }

    /// Whether what came on a connection then is the server's choice.
    pub(super) fn has(&self, conn: &str, at_us: u64) -> bool {
        let before = |times: &HashMap<String, u64>| times.get(conn).is_some_and(|at| at_us > *at);
        before(&self.since_us) || before(&self.ending_us)
    }

    /// Whether it ever broke the protocol, or was refused.
    pub(super) fn has_ever(&self, conn: &str) -> bool {
        self.since_us.contains_key(conn)
    }
}

/// Whether an auth has texts where the contract has them.
fn is_auth(auth: &Value) -> bool {
    let keys = ["token", "clientType", "sessionId", "machineId"];
    let given = keys.into_iter().filter_map(|key| auth.get(key));
    given.into_iter().all(Value::is_string)
}

/// What is answered when a server ends a connection may meet the end.
fn endings(recording: &Recording) -> HashMap<String, u64> {
    let is_end = |what: &What| matches!(what, What::Ended(_));
    let ends = recording.heard.iter().filter(|one| is_end(&one.what));
    let ended: HashMap<&str, u64> = ends.map(|end| (end.conn.as_str(), end.t_us)).collect();
    let mut sent: HashMap<String, u64> = HashMap::new();
    for step in &recording.steps {
        let before = ended
            .get(step.conn.as_str())
            .is_some_and(|end| step.t_us <= *end);
        if before && !matches!(step.act, Act::Close) {
            sent.insert(step.conn.clone(), step.t_us);
        }
    }
    sent
}
