//! Finding entries: by a filter, by a search, by what belongs together, by bookmarks.

use crate::filter::Filter;
use crate::model::search::{Progress, Search, Wanted};
use crate::model::{Focus, MOST_BOOKMARKS, Model};

impl Model {
    pub(super) fn search_on(&mut self) {
        let Some(search) = &mut self.search else {
            return;
        };
        match search.work(&self.ring, &self.list) {
            Progress::Idle | Progress::Going => {}
            Progress::Found(number, has_wrapped) => {
                let end = if search.down { "first" } else { "last" };
                if has_wrapped && self.list.selected() == Some(number) {
                    self.say("the list has no other");
                } else if has_wrapped {
                    self.say(format!("the search went on from the {end} event"));
                }
                self.list.select(number);
            }
            Progress::Nothing => {
                let told = match &search.wanted {
                    Wanted::Text(text) => format!("no {text:?} in the list"),
                    Wanted::Lint => "nothing in the list looks wrong".to_owned(),
                };
                self.say(told);
            }
        }
    }

    pub(super) fn filter_by(&mut self, text: &str) {
        match Filter::parse(text) {
            Ok(filter) => {
                self.filter = filter;
                self.list.refilter(&self.ring, &self.filter);
            }
            // The line does not accept what is no filter, but a paste may end in Enter.
            Err(error) => self.warn(error.to_string()),
        }
    }

    pub(super) fn search_for(&mut self, wanted: Wanted, down: bool) {
        let newest = self.ring.newest().map_or(0, |entry| entry.number);
        let from = self.list.selected().unwrap_or(newest);
        self.search = Some(Search::new(wanted, down, from));
        self.search_on();
    }

    pub(super) fn search_again(&mut self, down: bool) {
        match &self.search {
            Some(search) => self.search_for(search.wanted.clone(), down),
            None => self.say("nothing was searched for yet"),
        }
    }

    /// Puts the cursor on an entry, and makes it listed if the filter hides it.
    pub(super) fn show(&mut self, number: u64) {
        let hidden = self
            .ring
            .get(number)
            .is_some_and(|entry| !self.filter.matches(entry));
        if hidden {
            self.filter_by("");
            self.say("the filter was cleared, since it hides that entry");
        }
        self.list.select(number);
        self.focus = match self.focus {
            Focus::Side => Focus::List,
            focus => focus,
        };
    }

    pub(super) fn pair(&mut self) {
        let Some(entry) = self.selected().cloned() else {
            return;
        };
        let related = self.related(&entry);
        let next = related.iter().find(|other| other.number > entry.number);
        match next
            .or(related.first())
            .filter(|other| other.number != entry.number)
        {
            Some(other) => self.show(other.number),
            None => self.say("nothing else is known to belong to this entry"),
        }
    }

    pub(super) fn bookmark(&mut self) {
        let Some(entry) = self.selected().cloned() else {
            return;
        };
        if self.bookmarks.remove(&entry.number).is_none() {
            if self.bookmarks.len() == MOST_BOOKMARKS {
                self.warn(format!(
                    "{MOST_BOOKMARKS} bookmarks are the most that are kept"
                ));
                return;
            }
            self.bookmarks.insert(entry.number, entry);
        }
    }

    pub(super) fn next_bookmark(&mut self) {
        let from = self.list.selected().unwrap_or(0);
        let kept = |number: &&u64| self.ring.get(**number).is_some();
        let next = self
            .bookmarks
            .range(from + 1..)
            .map(|(number, _)| number)
            .find(kept);
        match next.or_else(|| self.bookmarks.keys().find(kept)).copied() {
            Some(number) => self.show(number),
            None => self.say("no bookmark is in the list"),
        }
    }
}
