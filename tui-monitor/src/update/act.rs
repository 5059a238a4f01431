//! What keys do: one function over the actions, and the moves within panes.

use std::sync::Arc;

use crate::event::{Control, Effect, Entry, Kind, Recording};
use crate::keys::Action;
use crate::layout;
use crate::model::detail::Detail;
use crate::model::prompt::{Prompt, Purpose};
use crate::model::search::Wanted;
use crate::model::side::Thing;
use crate::model::{Dialog, Focus, Model, Section};
use crate::text;

impl Model {
    pub(super) fn act(&mut self, action: Action, effects: &mut Vec<Effect>) {
        let narrowing = self.narrowing.take();
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
            Action::Only => self.only(narrowing),
            Action::Hide => self.hide(),
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
            Action::Record if self.playback.is_some() => {
                self.say("what is played is recorded already");
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
            Action::Held => self.dialog = Some(Dialog::Held { cursor: 0 }),
            Action::Release | Action::Discard => {
                let key = crate::help::hint(&self.keys, Action::Held).map(|(key, _)| key);
                self.say(format!("{} lists what is held", key.unwrap_or_default()));
            }
            Action::Rules if self.rules.is_none() => {
                self.say("only a proxy does something to messages");
            }
            Action::Rules => self.dialog = Some(Dialog::Rules { cursor: 0 }),
            Action::Clients => self.dialog = Some(Dialog::Clients { scroll: 0 }),
        }
    }

    pub(super) fn back(&mut self) {
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

    pub(super) fn scroll(&mut self, rows: isize) {
        match self.focus {
            Focus::List => self.list.step(rows),
            Focus::Detail => self.scroll_detail(rows),
            Focus::Side => self.scroll_side(rows),
        }
    }

    pub(super) fn page(&mut self, pages: isize) {
        match self.focus {
            Focus::List => self.list.page(pages),
            Focus::Detail => {
                let rows = isize::try_from(self.detail_height().saturating_sub(1)).unwrap_or(1);
                self.scroll_detail(rows * pages);
            }
            Focus::Side => self.scroll_side(pages * 5),
        }
    }

    pub(super) fn go_to_edge(&mut self, end: bool) {
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

    pub(super) fn detail_height(&self) -> usize {
        let area = self.areas().detail.unwrap_or_default();
        usize::from(layout::inside(area).height)
    }

    pub(super) fn scroll_detail(&mut self, lines: isize) {
        let height = self.detail_height();
        if let Some(detail) = &mut self.detail {
            detail.scroll_by(lines, height);
        }
    }

    pub(super) fn scroll_side(&mut self, rows: isize) {
        let things = self.things(self.section);
        self.cursor_mut().step(&things, rows);
    }

    pub(super) fn next_section(&mut self, step: usize) {
        let at = Section::ALL
            .iter()
            .position(|section| *section == self.section);
        self.section = Section::ALL[(at.unwrap_or(0) + step) % Section::ALL.len()];
    }

    pub(super) fn next_pane(&mut self) {
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

    /// Opens the detail, which holds the cursor where it is, or closes it. In the side pane, goes to the
    /// call that is selected, and shows only what is as another thing.
    pub(super) fn open(&mut self) {
        match self.cursor().thing().filter(|_| self.focus == Focus::Side) {
            Some(Thing::Call(link)) => {
                if let Some(number) = self.calls.get(*link).map(|call| call.number) {
                    if self.ring.get(number).is_some() {
                        self.show(number);
                    } else {
                        self.say(format!("#{number} has left the ring"));
                    }
                }
                return;
            }
            Some(_) => return self.only(None),
            None if self.focus == Focus::Side => return,
            None => {}
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

    pub(super) fn pause(&mut self) {
        if self.list.paused() {
            let back = self.list.held_back();
            self.list.release();
            self.say(format!("{} came meanwhile", text::count(back, "event")));
        } else {
            let newest = self.ring.newest().map_or(0, |entry| entry.number);
            self.list.hold(newest);
        }
    }

    pub(super) fn play(&mut self, action: Action, effects: &mut Vec<Effect>) {
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
}

/// The effect that keeps one entry.
pub(super) fn keep(action: Action, entry: Arc<Entry>) -> Effect {
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
