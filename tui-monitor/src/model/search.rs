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

/// A search: what for, which way, and how far it has come.
#[derive(Debug)]
pub(crate) struct Search {
    pub(crate) wanted: Wanted,
    down: bool,
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
    Found(u64),
    /// The end was reached.
    Nothing,
}

impl Search {
    /// A search that begins next to `from`.
    pub(crate) fn new(wanted: Wanted, down: bool, from: u64) -> Self {
        let at = Some(from);
        Self { wanted, down, at }
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
        let Some(at) = self.at else {
            return Progress::Idle;
        };
        let mut looked = 0;
        let mut last = None;
        let mut found = None;
        for number in list.from(at, self.down).take(SLICE) {
            looked += 1;
            last = Some(number);
            if ring
                .get(number)
                .is_some_and(|entry| self.wanted.fits(entry))
            {
                found = Some(number);
                break;
            }
        }
        self.at = match (found, looked) {
            (None, SLICE) => last,
            _ => None,
        };
        match found {
            Some(number) => Progress::Found(number),
            None if self.at.is_some() => Progress::Going,
            None => Progress::Nothing,
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
        assert_eq!(search.work(&ring, &list), Progress::Found(42));
        assert_eq!(search.work(&ring, &list), Progress::Idle);
        let mut search = Search::new(wanted.clone(), true, 41);
        assert_eq!(search.work(&ring, &list), Progress::Found(42));
        let mut search = Search::new(wanted, false, 42);
        assert_eq!(search.work(&ring, &list), Progress::Nothing);
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
