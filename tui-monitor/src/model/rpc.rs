//! Remote calls, put together from their four entries: call, request, the callee's answer, and the
//! caller's.
//!
//! Entries belong together by `link`. Which of the four an entry is, its event and direction tell.

use std::collections::VecDeque;
use std::sync::Arc;

use serde_json::Value;

use crate::event::{Direction, Entity, Entry, Kind};

/// Calls that are kept.
const MOST: usize = 200;

/// The last calls, newest last.
#[derive(Debug, Default)]
pub(crate) struct Calls {
    calls: VecDeque<Call>,
}

/// One call.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) link: u64,
    /// The number of the first entry that is known of it.
    pub(crate) number: u64,
    pub(crate) method: Arc<str>,
    pub(crate) outcome: Outcome,
    pub(crate) latency_us: Option<u64>,
}

/// How a call stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    Pending,
    Answered,
    Failed(String),
}

impl Calls {
    /// The calls, newest first.
    pub(crate) fn newest(&self) -> impl Iterator<Item = &Call> {
        self.calls.iter().rev()
    }

    /// The call with this link.
    pub(crate) fn get(&self, link: u64) -> Option<&Call> {
        self.calls.iter().rfind(|call| call.link == link)
    }

    pub(crate) fn len(&self) -> usize {
        self.calls.len()
    }

    pub(crate) fn clear(&mut self) {
        self.calls.clear();
    }

    pub(crate) fn entry(&mut self, entry: &Entry) {
        let Some(link) = entry.link.filter(|_| entry.kind == Kind::Rpc) else {
            return;
        };
        let answers = match (&*entry.event, entry.direction) {
            ("rpc-call", Direction::Sent) | ("rpc-request", Direction::Received) => false,
            ("rpc-call", Direction::Received) | ("rpc-request", Direction::Sent) => true,
            _ => return,
        };
        let known = self.calls.iter().rposition(|call| call.link == link);
        let index = known.unwrap_or_else(|| {
            if self.calls.len() == MOST {
                self.calls.pop_front();
            }
            self.calls.push_back(Call {
                link,
                number: entry.number,
                method: "".into(),
                outcome: Outcome::Pending,
                latency_us: None,
            });
            self.calls.len() - 1
        });
        let call = &mut self.calls[index];
        if let Some(Entity::Method(method)) = &entry.entity {
            call.method = Arc::clone(method);
        }
        if answers {
            // The caller's answer is the whole way, and comes after the callee's.
            call.latency_us = entry.latency_us.or(call.latency_us);
            call.outcome = outcome(entry);
        }
    }
}

fn outcome(entry: &Entry) -> Outcome {
    if &*entry.event != "rpc-call" {
        return Outcome::Answered;
    }
    let answer: Value = serde_json::from_str(&entry.raw).unwrap_or_default();
    let answer = answer.get(0).unwrap_or(&answer);
    match answer.get("ok") {
        Some(Value::Bool(false)) => {
            let error = answer.get("error").and_then(Value::as_str);
            Outcome::Failed(error.unwrap_or("failed").to_owned())
        }
        _ => Outcome::Answered,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::testing::rpc;

    #[test]
    fn four_entries_are_one_call() {
        let mut calls = Calls::default();
        calls.entry(&rpc(1, 7, "rpc-call", Direction::Sent, "{}", None));
        calls.entry(&rpc(2, 7, "rpc-request", Direction::Received, "{}", None));
        assert_eq!(calls.calls[0].outcome, Outcome::Pending);
        calls.entry(&rpc(3, 7, "rpc-request", Direction::Sent, "{}", Some(900)));
        calls.entry(&rpc(
            4,
            7,
            "rpc-call",
            Direction::Received,
            r#"{"ok":true}"#,
            Some(1500),
        ));
        assert_eq!(calls.len(), 1);
        let call = &calls.calls[0];
        assert_eq!((call.number, call.latency_us), (1, Some(1500)));
        assert_eq!(
            (&*call.method, &call.outcome),
            ("a:bash", &Outcome::Answered)
        );
    }

    #[test]
    fn a_refused_call_says_why_and_calls_are_bounded() {
        let mut calls = Calls::default();
        for link in 0..MOST as u64 + 10 {
            calls.entry(&rpc(link, link, "rpc-call", Direction::Sent, "{}", None));
        }
        assert_eq!(calls.len(), MOST);
        let raw = r#"{"ok":false,"error":"RPC method not available"}"#;
        calls.entry(&rpc(
            999,
            100,
            "rpc-call",
            Direction::Received,
            raw,
            Some(5),
        ));
        let call = calls.newest().find(|call| call.link == 100).unwrap();
        assert_eq!(
            call.outcome,
            Outcome::Failed("RPC method not available".to_owned())
        );
    }
}
