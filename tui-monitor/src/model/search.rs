//! Looking for an entry from the cursor on, a slice at a time, so that the screen answers meanwhile.

use super::{list::List, ring::Ring};
use crate::event::Entry;

/// How many entries one slice of work looks at.
const SLICE: usize = 4_000;

/// What is looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// A text, in lower case, anywhere in the entry.
    Text(String),
    /// Something that looks wrong.
    Lint,
}

/// A search: what for, which way, and how far it has come. At the end of the list it goes on at the other
/// end, up to where it began.
#[derive(Debug)]
pub(crate) struct Search {
    pub(crate) wanted: Wanted,
    pub(crate) down: bool,
    start: u64,
    wrapped: bool,
    /// The number that was looked at last, while it is under way.
    at: Option<u64>,
}

/// What a slice of work found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// Nothing is under way.
    Idle,
    /// More slices are needed.
    Going,
    /// An entry, and whether it is beyond the end of the list.
    Found(u64, bool),
    /// Nothing in the list is what is looked for.
    Nothing,
}

impl Search {
    /// A search that begins next to `from`.
    pub(crate) fn new(wanted: Wanted, down: bool, from: u64) -> Self {
        Self {
            wanted,
            down,
            start: from,
            wrapped: false,
            at: Some(from),
        }
    }

    pub(crate) fn under_way(&self) -> bool {
        self.at.is_some()
    }

    /// The text that is looked for, in lower case.
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.wanted {
            Wanted::Text(text) if !text.is_empty() => Some(text),
            Wanted::Text(_) | Wanted::Lint => None,
        }
    }

    pub(crate) fn stop(&mut self) {
        self.at = None;
    }

    /// Looks at one more slice of the listed entries.
    pub(crate) fn work(&mut self, ring: &Ring, list: &List) -> Progress {
        let Some(mut at) = self.at else {
            return Progress::Idle;
        };
        let mut left = SLICE;
        loop {
            let (down, start, wrapped) = (self.down, self.start, self.wrapped);
            let has_been_seen = |number: &u64| match down {
                true => *number > start,
                false => *number < start,
            };
            let ahead = list.from(at, down);
            for number in ahead.take_while(|number| !(wrapped && has_been_seen(number))) {
                if left == 0 {
                    self.at = Some(at);
                    return Progress::Going;
                }
                (left, at) = (left - 1, number);
                if ring
                    .get(number)
                    .is_some_and(|entry| self.wanted.fits(entry))
                {
                    self.at = None;
                    return Progress::Found(number, wrapped);
                }
            }
            if wrapped {
                self.at = None;
                return Progress::Nothing;
            }
            self.wrapped = true;
            at = if down { 0 } else { u64::MAX };
        }
    }
}

impl Wanted {
    fn fits(&self, entry: &Entry) -> bool {
        match self {
            Self::Lint => !entry.lints.is_empty(),
            Self::Text(text) => {
                let entity = entry.entity.as_ref().map_or("", |entity| entity.id());
                [&entry.event, &*entry.conn, entity, &entry.raw]
                    .iter()
                    .any(|field| contains(field, text))
            }
        }
    }
}

/// Whether `text` holds `wanted`, which is in lower case, without regard to the case of ASCII.
pub(crate) fn contains(text: &str, wanted: &str) -> bool {
    find(text, wanted).is_some()
}

/// Where in `text` the first of `wanted` begins, which is in lower case, in bytes.
pub(crate) fn find(text: &str, wanted: &str) -> Option<usize> {
    let (text, wanted) = (text.as_bytes(), wanted.as_bytes());
    let Some(first) = wanted.first() else {
        return Some(0);
    };
    let starts = text.get(..=text.len().checked_sub(wanted.len())?)?;
    let mut starts = starts.iter().enumerate();
    let hit = starts.find(|(at, byte)| {
        byte.eq_ignore_ascii_case(first)
            && text[*at..at + wanted.len()].eq_ignore_ascii_case(wanted)
    });
    Some(hit?.0)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::model::ring::Bounds;
    use crate::model::testing::entry;

    #[test]
    fn it_finds_in_slices_both_ways() {
        let bounds = Bounds {
            events: 100_000,
            bytes: usize::MAX,
        };
        let (mut ring, mut list) = (Ring::new(bounds), List::new());
        for number in 1..=10_000 {
            let name = if number == 42 {
                "Update-State"
            } else {
                "activity"
            };
            ring.push(Arc::new(entry(number, name)));
            list.push(number);
        }
        let wanted = Wanted::Text("update-s".to_owned());
        let mut search = Search::new(wanted.clone(), false, 10_000);
        assert_eq!(search.work(&ring, &list), Progress::Going);
        assert_eq!(search.work(&ring, &list), Progress::Going);
        assert_eq!(search.work(&ring, &list), Progress::Found(42, false));
        assert_eq!(search.work(&ring, &list), Progress::Idle);
        let mut search = Search::new(wanted.clone(), true, 41);
        assert_eq!(search.work(&ring, &list), Progress::Found(42, false));
        // Beyond the end it goes on at the other one, and comes to what it began at.
        for (from, down, slices) in [
            (42, false, 2),
            (42, true, 2),
            (9_000, true, 0),
            (10, false, 2),
        ] {
            let mut search = Search::new(wanted.clone(), down, from);
            for _ in 0..slices {
                assert_eq!(search.work(&ring, &list), Progress::Going);
            }
            assert_eq!(search.work(&ring, &list), Progress::Found(42, true));
        }
        for down in [true, false] {
            let mut search = Search::new(Wanted::Text("nowhere".to_owned()), down, 5_000);
            for _ in 0..2 {
                assert_eq!(search.work(&ring, &list), Progress::Going);
            }
            assert_eq!(search.work(&ring, &list), Progress::Nothing);
        }
    }

    #[track_caller]
    fn check(text: &str, wanted: &str, expected: bool) {
        assert_eq!(contains(text, wanted), expected, "{text:?} {wanted:?}");
    }

    #[test]
    fn texts() {
        check("abc", "", true);
        check("", "a", false);
        check("xxABc", "abc", true);
        check("ab", "abc", false);
        check("aab", "ab", true);
        check("ÄÖ", "ö", false);
    }
}
