//! A map that forgets: bounded, oldest first.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher as _, Hash, RandomState};
use std::marker::PhantomData;

/// Keeps the newest `capacity` keys, by when they were first put in. Of a key only its hash is kept: keys
/// may be as long as payloads, and a hint that is wrong once in 2^64 / capacity is no harm.
#[derive(Debug)]
pub(crate) struct Recent<K, V> {
    map: HashMap<u64, V>,
    order: VecDeque<u64>,
    capacity: usize,
    hasher: RandomState,
    keys: PhantomData<fn(K)>,
}

impl<K: Hash, V> Recent<K, V> {
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            map: HashMap::new(),
            order: VecDeque::new(),
            capacity,
            hasher: RandomState::new(),
            keys: PhantomData,
        }
    }

    pub(crate) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.map.get_mut(&self.hasher.hash_one(key))
    }

    /// Puts a value in and gives the one that was there before.
    pub(crate) fn put(&mut self, key: &K, value: V) -> Option<V> {
        let key = self.hasher.hash_one(key);
        let before = self.map.insert(key, value);
        if before.is_none() {
            self.order.push_back(key);
        }
        // Keys that were taken out still stand in the order; they go when their turn comes.
        while self.order.len() > self.capacity {
            if let Some(oldest) = self.order.pop_front() {
                self.map.remove(&oldest);
            }
        }
        before
    }

    pub(crate) fn take(&mut self, key: &K) -> Option<V> {
        self.map.remove(&self.hasher.hash_one(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_go_first() {
        let mut recent = Recent::new(2);
        assert_eq!(recent.put(&"a", 1), None);
        assert_eq!(recent.put(&"b", 2), None);
        assert_eq!(recent.put(&"a", 3), Some(1));
        assert_eq!(recent.put(&"c", 4), None);
        assert_eq!(recent.get_mut(&"a"), None);
        assert_eq!(recent.get_mut(&"b"), Some(&mut 2));
        assert_eq!(recent.take(&"c"), Some(4));
        assert_eq!(recent.take(&"c"), None);
    }
}
