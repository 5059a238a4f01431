//! Everything that the screen shows, and nothing of how: what is kept, listed, counted, and where the
//! focus is.
//!
//! Only [`update`](crate::update) changes it, and drawing only reads it. This module must not do IO
//! and must not read a clock: time comes in as [`Input::Tick`](crate::event::Input::Tick).

pub(crate) mod connections;
pub(crate) mod detail;
pub(crate) mod list;
pub(crate) mod prompt;
pub(crate) mod rates;
mod ring;
pub(crate) mod rpc;
pub(crate) mod search;
pub(crate) mod side;
#[cfg(test)]
pub(crate) mod testing;

use std::collections::BTreeMap;
use std::sync::Arc;

pub use self::ring::Bounds;
use self::{
    connections::Connections, detail::Detail, list::List, prompt::Prompt, rates::Rates, ring::Ring,
    rpc::Calls, search::Search, side::Cursor,
};
use crate::event::{Entry, Held, Now, Playback, Recording, Rule};
use crate::filter::{Clause, Filter};
use crate::keys::Keymap;
use crate::theme::Theme;
use crate::times::{Offset, Times};

/// Bookmarks that are kept. Their entries stay when the ring lets them go.
pub(crate) const MOST_BOOKMARKS: usize = 1_000;

/// What a screen begins with.
#[derive(Debug)]
pub struct Setup {
    /// What is watched, for the header: a URL or a file. Never holds a token.
    pub target: String,
    /// Colours.
    pub theme: Theme,
    /// Whether only ASCII is drawn.
    pub ascii: bool,
    /// How times are told.
    pub times: Times,
    /// How far the local time is from UTC.
    pub offset: Offset,
    /// Keys.
    pub keys: Keymap,
    /// How much is kept.
    pub bounds: Bounds,
    /// The filter to begin with.
    pub filter: Filter,
    /// Columns and rows.
    pub size: (u16, u16),
    /// The time.
    pub now: Now,
}

/// What the screen shows.
#[derive(Debug)]
pub struct Model {
    pub(crate) target: String,
    pub(crate) theme: Theme,
    pub(crate) ascii: bool,
    pub(crate) times: Times,
    pub(crate) offset: Offset,
    pub(crate) keys: Keymap,
    pub(crate) size: (u16, u16),
    pub(crate) now: Now,

    pub(crate) ring: Ring,
    pub(crate) filter: Filter,
    pub(crate) list: List,
    pub(crate) rates: Rates,
    pub(crate) connections: Connections,
    pub(crate) calls: Calls,
    pub(crate) bookmarks: BTreeMap<u64, Arc<Entry>>,

    /// Entries that were lost between the source and the screen.
    pub(crate) dropped: u64,
    /// Entries that left the ring.
    pub(crate) forgotten: u64,
    pub(crate) lints: BTreeMap<&'static str, u64>,
    /// How old the oldest entry of the last round was when it came here, in microseconds.
    pub(crate) lag_us: u64,
    pub(crate) lag_now_us: u64,
    pub(crate) recording: Recording,
    pub(crate) playback: Option<Playback>,
    /// Why nothing follows any more.
    pub(crate) ended: Option<String>,

    pub(crate) focus: Focus,
    pub(crate) side: Option<bool>,
    pub(crate) section: Section,
    pub(crate) cursors: [Cursor; 3],
    pub(crate) detail: Option<Detail>,
    pub(crate) zoom: bool,
    pub(crate) prompt: Option<Prompt>,
    pub(crate) search: Option<Search>,
    /// The filter that the last key made of the selection.
    pub(crate) narrowing: Option<Narrowing>,
    pub(crate) dialog: Option<Dialog>,
    pub(crate) message: Option<Message>,

    /// What a proxy holds, by number, and since when.
    pub(crate) held: BTreeMap<u64, (Held, Now)>,
    /// The detail of the one that is chosen.
    pub(crate) held_detail: Option<Detail>,
    /// The rules of a proxy. Nothing where there is no proxy.
    pub(crate) rules: Option<Vec<Rule>>,
    /// What the clients of a proxy have done.
    pub(crate) card: Vec<String>,
}

/// What became of the events of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// Events that were counted, without their copies and without the monitor's own entries.
    pub seen: u64,
    /// Entries and copies that were lost between the source and the screen.
    pub dropped: u64,
    /// Entries that have left the ring.
    pub forgotten: u64,
}

/// Which pane the keys go to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Focus {
    List,
    Detail,
    Side,
}

/// The sections of the side pane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Section {
    Rates,
    Connections,
    Calls,
}

impl Section {
    pub(crate) const ALL: [Self; 3] = [Self::Rates, Self::Connections, Self::Calls];
}

/// A filter that is made of the selection, by one condition after the other.
#[derive(Debug)]
pub(crate) struct Narrowing {
    /// The filter before.
    pub(crate) base: String,
    /// What the selection can be chosen by.
    pub(crate) clauses: Vec<Clause>,
    /// Which of them it is now.
    pub(crate) step: usize,
}

/// What lies over everything else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialog {
    /// The keys, scrolled by lines.
    Help { scroll: usize },
    /// The bookmarks, with the cursor.
    Bookmarks { cursor: usize },
    /// What a proxy holds, with the cursor.
    Held { cursor: usize },
    /// What the clients of a proxy have done, scrolled by lines.
    Clients { scroll: usize },
    /// The rules of a proxy, with the cursor.
    Rules { cursor: usize },
}

/// Something to tell for a while.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) text: String,
    pub(crate) bad: bool,
    /// When it was said, in microseconds.
    pub(crate) t_us: u64,
}

impl Model {
    /// An empty screen.
    pub fn new(setup: Setup) -> Self {
        let mut rates = Rates::default();
        rates.advance(setup.now.t_us);
        let mut model = Self {
            target: setup.target,
            theme: setup.theme,
            ascii: setup.ascii,
            times: setup.times,
            offset: setup.offset,
            keys: setup.keys,
            size: setup.size,
            now: setup.now,
            ring: Ring::new(setup.bounds),
            filter: setup.filter,
            list: List::new(),
            rates,
            connections: Connections::default(),
            calls: Calls::default(),
            bookmarks: BTreeMap::new(),
            dropped: 0,
            forgotten: 0,
            lints: BTreeMap::new(),
            lag_us: 0,
            lag_now_us: 0,
            recording: Recording::Off,
            playback: None,
            ended: None,
            focus: Focus::List,
            side: None,
            section: Section::Rates,
            cursors: Default::default(),
            detail: None,
            zoom: false,
            prompt: None,
            search: None,
            narrowing: None,
            dialog: None,
            message: None,
            held: BTreeMap::new(),
            held_detail: None,
            rules: None,
            card: Vec::new(),
        };
        model.settle();
        model
    }

    /// The selected entry, while the ring has it.
    pub(crate) fn selected(&self) -> Option<&Arc<Entry>> {
        self.ring.get(self.list.selected()?)
    }

    /// The text whose hits are marked, in lower case.
    pub(crate) fn wanted(&self) -> Option<&str> {
        self.search.as_ref()?.text()
    }

    /// Whether the side pane is shown: as asked for, else where there is room.
    pub(crate) fn side_shown(&self) -> bool {
        self.side.unwrap_or(self.size.0 >= 110)
    }

    /// Whether the keys go to the rates.
    pub(crate) fn is_at_rates(&self) -> bool {
        self.focus == Focus::Side && self.section == Section::Rates
    }

    /// All lints that were seen.
    pub(crate) fn lint_count(&self) -> u64 {
        self.lints.values().sum()
    }

    /// How many events the model holds, and their bytes: what a bench measures against the bounds.
    pub fn kept(&self) -> (usize, usize) {
        (self.ring.len(), self.ring.weight())
    }

    /// What the header counts, for whoever checks it.
    pub fn counts(&self) -> Counts {
        Counts {
            seen: self.rates.total(),
            dropped: self.dropped,
            forgotten: self.forgotten,
        }
    }

    pub(crate) fn say(&mut self, text: impl Into<String>) {
        self.message(text.into(), false);
    }

    pub(crate) fn warn(&mut self, text: impl Into<String>) {
        self.message(text.into(), true);
    }

    fn message(&mut self, text: String, bad: bool) {
        let t_us = self.now.t_us;
        self.message = Some(Message { text, bad, t_us });
    }
}
