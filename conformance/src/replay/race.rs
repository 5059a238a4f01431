//! Which calls raced in a recording: they were under way at the same time, and only one of them could
//! win. Another one may win in the replay, and what the winner wrote is then read in place of what the
//! recorded winner wrote. Nothing else may differ: the answers are the same, given to others.

use std::collections::{HashMap, HashSet};

use serde_json::Value;
use touchstone_client::trace::Traced;

use super::{
    heard::{Heard, What},
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
    /// Whether they are messages that share a `localId`, of which one is delivered to all but its sender.
    pub(super) is_message: bool,
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
            let is_message = matches!(key, Key::Message(..));
            let mut group: Vec<Call<'_>> = Vec::new();
            for call in calls {
                let until = group.iter().map(|one| one.until_us).max();
                if !is_message && until.is_some_and(|until| call.from_us > until) {
                    races.add(&std::mem::take(&mut group), is_message, heard);
                }
                group.push(call);
            }
            races.add(&group, is_message, heard);
        }
        races
    }

    fn add(&mut self, calls: &[Call<'_>], is_message: bool, heard: &[Heard]) {
        let stakes = stakes(calls);
        let answers: Vec<usize> = calls.iter().filter_map(|call| call.answer).collect();
        if calls.len() < 2 || !(is_message || has_losers(calls, &stakes, heard)) {
            return;
        }
        for text in stakes {
            self.at_stake
                .entry(text)
                .or_default()
                .push(self.groups.len());
        }
        self.groups.push(Group {
            conns: calls.iter().map(|call| call.conn.to_owned()).collect(),
            answers,
            is_message,
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

#[derive(Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Key {
    Call(String, String),
    Message(String, String),
}

/// The calls that could race, by what they are about.
fn calls<'a>(recording: &'a Recording, heard: &[Heard]) -> Vec<(Key, Vec<Call<'a>>)> {
    let answered = answers(heard);
    let mut calls: HashMap<Key, Vec<Call<'_>>> = HashMap::new();
    for step in &recording.steps {
        let (key, data, answer) = match &step.act {
            Act::Send(Traced::Event {
                name, args, ack, ..
            }) => {
                let data = args.data().unwrap_or_default();
                let text = |key: &str| data[key].as_str().map(str::to_owned);
                let about = ["sid", "sessionId", "machineId", "artifactId", "id"]
                    .into_iter()
                    .find_map(text);
                match (ack, text("localId")) {
                    (Some(id), _) => {
                        let answer = answered.get(&Answer::Ack(&step.conn, *id)).copied();
                        let key = Key::Call(name.clone(), about.unwrap_or_default());
                        (key, data, answer)
                    }
                    (None, Some(local)) if name == "message" => {
                        (Key::Message(about.unwrap_or_default(), local), data, None)
                    }
                    _ => continue,
                }
            }
            Act::Http(index, exchange) if exchange.method != "GET" => {
                let answer = answered.get(&Answer::Http(*index)).copied();
                let key = Key::Call(exchange.method.clone(), exchange.url.clone());
                (key, exchange.request.clone().unwrap_or_default(), answer)
            }
            _ => continue,
        };
        calls.entry(key).or_default().push(Call {
            conn: &step.conn,
            data,
            from_us: step.t_us,
            until_us: answer.map_or(step.t_us, |at| heard[at].t_us),
            answer,
        });
    }
    let mut calls: Vec<_> = calls.into_iter().collect();
    calls.sort_by(|a, b| a.0.cmp(&b.0));
    calls
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
