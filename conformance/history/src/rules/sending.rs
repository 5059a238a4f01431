//! What one sender's messages have to do with what others hear: its own connection does not, the others
//! hear them in the order sent, and as they were sent.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use serde_json::Value;

use super::{Rule, message::sent_key};
use crate::{
    account::{Account, Accounts},
    finding::Findings,
    judge::Knowledge,
    print::print,
    requirement as r,
    story::{Connection, Happening},
};

pub(crate) static RULE: Rule = Rule {
    name: "history.sending",
    needs: Knowledge::Complete,
    text: "A message is not sent back to the connection that sent it. The messages that one connection sends to \
           one session reach every connection in the order sent, with the contents that were sent.",
};

/// How many sends and deliveries are looked at together. Of a longer stretch without a quiet point nothing
/// is judged.
const STRETCH: usize = 500_000;

#[derive(Debug, Default)]
pub(crate) struct Sending {
    sends: HashMap<u64, Vec<Send>>,
    deliveries: Vec<Delivery>,
    /// Accounts of which not everything that they send can be read.
    unclear: HashSet<Account>,
    /// How much was sent. From [`STRETCH`] on nothing is kept of it, and nothing judged.
    kept: usize,
}

#[derive(Debug)]
struct Send {
    account: Account,
    /// The connection, or nothing for a request.
    connection: Option<u64>,
    content: u64,
    record: u64,
}

#[derive(Debug)]
struct Delivery {
    connection: Arc<Connection>,
    sid: String,
    key: u64,
    content: u64,
    record: u64,
}

/// What connections were told before, in a stretch.
#[derive(Debug, Default)]
struct Told<'a> {
    keys: HashSet<(u64, u64)>,
    /// The last message of a sender that a receiver was told of, by session.
    last: HashMap<(u64, u64, &'a str), (u64, u64)>,
}

impl Sending {
    pub(crate) fn hear(
        &mut self,
        happening: &Happening<'_>,
        accounts: &Accounts,
        findings: &mut Findings,
    ) {
        match happening {
            Happening::Called(call) if call.event == "message" => {
                let account = accounts.root(call.connection.account);
                let (sid, content) = (&call.data["sid"], &call.data["message"]);
                if !(sid.is_string() && content.is_string()) {
                    self.unclear.insert(account);
                    return;
                }
                let send = Send {
                    account,
                    connection: Some(call.connection.number),
                    content: print(content),
                    record: call.began.record,
                };
                let key = sent_key(sid, call.data.get("localId"), content);
                self.sent(key, send);
            }
            Happening::Unclear(connection) => {
                self.unclear.insert(accounts.root(connection.account));
            }
            Happening::Asked(asked)
                if asked.method == "POST" && asked.path.ends_with("/messages") =>
            {
                let sid = Value::from(asked.path.split('/').nth(3).unwrap_or_default());
                let request = asked.exchange.request.as_ref();
                let messages = request.and_then(|body| body.get("messages")?.as_array());
                let Some(account) = asked.account.map(|account| accounts.root(account)) else {
                    return;
                };
                for message in messages.into_iter().flatten() {
                    let content = &message["content"];
                    let send = Send {
                        account,
                        connection: None,
                        content: print(content),
                        record: asked.ended.record,
                    };
                    let key = sent_key(&sid, message.get("localId"), content);
                    self.sent(key, send);
                }
            }
            Happening::Received(connection, "update", update, now) => {
                let body = &update["body"];
                if let (true, Some(sid)) = (body["t"] == "new-message", body["sid"].as_str())
                    && self.deliveries.len() < STRETCH
                {
                    let message = &body["message"];
                    let content = &message["content"]["c"];
                    self.deliveries.push(Delivery {
                        connection: Arc::clone(connection),
                        sid: sid.to_owned(),
                        key: sent_key(&body["sid"], message.get("localId"), content),
                        content: print(content),
                        record: now.record,
                    });
                }
            }
            Happening::Quiet(_) => self.settle(accounts, findings),
            _ => {}
        }
    }

    /// Judges what was delivered since the last quiet point. Earlier it is not known who sent what: a
    /// request stands in a history where it ends.
    pub(crate) fn settle(&mut self, accounts: &Accounts, findings: &mut Findings) {
        let deliveries = std::mem::take(&mut self.deliveries);
        if self.kept < STRETCH && deliveries.len() < STRETCH {
            let mut told = Told::default();
            for delivery in &deliveries {
                let account = accounts.root(delivery.connection.account);
                if accounts.is_known(account) && !self.unclear.contains(&account) {
                    self.judge(delivery, accounts, &mut told, findings);
                }
            }
        }
    }

    /// A retry repeats what was sent before a quiet point: what was sent is kept as long as it is little.
    fn sent(&mut self, key: u64, send: Send) {
        self.kept += 1;
        if self.kept == STRETCH {
            self.sends.clear();
        }
        if self.kept < STRETCH {
            self.sends.entry(key).or_default().push(send);
        }
    }

    fn judge<'a>(
        &self,
        delivery: &'a Delivery,
        accounts: &Accounts,
        told: &mut Told<'a>,
        findings: &mut Findings,
    ) {
        let name = &delivery.connection.name;
        let sid = delivery.sid.as_str();
        let mut add = |requirement, other, text| {
            findings.add(RULE.name, requirement, [other, delivery.record], text);
        };
        let all = self.sends.get(&delivery.key).map_or(&[][..], Vec::as_slice);
        let account = accounts.root(delivery.connection.account);
        let is_own = |send: &&Send| accounts.root(send.account) == account;
        let sends: Vec<&Send> = all.iter().filter(is_own).collect();
        let Some(send) = sends.first() else {
            let (requirement, record, who) = match all.first() {
                Some(send) if !accounts.are_surely_two(send.account, account) => return,
                Some(send) => (&r::MESSAGE_FOREIGN, send.record, "another account sent"),
                None => (&r::MESSAGE_BODY, 0, "nobody sent like that"),
            };
            let text = format!("{name} was told of a message in session {sid} that {who}.");
            return add(requirement, record, text);
        };
        if sends.iter().all(|send| send.content != delivery.content) {
            let text = format!(
                "{name} was told of a message in session {sid} with another content than was sent."
            );
            return add(&r::MESSAGE_BODY, send.record, text);
        }
        // Sent again over another connection, it may be either's; over the same one it is the first.
        let Some(sender) = send.connection else {
            return;
        };
        if sends.iter().any(|send| send.connection != Some(sender)) {
            return;
        }
        let receiver = delivery.connection.number;
        if sender == receiver {
            let text =
                format!("A message in session {sid} was sent back to {name}, which had sent it.");
            return add(&r::MESSAGE_SENDER, send.record, text);
        }
        // Told again, it is another rule's.
        if !told.keys.insert((receiver, delivery.key)) {
            return;
        }
        match told
            .last
            .insert((receiver, sender, sid), (send.record, delivery.record))
        {
            Some((sent, record)) if sent > send.record => {
                let text = format!(
                    "{name} was told of a message in session {sid} after a later one of the same sender."
                );
                add(&r::MESSAGE_ORDER, record, text);
            }
            _ => {}
        }
    }
}
