//! What became of each thing that the server did: the words that the rules decide on and reports render.

use std::collections::HashMap;

use serde_json::Value;
use touchstone_client::trace::Traced;

use super::{
    heard::{Heard, What, type_of},
    payload::Difference,
    script::{Act, Recording},
};

/// One thing that the server did then, now, or both times.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    /// The connection, as the recording calls it.
    pub conn: String,
    /// What it is, for people: `answer to update-metadata #3`, `update new-message`.
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
    /// It is otherwise, and nothing follows from that: it is not settled that it has to be the same.
    Observed {
        /// Why it is not.
        why: &'static str,
        /// In what way it is otherwise: different, missing or extra.
        was: Box<Outcome>,
    },
    /// It is otherwise, and rests on a step that could not be replayed.
    Blocked {
        /// On which.
        why: String,
        /// In what way it is otherwise: different, missing or extra.
        was: Box<Outcome>,
    },
}

impl Outcome {
    /// The same, where nothing follows from it.
    pub(super) fn observed(self, why: &'static str) -> Self {
        Self::Observed {
            why,
            was: Box::new(self),
        }
    }

    /// The word of it.
    pub(super) fn as_str(&self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::Different(_) => "different",
            Self::Missing(_) => "missing",
            Self::Extra(_) => "extra",
            Self::Observed { .. } => "observed",
            Self::Blocked { .. } => "blocked",
        }
    }
}

/// What was called: the events that ack ids were asked with, and the requests, by connection.
pub(super) fn call_names(recording: &Recording) -> HashMap<(String, u64), String> {
    let mut calls = HashMap::new();
    for step in &recording.steps {
        match &step.act {
            Act::Send(Traced::Event {
                name,
                ack: Some(id),
                ..
            }) => {
                calls.insert((step.conn.clone(), *id), name.clone());
            }
            Act::Http(index, exchange) => {
                let name = format!("{} {}", exchange.method, exchange.url);
                calls.insert((step.conn.clone(), *index as u64), name);
            }
            _ => {}
        }
    }
    calls
}

/// An item, with its name for people.
pub(super) fn item(
    heard: &Heard,
    calls: &HashMap<(String, u64), String>,
    outcome: Outcome,
) -> Item {
    // What was called before the recording began has no name.
    let call = |id: u64, unknown: &str| {
        let call = calls.get(&(heard.conn.clone(), id));
        call.map_or_else(|| unknown.to_owned(), |call| format!(" to {call}"))
    };
    let what = match &heard.what {
        What::Admitted(_) | What::Refused(_) => "answer to CONNECT".to_owned(),
        What::Event { name, args, .. } => format!("{name} {}", type_of(name, args)),
        What::Ack { id, .. } => format!("answer{} #{id}", call(*id, "")),
        What::Ended(_) => "end of the connection".to_owned(),
        What::Answered(index, _) => {
            format!("answer{}", call(*index as u64, " to a request"))
        }
    };
    Item {
        conn: heard.conn.clone(),
        what: what.trim_end().to_owned(),
        t_us: heard.t_us,
        outcome,
    }
}
