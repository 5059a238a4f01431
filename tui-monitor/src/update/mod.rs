//! What happens to the screen's state when something happens: one function over a closed enum.
//!
//! No IO and no clock, so that a test can play any story. Work that would take long (a new filter
//! over a full ring, a search) is done in slices, one per tick.

mod act;
mod dialog;
mod find;
mod held;
mod mouse;
mod narrow;
mod rules;

use std::sync::Arc;

use ratatui::crossterm::event::{KeyEvent, KeyEventKind};

use crate::event::{Amendment, Effect, Entry, Input, Now, Order, Recording, SourceState, Verdict};
use crate::keys::Key;
use crate::layout::{self, Areas};
use crate::model::connections::Connections;
use crate::model::detail::Detail;
use crate::model::prompt::{Prompt, Purpose, Typed};
use crate::model::search::Wanted;
use crate::model::{Focus, Model};

/// How long a message stays, in microseconds.
const MESSAGE_US: u64 = 6_000_000;

impl Model {
    /// Takes in what happened and returns what is to be done.
    pub fn update(&mut self, input: Input) -> Vec<Effect> {
        let mut effects = Vec::new();
        match input {
            // These come by the thousand, and the screen settles with the tick that follows them.
            Input::Entry(entry) => {
                self.entry(*entry);
                return effects;
            }
            Input::Amend(amendment) => {
                self.amend(amendment);
                return effects;
            }
            Input::Dropped(count) => self.dropped += count,
            Input::Source(state) => self.source(&state),
            Input::Recording(recording) => self.recording(recording),
            Input::Tick(now) => self.tick(now),
            Input::Key(key) if key.kind != KeyEventKind::Release => self.key(key, &mut effects),
            Input::Key(_) => {}
            Input::Mouse(mouse) => self.mouse(mouse, &mut effects),
            Input::Paste(text) => {
                if let Some(prompt) = &mut self.prompt {
                    prompt.paste(&text);
                }
            }
            Input::Resize(columns, rows) => self.size = (columns, rows),
            Input::Done(Ok(told)) => self.say(told),
            Input::Done(Err(told)) => self.warn(told),
            Input::Held(held) => {
                self.held.insert(held.entry.number, (*held, self.now));
            }
            Input::Over(number) => self.over(number),
            Input::Card(card) => self.card = card,
            Input::Rules(rules) => self.rules(rules),
            Input::NoRule { text, why } => self.prompt = Some(Prompt::refused(&text, why)),
        }
        self.settle();
        effects
    }

    fn entry(&mut self, entry: Entry) {
        if self.playback.is_some() {
            // A seek brings minutes at once, which were minutes when they were recorded.
            self.rates.advance(entry.t_us);
        } else {
            let age = self.now.t_us.saturating_sub(entry.t_us);
            self.lag_now_us = self.lag_now_us.max(age);
        }
        for lint in &entry.lints {
            *self.lints.entry(lint.rule).or_default() += 1;
        }
        self.rates.count(&entry);
        self.connections.entry(&entry);
        self.calls.entry(&entry);
        let (number, before) = (entry.number, self.ring.len());
        if self.filter.matches(&entry) {
            self.list.push(number);
        }
        self.ring.push(Arc::new(entry));
        self.forgotten += (before + 1 - self.ring.len()) as u64;
        if let Some(oldest) = self.ring.oldest() {
            self.list.forget_below(oldest);
        }
    }

    fn amend(&mut self, amendment: Amendment) {
        for lint in &amendment.lints {
            *self.lints.entry(lint.rule).or_default() += 1;
        }
        let number = amendment.number;
        let mention = amendment.receipt.clone();
        let amended = self.ring.amend(number, |entry| amendment.apply(entry));
        if let Some(entry) = amended {
            if let Some(receipt) = mention {
                let account = Arc::clone(&entry.account);
                self.connections
                    .mention(&account, &receipt.conn, &receipt.scope);
            }
            let passes = self.filter.matches(entry);
            self.list.reconsider(number, passes);
            if let Some(bookmark) = self.bookmarks.get_mut(&number) {
                *bookmark = Arc::clone(entry);
            }
        }
    }

    fn source(&mut self, state: &SourceState) {
        match state {
            SourceState::Playback(playback) => self.playback = Some(*playback),
            SourceState::Rewound => {
                self.ring.clear();
                self.list.clear();
                self.calls.clear();
                self.connections = Connections::default();
                self.rates.clear();
                self.lints.clear();
                self.forgotten = 0;
                self.detail = None;
                self.zoom = false;
                self.ended = None;
            }
            SourceState::Ended { reason } => self.ended = Some(reason.clone()),
            SourceState::Connecting { .. }
            | SourceState::Connected { .. }
            | SourceState::Reconnecting { .. }
            | SourceState::Closed { .. } => self.connections.source(state),
        }
    }

    fn recording(&mut self, recording: Recording) {
        match (&self.recording, &recording) {
            (Recording::Off, Recording::On { path, .. }) => {
                self.say(format!("recording to {path}"));
            }
            (Recording::On { path, records }, Recording::Off) => {
                let told = format!("recorded {records} records to {path}");
                self.say(told);
            }
            (_, Recording::Failed { path, reason }) => {
                self.warn(format!("recording to {path} stopped: {reason}"));
            }
            _ => {}
        }
        self.recording = recording;
    }

    fn tick(&mut self, now: Now) {
        self.now = now;
        let played = self.playback.map(|playback| playback.position_us);
        self.rates.advance(played.unwrap_or(now.t_us));
        // Whoever has the cursor there wants each row to stay where it is.
        if !self.is_at_rates() {
            self.rates.put_in_order();
        }
        self.lag_us = std::mem::take(&mut self.lag_now_us);
        let said = self.message.as_ref().map(|message| message.t_us);
        if said.is_some_and(|said| now.t_us.saturating_sub(said) > MESSAGE_US) {
            self.message = None;
        }
        self.list.work(&self.ring, &self.filter);
        self.search_on();
    }

    /// Brings cursor, window and detail in line with what is kept and with the size.
    pub(crate) fn settle(&mut self) {
        if self.detail.is_none() {
            self.zoom = false;
        }
        if self.focus == Focus::Detail && self.detail.is_none()
            || self.focus == Focus::Side && !self.side_shown()
        {
            self.focus = Focus::List;
        }
        self.settle_held();
        let areas = self.areas();
        self.list.settle(usize::from(areas.rows().height));
        if let Some(side) = areas.side.filter(|_| self.focus == Focus::Side) {
            let section = layout::sections(side)[self.section as usize];
            let things = self.things(self.section);
            let height = usize::from(layout::inside(section).height);
            self.cursor_mut().settle(&things, height);
        }
        let (Some(old), Some(area)) = (&self.detail, areas.detail) else {
            return;
        };
        let inside = layout::inside(area);
        let (width, height) = (usize::from(inside.width), usize::from(inside.height));
        let Some(entry) = self.selected().cloned() else {
            return;
        };
        let related = self.related(&entry);
        if old.shows(&entry, &related, width) {
            // The pane may have become higher.
            if let Some(detail) = &mut self.detail {
                detail.scroll_by(0, height);
            }
            return;
        }
        let same = old.number() == entry.number && !old.is_new();
        let scroll = old.scroll();
        let mut detail = Detail::new(entry, related, width);
        if same {
            detail.scroll_to(scroll, height);
        } else if let Some(line) = self.wanted().and_then(|text| detail.line_with(text))
            && line >= height
        {
            // What was searched for is what one wants to see, with some lines before it.
            detail.scroll_to(line - height / 3, height);
        }
        self.detail = Some(detail);
    }

    /// The kept entries with the same link, the entry itself included.
    fn related(&self, entry: &Entry) -> Vec<Arc<Entry>> {
        match entry.link {
            None => Vec::new(),
            link => {
                let all = self.ring.iter().filter(|other| other.link == link);
                all.take(50).cloned().collect()
            }
        }
    }

    fn areas(&self) -> Areas {
        layout::areas(self)
    }

    fn key(&mut self, key: KeyEvent, effects: &mut Vec<Effect>) {
        if self.prompt.is_some() {
            self.type_key(key, effects);
            return;
        }
        let key = Key::of(key);
        if self.dialog.is_none()
            && let Some(saved) = self.keys.saved(key)
        {
            let (show, name) = (saved.show.clone(), saved.name.clone());
            self.narrowing = None;
            self.filter_by(&show);
            self.say(name);
            return;
        }
        let Some(action) = self.keys.action(key) else {
            return;
        };
        self.message = None;
        match self.dialog {
            Some(dialog) => self.in_dialog(dialog, action, effects),
            None => self.act(action, effects),
        }
    }

    fn type_key(&mut self, key: KeyEvent, effects: &mut Vec<Effect>) {
        let Some(prompt) = &mut self.prompt else {
            return;
        };
        match prompt.key(key) {
            Typed::More => {}
            Typed::Left => self.prompt = None,
            Typed::Accepted => {
                let (purpose, text) = (prompt.purpose, prompt.text().to_owned());
                self.prompt = None;
                match purpose {
                    Purpose::Filter => self.filter_by(&text),
                    Purpose::Edit(number) => {
                        let verdict = Verdict::Replace(text);
                        effects.push(Effect::Order(Order::Decide(number, verdict)));
                    }
                    Purpose::Rule => effects.push(Effect::Order(Order::AddRule(text))),
                    Purpose::Search => {
                        let text = text.to_ascii_lowercase();
                        self.search_for(Wanted::Text(text), true);
                    }
                }
            }
        }
    }
}
