//! Messages that were posted over HTTP: when what caused them began.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use super::message::sent_key;
use crate::{account::Account, print::prints, story::Asked};

type Key = (Account, u64);

#[derive(Debug, Default)]
pub(super) struct Posted {
    /// When the first request began whose answer tells of a message, by session and id.
    began: HashMap<Key, u64>,
    /// What requests without an answer may have posted, by session and localId or content.
    unclear: HashSet<Key>,
}

impl Posted {
    /// Notes what a request posts, and gives what that is known by before it has an id.
    pub(super) fn note(&mut self, account: Account, asked: &Asked<'_>) -> Vec<u64> {
        let sid = asked.path.strip_prefix("/v3/sessions/");
        let sid = sid.and_then(|path| path.strip_suffix("/messages"));
        let Some(sid) = sid.filter(|_| asked.method == "POST") else {
            return Vec::new();
        };
        let listed = |body: &'_ Option<Value>| -> Vec<Value> {
            let list = body
                .as_ref()
                .and_then(|body| body.get("messages")?.as_array());
            list.cloned().unwrap_or_default()
        };
        let requested = listed(&asked.exchange.request);
        let keys = requested
            .iter()
            .map(|message| sent_key(&sid.into(), message.get("localId"), &message["content"]));
        let keys: Vec<u64> = keys.collect();
        if asked.is_done {
            for message in listed(&asked.exchange.response) {
                let key = (account, prints(&[&sid.into(), &message["id"]]));
                let began = self.began.entry(key).or_insert(asked.began);
                *began = asked.began.min(*began);
            }
        } else {
            self.unclear.extend(keys.iter().map(|key| (account, *key)));
        }
        keys
    }

    /// When the request began that surely caused a message.
    pub(super) fn began(&self, account: Account, key: u64, sent: Option<u64>) -> Option<u64> {
        let is_unclear = self.unclear.contains(&(account, sent?));
        self.began
            .get(&(account, key))
            .copied()
            .filter(|_| !is_unclear)
    }

    pub(super) fn clear(&mut self) {
        self.began.clear();
        self.unclear.clear();
    }
}
