//! One account's rows, its connections, its RPC methods and its counters: all that its lock guards.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;

use super::{AccessKey, Artifact, Cell, Machine, Session, Usage};
use crate::builders::{KvChange, RelationshipStatus};
use crate::clock::Clock;
use crate::faults::{Fault, Faults};
use crate::handlers::rpc::Methods;
use crate::ids::Ids;
use crate::policy::Policy;
use crate::router::Registry;

/// Feed items that are kept; older ones are forgotten.
const MAX_FEED: usize = 1_000;

/// Everything that one account has.
pub(crate) struct AccountState {
    clock: Clock,
    ids: Ids,
    /// The first version of what has none yet.
    first_version: u64,
    seq: u64,
    pub(crate) registry: Registry,
    pub(crate) methods: Methods,
    pub(crate) sessions: HashMap<String, Session>,
    tags: HashMap<String, String>,
    pub(crate) machines: HashMap<String, Machine>,
    pub(crate) artifacts: HashMap<String, Artifact>,
    /// By session and machine.
    pub(crate) access_keys: HashMap<(String, String), AccessKey>,
    /// By session, if any, and key.
    pub(crate) usage: HashMap<(Option<String>, String), Usage>,
    pub(crate) kv: BTreeMap<String, KvEntry>,
    pub(crate) settings: Cell,
    /// How this account stands to others, by their id.
    pub(crate) relations: BTreeMap<String, RelationshipStatus>,
    /// Newest first.
    pub(crate) feed: Vec<FeedItem>,
    feed_count: u64,
    pub(crate) push_tokens: Vec<PushToken>,
}

/// A key of the key-value store. A deleted key stays with null, so that its version goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KvEntry {
    pub(crate) value: Option<String>,
    pub(crate) version: i64,
}

/// A mutation whose version is not the current one; -1 stands for a key that never was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KvStale {
    pub(crate) key: String,
    pub(crate) value: Option<String>,
    pub(crate) version: i64,
}

/// A post in an account's feed.
#[derive(Clone, Debug)]
pub(crate) struct FeedItem {
    pub(crate) id: String,
    pub(crate) body: Value,
    pub(crate) repeat_key: String,
    pub(crate) cursor: String,
    pub(crate) created_at: i64,
}

/// A device that wants push notifications. The server sends none; it only keeps the list.
#[derive(Clone, Debug)]
pub(crate) struct PushToken {
    pub(crate) id: String,
    pub(crate) token: String,
    pub(crate) created_at: i64,
}

impl AccountState {
    pub(super) fn new(clock: Clock, ids: Ids, policy: &Policy) -> Self {
        Self {
            clock,
            ids,
            first_version: policy.first_versions_above,
            seq: 0,
            registry: Registry::default(),
            methods: Methods::default(),
            sessions: HashMap::new(),
            tags: HashMap::new(),
            machines: HashMap::new(),
            artifacts: HashMap::new(),
            access_keys: HashMap::new(),
            usage: HashMap::new(),
            kv: BTreeMap::new(),
            settings: Cell::new(None, 0),
            relations: BTreeMap::new(),
            feed: Vec::new(),
            feed_count: 0,
            push_tokens: Vec::new(),
        }
    }

    /// The seq of the next update.
    pub(crate) fn next_seq(&mut self, _faults: &Faults) -> u64 {
        self.seq += 1;
        self.seq
    }

    pub(crate) fn session_of_tag(&self, tag: &str) -> Option<&Session> {
        self.sessions.get(self.tags.get(tag)?)
    }

    /// Stores a session under a tag; who calls this has looked the tag up before.
    pub(crate) fn create_session(
        &mut self,
        tag: String,
        metadata: String,
        agent_state: Option<String>,
        data_encryption_key: Option<String>,
    ) -> &Session {
        let (now, id) = (self.clock.now(), self.ids.record());
        let state_version = self.first_version + u64::from(agent_state.is_some());
        let session = Session {
            id: id.clone(),
            tag: tag.clone(),
            metadata: Cell::new(Some(metadata), self.first_version),
            agent_state: Cell::new(agent_state, state_version),
            data_encryption_key,
            active: true,
            ended: false,
            active_at: now,
            created_at: now,
            updated_at: now,
            messages: Vec::new(),
            local_ids: HashMap::new(),
        };
        self.tags.insert(tag, id.clone());
        self.sessions.entry(id).insert_entry(session).into_mut()
    }

    /// Removes a session and what hangs off it; false if there is none.
    pub(crate) fn delete_session(&mut self, id: &str) -> bool {
        let Some(session) = self.sessions.remove(id) else {
            return false;
        };
        self.tags.remove(&session.tag);
        self.access_keys
            .retain(|(session_id, _), _| session_id != id);
        self.usage
            .retain(|(session_id, _), _| session_id.as_deref() != Some(id));
        true
    }

    /// Stores a machine; who calls this has claimed its id.
    pub(crate) fn create_machine(
        &mut self,
        id: String,
        metadata: String,
        daemon_state: Option<String>,
        data_encryption_key: Option<String>,
    ) -> &Machine {
        let now = self.clock.now();
        let state_version = self.first_version + u64::from(daemon_state.is_some());
        // A machine whose daemon connected before it was provisioned is already there.
        let active = self.registry.has_machine(&id);
        let machine = Machine {
            id: id.clone(),
            metadata: self.new_cell(metadata),
            daemon_state: Cell::new(daemon_state, state_version),
            data_encryption_key,
            active,
            active_at: now,
            created_at: now,
            updated_at: now,
        };
        self.machines.entry(id).insert_entry(machine).into_mut()
    }

    /// A part of something new that starts with a value.
    pub(crate) fn new_cell(&self, value: String) -> Cell {
        Cell::new(Some(value), self.first_version + 1)
    }

    /// Stores an artifact; who calls this has claimed its id and checked its parts.
    pub(crate) fn create_artifact(
        &mut self,
        id: String,
        header: String,
        body: String,
        data_encryption_key: String,
    ) -> &Artifact {
        let now = self.clock.now();
        let artifact = Artifact {
            id: id.clone(),
            header: self.new_cell(header),
            body: self.new_cell(body),
            data_encryption_key,
            seq: 0,
            created_at: now,
            updated_at: now,
        };
        self.artifacts.entry(id).insert_entry(artifact).into_mut()
    }

    /// Stores a usage report; a repeated one keeps its identity, and its update is always later.
    pub(crate) fn report_usage(
        &mut self,
        key: String,
        session_id: Option<String>,
        tokens: Value,
        cost: Value,
        faults: &Faults,
    ) -> &Usage {
        let now = self.clock.now();
        let place = (session_id.clone(), key);
        let known = self
            .usage
            .get(&place)
            .filter(|_| !faults.on(Fault::UsageNewReport));
        let (id, created_at, updated_at) = match known {
            Some(known) => (
                known.id.clone(),
                known.created_at,
                if faults.on(Fault::UsageStale) {
                    known.updated_at
                } else {
                    now.max(known.updated_at + 1)
                },
            ),
            None => {
                let id = self.ids.record();
                let shared = faults.owner(Fault::UsageKeysShared, &place.1, &id);
                (shared.unwrap_or(id), now, now)
            }
        };
        let report = Usage {
            id,
            session_id,
            tokens,
            cost,
            created_at,
            updated_at,
        };
        self.usage.entry(place).insert_entry(report).into_mut()
    }

    /// Writes all mutations, or none and says which are stale.
    pub(crate) fn mutate_kv(
        &mut self,
        mutations: &[KvChange],
        faults: &Faults,
    ) -> Result<Vec<KvChange>, Vec<KvStale>> {
        let absent = KvEntry {
            value: None,
            version: -1,
        };
        let is_stale = |kv: &BTreeMap<String, KvEntry>, mutation: &KvChange| {
            let current = kv.get(&mutation.key).unwrap_or(&absent);
            (current.version != mutation.version && !faults.on(Fault::StaleAccept))
                .then(|| current.clone())
        };
        let stale: Vec<KvStale> = mutations
            .iter()
            .filter_map(|mutation| {
                let KvEntry { value, version } = is_stale(&self.kv, mutation)?;
                Some(KvStale {
                    key: mutation.key.clone(),
                    value,
                    version,
                })
            })
            .collect();
        if !stale.is_empty() && !faults.on(Fault::KvPartial) {
            return Err(stale);
        }
        let mut written = Vec::new();
        for mutation in mutations {
            // A key that occurs twice is judged once, by what was there before, and written in turn.
            if stale.iter().any(|stale| stale.key == mutation.key) {
                continue;
            }
            let entry = self
                .kv
                .entry(mutation.key.clone())
                .or_insert_with(|| absent.clone());
            if mutation.value.is_some() || !faults.on(Fault::KvDeletedStays) {
                entry.value.clone_from(&mutation.value);
            }
            entry.version += 1;
            written.push(KvChange {
                key: mutation.key.clone(),
                value: mutation.value.clone(),
                version: entry.version,
            });
        }
        if stale.is_empty() {
            Ok(written)
        } else {
            Err(stale)
        }
    }

    /// Puts a post at the top of the feed, in the place of an earlier one about the same thing.
    pub(crate) fn post_to_feed(&mut self, body: Value, repeat_key: String) -> &FeedItem {
        self.feed_count += 1;
        self.feed.retain(|item| item.repeat_key != repeat_key);
        self.feed.truncate(MAX_FEED - 1);
        let item = FeedItem {
            id: self.ids.record(),
            body,
            repeat_key,
            cursor: format!("0-{}", self.feed_count),
            created_at: self.clock.now(),
        };
        self.feed.insert(0, item);
        &self.feed[0]
    }
}
