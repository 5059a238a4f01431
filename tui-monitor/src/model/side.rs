//! What can be selected in the side pane, and where its cursor is.
//!
//! The cursor is held by what it stands on rather than by place, so that a call that arrives above does
//! not move it. This module must not draw, and must not know what is done with the selection.

use std::sync::Arc;

use super::{Model, Section};
use crate::event::Kind;

/// A row of the side pane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Thing {
    /// A type of event, as it is counted.
    Type(Kind, Arc<str>),
    /// An account.
    Account(Arc<str>),
    /// A connection: its account, and its label.
    Connection(Arc<str>, Arc<str>),
    /// A remote call, by its link.
    Call(u64),
}

/// The cursor of a section.
#[derive(Debug, Default)]
pub(crate) struct Cursor {
    thing: Option<Thing>,
    at: usize,
    /// The first row that is shown.
    top: usize,
}

impl Cursor {
    /// What it stands on.
    pub(crate) fn thing(&self) -> Option<&Thing> {
        self.thing.as_ref()
    }

    /// Its row, and the first row that is shown.
    pub(crate) fn place(&self) -> (usize, usize) {
        (self.at, self.top)
    }

    /// Moves it by rows.
    pub(crate) fn step(&mut self, things: &[Thing], rows: isize) {
        let last = things.len().saturating_sub(1);
        self.go_to(things, self.at.saturating_add_signed(rows).min(last));
    }

    /// Puts it on a row, if there is one.
    pub(crate) fn go_to(&mut self, things: &[Thing], at: usize) {
        if let Some(thing) = things.get(at) {
            (self.thing, self.at) = (Some(thing.clone()), at);
        }
    }

    /// Brings it back onto what it stood on, or into the place of what is gone, and the window of
    /// `height` rows around it.
    pub(crate) fn settle(&mut self, things: &[Thing], height: usize) {
        let held = self.thing.as_ref();
        let now = held.and_then(|held| things.iter().position(|thing| thing == held));
        self.at = now.unwrap_or(self.at.min(things.len().saturating_sub(1)));
        self.thing = things.get(self.at).cloned();
        let height = height.max(1);
        let lowest = things.len().saturating_sub(height);
        let top = self.top.min(lowest);
        self.top = top.clamp((self.at + 1).saturating_sub(height), self.at);
    }
}

impl Model {
    /// The rows of a section, in their order.
    pub(crate) fn things(&self, section: Section) -> Vec<Thing> {
        match section {
            Section::Rates => {
                let rows = self.rates.rows();
                rows.map(|(kind, name, _)| Thing::Type(kind, Arc::clone(name)))
                    .collect()
            }
            Section::Connections => {
                let mut things = Vec::new();
                for (name, account) in self.connections.accounts() {
                    things.push(Thing::Account(Arc::clone(name)));
                    let connections = account.connections.keys();
                    things.extend(
                        connections
                            .map(|conn| Thing::Connection(Arc::clone(name), Arc::clone(conn))),
                    );
                }
                things
            }
            Section::Calls => {
                let calls = self.calls.newest();
                calls.map(|call| Thing::Call(call.link)).collect()
            }
        }
    }

    /// The cursor of the section that was looked at last.
    pub(crate) fn cursor(&self) -> &Cursor {
        &self.cursors[self.section as usize]
    }

    pub(crate) fn cursor_mut(&mut self) -> &mut Cursor {
        &mut self.cursors[self.section as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calls(links: &[u64]) -> Vec<Thing> {
        links.iter().map(|link| Thing::Call(*link)).collect()
    }

    #[test]
    fn the_cursor_stays_on_what_it_stands_on() {
        let mut cursor = Cursor::default();
        let mut check = |links: &[u64], step, expected, top| {
            let things = calls(links);
            cursor.settle(&things, 3);
            cursor.step(&things, step);
            cursor.settle(&things, 3);
            let expected: Option<u64> = expected;
            assert_eq!(cursor.thing(), expected.map(Thing::Call).as_ref());
            assert_eq!(cursor.place().1, top);
        };
        check(&[], 1, None, 0);
        check(&[3, 2, 1], 1, Some(2), 0);
        // Newer calls arrive above.
        check(&[5, 4, 3, 2, 1], 0, Some(2), 1);
        check(&[5, 4, 3, 2, 1], isize::MAX, Some(1), 2);
        // It has left, and what is there now is selected.
        check(&[9, 8, 7, 6, 5], 0, Some(5), 2);
        check(&[9, 8], 0, Some(8), 0);
        check(&[9, 8], isize::MIN, Some(9), 0);
    }
}
