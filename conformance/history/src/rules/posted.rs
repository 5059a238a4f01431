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
    pub(super) fn note(&mut self, account: Account, asked: &Asked<'_>) {
        let sid = asked.path.strip_prefix("/v3/sessions/");
        let Some(sid) = sid.and_then(|path| path.strip_suffix("/messages")) else {
            return;
        };
        let listed = |body: &Option<Value>| -> Vec<Value> {
            let list = body
                .as_ref()
                .and_then(|body| body.get("messages")?.as_array());
            list.cloned().unwrap_or_default()
        };
        if asked.method != "POST" {
            return;
        }
        if asked.is_done {
            for message in listed(&asked.exchange.response) {
                let key = (account, prints(&[&sid.into(), &message["id"]]));
                let began = self.began.entry(key).or_insert(asked.began);
                *began = asked.began.min(*began);
            }
        } else {
            for message in listed(&asked.exchange.request) {
                let key = sent_key(&sid.into(), message.get("localId"), &message["content"]);
                self.unclear.insert((account, key));
            }
        }
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
