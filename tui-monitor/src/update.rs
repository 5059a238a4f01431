//! What happens to the screen's state when something happens: one function over a closed enum.
//!
//! No IO and no clock, so that a test can play any story. Work that would take long (a new filter
//! over a full ring, a search) is done in slices, one per tick.

use std::sync::Arc;

use ratatui::crossterm::event::{KeyEvent, KeyEventKind, MouseButton, MouseEvent, MouseEventKind};

use crate::event::{Amendment, Control, Effect, Entry, Input, Kind, Now, Recording, SourceState};
use crate::filter::Filter;
use crate::keys::{Action, Key};
use crate::layout::{self, Areas};
use crate::model::connections::Connections;
use crate::model::detail::Detail;
use crate::model::prompt::{Prompt, Purpose, Typed};
use crate::model::search::{Progress, Search, Wanted};
use crate::model::{Dialog, Focus, MOST_BOOKMARKS, Model, Section};
use crate::text;

/// How long a message stays, in microseconds.
const MESSAGE_US: u64 = 6_000_000;

/// Rows that a turn of the mouse wheel moves.
const WHEEL: isize = 3;

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
        }
        self.settle();
        effects
    }

    fn entry(&mut self, entry: Entry) {
        if self.playback.is_none() {
            let age = self.now.t_us.saturating_sub(entry.t_us);
            self.lag_now_us = self.lag_now_us.max(age);
        }
        for lint in &entry.lints {
            *self.lints.entry(lint.kind).or_default() += 1;
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
            *self.lints.entry(lint.kind).or_default() += 1;
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
        self.rates.advance(now.t_us);
        self.lag_us = std::mem::take(&mut self.lag_now_us);
        let said = self.message.as_ref().map(|message| message.t_us);
        if said.is_some_and(|said| now.t_us.saturating_sub(said) > MESSAGE_US) {
            self.message = None;
        }
        self.list.work(&self.ring, &self.filter);
        self.search_on();
    }

    fn search_on(&mut self) {
        let Some(search) = &mut self.search else {
            return;
        };
        match search.work(&self.ring, &self.list) {
            Progress::Idle | Progress::Going => {}
            Progress::Found(number) => self.list.select(number),
            Progress::Nothing => {
                let told = match &search.wanted {
                    Wanted::Text(text) => format!("no further {text:?} in the list"),
                    Wanted::Lint => "nothing further in the list looks wrong".to_owned(),
                };
                self.say(told);
            }
        }
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
        let areas = self.areas();
        self.list.settle(usize::from(areas.rows().height));
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
            self.type_key(key);
            return;
        }
        let Some(action) = self.keys.action(Key::of(key)) else {
            return;
        };
        self.message = None;
        match self.dialog {
            Some(dialog) => self.in_dialog(dialog, action, effects),
            None => self.act(action, effects),
        }
    }

    fn type_key(&mut self, key: KeyEvent) {
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
                    Purpose::Search => {
                        let text = text.to_ascii_lowercase();
                        self.search_for(Wanted::Text(text), true);
                    }
                }
            }
        }
    }

    fn filter_by(&mut self, text: &str) {
        match Filter::parse(text) {
            Ok(filter) => {
                self.filter = filter;
                self.list.refilter(&self.ring, &self.filter);
            }
            // The line does not accept what is no filter, but a paste may end in Enter.
            Err(error) => self.warn(error.to_string()),
        }
    }

    fn search_for(&mut self, wanted: Wanted, down: bool) {
        let newest = self.ring.newest().map_or(0, |entry| entry.number);
        let from = self.list.selected().unwrap_or(newest);
        self.search = Some(Search::new(wanted, down, from));
        self.search_on();
    }

    fn search_again(&mut self, down: bool) {
        match &self.search {
            Some(search) => self.search_for(search.wanted.clone(), down),
            None => self.say("nothing was searched for yet"),
        }
    }

    fn in_dialog(&mut self, dialog: Dialog, action: Action, effects: &mut Vec<Effect>) {
        let height = isize::try_from(layout::dialog_rows(self)).unwrap_or(1);
        let step: isize = match action {
            Action::Up => -1,
            Action::Down => 1,
            Action::PageUp => -height,
            Action::PageDown => height,
            Action::Top => isize::MIN,
            Action::Bottom => isize::MAX,
            Action::Quit => {
                effects.push(Effect::Quit);
                return;
            }
            Action::Open => {
                self.dialog = None;
                if let Dialog::Bookmarks { cursor } = dialog {
                    self.show_bookmark(cursor);
                }
                return;
            }
            Action::Copy | Action::Save => {
                if let Dialog::Bookmarks { cursor } = dialog
                    && let Some(entry) = self.bookmarks.values().nth(cursor)
                {
                    effects.push(keep(action, Arc::clone(entry)));
                }
                return;
            }
            Action::SaveList => {
                if matches!(dialog, Dialog::Bookmarks { .. }) {
                    let entries = self.bookmarks.values().cloned().collect();
                    let stem = "bookmarks";
                    effects.push(Effect::Save { stem, entries });
                }
                return;
            }
            Action::Bookmark => {
                if let Dialog::Bookmarks { cursor } = dialog
                    && let Some(number) = self.bookmarks.keys().nth(cursor).copied()
                {
                    self.bookmarks.remove(&number);
                    let cursor = cursor.min(self.bookmarks.len().saturating_sub(1));
                    self.dialog = Some(Dialog::Bookmarks { cursor });
                }
                return;
            }
            Action::Theme => {
                self.theme = self.theme.next();
                return;
            }
            Action::Back | Action::Help | Action::Bookmarks => {
                self.dialog = None;
                return;
            }
            _ => return,
        };
        let last = match dialog {
            Dialog::Help { .. } => layout::help_scroll_end(self),
            Dialog::Bookmarks { .. } => self.bookmarks.len().saturating_sub(1),
        };
        let to = |at: usize| at.saturating_add_signed(step).min(last);
        self.dialog = Some(match dialog {
            Dialog::Help { scroll } => Dialog::Help { scroll: to(scroll) },
            Dialog::Bookmarks { cursor } => Dialog::Bookmarks { cursor: to(cursor) },
        });
    }

    fn show_bookmark(&mut self, at: usize) {
        let Some(number) = self.bookmarks.keys().nth(at).copied() else {
            return;
        };
        if self.ring.get(number).is_none() {
            self.warn(format!(
                "#{number} has left the ring; its bookmark can still be saved"
            ));
            return;
        }
        self.show(number);
    }

    /// Puts the cursor on an entry, and makes it listed if the filter hides it.
    fn show(&mut self, number: u64) {
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

    fn act(&mut self, action: Action, effects: &mut Vec<Effect>) {
        match action {
            Action::Quit => effects.push(Effect::Quit),
            Action::Help => self.dialog = Some(Dialog::Help { scroll: 0 }),
            Action::Back => self.back(),
            Action::Up => self.scroll(-1),
            Action::Down => self.scroll(1),
            Action::PageUp => self.page(-1),
            Action::PageDown => self.page(1),
            Action::Top | Action::Bottom => self.go_to_edge(action == Action::Bottom),
            Action::Left => self.next_section(2),
            Action::Right => self.next_section(1),
            Action::Open => self.open(),
            Action::NextPane => self.next_pane(),
            Action::Side => {
                self.side = Some(!self.side_shown());
                if self.side_shown() && self.areas().list.is_none() {
                    self.focus = Focus::Side;
                }
            }
            Action::Zoom => {
                if self.detail.is_none() {
                    self.open();
                }
                self.zoom = !self.zoom && self.detail.is_some();
                if self.zoom {
                    self.focus = Focus::Detail;
                }
            }
            Action::Pause => self.pause(),
            Action::Filter => {
                let text = self.filter.text().to_owned();
                self.prompt = Some(Prompt::new(Purpose::Filter, &text));
            }
            Action::ClearFilter => self.filter_by(""),
            Action::Search => self.prompt = Some(Prompt::new(Purpose::Search, "")),
            Action::SearchNext => self.search_again(true),
            Action::SearchPrevious => self.search_again(false),
            Action::NextLint => self.search_for(Wanted::Lint, true),
            Action::Pair => self.pair(),
            Action::Bookmark => self.bookmark(),
            Action::NextBookmark => self.next_bookmark(),
            Action::Bookmarks => self.dialog = Some(Dialog::Bookmarks { cursor: 0 }),
            Action::Copy | Action::Save => match self.selected() {
                Some(entry) => effects.push(keep(action, Arc::clone(entry))),
                None => self.say("no event is selected"),
            },
            Action::SaveList => {
                let numbers = self.list.numbers();
                let entries = numbers.filter_map(|number| self.ring.get(number).cloned());
                let entries = entries.collect();
                let stem = "events";
                effects.push(Effect::Save { stem, entries });
            }
            Action::Record => {
                let begin = !matches!(self.recording, Recording::On { .. });
                effects.push(Effect::Control(Control::Record(begin)));
            }
            Action::Times => {
                self.times = self.times.next();
                self.say(format!("times: {}", self.times.about()));
            }
            Action::Theme => {
                self.theme = self.theme.next();
                self.say(format!("theme: {}", self.theme.name()));
            }
            Action::Play | Action::Faster | Action::Slower | Action::Forward | Action::Backward => {
                self.play(action, effects);
            }
        }
    }

    fn back(&mut self) {
        if let Some(search) = &mut self.search
            && search.under_way()
        {
            search.stop();
        } else if self.zoom {
            self.zoom = false;
        } else if self.detail.is_some() {
            self.detail = None;
        } else if self.areas().list.is_none() {
            self.side = Some(false);
        } else if self.focus != Focus::List {
            self.focus = Focus::List;
        } else {
            self.search = None;
        }
    }

    fn scroll(&mut self, rows: isize) {
        match self.focus {
            Focus::List => self.list.step(rows),
            Focus::Detail => self.scroll_detail(rows),
            Focus::Side => self.scroll_side(rows),
        }
    }

    fn page(&mut self, pages: isize) {
        match self.focus {
            Focus::List => self.list.page(pages),
            Focus::Detail => {
                let rows = isize::try_from(self.detail_height().saturating_sub(1)).unwrap_or(1);
                self.scroll_detail(rows * pages);
            }
            Focus::Side => self.scroll_side(pages * 5),
        }
    }

    fn go_to_edge(&mut self, end: bool) {
        let far = if end { isize::MAX } else { isize::MIN };
        match (self.focus, end) {
            (Focus::List, true) => {
                self.list.release();
                self.list.go_to_end();
            }
            (Focus::List, false) => self.list.go_to_start(),
            (Focus::Detail, _) => self.scroll_detail(far),
            (Focus::Side, _) => self.scroll_side(far),
        }
    }

    fn detail_height(&self) -> usize {
        let area = self.areas().detail.unwrap_or_default();
        usize::from(layout::inside(area).height)
    }

    fn scroll_detail(&mut self, lines: isize) {
        let height = self.detail_height();
        if let Some(detail) = &mut self.detail {
            detail.scroll_by(lines, height);
        }
    }

    fn scroll_side(&mut self, rows: isize) {
        let last = layout::side_scroll_end(self);
        self.section_scroll = self.section_scroll.saturating_add_signed(rows).min(last);
    }

    fn next_section(&mut self, step: usize) {
        let at = Section::ALL
            .iter()
            .position(|section| *section == self.section);
        self.section = Section::ALL[(at.unwrap_or(0) + step) % Section::ALL.len()];
        self.section_scroll = 0;
    }

    fn next_pane(&mut self) {
        let areas = self.areas();
        let order = [
            (Focus::List, areas.list.is_some()),
            (Focus::Detail, areas.detail.is_some()),
            (Focus::Side, areas.side.is_some()),
        ];
        let at = order.iter().position(|(focus, _)| *focus == self.focus);
        let at = at.unwrap_or(0);
        let next = (1..=order.len()).map(|step| order[(at + step) % order.len()]);
        if let Some((focus, _)) = next.into_iter().find(|(_, shown)| *shown) {
            self.focus = focus;
        }
    }

    /// Opens the detail, which holds the cursor where it is, or closes it.
    fn open(&mut self) {
        if self.focus == Focus::Side && self.section == Section::Calls {
            let call = self.calls.newest().nth(self.section_scroll);
            if let Some(number) = call.map(|call| call.number) {
                if self.ring.get(number).is_some() {
                    self.show(number);
                } else {
                    self.say(format!("#{number} has left the ring"));
                }
            }
            return;
        }
        if self.detail.take().is_some() {
            return;
        }
        if let Some(entry) = self.selected().cloned() {
            self.list.stop_following();
            // Its width is known once the layout has a place for it.
            self.detail = Some(Detail::new(entry, Vec::new(), 0));
        }
    }

    fn pause(&mut self) {
        if self.list.paused() {
            let back = self.list.held_back();
            self.list.release();
            self.say(format!("{} came meanwhile", text::count(back, "event")));
        } else {
            let newest = self.ring.newest().map_or(0, |entry| entry.number);
            self.list.hold(newest);
        }
    }

    fn pair(&mut self) {
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

    fn bookmark(&mut self) {
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

    fn next_bookmark(&mut self) {
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

    fn play(&mut self, action: Action, effects: &mut Vec<Effect>) {
        let Some(playback) = &mut self.playback else {
            self.say("only an opened recording can be played");
            return;
        };
        let part = playback.length_us / 20;
        let control = match action {
            Action::Faster => Control::Speed((playback.speed * 2.0).min(1000.0)),
            Action::Slower => Control::Speed((playback.speed / 2.0).max(0.01)),
            Action::Forward => Control::Seek((playback.position_us + part).min(playback.length_us)),
            Action::Backward => Control::Seek(playback.position_us.saturating_sub(part)),
            _ => Control::Play(!playback.playing),
        };
        // The source will tell the same. Until then the next key counts from here.
        match control {
            Control::Speed(speed) => playback.speed = speed,
            Control::Seek(position_us) => playback.position_us = position_us,
            Control::Play(playing) => playback.playing = playing,
            Control::Record(_) => {}
        }
        effects.push(Effect::Control(control));
    }

    fn mouse(&mut self, mouse: MouseEvent, effects: &mut Vec<Effect>) {
        let areas = self.areas();
        let at = (mouse.column, mouse.row);
        let within =
            |area: Option<ratatui::layout::Rect>| area.is_some_and(|a| a.contains(at.into()));
        let wheel = match mouse.kind {
            MouseEventKind::ScrollUp => -WHEEL,
            MouseEventKind::ScrollDown => WHEEL,
            MouseEventKind::Down(MouseButton::Left) => 0,
            _ => return,
        };
        if let Some(dialog) = self.dialog {
            match wheel {
                0 => self.dialog = None,
                up if up < 0 => self.in_dialog(dialog, Action::Up, effects),
                _ => self.in_dialog(dialog, Action::Down, effects),
            }
        } else if within(areas.detail) {
            self.focus = Focus::Detail;
            self.scroll_detail(wheel);
        } else if within(areas.side) {
            self.focus = Focus::Side;
            self.scroll_side(wheel);
        } else if within(areas.list) {
            self.focus = Focus::List;
            if wheel == 0 {
                let row = mouse.row.checked_sub(areas.rows().y);
                let number = row.and_then(|row| self.list.at_row(usize::from(row)));
                if let Some(number) = number {
                    self.list.select(number);
                }
            } else {
                self.list.step(wheel);
            }
        } else if within(Some(areas.filter)) && wheel == 0 && self.prompt.is_none() {
            self.act(Action::Filter, effects);
        }
    }
}

/// The effect that keeps one entry.
fn keep(action: Action, entry: Arc<Entry>) -> Effect {
    if action == Action::Copy {
        return Effect::Copy(entry);
    }
    let stem = match entry.kind {
        Kind::Update | Kind::Ephemeral => "event",
        _ => "entry",
    };
    let entries = vec![entry];
    Effect::Save { stem, entries }
}
