//! Which calls raced in a recording: those of one account about the same thing that were under way at the
//! same time, and of which only one could win. Another one may win in the replay, and what the winner
//! wrote is then read in place of what the recorded winner wrote. Nothing else may differ: the answers
//! are the same, given to others.

use std::collections::{HashMap, HashSet};

use serde_json::Value;
use touchstone_client::trace::Traced;

use super::{
    heard::{Heard, What, type_of},
    script::{Act, Recording},
};

/// The races of a recording.
#[derive(Debug, Default)]
pub(super) struct Races {
    groups: Vec<Group>,
    /// Where a string stands that was at stake: its groups.
    at_stake: HashMap<String, Vec<usize>>,
}

/// Calls of which only one could win.
#[derive(Debug)]
pub(super) struct Group {
    /// Their senders.
    pub(super) conns: HashSet<String>,
    /// Their answers, as indices of what was heard.
    pub(super) answers: Vec<usize>,
    /// The message, where they are attempts to send one.
    message: Option<Message>,
}

/// A message, by its session and the `localId` that all attempts to send it share: one of them is
/// delivered, to all but its sender.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Message {
    session: String,
    local_id: String,
}

impl Group {
    /// Whether this is a delivery of the message that they tried to send.
    pub(super) fn delivers(&self, what: &What) -> bool {
        self.message.is_some() && self.message == Message::delivered(what)
    }
}

impl Message {
    fn delivered(what: &What) -> Option<Self> {
        let What::Event { name, args, .. } = what else {
            return None;
        };
        if type_of(name, args) != "new-message" {
            return None;
        }
        let text = |path| args.pointer(path)?.as_str().map(str::to_owned);
        Some(Self {
            session: text("/0/body/sid")?,
            local_id: text("/0/body/message/localId")?,
        })
    }
}

/// One call while races are looked for.
struct Call<'a> {
    conn: &'a str,
    data: Value,
    from_us: u64,
    until_us: u64,
    answer: Option<usize>,
}

impl Races {
    /// Of what was heard, `heard` holds what is compared.
    pub(super) fn new(recording: &Recording, heard: &[Heard]) -> Self {
        let mut races = Self::default();
        for (key, mut calls) in calls(recording, heard) {
            calls.sort_by_key(|call| call.from_us);
            let mut group: Vec<Call<'_>> = Vec::new();
            for call in calls {
                let until = group.iter().map(|one| one.until_us).max();
                if until.is_some_and(|until| call.from_us > until) {
                    races.add(&std::mem::take(&mut group), key.message(), heard);
                }
                group.push(call);
            }
            races.add(&group, key.message(), heard);
        }
        races
    }

    fn add(&mut self, calls: &[Call<'_>], message: Option<&Message>, heard: &[Heard]) {
        let stakes = stakes(calls);
        let conns: HashSet<String> = calls.iter().map(|call| call.conn.to_owned()).collect();
        // What one connection sends of a message is in order.
        let is_race = match message {
            Some(_) => conns.len() > 1,
            None => calls.len() > 1 && has_losers(calls, &stakes, heard),
        };
        if !is_race {
            return;
        }
        for text in stakes {
            self.at_stake
                .entry(text)
                .or_default()
                .push(self.groups.len());
        }
        self.groups.push(Group {
            conns,
            answers: calls.iter().filter_map(|call| call.answer).collect(),
            message: message.cloned(),
        });
    }

    /// Every race.
    pub(super) fn groups(&self) -> impl Iterator<Item = &Group> {
        self.groups.iter()
    }

    /// Whether a race decides where this string is read.
    pub(super) fn decide_of(&self, text: &str) -> bool {
        self.at_stake.contains_key(text)
    }

    /// Whether several races were about this string, so that what one decides says nothing of the others.
    pub(super) fn is_reused(&self, text: &str) -> bool {
        self.at_stake
            .get(text)
            .is_some_and(|groups| groups.len() > 1)
    }

    /// Whether two strings were at stake in the same race.
    pub(super) fn are_rivals(&self, one: &str, other: &str) -> bool {
        let of = |text| self.at_stake.get(text);
        let (Some(one), Some(other)) = (of(one), of(other)) else {
            return false;
        };
        one.iter().any(|group| other.contains(group))
    }
}

/// What calls have to have in common to be about the same thing.
#[derive(Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Key {
    Call {
        account: Option<String>,
        /// The event, or method and URL.
        name: String,
        /// What it names by [`NAMING`].
        about: Vec<String>,
    },
    Message(Message),
}

impl Key {
    fn call(account: Option<String>, name: &str, data: &Value) -> Self {
        let text = |key: &&str| Some(format!("{key}={}", data[key].as_str()?));
        Self::Call {
            account,
            name: name.to_owned(),
            about: NAMING.iter().filter_map(text).collect(),
        }
    }

    fn message(&self) -> Option<&Message> {
        match self {
            Self::Call { .. } => None,
            Self::Message(message) => Some(message),
        }
    }
}

/// The keys of a call that tell what it is about.
const NAMING: &[&str] = &[
    "sid",
    "sessionId",
    "machineId",
    "artifactId",
    "id",
    "tag",
    "key",
    "method",
];

/// The calls that could race, by what they are about.
fn calls<'a>(recording: &'a Recording, heard: &[Heard]) -> Vec<(Key, Vec<Call<'a>>)> {
    let answered = answers(heard);
    let delivered = deliveries(heard);
    let mut calls: HashMap<Key, Vec<Call<'_>>> = HashMap::new();
    for step in &recording.steps {
        let account = || recording.account_of(&step.conn);
        let (key, data, answer) = match &step.act {
            Act::Send(Traced::Event {
                name, args, ack, ..
            }) => {
                let data = args.data().unwrap_or_default();
                let text = |key: &str| data[key].as_str().map(str::to_owned);
                match (ack, text("sid"), text("localId")) {
                    (Some(id), ..) => {
                        let answer = answered.get(&Answer::Ack(&step.conn, *id)).copied();
                        (Key::call(account(), name, &data), data, answer)
                    }
                    (None, Some(session), Some(local_id)) if name == "message" => {
                        let message = Message { session, local_id };
                        (Key::Message(message), data, None)
                    }
                    _ => continue,
                }
            }
            Act::Http(index, exchange) if exchange.method != "GET" => {
                let answer = answered.get(&Answer::Http(*index)).copied();
                let data = exchange.request.clone().unwrap_or_default();
                let name = format!("{} {}", exchange.method, exchange.url);
                (Key::call(account(), &name, &data), data, answer)
            }
            _ => continue,
        };
        let until_us = match &key {
            Key::Call { .. } => answer.map(|at| heard[at].t_us),
            Key::Message(message) => delivered
                .get(message)
                .and_then(|times| times.iter().find(|came| **came >= step.t_us).copied()),
        };
        calls.entry(key).or_default().push(Call {
            conn: &step.conn,
            data,
            from_us: step.t_us,
            until_us: until_us.unwrap_or(step.t_us),
            answer,
        });
    }
    let mut calls: Vec<_> = calls.into_iter().collect();
    calls.sort_by(|a, b| a.0.cmp(&b.0));
    calls
}

/// When messages were delivered, in order.
fn deliveries(heard: &[Heard]) -> HashMap<Message, Vec<u64>> {
    let mut deliveries: HashMap<Message, Vec<u64>> = HashMap::new();
    for one in heard {
        if let Some(message) = Message::delivered(&one.what) {
            deliveries.entry(message).or_default().push(one.t_us);
        }
    }
    deliveries
}

#[derive(PartialEq, Eq, Hash)]
enum Answer<'a> {
    Ack(&'a str, u64),
    Http(usize),
}

fn answers(heard: &[Heard]) -> HashMap<Answer<'_>, usize> {
    let mut answers = HashMap::new();
    for (at, one) in heard.iter().enumerate() {
        let answer = match &one.what {
            What::Ack { id, .. } => Answer::Ack(&one.conn, *id),
            What::Answered(index, _) => Answer::Http(*index),
            _ => continue,
        };
        answers.entry(answer).or_insert(at);
    }
    answers
}

/// The strings in which the calls differ.
fn stakes(calls: &[Call<'_>]) -> HashSet<String> {
    let mut by_path: HashMap<String, HashSet<String>> = HashMap::new();
    for call in calls {
        strings(&call.data, "", &mut |path, text| {
            by_path
                .entry(path.to_owned())
                .or_default()
                .insert(text.to_owned());
        });
    }
    let differing = by_path.into_values().filter(|texts| texts.len() > 1);
    differing
        .flatten()
        .filter(|text| !text.is_empty())
        .collect()
}

fn strings(value: &Value, path: &str, found: &mut impl FnMut(&str, &str)) {
    match value {
        Value::String(text) => found(path, text),
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                strings(item, &format!("{path}/{index}"), found);
            }
        }
        Value::Object(map) => {
            for (key, item) in map {
                strings(item, &format!("{path}/{key}"), found);
            }
        }
        _ => {}
    }
}

/// Whether the answers tell winners from losers: by a word, or since somebody is told what another wrote.
fn has_losers(calls: &[Call<'_>], stakes: &HashSet<String>, heard: &[Heard]) -> bool {
    let mut words = HashSet::new();
    let mut told_of_others = false;
    for call in calls {
        let Some(answer) = call.answer.map(|at| super::payload::shown(&heard[at].what)) else {
            continue;
        };
        let word = ["/result", "/success", "/ok", "/status", "/body/success"]
            .map(|path| answer.pointer(path).cloned());
        words.insert(format!("{word:?}"));
        let mut own = HashSet::new();
        strings(&call.data, "", &mut |_, text| {
            own.insert(text.to_owned());
        });
        strings(&answer, "", &mut |_, text| {
            told_of_others |= stakes.contains(text) && !own.contains(text);
        });
    }
    words.len() > 1 || told_of_others
}

#[cfg(test)]
mod tests {
    use crate::{
        chance::RACE,
        testing::{lines, otherwise},
    };

    /// A recording of two user-scoped connections, with what else happened.
    fn two(accounts: [&str; 2], text: &str) -> Vec<String> {
        let [u, v] = accounts;
        let mut all = vec![
            format!(r#"0 u > CONNECT {{"token":"{u}…"}}"#),
            "1 u < CONNECT".to_owned(),
            format!(r#"2 v > CONNECT {{"token":"{v}…"}}"#),
            "3 v < CONNECT".to_owned(),
        ];
        all.extend(lines(text));
        // Whatever comes before these is not what may have come later.
        all.extend(lines(
            "90 u > ping#9\n91 u < #9 {}\n92 v > ping#9\n93 v < #9 {}",
        ));
        all
    }

    /// What is told of two calls at the same time whose answers are given to the other in the replay.
    #[track_caller]
    fn swapped(accounts: [&str; 2], calls: [&str; 2], answers: [&str; 2], expected: &[&str]) {
        let ran = |first: &str, second: &str| {
            let text = format!(
                "10 u > {}\n11 v > {}\n20 u < #1 {first}\n21 v < #1 {second}",
                calls[0], calls[1]
            );
            two(accounts, &text)
        };
        let (then, now) = (ran(answers[0], answers[1]), ran(answers[1], answers[0]));
        assert_eq!(otherwise(&then, &now), expected, "{calls:?}");
    }

    const WON: &str = r#"{"result":"success"}"#;
    const LOST: &str = r#"{"result":"version-mismatch"}"#;

    #[test]
    fn another_may_win_a_race() {
        let call = r#"update-state#1 {"sid":"s","expectedVersion":1}"#;
        let raced = [
            format!("u answer to update-state #1: {RACE}"),
            format!("v answer to update-state #1: {RACE}"),
        ];
        let raced = [raced[0].as_str(), raced[1].as_str()];
        swapped(["a1", "a1"], [call, call], [WON, LOST], &raced);
        let different = [
            "u answer to update-state #1: different /result",
            "v answer to update-state #1: different /result",
        ];
        let other_session = r#"update-state#1 {"sid":"t","expectedVersion":1}"#;
        swapped(["a1", "a1"], [call, other_session], [WON, LOST], &different);
        // A stranger may not win, whatever else happens.
        swapped(["a1", "a2"], [call, call], [WON, LOST], &different);
    }

    #[test]
    fn calls_about_different_things_do_not_race() {
        #[track_caller]
        fn check(name: &str, data: [&str; 2], answers: [&str; 2], differs: &str) {
            let calls = data.map(|data| format!("{name}#1 {data}"));
            let expected = ["u", "v"].map(|conn| format!("{conn} answer to {name} #1: {differs}"));
            let expected = expected.each_ref().map(String::as_str);
            swapped(
                ["a1", "a1"],
                calls.each_ref().map(String::as_str),
                answers,
                &expected,
            );
        }
        check(
            "rpc-call",
            [
                r#"{"method":"m","params":"p"}"#,
                r#"{"method":"n","params":"q"}"#,
            ],
            [
                r#"{"ok":true,"result":"p"}"#,
                r#"{"ok":false,"result":"q"}"#,
            ],
            "different /ok /result",
        );
        check(
            "access-key-get",
            [
                r#"{"sessionId":"s","machineId":"m"}"#,
                r#"{"sessionId":"s","machineId":"n"}"#,
            ],
            [r#"{"ok":true}"#, r#"{"ok":false}"#],
            "different /ok",
        );
    }

    #[test]
    fn calls_one_after_the_other_do_not_race() {
        let call = r#"update-state#1 {"sid":"s","expectedVersion":1}"#;
        let ran = |first: &str, second: &str| {
            let text =
                format!("10 u > {call}\n20 u < #1 {first}\n21 v > {call}\n30 v < #1 {second}");
            two(["a1", "a1"], &text)
        };
        let expected = [
            "u answer to update-state #1: different /result",
            "v answer to update-state #1: different /result",
        ];
        assert_eq!(otherwise(&ran(WON, LOST), &ran(LOST, WON)), expected);
    }

    #[test]
    fn what_nobody_lost_is_no_race() {
        let calls = [
            r#"report#1 {"sid":"s","n":1}"#,
            r#"report#1 {"sid":"s","n":2}"#,
        ];
        swapped(
            ["a1", "a1"],
            calls,
            [r#"{"n":1}"#, r#"{"n":2}"#],
            &[
                "u answer to report #1: different /n",
                "v answer to report #1: different /n",
            ],
        );
    }

    fn message(text: &str, local_id: &str) -> String {
        format!(r#"message {{"sid":"s","message":"{text}","localId":"{local_id}"}}"#)
    }

    fn delivered(id: &str, text: &str, local_id: &str) -> String {
        format!(
            r#"update {{"id":"{id}","seq":1,"createdAt":1,"body":{{"t":"new-message","sid":"s","message":{{"id":"{id}","seq":1,"content":{{"t":"encrypted","c":"{text}"}},"localId":"{local_id}"}}}}}}"#
        )
    }

    const BEHIND: &str = r#"40 u < update {"n":1}"#;

    /// What is told where a message is delivered to the other of two connections.
    #[track_caller]
    fn elsewhere(sent: &str, came: &str, expected: &[&str]) {
        // What came behind it on the same road says that the recording did not end too early.
        let then = two(["a1", "a1"], &format!("{sent}\n20 v < {came}\n{BEHIND}"));
        let now = two(["a1", "a1"], &format!("{sent}\n20 u < {came}\n{BEHIND}"));
        assert_eq!(otherwise(&then, &now), expected);
    }

    #[test]
    fn of_a_message_that_is_sent_twice_either_may_be_delivered() {
        let (one, came) = (message("x", "l"), delivered("m1", "x", "l"));
        elsewhere(
            &format!("10 u > {one}\n11 v > {one}"),
            &came,
            &[&format!("v update new-message: {RACE}")],
        );
        // Its sender must not receive it, and nobody else has sent it.
        let echoed = [
            "v update new-message: missing",
            "u update new-message: extra",
        ];
        elsewhere(&format!("10 u > {one}"), &came, &echoed);
        // That the two have raced about another message is no excuse.
        let other = message("x", "k");
        elsewhere(
            &format!("9 u > {one}\n10 u > {other}\n11 v > {other}"),
            &came,
            &echoed,
        );
        elsewhere(&format!("10 u > {one}\n11 u > {one}"), &came, &echoed);
    }

    #[test]
    fn a_message_that_was_delivered_has_won() {
        let (one, came) = (message("x", "l"), delivered("m1", "x", "l"));
        let ran = |conn: &str| {
            let text = format!("10 u > {one}\n20 {conn} < {came}\n30 v > {one}\n{BEHIND}");
            two(["a1", "a1"], &text)
        };
        assert_eq!(
            otherwise(&ran("v"), &ran("u")),
            [
                "v update new-message: missing",
                "u update new-message: extra"
            ]
        );
    }
}
