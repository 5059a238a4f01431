//! A map that forgets its oldest entries, so that a history of any length is judged in bounded memory.
//! What is forgotten is taken for new: nobody is accused for it.

use std::{
    collections::{HashMap, VecDeque},
    hash::Hash,
};

#[derive(Debug)]
pub(crate) struct Bounded<K, V> {
    map: HashMap<K, V>,
    order: VecDeque<K>,
    most: usize,
    has_forgotten: bool,
}

impl<K: Clone + Eq + Hash, V> Bounded<K, V> {
    pub(crate) fn new(most: usize) -> Self {
        Self {
            map: HashMap::new(),
            order: VecDeque::new(),
            most,
            has_forgotten: false,
        }
    }

    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        self.map.get(key)
    }

    pub(crate) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.map.get_mut(key)
    }

    /// Everything that is remembered, in no order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.map.iter()
    }

    /// Takes an entry out. Its place in the order of forgetting stays.
    pub(crate) fn remove(&mut self, key: &K) -> Option<V> {
        self.map.remove(key)
    }

    /// Whether there were entries that are not there any more.
    pub(crate) fn has_forgotten(&self) -> bool {
        self.has_forgotten
    }

    /// What stands there, or what `make` makes.
    pub(crate) fn entry(&mut self, key: K, make: impl FnOnce() -> V) -> &mut V {
        if !self.map.contains_key(&key) {
            while self.map.len() >= self.most
                && let Some(oldest) = self.order.pop_front()
            {
                self.map.remove(&oldest);
                self.has_forgotten = true;
            }
            self.order.push_back(key.clone());
        }
        self.map.entry(key).or_insert_with(make)
    }

    /// Puts `value` there if nothing does, and gives what did.
    pub(crate) fn insert_new(&mut self, key: K, value: V) -> Option<&V> {
        if self.map.contains_key(&key) {
            return self.map.get(&key);
        }
        self.entry(key, || value);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_go_first() {
        let mut map = Bounded::new(2);
        for key in [1, 2, 1, 3] {
            map.entry(key, || key * 10);
        }
        assert_eq!(map.get(&1), None);
        assert!(map.has_forgotten());
        assert_eq!((map.get(&2), map.get(&3)), (Some(&20), Some(&30)));
        assert_eq!(map.insert_new(3, 0), Some(&30));
    }
}
