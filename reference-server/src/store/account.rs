//! One account's rows, its connections and its RPC methods, as decisions read them. Only
//! [`Rows::apply`] writes them, and only the commit calls it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde_json::Value;

use super::pairing::Pairings;
use super::registry::Registry;
use super::{AccessKey, Artifact, Cell, Change, Machine, Methods, Part, Session, Usage};
use crate::builders::{ArtifactRow, MachineRow, MessageRow, RelationshipStatus, SessionRow};
use crate::connection::Connection;

/// Everything that one account has.
#[derive(Debug, Default)]
pub struct Rows {
    /// The account.
    pub(crate) id: String,
    /// The seq of its latest update.
    pub(crate) seq: u64,
    pub(crate) registry: Registry,
    pub(crate) methods: Methods,
    pub(crate) sessions: HashMap<String, Session>,
    tags: HashMap<String, String>,
    pub(crate) machines: HashMap<String, Machine>,
    pub(crate) artifacts: HashMap<String, Artifact>,
    /// By session and machine.
    pub(crate) access_keys: HashMap<Pair, AccessKey>,
    /// By session, if any, and key.
    pub(crate) usage: HashMap<(Option<String>, String), Usage>,
    pub(crate) kv: BTreeMap<String, KvEntry>,
    pub(crate) settings: Cell,
    /// How this account stands to others, by their id.
    pub(crate) relations: BTreeMap<String, RelationshipStatus>,
    /// Newest first.
    pub(crate) feed: Vec<FeedItem>,
    pub(crate) push_tokens: Vec<PushToken>,
    /// Only the rows that belong to no account have them.
    pub(crate) pairings: Pairings,
}

/// A session and a machine.
pub type Pair = (String, String);

/// A key of the key-value store. A deleted key stays with null, so that its version goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KvEntry {
    /// What it holds.
    pub value: Option<String>,
    /// How often it was written; 0 is the first time.
    pub version: i64,
}

/// A post in an account's feed.
#[derive(Clone, Debug, PartialEq)]
pub struct FeedItem {
    /// Its id.
    pub id: String,
    /// How many posts the feed had with it.
    pub number: u64,
    /// What it says.
    pub body: Value,
    /// What it is about: there is one post about the same.
    pub repeat_key: String,
    /// When it was posted.
    pub created_at: i64,
}

impl FeedItem {
    /// What names its place in the feed.
    pub(crate) fn cursor(&self) -> String {
        format!("0-{}", self.number)
    }
}

/// A device that wants push notifications. The server sends none; it only keeps the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PushToken {
    /// Its id.
    pub id: String,
    /// What the device is reached by.
    pub token: String,
    /// When it was registered.
    pub created_at: i64,
}

impl Rows {
    pub(super) fn new(id: String) -> Self {
        Self {
            id,
            ..Self::default()
        }
    }

    /// The account that they belong to.
    #[must_use]
    pub fn account(&self) -> &str {
        &self.id
    }

    /// The session of this id.
    #[must_use]
    pub fn session(&self, id: &str) -> Option<SessionRow> {
        self.sessions.get(id).map(Session::row)
    }

    /// The session of a tag.
    #[must_use]
    pub fn tagged(&self, tag: &str) -> Option<SessionRow> {
        self.session_of_tag(tag).map(Session::row)
    }

    /// The machine of this id.
    #[must_use]
    pub fn machine(&self, id: &str) -> Option<MachineRow> {
        self.machines.get(id).map(Machine::row)
    }

    /// The artifact of this id.
    #[must_use]
    pub fn artifact(&self, id: &str) -> Option<ArtifactRow> {
        self.artifacts.get(id).map(Artifact::row)
    }

    /// The ids of all artifacts.
    pub fn artifacts(&self) -> impl Iterator<Item = &str> {
        self.artifacts.keys().map(String::as_str)
    }

    /// The messages of each session.
    pub fn messages(&self) -> impl Iterator<Item = (&str, &[MessageRow])> {
        let all = self.sessions.values();
        all.map(|session| (&*session.id, &*session.messages))
    }

    /// A key of the key-value store.
    #[must_use]
    pub fn kv(&self, key: &str) -> Option<&KvEntry> {
        self.kv.get(key)
    }

    /// What was reported under a key, for a session or none.
    #[must_use]
    pub fn usage(&self, session: Option<&str>, key: &str) -> Option<&Usage> {
        self.usage
            .get(&(session.map(str::to_owned), key.to_owned()))
    }

    /// All connections, in the order in which they came.
    pub fn connections(&self) -> impl Iterator<Item = &Arc<Connection>> {
        self.registry.iter()
    }

    /// Who has registered a method; the last one owns it.
    #[must_use]
    pub fn registrants(&self, method: &str) -> &[Arc<Connection>] {
        self.methods.registrants(method)
    }

    pub(crate) fn session_of_tag(&self, tag: &str) -> Option<&Session> {
        self.sessions.get(self.tags.get(tag)?)
    }

    /// Whether the account has both.
    pub(crate) fn has_pair(&self, (session, machine): &Pair) -> bool {
        self.sessions.contains_key(session) && self.machines.contains_key(machine)
    }

    /// How this account stands to another one.
    pub(crate) fn relation(&self, uid: &str) -> RelationshipStatus {
        let known = self.relations.get(uid).copied();
        known.unwrap_or(RelationshipStatus::None)
    }

    /// The only place that writes rows.
    pub(crate) fn apply(&mut self, change: Change) {
        match change {
            // It has no rows yet.
            Change::AccountCreated(_) => {}
            Change::Entered(connection) => self.registry.add(connection),
            Change::Left(id) => self.registry.remove(id),
            Change::Registered {
                method,
                connection,
                is_owner,
            } => self.methods.register(&method, &connection, is_owner),
            Change::Unregistered { method, connection } => {
                self.methods.unregister(&method, connection);
            }
            Change::SessionCreated(session) => {
                self.tags.insert(session.tag.clone(), session.id.clone());
                self.sessions.insert(session.id.clone(), *session);
            }
            Change::SessionDeleted(id) => self.delete_session(&id),
            Change::MachineCreated(machine) => {
                self.machines.insert(machine.id.clone(), *machine);
            }
            Change::ArtifactCreated(artifact) => {
                self.artifacts.insert(artifact.id.clone(), *artifact);
            }
            Change::ArtifactDeleted(id) => {
                self.artifacts.remove(&id);
            }
            Change::Written {
                part,
                value,
                version,
                at,
            } => self.write(&part, Cell::new(value, version), at),
            Change::ArtifactRaised { id, seq } => {
                if let Some(artifact) = self.artifacts.get_mut(&id) {
                    artifact.seq = seq;
                }
            }
            Change::MessagePosted { session, message } => {
                if let Some(session) = self.sessions.get_mut(&session) {
                    session.post(message);
                }
            }
            Change::SessionPresence {
                id,
                active,
                ended,
                at,
            } => {
                if let Some(session) = self.sessions.get_mut(&id) {
                    (session.active, session.ended, session.active_at) = (active, ended, at);
                }
            }
            Change::MachinePresence { id, active, at } => {
                if let Some(machine) = self.machines.get_mut(&id) {
                    (machine.active, machine.active_at) = (active, at);
                }
            }
            Change::AccessKeyCreated(pair, key) => {
                self.access_keys.insert(pair, key);
            }
            Change::UsageReported(key, usage) => {
                self.usage.insert((usage.session_id.clone(), key), usage);
            }
            Change::KvWritten(key, entry) => {
                self.kv.insert(key, entry);
            }
            Change::Related(uid, status) => {
                self.relations.insert(uid, status);
            }
            Change::FeedPosted(item) => self.feed.insert(0, item),
            Change::FeedForgotten(id) => self.feed.retain(|known| known.id != id),
            Change::PushTokenAdded(token) => self.push_tokens.push(token),
            Change::PushTokenRemoved(token) => {
                self.push_tokens.retain(|known| known.token != token);
            }
            Change::PairingChanged(key, pairing) => self.pairings.put(key, pairing),
            Change::PairingForgotten(key) => self.pairings.remove(&key),
        }
    }

    fn delete_session(&mut self, id: &str) {
        if let Some(session) = self.sessions.remove(id) {
            self.tags.remove(&session.tag);
        }
        self.access_keys.retain(|(session, _), _| session != id);
        self.usage
            .retain(|(session, _), _| session.as_deref() != Some(id));
    }

    fn write(&mut self, part: &Part, now: Cell, at: i64) {
        match part {
            Part::SessionMetadata(id) | Part::SessionState(id) => {
                if let Some(session) = self.sessions.get_mut(id) {
                    session.updated_at = at;
                    match part {
                        Part::SessionMetadata(_) => session.metadata = now,
                        _ => session.agent_state = now,
                    }
                }
            }
            Part::MachineMetadata(id) | Part::MachineState(id) => {
                if let Some(machine) = self.machines.get_mut(id) {
                    machine.updated_at = at;
                    match part {
                        Part::MachineMetadata(_) => machine.metadata = now,
                        _ => machine.daemon_state = now,
                    }
                }
            }
            Part::ArtifactHeader(id) | Part::ArtifactBody(id) => {
                if let Some(artifact) = self.artifacts.get_mut(id) {
                    artifact.updated_at = at;
                    match part {
                        Part::ArtifactHeader(_) => artifact.header = now,
                        _ => artifact.body = now,
                    }
                }
            }
            Part::AccessKey(pair) => {
                if let Some(key) = self.access_keys.get_mut(pair) {
                    (key.data, key.updated_at) = (now, at);
                }
            }
            Part::Settings => self.settings = now,
        }
    }
}
