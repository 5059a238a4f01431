//! Terminals that ask to be signed in by another device.

use std::collections::{HashMap, VecDeque};

use super::PublicKey;

/// How a terminal stands that asks to be signed in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pairing {
    /// Whether it understands the second form of responses.
    pub supports_v2: bool,
    /// When it asked first.
    pub requested_at: i64,
    /// What it was answered, and the account that lets it in.
    pub response: Option<(String, String)>,
}

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Pairings {
    known: HashMap<PublicKey, Pairing>,
    order: VecDeque<PublicKey>,
}

impl Pairings {
    pub(crate) fn get(&self, key: &PublicKey) -> Option<&Pairing> {
        self.known.get(key)
    }

    pub(crate) fn len(&self) -> usize {
        self.known.len()
    }

    /// The one that has waited longest.
    pub(crate) fn oldest(&self) -> Option<PublicKey> {
        self.order.front().copied()
    }

    pub(super) fn put(&mut self, key: PublicKey, pairing: Pairing) {
        if self.known.insert(key, pairing).is_none() {
            self.order.push_back(key);
        }
    }

    pub(super) fn remove(&mut self, key: &PublicKey) {
        self.known.remove(key);
        // It is the oldest unless somebody wants it otherwise.
        if self.order.pop_front_if(|oldest| oldest == key).is_none() {
            self.order.retain(|known| known != key);
        }
    }
}
