//! What of a recording is settled: every right server does it again, in every course that the same
//! steps can take. Only that is compared one to one; the rest is observed, and judged by the rules of
//! histories alone.

use std::collections::{HashMap, HashSet};

use serde_json::Value;
use touchstone_client::trace::Traced;
use touchstone_fixtures::{Subject, broadcast};

use super::{
    calls::{CONNECT, Call, Calls, LEAVES, aspect, causes, method_key, settings_key, told_message},
    heard::{Heard, What, type_of},
    outside::Outside,
    payload::shown,
    script::{Act, Recording},
};

pub(super) const RACED: &str = "something else was under way about the same thing";
pub(super) const OPENING: &str = "its connection was opened after what caused it";
pub(super) const UNCAUSED: &str = "no step of the recording caused it";
pub(super) const OUTSIDE: &str = "its connection broke the protocol, was refused, or was ended";
pub(super) const UNKNOWN: &str = "the contract does not know what was sent";
pub(super) const FREE: &str = "the contract leaves it to the server";
pub(super) const BROKEN: &str = "the recording breaks a requirement here";
pub(super) const LAST: &str = "nothing of the recording came behind it on its connection";

/// What a recording settles.
pub(super) struct Settled {
    calls: Calls,
    outside: Outside,
    /// When the recording shows what no right server does.
    broken_us: HashSet<u64>,
    /// The account of each connection.
    accounts: HashMap<String, String>,
    admitted: HashMap<String, u64>,
    greeted: HashSet<String>,
    /// The calls that may have caused a broadcast, by its type and subject and a text in it, in order.
    causes: HashMap<Cause, Vec<usize>>,
    /// The methods that connections registered and unregistered.
    named: HashSet<(String, String)>,
    /// When methods were asked of their registrants.
    asked: HashMap<String, Vec<u64>>,
}

type Cause = (&'static str, String, Option<String>);

impl Settled {
    pub(super) fn new(recording: &Recording) -> Self {
        let mut settled = Self {
            calls: Calls::new(recording),
            outside: Outside::new(recording),
            broken_us: recording.broken_us.clone(),
            accounts: recording.accounts.clone(),
            admitted: HashMap::new(),
            greeted: HashSet::new(),
            causes: HashMap::new(),
            named: HashSet::new(),
            asked: HashMap::new(),
        };
        for step in &recording.steps {
            if matches!(&step.act, Act::Send(Traced::Connect(_))) {
                settled.greeted.insert(step.conn.clone());
            }
        }
        for heard in &recording.heard {
            match &heard.what {
                What::Admitted(_) => {
                    let admitted = settled.admitted.entry(heard.conn.clone());
                    admitted.or_insert(heard.t_us);
                }
                What::Event { name, args, .. } if name == "rpc-request" => {
                    let key = settled.method_of(&heard.conn, args);
                    settled.asked.entry(key).or_default().push(heard.t_us);
                }
                _ => {}
            }
        }
        for (at, call) in settled.calls.all.iter().enumerate() {
            if let "rpc-register" | "rpc-unregister" = call.name.as_str()
                && let ([key], true) = (&call.keys[..], call.is_known)
            {
                settled.named.insert((call.conn.clone(), key.clone()));
            }
            let subject = call.subject.clone().unwrap_or_default();
            let mut texts = vec![None];
            strings(&call.data, &mut |text| texts.push(Some(text.to_owned())));
            for name in causes(&call.name) {
                for text in &texts {
                    let cause = (name, subject.clone(), text.clone());
                    settled.causes.entry(cause).or_default().push(at);
                }
            }
        }
        settled
    }

    /// Why what a thing says is not settled, if it is not.
    pub(super) fn why_content(&self, heard: &Heard) -> Option<&'static str> {
        if self.outside.has(&heard.conn, heard.t_us) {
            return Some(OUTSIDE);
        }
        if self.broken_us.contains(&heard.t_us) {
            return Some(BROKEN);
        }
        match &heard.what {
            What::Admitted(_) | What::Refused(_) => None,
            What::Ended(_) => (!self.greeted.contains(&heard.conn)).then_some(FREE),
            What::Ack { id, .. } => match self.calls.by_ack.get(&(heard.conn.clone(), *id)) {
                Some(at) => self.why_answer(heard, *at),
                None => Some(UNKNOWN),
            },
            What::Answered(index, _) => {
                let at = *self.calls.by_request.get(index)?;
                self.calls.is_contended(at, heard.t_us).then_some(RACED)
            }
            What::Event { name, args, .. } => {
                let is_raced = |key: &String| self.calls.is_raced(key, heard.t_us);
                match (name.as_str(), broadcast(type_of(name, args))) {
                    (_, Some(kind)) if kind.name == "relationship-updated" => Some(FREE),
                    (_, Some(kind)) if kind.name == "update-account" => {
                        let account = self.accounts.get(&heard.conn).map(String::as_str);
                        is_raced(&settings_key(account)).then_some(RACED)
                    }
                    (_, Some(_)) => touched(name, args).iter().any(is_raced).then_some(RACED),
                    ("rpc-request", _) => {
                        is_raced(&self.method_of(&heard.conn, args)).then_some(RACED)
                    }
                    ("rpc-registered" | "rpc-unregistered", _) => {
                        let key = self.method_of(&heard.conn, args);
                        let is_named = self.named.contains(&(heard.conn.clone(), key));
                        (!is_named).then_some(UNKNOWN)
                    }
                    _ => Some(UNKNOWN),
                }
            }
        }
    }

    /// Why it is not settled that something comes, if it is not.
    pub(super) fn why(&self, heard: &Heard) -> Option<&'static str> {
        self.why_content(heard).or_else(|| self.why_sent(heard))
    }

    /// Why it is not settled that a broadcast is sent to its connection, if it is not.
    pub(super) fn why_sent(&self, heard: &Heard) -> Option<&'static str> {
        let What::Event { name, args, .. } = &heard.what else {
            return None;
        };
        if !heard.what.goes_to_many() {
            return None;
        }
        match self.cause(heard, name, args) {
            None => Some(UNCAUSED),
            Some(cause) if !cause.is_known => Some(UNKNOWN),
            Some(cause) => {
                let admitted = self.admitted.get(&heard.conn);
                let is_there = admitted.is_some_and(|at| *at <= cause.from_us);
                (!is_there).then_some(OPENING)
            }
        }
    }

    /// Why it is not settled that something is there at all, if it is not. Whoever wins a race, each call is
    /// answered; only that of a method waits for somebody else.
    pub(super) fn why_absent(&self, heard: &Heard) -> Option<&'static str> {
        let is_due = match &heard.what {
            What::Answered(..) => true,
            What::Ack { id, .. } => {
                let at = self.calls.by_ack.get(&(heard.conn.clone(), *id));
                at.is_some_and(|at| self.calls.all[*at].name != "rpc-call")
            }
            _ => false,
        };
        self.why(heard).filter(|why| !(is_due && *why == RACED))
    }

    /// Whether a message is one of a session that several sent to at the same time, so that either may
    /// have come first.
    pub(super) fn is_crowded(&self, heard: &Heard) -> bool {
        let session = shown(&heard.what);
        let session = session.pointer("/body/sid").and_then(Value::as_str);
        session.is_some_and(|id| self.calls.is_raced(&aspect("messages", id), heard.t_us))
    }

    fn why_answer(&self, heard: &Heard, at: usize) -> Option<&'static str> {
        let call = &self.calls.all[at];
        if !call.is_known {
            return Some(UNKNOWN);
        }
        if self.calls.is_contended(at, heard.t_us) {
            return Some(RACED);
        }
        // How long a callee is waited for that does not answer is the server's choice.
        let What::Ack { args, .. } = &heard.what else {
            return None;
        };
        let is_refused = call.name == "rpc-call" && args[0]["ok"] == false;
        let was_asked = |times: &Vec<u64>| {
            let first = times.partition_point(|at| *at < call.from_us);
            times.get(first).is_some_and(|at| *at <= heard.t_us)
        };
        let asked = call.keys.iter().filter_map(|key| self.asked.get(key));
        (is_refused && asked.into_iter().any(was_asked)).then_some(FREE)
    }

    /// The call that made the server send this. Of several the earliest, since a connection that was
    /// there before that one was there before all of them.
    fn cause(&self, heard: &Heard, name: &str, args: &Value) -> Option<&Call> {
        let kind = broadcast(type_of(name, args))?;
        let body = body(name, args);
        // What a server names itself was not named by who caused it.
        let subject = kind.id(body).map_or("", |(_, id)| id);
        let last = |text: Option<&str>| {
            let of = |subject: &str| {
                let cause = (kind.name, subject.to_owned(), text.map(str::to_owned));
                let calls = self.causes.get(&cause)?;
                let call = |at: &usize| &self.calls.all[*at];
                let before = calls.partition_point(|at| call(at).from_us <= heard.t_us);
                let mut before = calls[..before].iter().rev().map(call);
                before.find(|call| self.may_cause(call, body))
            };
            of(subject).or_else(|| of(""))
        };
        let mut by_text: Option<&Call> = None;
        strings(body, &mut |text| {
            let earlier = last(Some(text))
                .filter(|call| by_text.is_none_or(|known| call.from_us < known.from_us));
            by_text = earlier.or(by_text);
        });
        by_text.or_else(|| last(None))
    }

    /// What is announced of presence is told by whether it comes or goes.
    fn may_cause(&self, call: &Call, body: &Value) -> bool {
        let active = body["active"].as_bool();
        match call.name.as_str() {
            CONNECT | "session-alive" | "machine-alive" => active == Some(true),
            LEAVES => active == Some(false) && !self.outside.has_ever(&call.conn),
            "session-end" | "POST /v1/sessions/:id/archive" => active == Some(false),
            _ => true,
        }
    }

    fn method_of(&self, conn: &str, args: &Value) -> String {
        let account = self.accounts.get(conn).map(String::as_str);
        method_key(account, args[0]["method"].as_str().unwrap_or_default())
    }
}

fn body<'a>(name: &str, args: &'a Value) -> &'a Value {
    match name {
        "update" => &args[0]["body"],
        _ => &args[0],
    }
}

/// What a broadcast tells of, as calls touch it.
fn touched(name: &str, args: &Value) -> Vec<String> {
    let body = body(name, args);
    let kind = broadcast(type_of(name, args));
    if type_of(name, args) == "kv-batch-update" {
        let changes = body["changes"].as_array().into_iter().flatten();
        let keys = changes.filter_map(|change| change["key"].as_str());
        return keys.map(|key| aspect("", key)).collect();
    }
    let Some((subject, id)) = kind.and_then(|kind| kind.id(body)) else {
        return Vec::new();
    };
    if type_of(name, args) == "new-message" {
        return Vec::from_iter(told_message(body));
    }
    if name == "ephemeral" {
        return vec![aspect("presence", id)];
    }
    let mut keys = vec![aspect("", id)];
    if matches!(subject, Subject::Session | Subject::Machine) {
        let parts = [
            ("metadata", "metadata"),
            ("agentState", "state"),
            ("daemonState", "state"),
        ];
        let parts = parts.into_iter().filter(|(key, _)| !body[*key].is_null());
        keys.extend(parts.map(|(_, one)| aspect(one, id)));
    }
    keys
}

fn strings(value: &Value, found: &mut impl FnMut(&str)) {
    match value {
        Value::String(text) => found(text),
        Value::Array(items) => items.iter().for_each(|item| strings(item, found)),
        Value::Object(map) => map.values().for_each(|item| strings(item, found)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{lines, otherwise};

    /// Two user-scoped connections, and what else happens. Whatever comes before the last lines is not
    /// the last that comes.
    fn two(text: &str) -> Vec<String> {
        let mut all = lines(
            r#"0 u > CONNECT {"token":"a1…"}
            1 u < CONNECT
            2 v > CONNECT {"token":"a1…"}
            3 v < CONNECT
            6 u > ping#7
            7 u < #7 {}"#,
        );
        all.extend(lines(text));
        let end = r#"< ephemeral {"type":"usage","id":"s"}"#;
        all.extend(lines(&format!("1990 u {end}\n1991 v {end}")));
        all
    }

    /// What is told where `now` came in place of `then`, in recordings that are else alike.
    #[track_caller]
    fn check(text: &str, [then, now]: [&str; 2], expected: &[&str]) {
        let [then, now] = [then, now].map(|more| {
            let mut all = two(&format!("{text}\n{more}"));
            all.sort_by_key(|line| line.split(' ').next().and_then(|at| at.parse::<u64>().ok()));
            all
        });
        assert_eq!(otherwise(&then, &now), expected);
    }

    const WON: &str = r#"{"result":"success","version":2,"agentState":"x"}"#;
    const LOST: &str = r#"{"result":"version-mismatch","version":2,"agentState":"x"}"#;

    /// What is told of two calls whose answers are given to the other in the replay.
    #[track_caller]
    fn swapped(sent: [&str; 2], second_at: u64, outcome: &str) {
        let [first, second] = sent;
        let calls = format!("10 u > {first}\n{second_at} v > {second}");
        let answers =
            |one: &str, other: &str| format!("20 u < #1 {one}\n{} v < #1 {other}", second_at + 20);
        let name = first.split('#').next().unwrap_or_default();
        let told = ["u", "v"].map(|conn| format!("{conn} answer to {name} #1: {outcome}"));
        let both = [&*answers(WON, LOST), &*answers(LOST, WON)];
        check(&calls, both, &told.each_ref().map(String::as_str));
    }

    #[test]
    fn who_wins_a_race_is_not_settled() {
        let write = |session: &str| {
            format!(r#"update-state#1 {{"sid":"{session}","agentState":"x","expectedVersion":1}}"#)
        };
        let (one, other) = (&*write("s"), &*write("t"));
        swapped([one, one], 11, RACED);
        swapped([one, other], 11, "different /result");
        // The first was answered before the second was sent.
        swapped([one, one], 21, "different /result");
        let metadata = r#"update-metadata#1 {"sid":"s","metadata":"x","expectedVersion":1}"#;
        let told = ["u answer to update-state #1: missing"];
        let calls = format!("10 u > {one}\n11 v > {metadata}");
        check(&calls, [&format!("20 u < #1 {WON}"), ""], &told);
    }

    #[test]
    fn what_is_read_behind_a_race_is_not_settled() {
        let write = r#"update-state#1 {"sid":"s","agentState":"x","expectedVersion":1}"#;
        let again = r#"update-state#2 {"sid":"s","agentState":"x","expectedVersion":1}"#;
        let race = format!(
            "10 u > {write}\n11 v > {write}\n20 u < #1 {WON}\n21 v < #1 {LOST}\n30 u > {again}"
        );
        let told = format!("u answer to update-state #2: {RACED}");
        check(
            &race,
            ["40 u < #2 {\"version\":1}", "40 u < #2 {\"version\":2}"],
            &[&told],
        );
    }

    fn message(text: &str, local_id: &str) -> String {
        format!(r#"message {{"sid":"s","message":"{text}","localId":"{local_id}"}}"#)
    }

    fn delivered(number: u64, text: &str, local_id: &str) -> String {
        format!(
            r#"update {{"id":"{text}","seq":1,"createdAt":1,"body":{{"t":"new-message","sid":"s","message":{{"id":"m{text}","seq":{number},"content":{{"t":"encrypted","c":"{text}"}},"localId":"{local_id}"}}}}}}"#
        )
    }

    const BEHIND: &str = r#"1980 u < update {"n":1}
        1981 v < update {"n":1}"#;

    #[test]
    fn a_message_reaches_all_but_its_sender() {
        let (one, came) = (message("x", "l"), delivered(1, "x", "l"));
        let elsewhere = |sent: &str, expected: &[&str]| {
            let both = [&*format!("20 v < {came}"), &*format!("20 u < {came}")];
            check(&format!("{sent}\n{BEHIND}"), both, expected);
        };
        let echoed = [
            "v update new-message: missing",
            "u update new-message: extra",
        ];
        elsewhere(&format!("10 u > {one}"), &echoed);
        // Of the same message that two send either may be delivered.
        let raced = [
            &*format!("v update new-message: {RACED}"),
            &*format!("u update new-message: {RACED}"),
        ];
        elsewhere(&format!("10 u > {one}\n11 v > {one}"), &raced);
        // That they have raced about another one is no reason.
        let other = message("x", "k");
        elsewhere(
            &format!("9 u > {one}\n10 u > {other}\n11 v > {other}"),
            &echoed,
        );
    }

    #[test]
    fn the_numbers_of_messages_are_settled_where_one_sends() {
        let numbered = |sent: &str, outcome: &str| {
            let came = |x, y| {
                let (x, y) = (delivered(x, "x", "l"), delivered(y, "y", "k"));
                format!("20 w < {x}\n21 w < {y}")
            };
            let w = "4 w > CONNECT {\"token\":\"a1…\"}\n5 w < CONNECT";
            let told = format!("w update new-message: {outcome}");
            let sent = format!("{w}\n{sent}\n{BEHIND}");
            check(&sent, [&came(1, 2), &came(2, 1)], &[&told, &told]);
        };
        let (x, y) = (message("x", "l"), message("y", "k"));
        let different = "different /body/message/seq";
        numbered(&format!("10 u > {x}\n11 u > {y}"), different);
        numbered(&format!("10 u > {x}\n11 v > {y}"), RACED);
    }

    const PRESENT: &str = r#"u < ephemeral {"type":"machine-activity","id":"m","active":true}"#;

    /// A machine opens two connections; the first while v opens one, so that v may hear of it or not.
    #[test]
    fn of_several_alike_the_settled_ones_belong_together() {
        let opened = r#"10 m > CONNECT {"token":"a1…","machineId":"m"}
            10 w > CONNECT {"token":"a1…"}
            11 w < CONNECT
            12 m < CONNECT
            13 w > ping#1
            14 w < #1 {}
            20 n > CONNECT {"token":"a1…","machineId":"m"}
            21 n < CONNECT
            1992 w < ephemeral {"type":"usage","id":"s"}"#;
        let [first, second] = [12, 22].map(|at| format!("{at} {}", PRESENT.replacen('u', "w", 1)));
        let both = format!("{first}\n{second}");
        let told = |outcome: &str| format!("w ephemeral machine-activity: {outcome}");
        check(opened, [&both, &second], &[&told(OPENING)]);
        check(opened, [&second, &both], &[&told(OPENING)]);
        check(opened, [&both, &first], &[&told("missing")]);
        check(opened, [&first, &both], &[&told("extra")]);
    }

    #[test]
    fn presence_is_settled_for_who_was_there_before() {
        let presence = |text: &str, came: &str, outcomes: [&str; 2]| {
            let told = outcomes.map(|one| format!("u ephemeral machine-activity: {one}"));
            check(text, [came, ""], &[&told[0]]);
            check(text, ["", came], &[&told[1]]);
        };
        let opened = r#"10 m > CONNECT {"token":"a1…","machineId":"m"}
            11 m < CONNECT"#;
        let came = format!("12 {PRESENT}");
        presence(opened, &came, ["missing", "extra"]);
        // Nothing makes it go.
        let gone = came.replace("true", "false");
        presence(opened, &gone, [UNCAUSED, UNCAUSED]);
        presence(
            &format!("{opened}\n12 m closes"),
            &gone,
            ["missing", "extra"],
        );
        let other = came.replace(r#""m""#, r#""n""#);
        presence(opened, &other, [UNCAUSED, UNCAUSED]);
        // The machine was there first, or came meanwhile.
        let early = opened.replace("10 m", "0 m");
        presence(&early, &came, [OPENING, OPENING]);
    }

    #[test]
    fn what_may_have_come_behind_the_end_is_not_settled() {
        let sent = format!("10 u > {}", message("x", "l"));
        let came = format!("20 v < {}", delivered(1, "x", "l"));
        let last = format!("v update new-message: {LAST}");
        let [then, now] = ["", &came].map(|came| {
            let end = "1990 u > ping#9\n1991 u < #9 {}";
            let mut all = two(&format!("{sent}\n{came}\n{end}"));
            all.retain(|line| !line.contains("usage"));
            all
        });
        assert_eq!(otherwise(&then, &now), [&*last]);
        check(&sent, ["", &came], &["v update new-message: extra"]);
    }

    #[test]
    fn what_meets_the_end_of_its_connection_is_not_settled() {
        let ended = "12 u > ping#2\n30 u ended";
        let told = format!("u answer to ping #2: {OUTSIDE}");
        check(ended, ["20 u < #2 {}", ""], &[&told]);
        let open = "12 u > ping#2";
        check(
            open,
            ["20 u < #2 {}", ""],
            &["u answer to ping #2: missing"],
        );
    }
}
