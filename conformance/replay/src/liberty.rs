//! What the contract leaves to a server, although it can be seen: differences that no client may rely on.
//!
//! Each liberty is one of the traits that the requirements list as INFO, or a form that they say may
//! be either. Nothing else is forgiven here, and what is forgiven is told with its reason.

use std::collections::{HashMap, HashSet};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;
use touchstone_client::{Conduct, trace::Traced};

use super::{
    heard::{Heard, What, type_of},
    names::Names,
    payload::{Difference, shown},
    script::{Act, Exchanged, Recording},
};

/// How long nothing has to have been sent, in microseconds, for an end of presence to be a sweep.
const SWEEP_US: u64 = 500_000;

/// What a server may do otherwise than it was recorded.
pub(super) struct Liberties {
    /// Since when a connection breaks the protocol, by connection.
    rogue: HashMap<String, u64>,
    /// Machines of such connections.
    ghosts: HashSet<String>,
    /// Connections that were refused, since then.
    refused: HashMap<String, u64>,
    /// Methods that several connections registered.
    shared: HashSet<String>,
    /// The calls that carry no data, and the methods that `rpc-call` names, by connection and ack id.
    empty: HashSet<(String, u64)>,
    called: HashMap<(String, u64), String>,
    /// When steps were sent.
    sent_us: Vec<u64>,
    requests: HashMap<usize, Exchanged>,
    /// What is told of binary data by servers that take it for text.
    binaries: HashSet<String>,
    /// Sessions and machines whose heartbeats carried times that are none.
    timeless: HashSet<String>,
    /// Connections that sent CONNECT.
    greeted: HashSet<String>,
    /// Connections that sent events before their CONNECT was answered.
    hasty: HashSet<String>,
}

impl Liberties {
    pub(super) fn new(recording: &Recording) -> Self {
        let mut liberties = Self {
            rogue: HashMap::new(),
            ghosts: HashSet::new(),
            refused: HashMap::new(),
            shared: HashSet::new(),
            empty: HashSet::new(),
            called: HashMap::new(),
            sent_us: recording.steps.iter().map(|step| step.t_us).collect(),
            requests: recording.requests(),
            binaries: HashSet::new(),
            timeless: HashSet::new(),
            greeted: HashSet::new(),
            hasty: hasty(recording),
        };
        for heard in &recording.heard {
            if matches!(heard.what, What::Refused(_)) {
                let since = liberties.refused.entry(heard.conn.clone());
                since.or_insert(heard.t_us);
            }
        }
        let mut greeted: HashMap<&str, Option<String>> = HashMap::new();
        // Each account has methods of its own, though they may have the same names.
        let mut registrants: HashMap<(String, Option<String>), HashSet<&str>> = HashMap::new();
        for step in &recording.steps {
            let conn = step.conn.as_str();
            let rogue = match &step.act {
                Act::Send(Traced::Connect(auth)) => {
                    let machine = auth["machineId"].as_str().map(str::to_owned);
                    greeted.insert(conn, machine).is_some()
                }
                Act::Send(Traced::Event {
                    name,
                    args,
                    ack,
                    attachments,
                }) => {
                    let data = args.data().unwrap_or_default();
                    if name.ends_with("-alive") && !is_time(&data["time"]) {
                        let ids = [&data["sid"], &data["machineId"]];
                        let ids = ids.into_iter().filter_map(Value::as_str);
                        liberties.timeless.extend(ids.map(str::to_owned));
                    }
                    let id = ack.map(|id| (conn.to_owned(), id));
                    let is_empty = args.values().is_ok_and(|all| all.is_empty());
                    if let (Some(id), true) = (&id, is_empty && name != "ping") {
                        liberties.empty.insert(id.clone());
                    }
                    if let Some(method) = data["method"].as_str() {
                        match (name.as_str(), id) {
                            ("rpc-register", _) => {
                                registrants
                                    .entry((method.to_owned(), recording.account_of(conn)))
                                    .or_default()
                                    .insert(conn);
                            }
                            ("rpc-call", Some(id)) => {
                                liberties.called.insert(id, method.to_owned());
                            }
                            _ => {}
                        }
                    }
                    *attachments > 0
                        || RESERVED.contains(&name.as_str())
                        || !greeted.contains_key(conn)
                }
                Act::Send(Traced::Ack { .. } | Traced::Disconnect | Traced::Close) => false,
                Act::Send(Traced::Binary { bytes, .. }) => {
                    let bytes = bytes.iter();
                    let texts = bytes.map(|bytes| STANDARD.encode(bytes));
                    liberties.binaries.extend(texts);
                    true
                }
                Act::Lost(..) => false,
                Act::Send(_) => true,
                Act::Do(conduct) => !matches!(conduct, Conduct::Drop | Conduct::AnswerPings),
                Act::Open | Act::Close | Act::Http(..) => false,
            };
            if rogue {
                liberties.rogue.entry(conn.to_owned()).or_insert(step.t_us);
            }
        }
        for mute in &recording.mute {
            liberties.rogue.entry(mute.clone()).or_default();
        }
        for (conn, machine) in greeted {
            if liberties.rogue.contains_key(conn) {
                liberties.ghosts.extend(machine);
            }
            liberties.greeted.insert(conn.to_owned());
        }
        let several = registrants.into_iter().filter(|(_, conns)| conns.len() > 1);
        liberties.shared = several.map(|((method, _), _)| method).collect();
        liberties
    }

    /// Why a recorded thing may be missing.
    pub(super) fn may_miss(&self, heard: &Heard) -> Option<&'static str> {
        let since = |map: &HashMap<String, u64>| {
            map.get(&heard.conn)
                .is_some_and(|since| heard.t_us > *since)
        };
        if since(&self.rogue) {
            return Some(ROGUE);
        }
        if since(&self.refused) {
            return Some(REFUSED);
        }
        if self.hasty.contains(&heard.conn) {
            return Some(HASTY);
        }
        match &heard.what {
            What::Event { name, args, .. } => self.may_miss_event(heard, name, args),
            What::Ack { id, args } => {
                let id = (heard.conn.clone(), *id);
                if self.empty.contains(&id) {
                    return Some("a call without data need not be answered");
                }
                self.of_call(&id, args)
            }
            What::Ended(_) if !self.greeted.contains(&heard.conn) => {
                Some("how long CONNECT is waited for is the server's choice")
            }
            _ => None,
        }
    }

    fn may_miss_event(&self, heard: &Heard, name: &str, args: &Value) -> Option<&'static str> {
        let data = &args[0];
        match (name, type_of(name, args)) {
            _ if is_too_deep(args) => Some(NESTED),
            ("rpc-registered" | "rpc-unregistered", _) => data["method"]
                .as_str()
                .filter(|method| self.binaries.contains(*method))
                .and(Some("what becomes of binary data in the place of a text")),
            ("rpc-request", _) => self.is_shared(&data["method"]).then_some(OWNER),
            (_, "relationship-updated") => Some("relations need not be announced"),
            (_, "activity" | "machine-activity") if self.is_timeless(&data["id"]) => Some(TIMELESS),
            (_, "activity" | "machine-activity") if data["active"] == false => {
                let ghost = data["id"]
                    .as_str()
                    .is_some_and(|id| self.ghosts.contains(id));
                let before = self
                    .sent_us
                    .iter()
                    .filter(|sent| **sent <= heard.t_us)
                    .max();
                let swept = before.is_some_and(|sent| heard.t_us - sent > SWEEP_US);
                if ghost {
                    Some(ROGUE)
                } else {
                    swept.then_some("when presence is swept is the server's choice")
                }
            }
            _ => None,
        }
    }

    /// Why a thing may come that was not recorded. `admitted` tells whether its connection was.
    /// Names in it are those of the replay.
    pub(super) fn may_come(
        &self,
        heard: &Heard,
        admitted: bool,
        names: &Names,
    ) -> Option<&'static str> {
        let is_event = matches!(heard.what, What::Event { .. });
        if self.rogue.contains_key(&heard.conn) && (admitted || !is_event) {
            return Some(ROGUE);
        }
        if self.refused.contains_key(&heard.conn) && !is_event {
            return Some(REFUSED);
        }
        if self.hasty.contains(&heard.conn) && (admitted || !is_event) {
            return Some(HASTY);
        }
        let What::Event { name, args, .. } = &heard.what else {
            return None;
        };
        let is_among = |known: &HashSet<String>, name: &Value| {
            let name = name.as_str();
            known
                .iter()
                .any(|old| Some(names.renamed(old).as_str()) == name)
        };
        match (name.as_str(), type_of(name, args)) {
            _ if is_too_deep(args) => Some(NESTED),
            ("rpc-request", _) => is_among(&self.shared, &args[0]["method"]).then_some(OWNER),
            (_, "relationship-updated") => Some("relations may be announced"),
            (_, "activity" | "machine-activity") if is_among(&self.timeless, &args[0]["id"]) => {
                Some(TIMELESS)
            }
            _ => None,
        }
    }

    /// Why a thing may be as it is now, if all of its differences may be.
    pub(super) fn may_differ(
        &self,
        then: &Heard,
        now: &What,
        differences: &[Difference],
    ) -> Option<&'static str> {
        if self
            .rogue
            .get(&then.conn)
            .is_some_and(|since| then.t_us > *since)
            && !matches!(then.what, What::Event { .. })
        {
            return Some(ROGUE);
        }
        if let What::Ack { id, args } = &then.what {
            let reason = self.of_call(&(then.conn.clone(), *id), args);
            if reason.is_some() {
                return reason;
            }
        }
        let (told, shown_now) = (shown(&then.what), shown(now));
        let mut reason = None;
        for difference in differences {
            reason = Some(self.of_place(&then.what, &told, &shown_now, difference)?);
        }
        reason
    }

    /// The answer to an `rpc-call` that rests on how long servers wait, or on whom they ask.
    fn of_call(&self, id: &(String, u64), args: &Value) -> Option<&'static str> {
        let method = self.called.get(id)?;
        if self.shared.contains(method) {
            return Some(OWNER);
        }
        let waited = ["operation has timed out", "RPC target disconnected"]
            .iter()
            .any(|error| args[0]["error"] == **error);
        waited.then_some("how long a call waits for a silent or lost callee is the server's choice")
    }

    fn is_timeless(&self, id: &Value) -> bool {
        id.as_str().is_some_and(|id| self.timeless.contains(id))
    }

    fn is_shared(&self, method: &Value) -> bool {
        method
            .as_str()
            .is_some_and(|method| self.shared.contains(method))
    }

    fn of_place(
        &self,
        what: &What,
        then: &Value,
        now: &Value,
        difference: &Difference,
    ) -> Option<&'static str> {
        let path = difference.path.as_str();
        let is = |text: &str| {
            [&difference.recorded, &difference.replayed]
                .iter()
                .any(|value| value.as_ref().is_some_and(|value| value == text))
        };
        let recorded = difference.recorded.as_ref().and_then(Value::as_str);
        if recorded.is_some_and(|text| self.binaries.contains(text)) {
            return Some("what becomes of binary data in the place of a text");
        }
        match what {
            What::Ack { .. } | What::Event { .. }
                if matches!(path, "/error" | "/message") && is("Internal error") =>
            {
                Some("the words in which malformed data is refused")
            }
            What::Ack { .. } if then["result"] == "version-mismatch" => {
                let part = path
                    .strip_prefix("/header")
                    .or_else(|| path.strip_prefix("/body"))?;
                matches!(part, "/version" | "/data")
                    .then_some("a mismatch tells the current part once or twice")
            }
            What::Event { name, args, .. } => match type_of(name, args) {
                "activity" if path == "/thinking" => (!difference.replayed.as_ref()?.is_boolean())
                    .then_some("what becomes of a thinking that is no boolean"),
                "new-machine" if matches!(path, "/body/active" | "/body/activeAt") => Some(ACTIVE),
                _ => None,
            },
            What::Answered(index, _) => {
                let request = self.requests.get(index)?;
                let route = request.url.split('?').next().unwrap_or_default();
                let status = then["status"].as_u64()?;
                if route == "/health" && path.starts_with("/body") {
                    return Some("what a server tells of its health");
                }
                if now["status"] == status && status >= 400 && status != 409 && path != "/status" {
                    return Some("the words in which a request is refused");
                }
                let about_active = path.ends_with("/active") || path.ends_with("/activeAt");
                (route.starts_with("/v1/machines") && about_active).then_some(ACTIVE)
            }
            _ => None,
        }
    }
}

/// The connections that sent events before their CONNECT was answered.
fn hasty(recording: &Recording) -> HashSet<String> {
    let mut admitted: HashMap<&str, u64> = HashMap::new();
    for heard in &recording.heard {
        if matches!(heard.what, What::Admitted(_)) {
            admitted.entry(&heard.conn).or_insert(heard.t_us);
        }
    }
    let steps = recording.steps.iter().filter(|step| {
        matches!(step.act, Act::Send(Traced::Event { .. }))
            && admitted
                .get(step.conn.as_str())
                .is_some_and(|at| step.t_us < *at)
    });
    steps.map(|step| step.conn.clone()).collect()
}

/// Whether this may be a time of a heartbeat: a whole number that every program can hold.
fn is_time(value: &Value) -> bool {
    value.as_u64().is_some_and(|time| time < 1 << 53)
}

/// Whether arguments are nested so deep that a server may do with them what it likes. Those that are a
/// text were too deep to be read.
fn is_too_deep(args: &Value) -> bool {
    args.is_string() || is_deep(args, DEEP)
}

/// Whether data is nested deeper than this.
fn is_deep(value: &Value, levels: usize) -> bool {
    let is_deeper = |value: &Value| is_deep(value, levels - 1);
    match value {
        Value::Array(items) => levels == 0 || items.iter().any(is_deeper),
        Value::Object(fields) => levels == 0 || fields.values().any(is_deeper),
        _ => false,
    }
}

/// Data that is nested deeper than this is nothing that clients send: parsers have limits of 128 and more.
const DEEP: usize = 100;
/// Names of events that Socket.IO keeps for itself.
const RESERVED: &[&str] = &[
    "connect",
    "connect_error",
    "disconnect",
    "disconnecting",
    "error",
];
const NESTED: &str = "what becomes of deeply nested data is the server's choice";
const HASTY: &str = "what becomes of events that are sent before CONNECT is answered";
const TIMELESS: &str = "what becomes of a heartbeat without a time";
const ROGUE: &str = "what becomes of a connection that breaks the protocol is the server's choice";
const REFUSED: &str = "a refused connection may be closed or left open";
const OWNER: &str = "which of several registrants of a method is asked is the server's choice";
const ACTIVE: &str = "whether a machine counts as active without a connection";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nesting_is_counted_in_levels() {
        #[track_caller]
        fn check(levels: usize, expected: bool) {
            let inmost = Value::from("a");
            let args = (0..levels).fold(inmost, |inner, _| Value::Array(vec![inner]));
            assert_eq!(is_too_deep(&args) && levels > 0, expected);
        }
        check(1, false);
        check(DEEP, false);
        check(DEEP + 1, true);
    }
}
