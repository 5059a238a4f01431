//! Which events go to connections of their account that do not need them. Servers of this protocol
//! differ in that, and it is a waste rather than a fault.

use crate::scenario::EventKind;

/// A set of the types of events that may reach every connection of their account.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Wide(u16);

const _: () = assert!(EventKind::ALL.len() <= u16::BITS as usize);

impl Wide {
    /// All types. Whether a single delivery is right despite of that is the ledger's matter.
    pub(crate) const ALL: Self = Self(u16::MAX);

    /// Adds what recipients see as `delivered_as`. A type that no scenario causes changes nothing.
    pub(crate) fn insert(&mut self, delivered_as: &str) {
        self.0 |= Self::bits(delivered_as);
    }

    /// Takes a type out.
    pub(crate) fn remove(&mut self, delivered_as: &str) {
        self.0 &= !Self::bits(delivered_as);
    }

    /// Whether what a kind of event causes is in it.
    pub(crate) fn has(self, kind: EventKind) -> bool {
        self.0 >> kind.index() & 1 == 1
    }

    pub(crate) fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The types in it, each once.
    pub(crate) fn names(self) -> Vec<&'static str> {
        let kinds = EventKind::ALL.into_iter().filter(|kind| self.has(*kind));
        let mut names = Vec::new();
        for name in kinds.filter_map(EventKind::delivered_as) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }

    fn bits(delivered_as: &str) -> u16 {
        let kinds = EventKind::ALL.into_iter();
        kinds
            .filter(|kind| kind.delivered_as() == Some(delivered_as))
            .fold(0, |bits, kind| bits | 1 << kind.index())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_kept_with_all_their_causes() {
        let mut wide = Wide::default();
        for name in [
            "update-session",
            "activity",
            "new-feed-post",
            "update-session",
        ] {
            wide.insert(name);
        }
        assert!(wide.has(EventKind::UpdateState) && wide.has(EventKind::UpdateMetadata));
        assert!(!wide.has(EventKind::Message) && !wide.has(EventKind::Ping));
        assert_eq!(wide.names(), ["update-session", "activity"]);
        wide.remove("update-session");
        assert_eq!(wide.names(), ["activity"]);
        wide.remove("activity");
        assert!(wide.is_empty() && !Wide::ALL.is_empty());
    }
}
