//! What a server has after it was killed and started again.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use super::{
    Rule,
    bounded::Bounded,
    versioned::{Told, Write, read_by_request, requested_writes, writes},
};
use crate::{
    account::{Account, Accounts},
    finding::Findings,
    judge::{Keeps, Knowledge},
    print::{print, prints, whole},
    requirement as r,
    requirement::Requirement,
    story::{Asked, Happening},
};

pub(crate) static RULE: Rule = Rule {
    name: "history.restart",
    needs: Knowledge::Complete,
    text: "A server that keeps what it acknowledged has it after it was killed and started again: every session, \
           value and posted message that was acknowledged is read, in its last version or a later one; no seq of an \
           update or message is given to another one; a localId makes no second message; tokens stay valid. Calls \
           without an answer may have had their effect, or not.",
};

/// How much of each kind is remembered.
const MOST: usize = 100_000;
/// How many sessions a server may leave out of its list, which is no page of them all.
const LISTED: usize = 150;
/// What no answer with messages is longer than.
const PAGE: usize = 500;
/// How many messages of a session are remembered.
const TOLD: usize = 20_000;

type Key = (Account, u64);

#[derive(Debug)]
pub(crate) struct Restart {
    /// The record of the last restart, and whether the server says that it keeps what it acknowledged.
    restarted: Option<(u64, bool)>,
    /// Connections that were admitted since then.
    admitted: HashSet<u64>,
    /// The last version of each value that was acknowledged; nothing of one that somebody deleted, since an
    /// answer that comes later may be of a write before that.
    values: Bounded<Key, Option<Acknowledged>>,
    /// Where each session was made; nothing of one that somebody deleted.
    sessions: Bounded<(Account, String), Option<u64>>,
    messages: Bounded<(Account, String), Session>,
    /// The message of a localId.
    local_ids: Bounded<Key, (String, u64)>,
    /// The highest seq of an account's updates, before a restart.
    seqs: HashMap<Account, (u64, u64)>,
    /// Accounts whose tokens were good, and where.
    served: Bounded<Account, u64>,
    /// How much of what was acknowledged was there, and how much was not.
    tally: [u64; 2],
}

#[derive(Debug)]
struct Acknowledged {
    version: u64,
    value: u64,
    what: String,
    record: u64,
}

/// The messages of a session.
#[derive(Debug, Default)]
struct Session {
    /// Those that somebody was told of, by id: whether it is surely stored, since the answer to a post told of
    /// it, or since it was read after a restart.
    told: HashMap<String, (bool, u64)>,
    /// The highest seq before a restart, and where.
    highest: (u64, u64),
}

impl Default for Restart {
    fn default() -> Self {
        Self {
            restarted: None,
            admitted: HashSet::new(),
            values: Bounded::new(MOST),
            sessions: Bounded::new(MOST),
            messages: Bounded::new(MOST),
            local_ids: Bounded::new(MOST),
            seqs: HashMap::new(),
            served: Bounded::new(MOST),
            tally: [0; 2],
        }
    }
}

impl Restart {
    pub(crate) fn hear(
        &mut self,
        happening: &Happening<'_>,
        accounts: &Accounts,
        findings: &mut Findings,
    ) {
        match happening {
            Happening::Restarted(is_durable, now) => {
                self.restarted = Some((now.record, *is_durable));
                self.admitted.clear();
            }
            Happening::Admitted(connection) => {
                self.admitted.insert(connection.number);
            }
            Happening::Answered(call, answer, now) => {
                let account = accounts.root(call.connection.account);
                for write in writes(call, Some(answer)) {
                    self.wrote(account, &write, now.record);
                }
            }
            Happening::Called(call) if call.event == "artifact-delete" => {
                let account = accounts.root(call.connection.account);
                let id = call.data["artifactId"].as_str().unwrap_or_default();
                self.forget_artifact(account, id);
            }
            Happening::Received(connection, "update", update, now) => {
                let account = accounts.root(connection.account);
                let is_after =
                    self.restarted.is_some() && self.admitted.contains(&connection.number);
                self.numbered(account, update, is_after, now.record, findings);
                let body = &update["body"];
                if body["t"] == "new-message"
                    && let Some(sid) = body["sid"].as_str()
                {
                    let told = (&body["message"], now.record);
                    self.message(account, sid, told, is_after, false, findings);
                }
            }
            Happening::Asked(asked) => {
                if let Some(account) = asked.account.map(|account| accounts.root(account)) {
                    self.asked(account, asked, findings);
                }
            }
            _ => {}
        }
    }

    /// What the server kept, if it was restarted and anything had been acknowledged.
    pub(crate) fn keeps(&self) -> Option<Keeps> {
        match self.tally {
            [0, 0] => None,
            [_, 0] => Some(Keeps::Acknowledged),
            [0, _] => Some(Keeps::Nothing),
            _ => Some(Keeps::Some),
        }
    }

    /// Notes whether something was kept, and states a violation if it had to be.
    fn tell(
        &mut self,
        is_kept: bool,
        requirement: &'static Requirement,
        records: [u64; 2],
        text: impl FnOnce() -> String,
        findings: &mut Findings,
    ) {
        if [&r::RESTART_KEPT, &r::RESTART_TOKENS].contains(&requirement) {
            self.tally[usize::from(!is_kept)] += 1;
        }
        if let (false, Some((restart, true))) = (is_kept, self.restarted) {
            let [before, after] = records;
            findings.add(RULE.name, requirement, [before, restart, after], text());
        }
    }

    fn wrote(&mut self, account: Account, write: &Write<'_>, record: u64) {
        let Told::Success(version, _) = write.told else {
            return;
        };
        if !write.is_kept() {
            self.forget((account, value_key(write.part.demands().what, &write.id)));
            return;
        }
        let what = format!("{} {}", write.part.demands().what, write.id);
        let acknowledged = Acknowledged {
            version,
            value: print(write.value),
            what,
            record,
        };
        let key = (account, value_key(write.part.demands().what, &write.id));
        match self.values.get_mut(&key) {
            Some(None) => {}
            Some(Some(known)) if known.version >= version => {}
            Some(known) => *known = Some(acknowledged),
            None => {
                self.values.insert_new(key, Some(acknowledged));
            }
        }
    }

    /// Somebody asked to delete it: nobody knows any more whether it is there.
    fn forget(&mut self, key: Key) {
        *self.values.entry(key, || None) = None;
    }

    fn forget_artifact(&mut self, account: Account, id: &str) {
        for part in [
            super::parts::Part::ArtifactHeader,
            super::parts::Part::ArtifactBody,
        ] {
            self.forget((account, value_key(part.demands().what, id)));
        }
    }

    fn numbered(
        &mut self,
        account: Account,
        update: &Value,
        is_after: bool,
        record: u64,
        findings: &mut Findings,
    ) {
        let Some(seq) = whole(update.get("seq")) else {
            return;
        };
        if self.restarted.is_none() {
            let highest = self.seqs.entry(account).or_default();
            *highest = (*highest).max((seq, record));
        } else if is_after && let Some((highest, before)) = self.seqs.get(&account).copied() {
            let text = || {
                format!(
                    "After the restart an update has the seq {seq}; {highest} had been told before it."
                )
            };
            self.tell(
                seq > highest,
                &r::RESTART_NUMBERS,
                [before, record],
                text,
                findings,
            );
        }
    }

    fn message(
        &mut self,
        account: Account,
        sid: &str,
        (message, record): (&Value, u64),
        is_after: bool,
        is_acknowledged: bool,
        findings: &mut Findings,
    ) {
        let (Some(id), Some(seq)) = (message["id"].as_str(), whole(message.get("seq"))) else {
            return;
        };
        let session = self
            .messages
            .entry((account, sid.to_owned()), Session::default);
        let before = session.highest;
        let is_known = match session.told.get_mut(id) {
            Some((known, _)) => {
                *known |= is_acknowledged;
                true
            }
            None => false,
        };
        if !is_known && !is_after && session.told.len() < TOLD {
            session
                .told
                .insert(id.to_owned(), (is_acknowledged, record));
            session.highest = before.max((seq, record));
        }
        if !is_known && is_after && before.0 > 0 {
            let text = || {
                format!(
                    "After the restart a message of session {sid} has the seq {seq}; {} had been given before it.",
                    before.0
                )
            };
            let records = [before.1, record];
            self.tell(seq > before.0, &r::RESTART_NUMBERS, records, text, findings);
        }
        if let Some(local_id) = message["localId"].as_str() {
            let key = (account, prints(&[&sid.into(), &local_id.into()]));
            let known = self.local_ids.insert_new(key, (id.to_owned(), record));
            if let Some((first, before)) = known.cloned().filter(|_| is_after) {
                let text = || {
                    format!(
                        "After the restart the localId {local_id} of session {sid} made a second message."
                    )
                };
                // What was told may not have been stored: only what is there has to be known.
                let session = self.messages.get(&(account, sid.to_owned()));
                let first_told = session.and_then(|session| session.told.get(&first));
                let is_stored = first_told.is_some_and(|(is_stored, _)| *is_stored);
                let is_kept = first == id || !is_stored;
                let records = [before, record];
                self.tell(is_kept, &r::RESTART_LOCAL_IDS, records, text, findings);
            }
        }
    }

    fn asked(&mut self, account: Account, asked: &Asked<'_>, findings: &mut Findings) {
        let record = asked.ended.record;
        let is_after = self.restarted.is_some();
        if asked.exchange.status == Some(401) {
            if let (true, Some(before)) = (is_after, self.served.get(&account).copied()) {
                let text =
                    || "After the restart a token is refused that was good before.".to_owned();
                self.tell(false, &r::RESTART_TOKENS, [before, record], text, findings);
            }
            return;
        }
        if let (true, Some(id)) = (asked.is_missed, artifact_of(asked)) {
            return self.is_gone(account, id, record, findings);
        }
        if let Some((_, id)) = asked.made_session() {
            let key = (account, id.to_owned());
            self.sessions.insert_new(key, Some(record));
        }
        if asked.method == "DELETE" {
            if let Some(id) = asked.path.strip_prefix("/v1/sessions/") {
                let key = (account, id.to_owned());
                *self.sessions.entry(key, || None) = None;
                for what in ["the metadata of session", "the agentState of session"] {
                    self.forget((account, value_key(what, id)));
                }
            } else if let Some(id) = artifact_of(asked) {
                self.forget_artifact(account, id);
            }
            return;
        }
        if !asked.is_done {
            return;
        }
        self.served.insert_new(account, record);
        for write in requested_writes(asked) {
            self.wrote(account, &write, record);
        }
        self.posted(account, asked, findings);
        if is_after && asked.method == "GET" {
            self.read(account, asked, findings);
        }
    }

    /// Messages that were posted are acknowledged.
    fn posted(&mut self, account: Account, asked: &Asked<'_>, findings: &mut Findings) {
        let answer = asked.exchange.response.as_ref();
        let messages = answer.and_then(|answer| answer.get("messages")?.as_array());
        if let (Some(sid), Some(messages), "POST") = (session_of(asked), messages, asked.method) {
            let is_after = self.restarted.is_some();
            for message in messages {
                let told = (message, asked.ended.record);
                self.message(account, sid, told, is_after, true, findings);
            }
        }
    }

    /// An artifact is not there.
    fn is_gone(&mut self, account: Account, id: &str, record: u64, findings: &mut Findings) {
        let key = (account, value_key("the header of artifact", id));
        let known = self.values.get(&key).and_then(Option::as_ref);
        if let (Some(known), Some((restart, _))) = (known, self.restarted)
            && known.record < restart
        {
            let before = known.record;
            let text = || format!("After the restart there is no artifact {id}.");
            self.tell(false, &r::RESTART_KEPT, [before, record], text, findings);
        }
    }

    /// What is read after a restart.
    fn read(&mut self, account: Account, asked: &Asked<'_>, findings: &mut Findings) {
        let record = asked.ended.record;
        let Some((restart, _)) = self.restarted else {
            return;
        };
        for seen in read_by_request(asked) {
            let key = (account, value_key(seen.part.demands().what, &seen.id));
            let known = self.values.get(&key).and_then(Option::as_ref);
            let Some(known) = known.filter(|known| known.record < restart) else {
                continue;
            };
            let is_kept = seen.version > known.version
                || seen.version == known.version && print(seen.value) == known.value;
            let (version, what, before) = (known.version, known.what.clone(), known.record);
            let text = || {
                format!(
                    "{what} had been acknowledged in version {version}; after the restart it has version {}{}.",
                    seen.version,
                    if seen.version == version {
                        " with another value"
                    } else {
                        ""
                    }
                )
            };
            self.tell(is_kept, &r::RESTART_KEPT, [before, record], text, findings);
        }
        let answer = asked.exchange.response.as_ref();
        let listed = |key: &str| answer.and_then(|answer| answer.get(key)?.as_array());
        let ids = |rows: &[Value]| -> HashSet<String> {
            let ids = rows.iter().filter_map(|row| row["id"].as_str());
            ids.map(str::to_owned).collect()
        };
        if let ("/v1/sessions", Some(rows)) = (asked.path, listed("sessions"))
            && rows.len() < LISTED
        {
            let ids = ids(rows);
            for (id, before) in self.of_account(account, restart) {
                let text = || format!("After the restart there is no session {id}.");
                let is_kept = ids.contains(&id);
                self.tell(is_kept, &r::RESTART_KEPT, [before, record], text, findings);
            }
        }
        if let (Some(sid), Some(rows)) = (session_of(asked), listed("messages"))
            && rows.len() < PAGE
            && asked.exchange.url.contains("after_seq=0")
        {
            let ids = ids(rows);
            let session = self.messages.get(&(account, sid.to_owned()));
            let told = session.into_iter().flat_map(|session| &session.told);
            let known = told.filter(|(_, (is_acknowledged, at))| *is_acknowledged && *at < restart);
            let mut known: Vec<_> = known.map(|(id, (_, at))| (id.clone(), *at)).collect();
            known.sort_unstable_by_key(|(_, at)| *at);
            for (id, before) in known {
                let text = || format!("After the restart session {sid} has no message {id}.");
                let is_kept = ids.contains(&id);
                self.tell(is_kept, &r::RESTART_KEPT, [before, record], text, findings);
            }
            // What is read is stored.
            if let Some(session) = self.messages.get_mut(&(account, sid.to_owned())) {
                for (id, (is_stored, _)) in &mut session.told {
                    *is_stored |= ids.contains(id);
                }
            }
        }
    }

    /// The sessions that an account had made before the restart, and where that was.
    fn of_account(&self, account: Account, restart: u64) -> Vec<(String, u64)> {
        let own = self
            .sessions
            .iter()
            .filter(|((owner, _), _)| *owner == account);
        let there = own.filter_map(|((_, id), record)| Some((id.clone(), (*record)?)));
        let mut found: Vec<_> = there.filter(|(_, record)| *record < restart).collect();
        found.sort_unstable_by_key(|(_, record)| *record);
        found
    }
}

fn value_key(what: &str, id: &str) -> u64 {
    prints(&[&what.into(), &id.into()])
}

fn artifact_of<'a>(asked: &Asked<'a>) -> Option<&'a str> {
    asked.path.strip_prefix("/v1/artifacts/")
}

/// The session whose messages are asked for or posted.
fn session_of<'a>(asked: &Asked<'a>) -> Option<&'a str> {
    let path = asked.path.strip_suffix("/messages")?;
    path.strip_prefix("/v3/sessions/")
}
