//! Messages: each has one seq, one localId and one content, wherever it is told.

use serde_json::Value;

use super::{Rule, bounded::Bounded};
use crate::{
    account::{Account, Accounts},
    finding::Findings,
    judge::Knowledge,
    print::{print, prints, whole},
    requirement as r,
    story::Happening,
};

pub(crate) static RULE: Rule = Rule {
    name: "history.messages",
    needs: Knowledge::Partial,
    text: "No two messages of a session have the same seq or the same localId, and a message has the same seq \
           and content wherever it is told. The first seq of a session is 1.",
};

/// How many messages are remembered, over all sessions.
const MESSAGES: usize = 200_000;

type Session = (Account, String);

#[derive(Debug)]
pub(crate) struct Messages {
    by_id: Bounded<(Session, String), Known>,
    by_seq: Bounded<(Session, u64), Named>,
    by_local_id: Bounded<(Session, String), Named>,
}

#[derive(Debug)]
struct Known {
    seq: u64,
    content: Option<u64>,
    record: u64,
}

/// The id of a message, and the record that told it.
#[derive(Debug)]
struct Named {
    id: String,
    record: u64,
}

impl Default for Messages {
    fn default() -> Self {
        Self {
            by_id: Bounded::new(MESSAGES),
            by_seq: Bounded::new(MESSAGES),
            by_local_id: Bounded::new(MESSAGES),
        }
    }
}

/// What tells a message from others before it has an id: its session, and its localId or else its content.
pub(super) fn sent_key(sid: &Value, local_id: Option<&Value>, content: &Value) -> u64 {
    let local_id = local_id.filter(|id| id.is_string());
    prints(&[sid, local_id.unwrap_or(content)])
}

impl Messages {
    pub(crate) fn hear(
        &mut self,
        happening: &Happening<'_>,
        accounts: &Accounts,
        findings: &mut Findings,
    ) {
        match happening {
            Happening::Received(connection, "update", update, now) => {
                let body = &update["body"];
                if body["t"] == "new-message"
                    && let Some(sid) = body["sid"].as_str()
                {
                    let session = (accounts.root(connection.account), sid.to_owned());
                    self.told(&session, &body["message"], now.record, findings);
                }
            }
            Happening::Asked(asked) if asked.is_done => {
                let session = asked
                    .path
                    .split('/')
                    .nth(3)
                    .filter(|_| asked.path.ends_with("/messages"));
                let answer = asked.exchange.response.as_ref();
                let messages = answer.and_then(|answer| answer.get("messages")?.as_array());
                if let (Some(sid), Some(account), Some(messages)) =
                    (session, asked.account, messages)
                {
                    let session = (accounts.root(account), sid.to_owned());
                    if asked.method == "GET" && asked.exchange.url.contains("after_seq=0") {
                        begins_with_one(sid, messages, asked.ended.record, findings);
                    }
                    for message in messages {
                        self.told(&session, message, asked.ended.record, findings);
                    }
                }
            }
            _ => {}
        }
    }

    fn told(&mut self, session: &Session, message: &Value, record: u64, findings: &mut Findings) {
        let (Some(id), Some(seq)) = (message["id"].as_str(), whole(message.get("seq"))) else {
            return;
        };
        let sid = &session.1;
        let mut add =
            |requirement, other, text| findings.add(RULE.name, requirement, [other, record], text);
        if seq == 0 {
            let text = format!("Message {id} of session {sid} has the seq 0: the first one is 1.");
            add(&r::MESSAGE_SEQ, 0, text);
        }
        let content = message.get("content").map(print);
        let fresh = || Known {
            seq,
            content,
            record,
        };
        let known = self.by_id.entry((session.clone(), id.to_owned()), fresh);
        if known.seq != seq {
            let text = format!(
                "Message {id} of session {sid} has the seq {} and the seq {seq}.",
                known.seq
            );
            add(&r::MESSAGE_SEQ, known.record, text);
        }
        match (known.content, content) {
            (Some(one), Some(other)) if one != other => {
                let text = format!("Message {id} of session {sid} was told with two contents.");
                add(&r::MESSAGE_BODY, known.record, text);
            }
            (None, Some(_)) => known.content = content,
            _ => {}
        }
        let named = || Named {
            id: id.to_owned(),
            record,
        };
        let other = self.by_seq.insert_new((session.clone(), seq), named());
        if let Some(other) = other.filter(|other| other.id != id) {
            let text = format!(
                "Messages {} and {id} of session {sid} both have the seq {seq}.",
                other.id
            );
            add(&r::MESSAGE_SEQ_ONCE, other.record, text);
        }
        if let Some(local_id) = message["localId"].as_str() {
            let other = self
                .by_local_id
                .insert_new((session.clone(), local_id.to_owned()), named());
            if let Some(other) = other.filter(|other| other.id != id) {
                let text = format!(
                    "Messages {} and {id} of session {sid} both have the localId {local_id}.",
                    other.id
                );
                add(&r::MESSAGE_LOCAL_ID, other.record, text);
            }
        }
    }
}

/// All messages of a session were asked for, from the first one on.
fn begins_with_one(sid: &str, messages: &[Value], record: u64, findings: &mut Findings) {
    let seqs = messages
        .iter()
        .filter_map(|message| whole(message.get("seq")));
    if let Some(first) = seqs.min().filter(|first| *first > 1) {
        let text = format!("The first message of session {sid} has the seq {first}, and not 1.");
        findings.add(RULE.name, &r::MESSAGE_SEQ, [record], text);
    }
}
