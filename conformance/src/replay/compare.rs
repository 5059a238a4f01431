//! What the server did then and now, side by side. A pure function.
//!
//! Answers are told by what they answer. Deliveries are told by connection, type and content, in the
//! order in which they came; two that differ only in their times are the same. What has no
//! counterpart is missing or extra.

use std::collections::{HashMap, VecDeque};

use serde_json::Value;
use touchstone_client::trace::Traced;

use super::drive::Played;
use super::names::{Names, is_id};
use super::script::{Act, Heard, Recording, What, type_of};
use crate::ctx::same_json;

/// How many deliveries of one kind ahead are looked through for the counterpart of one.
const AHEAD: usize = 256;
/// How many differences of one payload are told.
const TOLD: usize = 20;
/// How long a recording has to go on after its last step, in microseconds, for silence to mean that
/// nothing came.
const SILENCE_US: u64 = 500_000;

/// One thing that the server did then, now, or both times.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    /// The connection, as the recording calls it.
    pub conn: String,
    /// What it is, for people: `ack update-metadata #3`, `update new-message`.
    pub what: String,
    /// When it came in the recording or, where it is extra, in the replay, in microseconds.
    pub t_us: u64,
    /// What became of it.
    pub outcome: Outcome,
}

/// What became of one thing.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// The server did the same.
    Same,
    /// It did something else.
    Different(Vec<Difference>),
    /// It did nothing of the kind. Holds what was recorded.
    Missing(Value),
    /// It did what it had not done. Holds what came.
    Extra(Value),
    /// Whether it came was a matter of chance, or came after the recording had ended. Holds what was
    /// recorded, or what came.
    Unsettled(Value),
}

/// One place where two payloads differ.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    /// JSON Pointer, empty for the whole.
    pub path: String,
    /// The recorded value; `None` where there was none.
    pub recorded: Option<Value>,
    /// The value now.
    pub replayed: Option<Value>,
}

/// Holds what was heard in a replay against the recording.
pub(super) fn compare(recording: &Recording, played: &Played) -> Vec<Item> {
    let mut names = played.names.clone();
    let calls = call_names(recording);
    let chance = Chance::new(recording);
    let mut now = Heap::new(&played.heard);
    let mut items = Vec::new();
    let mut waiting = Vec::new();
    // When the last thing with a counterpart came, by connection.
    let mut last_known: HashMap<&str, u64> = HashMap::new();
    let mut seqs: HashMap<&str, (u64, u64)> = HashMap::new();
    // What has only one possible counterpart comes first, since ids are learned from it.
    let (sure, unsure): (Vec<_>, Vec<_>) = recording
        .heard
        .iter()
        .partition(|heard| !matches!(heard.what, What::Event { .. }));
    for heard in sure {
        let outcome = match now.take_first(heard) {
            None => Outcome::Missing(shown(&heard.what)),
            Some(counterpart) => {
                came(&mut last_known, counterpart);
                verdict(&mut names, &heard.what, &counterpart.what)
            }
        };
        items.push(item(heard, &calls, outcome));
    }
    for heard in unsure {
        match now.take_equal(heard, &names) {
            Some(counterpart) => {
                came(&mut last_known, counterpart);
                let mut outcome = verdict(&mut names, &heard.what, &counterpart.what);
                if let Some(back) = seq_back(&mut seqs, heard, &counterpart.what) {
                    outcome = Outcome::Different(vec![back]);
                }
                items.push(item(heard, &calls, outcome));
            }
            None => waiting.push(heard),
        }
    }
    // What has no equal may still be told by what it is about.
    for heard in waiting {
        let outcome = match now.take_about(heard, &names) {
            Some(counterpart) => {
                came(&mut last_known, counterpart);
                verdict(&mut names, &heard.what, &counterpart.what)
            }
            None if chance.of(heard, None) => Outcome::Unsettled(shown(&heard.what)),
            None => Outcome::Missing(shown(&heard.what)),
        };
        items.push(item(heard, &calls, outcome));
    }
    items.extend(now.rest().map(|heard| {
        let outcome =
            if chance.of(heard, Some(&names)) || chance.is_later(heard, played, &last_known) {
                Outcome::Unsettled(shown(&heard.what))
            } else {
                Outcome::Extra(shown(&heard.what))
            };
        item(heard, &calls, outcome)
    }));
    items.sort_by_key(|item| item.t_us);
    items
}

fn came<'a>(last: &mut HashMap<&'a str, u64>, heard: &'a Heard) {
    let at = last.entry(heard.conn.as_str()).or_default();
    *at = heard.t_us.max(*at);
}

/// The events that ack ids were asked with, by connection.
fn call_names(recording: &Recording) -> HashMap<(&str, u64), &str> {
    let calls = recording.steps.iter().filter_map(|step| match &step.act {
        Act::Send(Traced::Event {
            name,
            ack: Some(id),
            ..
        }) => Some(((step.conn.as_str(), *id), name.as_str())),
        _ => None,
    });
    calls.collect()
}

fn item(heard: &Heard, calls: &HashMap<(&str, u64), &str>, outcome: Outcome) -> Item {
    let what = match &heard.what {
        What::Admitted(_) | What::Refused(_) => "answer to CONNECT".to_owned(),
        What::Event { name, args, .. } => format!("{name} {}", type_of(name, args)),
        What::Ack { id, .. } => {
            let call = calls.get(&(heard.conn.as_str(), *id));
            format!("answer to {} #{id}", call.copied().unwrap_or("nothing"))
        }
        What::Ended(_) => "end of the connection".to_owned(),
        What::Answered(index, _) => format!("answer to HTTP request {}", index + 1),
    };
    Item {
        conn: heard.conn.clone(),
        what: what.trim_end().to_owned(),
        t_us: heard.t_us,
        outcome,
    }
}

/// A payload for a report.
fn shown(what: &What) -> Value {
    match what {
        What::Admitted(_) => Value::String("admitted".into()),
        What::Refused(data) => data.clone(),
        What::Event { args, .. } | What::Ack { args, .. } => match args {
            Value::Array(items) if items.len() == 1 => items[0].clone(),
            other => other.clone(),
        },
        What::Ended(why) => Value::String(why.clone()),
        What::Answered(_, None) => Value::Null,
        What::Answered(_, Some((status, body))) => {
            serde_json::json!({"status": status, "body": body})
        }
    }
}

fn verdict(names: &mut Names, then: &What, now: &What) -> Outcome {
    let differences = differences(names, then, now);
    if differences.is_empty() {
        names.learn_all(&shown(then), &shown(now));
        if let (Some(then), Some(now)) = (message_seq(&shown(then)), message_seq(&shown(now))) {
            names.learn(&then, &now);
        }
        Outcome::Same
    } else {
        Outcome::Different(differences)
    }
}

/// The number of a message within its session, as a name: of senders at the same time, either may come
/// first, and then the number is another, but no two messages share one.
fn message_seq(payload: &Value) -> Option<String> {
    let session = payload.pointer("/body/sid")?.as_str()?;
    let seq = payload.pointer("/body/message/seq")?.as_u64()?;
    Some(format!("message {session} {seq}"))
}

fn differences(names: &Names, then: &What, now: &What) -> Vec<Difference> {
    let mut found = Vec::new();
    let mut context = Context {
        names,
        learned: HashMap::new(),
        found: &mut found,
        is_update: matches!(then, What::Event { name, .. } if name == "update"),
        same_message: match (message_seq(&shown(then)), message_seq(&shown(now))) {
            (Some(then), Some(now)) => names.may_be(&then, &now),
            _ => false,
        },
    };
    match (then, now) {
        // Servers tell ends in different words, which no client reads.
        (What::Ended(_), What::Ended(_)) => {}
        _ => context.walk("", "", Some(&shown(then)), Some(&shown(now))),
    }
    found
}

/// The comparison of two payloads.
struct Context<'a> {
    names: &'a Names,
    /// Names that this payload has shown: a name must be the same thing throughout.
    learned: HashMap<String, String>,
    found: &'a mut Vec<Difference>,
    is_update: bool,
    same_message: bool,
}

impl Context<'_> {
    fn walk(&mut self, path: &str, key: &str, then: Option<&Value>, now: Option<&Value>) {
        match (then, now) {
            (Some(Value::Object(a)), Some(Value::Object(b))) => {
                let new = b.keys().filter(|key| !a.contains_key(*key));
                for key in a.keys().chain(new) {
                    let path = format!("{path}/{}", key.replace('~', "~0").replace('/', "~1"));
                    self.walk(&path, key, a.get(key), b.get(key));
                }
            }
            (Some(Value::Array(a)), Some(Value::Array(b))) => {
                for index in 0..a.len().max(b.len()) {
                    let path = format!("{path}/{index}");
                    self.walk(&path, key, a.get(index), b.get(index));
                }
            }
            (Some(a), Some(b)) if self.equal(path, key, a, b) => {}
            (then, now) if self.found.len() < TOLD => self.found.push(Difference {
                path: path.to_owned(),
                recorded: then.cloned(),
                replayed: now.cloned(),
            }),
            _ => {}
        }
    }

    fn equal(&mut self, path: &str, key: &str, then: &Value, now: &Value) -> bool {
        if same_json(then, now) || self.names.are_times(then, now) {
            return true;
        }
        // Accounts count on their own; that the numbers rise is looked at elsewhere.
        if self.is_update && path == "/seq" && then.is_u64() && now.is_u64() {
            return true;
        }
        if self.same_message && path == "/body/message/seq" {
            return true;
        }
        let (Some(then), Some(now)) = (then.as_str(), now.as_str()) else {
            return false;
        };
        if self.names.renamed(then) == now {
            return true;
        }
        if key == "token" {
            // Both are shown by their names alone.
            return true;
        }
        if !is_id(key) || !self.names.may_be(then, now) {
            return false;
        }
        let known = self
            .learned
            .entry(then.to_owned())
            .or_insert_with(|| now.to_owned());
        known == now
    }
}

/// The `seq` of an update that does not rise above that of the update before it on its connection,
/// although it did in the recording.
fn seq_back<'a>(
    seqs: &mut HashMap<&'a str, (u64, u64)>,
    then: &'a Heard,
    now: &What,
) -> Option<Difference> {
    let seq = |what: &What| match what {
        What::Event { name, args, .. } if name == "update" => args.pointer("/0/seq")?.as_u64(),
        _ => None,
    };
    let (recorded, replayed) = (seq(&then.what)?, seq(now)?);
    let before = seqs.insert(then.conn.as_str(), (recorded, replayed))?;
    (recorded > before.0 && replayed <= before.1).then(|| Difference {
        path: "/seq".into(),
        recorded: Some(recorded.into()),
        replayed: Some(replayed.into()),
    })
}

/// What was heard now, by connection and class, until it has found its counterpart.
struct Heap<'a> {
    waiting: HashMap<(&'a str, String), VecDeque<&'a Heard>>,
}

impl<'a> Heap<'a> {
    fn new(heard: &'a [Heard]) -> Self {
        let mut waiting: HashMap<_, VecDeque<_>> = HashMap::new();
        for one in heard {
            let key = (one.conn.as_str(), one.what.class());
            waiting.entry(key).or_default().push_back(one);
        }
        Self { waiting }
    }

    fn queue(&mut self, like: &'a Heard) -> Option<&mut VecDeque<&'a Heard>> {
        self.waiting
            .get_mut(&(like.conn.as_str(), like.what.class()))
    }

    fn take_first(&mut self, like: &'a Heard) -> Option<&'a Heard> {
        self.queue(like)?.pop_front()
    }

    fn take_equal(&mut self, like: &'a Heard, names: &Names) -> Option<&'a Heard> {
        self.take_where(like, |one| {
            differences(names, &like.what, &one.what).is_empty()
        })
    }

    /// One of the same kind about the same session, machine or artifact, or about none.
    fn take_about(&mut self, like: &'a Heard, names: &Names) -> Option<&'a Heard> {
        let about = entity(&like.what).map(|id| names.renamed(id));
        self.take_where(like, |one| entity(&one.what) == about.as_deref())
    }

    fn take_where(&mut self, like: &'a Heard, fits: impl Fn(&Heard) -> bool) -> Option<&'a Heard> {
        let queue = self.queue(like)?;
        let found = queue.iter().take(AHEAD).position(|one| fits(one))?;
        queue.remove(found)
    }

    fn rest(self) -> impl Iterator<Item = &'a Heard> {
        self.waiting.into_values().flatten()
    }
}

fn entity(what: &What) -> Option<&str> {
    let What::Event { name, args, .. } = what else {
        return None;
    };
    let data = args.get(0)?;
    let body = if name == "update" {
        &data["body"]
    } else {
        data
    };
    ["sid", "machineId", "artifactId", "uid", "method", "id"]
        .into_iter()
        .find_map(|key| body.get(key)?.as_str())
}

/// What the recording does not settle.
///
/// A machine's coming is announced to those who are there. Whether a connection that was opened at the
/// same time was there already is nobody's fault. And what came later than the recording lasted may have
/// come then as well.
struct Chance {
    /// From CONNECT to its answer, by connection.
    opening: HashMap<String, (u64, u64)>,
    /// The connections of machines, by machine.
    machines: HashMap<String, Vec<String>>,
    /// How long the recording went on after its last step.
    tail_us: u64,
}

impl Chance {
    fn new(recording: &Recording) -> Self {
        let mut opening = HashMap::new();
        let mut machines: HashMap<String, Vec<String>> = HashMap::new();
        for step in &recording.steps {
            if let Act::Send(Traced::Connect(auth)) = &step.act {
                opening.insert(step.conn.clone(), (step.t_us, u64::MAX));
                if let Some(machine) = auth["machineId"].as_str() {
                    let conns = machines.entry(machine.to_owned()).or_default();
                    conns.push(step.conn.clone());
                }
            }
        }
        for heard in &recording.heard {
            if matches!(heard.what, What::Admitted(_))
                && let Some((_, answered)) = opening.get_mut(&heard.conn)
            {
                *answered = heard.t_us;
            }
        }
        let last_step = recording.steps.last().map_or(0, |step| step.t_us);
        let last_heard = recording.heard.iter().map(|heard| heard.t_us).max();
        Self {
            opening,
            machines,
            tail_us: last_heard.unwrap_or(0).saturating_sub(last_step),
        }
    }

    /// Whether this presence of a machine met its connection while both were opened. `names` where it
    /// is of the replay.
    fn of(&self, heard: &Heard, names: Option<&Names>) -> bool {
        let What::Event { name, args, .. } = &heard.what else {
            return false;
        };
        if type_of(name, args) != "machine-activity" {
            return false;
        }
        let Some(id) = args.pointer("/0/id").and_then(Value::as_str) else {
            return false;
        };
        let is_it = |old: &str| names.map_or(old == id, |names| names.renamed(old) == id);
        let Some(own) = self.opening.get(&heard.conn) else {
            return false;
        };
        self.machines
            .iter()
            .filter(|(machine, _)| is_it(machine))
            .flat_map(|(_, conns)| conns)
            .filter_map(|conn| self.opening.get(conn))
            .any(|other| own.0 <= other.1 && other.0 <= own.1)
    }

    /// Whether what came in the replay may have come in the recording after that had ended: nothing of
    /// the recording came behind it on its connection, and the recording ended soon.
    fn is_later(&self, heard: &Heard, played: &Played, last_known: &HashMap<&str, u64>) -> bool {
        let is_last = last_known
            .get(heard.conn.as_str())
            .is_none_or(|known| heard.t_us > *known);
        let since_end = heard.t_us.saturating_sub(played.last_sent_us);
        is_last && (self.tail_us < SILENCE_US || since_end > self.tail_us)
    }
}
