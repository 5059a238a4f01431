//! Whoever an event is for receives it.

use std::collections::{HashMap, HashSet};

use serde_json::Value;
use touchstone_fixtures::Subject;

use super::{
    Rule,
    bounded::Bounded,
    message::sent_key,
    news::{News, announced_by_event, announced_by_request, end_of, news_of, second_of_machine},
    parts::Part,
    posted::Posted,
    versioned::{Told, Write, announced, requested_writes, writes},
};
use crate::{
    account::{Account, Accounts},
    finding::Findings,
    judge::Knowledge,
    print::prints,
    requirement as r,
    requirement::Requirement,
    story::{Asked, Call, Happening, Scope},
};

pub(crate) static RULE: Rule = Rule {
    name: "history.loss",
    needs: Knowledge::Complete,
    text: "What was acknowledged, requested with success, or told to anybody, reaches every connection of its audience that was served \
           from before its cause until the next quiet point, and so does a message to an account's own session whose \
           sender stays. Of the heartbeats of a session or machine at least one is announced. Connections that came or went meanwhile may miss it.",
};

/// How much is kept between two quiet points. Of a longer stretch nothing is judged.
const STRETCH: usize = 500_000;
/// How many sessions are remembered.
const SESSIONS: usize = 100_000;
/// How many messages of earlier stretches.
const SENT: usize = 500_000;

#[derive(Debug)]
pub(crate) struct Loss {
    /// How much there was to keep since the last quiet point. From [`STRETCH`] on nothing is kept.
    kept: usize,
    lives: HashMap<u64, Life>,
    /// What had to arrive since the last quiet point.
    owed: HashMap<(Account, u64), Owed>,
    /// Who sent which message, by session and localId or content.
    sends: HashMap<(Account, u64), Sent>,
    posted: Posted,
    /// Sessions that an account has made, and not deleted.
    own: Bounded<(Account, String), ()>,
    /// What was sent before the last quiet point, or told or posted before it was sent: sent again, it is told to
    /// nobody.
    before: Bounded<(Account, u64), ()>,
    /// How often something was made or deleted.
    done: Bounded<(Account, u64), u32>,
}

impl Default for Loss {
    fn default() -> Self {
        Self {
            kept: 0,
            lives: HashMap::new(),
            owed: HashMap::new(),
            sends: HashMap::new(),
            posted: Posted::default(),
            own: Bounded::new(SESSIONS),
            before: Bounded::new(SENT),
            done: Bounded::new(SENT),
        }
    }
}

/// A connection that is there.
#[derive(Debug)]
struct Life {
    name: String,
    account: Account,
    scope: Scope,
    /// Since when it has certainly been served: its first answer.
    served: Option<u64>,
    arrived: HashSet<u64>,
}

#[derive(Debug)]
struct Owed {
    /// When its cause began, where that is known.
    began: Option<u64>,
    /// Connections that are left out, since they may have caused it.
    senders: Vec<u64>,
    subject: Option<(Subject, String)>,
    what: String,
    record: u64,
    requirement: &'static Requirement,
    /// What must not have been done twice: the second time nothing is announced.
    once: Option<u64>,
    /// Of a message, what it is known by before it has an id.
    sent: Option<u64>,
}

#[derive(Debug, Default)]
struct Sent {
    began: u64,
    record: u64,
    sid: String,
    senders: Vec<u64>,
    /// Whether anybody was told of it.
    is_told: bool,
}

impl Loss {
    pub(crate) fn hear(
        &mut self,
        happening: &Happening<'_>,
        accounts: &Accounts,
        findings: &mut Findings,
    ) {
        match happening {
            Happening::Admitted(connection) => {
                let life = Life {
                    name: connection.name.clone(),
                    account: connection.account,
                    scope: connection.scope.clone(),
                    served: None,
                    arrived: HashSet::new(),
                };
                self.lives.insert(connection.number, life);
            }
            Happening::Faded(connection, _) => {
                self.lives.remove(&connection.number);
            }
            Happening::Called(call) if is_heartbeat(call) && self.keeps() => {
                let account = accounts.root(call.connection.account);
                self.owe_heartbeat(account, call);
            }
            Happening::Called(call) if call.event == "session-end" => {
                if let Some(key) = end_of(call) {
                    let account = accounts.root(call.connection.account);
                    *self.done.entry((account, key), || 0) += 2;
                }
            }
            Happening::Called(call) if call.event == "message" && self.keeps() => {
                let account = accounts.root(call.connection.account);
                let key = sent_key(
                    &call.data["sid"],
                    call.data.get("localId"),
                    &call.data["message"],
                );
                let sent = self.sends.entry((account, key)).or_default();
                if sent.senders.is_empty() {
                    sent.began = call.began.at;
                    sent.record = call.began.record;
                    call.data["sid"]
                        .as_str()
                        .unwrap_or_default()
                        .clone_into(&mut sent.sid);
                    // Nobody has to keep what is no text.
                    sent.is_told = !call.data["message"].is_string();
                }
                sent.senders.push(call.connection.number);
            }
            Happening::Answered(call, answer, now) => {
                if let Some(life) = self.lives.get_mut(&call.connection.number) {
                    life.served.get_or_insert(now.at);
                }
                let account = accounts.root(call.connection.account);
                for write in writes(call, Some(answer)) {
                    self.owe_version(account, &write, call.began.at, now.record);
                }
                if answer["result"] == "success" || answer["success"] == true {
                    let deed = announced_by_event(&call.event, &call.data);
                    self.owe_news(account, deed, call.began.at, now.record);
                }
            }
            Happening::Asked(asked) => {
                if let Some(account) = asked.account.map(|account| accounts.root(account)) {
                    self.note_session(account, asked);
                    if self.keeps() {
                        // What was posted may be sent once more, and is told to nobody then.
                        for key in self.posted.note(account, asked) {
                            self.before.insert_new((account, key), ());
                        }
                    }
                    if asked.is_done {
                        for deed in [announced_by_request(asked), second_of_machine(asked)] {
                            self.owe_news(account, deed, asked.began, asked.ended.record);
                        }
                    }
                    for write in requested_writes(asked) {
                        self.owe_version(account, &write, asked.began, asked.ended.record);
                    }
                }
            }
            Happening::Received(connection, "update", update, now) if self.keeps() => {
                let account = accounts.root(connection.account);
                let Some(body) = update.get("body") else {
                    return;
                };
                let mut keys = Vec::new();
                for seen in announced(body) {
                    keys.push(seen.part.key(&seen.id, seen.version));
                }
                keys.extend(news_of(body));
                if body["t"] == "new-message" {
                    keys.push(self.owe_message(account, body, now.record));
                }
                if let Some(life) = self.lives.get_mut(&connection.number) {
                    life.arrived.extend(keys);
                }
            }
            Happening::Received(connection, "ephemeral", ephemeral, _) if self.keeps() => {
                if let Some(life) = self.lives.get_mut(&connection.number) {
                    life.arrived.extend(news_of(ephemeral));
                }
            }
            Happening::Quiet(now) => self.settle(accounts, now.record, findings),
            _ => {}
        }
    }

    fn note_session(&mut self, account: Account, asked: &Asked<'_>) {
        if let Some((_, id)) = asked.made_session() {
            self.own.insert_new((account, id.to_owned()), ());
        } else if asked.is_done
            && asked.method == "DELETE"
            && let Some(id) = asked.path.strip_prefix("/v1/sessions/")
        {
            self.own.remove(&(account, id.to_owned()));
        }
    }

    /// Messages that nobody was told of, though there was somebody whom they were for.
    fn unheard(&mut self, accounts: &Accounts, now: u64, findings: &mut Findings) {
        let mut sends: Vec<_> = self
            .sends
            .iter()
            .filter(|(_, sent)| !sent.is_told)
            .collect();
        sends.sort_unstable_by_key(|(_, sent)| sent.record);
        for ((account, key), sent) in sends {
            let session = (*account, sent.sid.clone());
            let is_new = self.before.get(&(*account, *key)).is_none();
            let stays = sent
                .senders
                .iter()
                .all(|sender| self.lives.contains_key(sender));
            let has_receiver = self.lives.iter().any(|(number, life)| {
                let is_theirs = match &life.scope {
                    Scope::User => true,
                    Scope::Session(own) => *own == sent.sid,
                    Scope::Machine(_) | Scope::Unknown => false,
                };
                is_theirs
                    && accounts.root(life.account) == *account
                    && life.served.is_some_and(|served| served < sent.began)
                    && !sent.senders.contains(number)
            });
            if is_new
                && !self.before.has_forgotten()
                && stays
                && has_receiver
                && self.own.get(&session).is_some()
            {
                let text = format!(
                    "A message that was sent to session {} reached nobody.",
                    sent.sid
                );
                findings.add(RULE.name, &r::NO_LOSS, [sent.record, now], text);
            }
        }
    }

    /// Whether one thing more is kept in this stretch.
    fn keeps(&mut self) -> bool {
        self.kept += 1;
        if self.kept == STRETCH {
            self.clear();
        }
        self.kept < STRETCH
    }

    /// A version that a success made is owed.
    fn owe_version(&mut self, account: Account, write: &Write<'_>, began: u64, record: u64) {
        let Told::Success(version, _) = write.told else {
            return;
        };
        if !self.keeps() {
            return;
        }
        let (part, id) = (write.part, write.id.as_ref());
        let subject = match part {
            Part::SessionMetadata | Part::SessionState => Some((Subject::Session, id.to_owned())),
            Part::MachineMetadata | Part::MachineState => Some((Subject::Machine, id.to_owned())),
            Part::ArtifactHeader | Part::ArtifactBody | Part::Settings => None,
            // Nobody is told of access keys, and what is told of keys is news.
            Part::AccessKey | Part::Kv => return,
        };
        let what = part.demands().what;
        let owed = Owed {
            began: Some(began),
            senders: Vec::new(),
            subject,
            what: format!("version {version} of {what} {id}"),
            record,
            requirement: &r::NO_LOSS,
            once: None,
            sent: None,
        };
        self.owed.insert((account, part.key(id, version)), owed);
    }

    /// What a success has made or deleted is announced, if it was done once.
    fn owe_news(&mut self, account: Account, news: Option<News>, began: u64, record: u64) {
        let Some(news) = news.filter(|_| self.keeps()) else {
            return;
        };
        *self.done.entry((account, news.key), || 0) += 1;
        let owed = Owed {
            began: Some(began),
            senders: Vec::new(),
            subject: None,
            what: news.what,
            record,
            requirement: news.requirement,
            once: Some(news.key),
            sent: None,
        };
        self.owed.entry((account, news.key)).or_insert(owed);
    }

    /// One of the heartbeats of a session or machine is announced, at least.
    fn owe_heartbeat(&mut self, account: Account, call: &Call) {
        let (event, id, requirement, what) = match call.event.as_str() {
            "session-alive" => ("activity", &call.data["sid"], &r::ALIVE, "session"),
            _ => (
                "machine-activity",
                &call.data["machineId"],
                &r::MACHINE_ALIVE,
                "machine",
            ),
        };
        let Some(id) = id.as_str() else { return };
        let is_own = match &call.connection.scope {
            Scope::Machine(own) => own == id,
            _ => self.own.get(&(account, id.to_owned())).is_some() && what == "session",
        };
        if is_own {
            let key = prints(&[&event.into(), &id.into()]);
            self.owed.entry((account, key)).or_insert(Owed {
                began: Some(call.began.at),
                senders: vec![call.connection.number],
                subject: None,
                what: format!("the activity of {what} {id}"),
                record: call.began.record,
                requirement,
                once: None,
                sent: None,
            });
        }
    }

    /// A message that one connection was told of is owed to the others.
    fn owe_message(&mut self, account: Account, body: &Value, record: u64) -> u64 {
        let message = &body["message"];
        let key = prints(&[&body["sid"], &message["id"]]);
        let sent_as = sent_key(
            &body["sid"],
            message.get("localId"),
            &message["content"]["c"],
        );
        if !self.sends.contains_key(&(account, sent_as)) {
            self.before.insert_new((account, sent_as), ());
        }
        let sent = self.sends.get_mut(&(account, sent_as)).map(|sent| {
            sent.is_told = true;
            &*sent
        });
        self.owed.entry((account, key)).or_insert_with(|| Owed {
            began: sent.map(|sent| sent.began),
            senders: sent.map_or_else(Vec::new, |sent| sent.senders.clone()),
            subject: Some((
                Subject::Session,
                body["sid"].as_str().unwrap_or_default().to_owned(),
            )),
            what: format!(
                "message {} of session {}",
                text(&message["id"]),
                text(&body["sid"])
            ),
            record,
            requirement: &r::NO_LOSS,
            once: None,
            sent: Some(sent_as),
        });
        key
    }

    fn settle(&mut self, accounts: &Accounts, now: u64, findings: &mut Findings) {
        self.unheard(accounts, now, findings);
        let mut owed: Vec<_> = self.owed.drain().collect();
        owed.sort_unstable_by_key(|(_, owed)| owed.record);
        for ((account, key), owed) in owed {
            let posted = || self.posted.began(account, key, owed.sent);
            let Some(began) = owed.began.or_else(posted) else {
                continue;
            };
            let done = |once: u64| {
                self.done
                    .get(&(account, once))
                    .is_none_or(|times| *times > 1)
            };
            if owed.once.is_some_and(done) {
                continue;
            }
            // What somebody sent who has left may come at any time.
            let has_left = |sender: &u64| !self.lives.contains_key(sender);
            if owed.senders.iter().any(has_left) {
                continue;
            }
            let mut missing = Vec::new();
            for (number, life) in &self.lives {
                let is_theirs = match (&life.scope, &owed.subject) {
                    (Scope::User, _) => true,
                    (Scope::Session(own), Some((Subject::Session, id)))
                    | (Scope::Machine(own), Some((Subject::Machine, id))) => own == id,
                    _ => false,
                };
                if is_theirs
                    && accounts.root(life.account) == account
                    && life.served.is_some_and(|served| served < began)
                    && !owed.senders.contains(number)
                    && !life.arrived.contains(&key)
                {
                    missing.push(life.name.as_str());
                }
            }
            if !missing.is_empty() {
                missing.sort_unstable();
                let text = format!("{} never reached {}.", owed.what, missing.join(", "));
                findings.add(RULE.name, owed.requirement, [owed.record, now], text);
            }
        }
        self.clear();
        self.kept = 0;
    }

    fn clear(&mut self) {
        self.owed.clear();
        self.posted.clear();
        for key in self.sends.drain().map(|(key, _)| key) {
            self.before.insert_new(key, ());
        }
        self.lives
            .values_mut()
            .for_each(|life| life.arrived.clear());
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("?")
}

fn is_heartbeat(call: &Call) -> bool {
    matches!(call.event.as_str(), "session-alive" | "machine-alive") && call.data["time"].is_u64()
}
