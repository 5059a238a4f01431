//! What keys do while a dialog lies over the screen.

use std::sync::Arc;

use super::act::keep;
use crate::event::Effect;
use crate::keys::Action;
use crate::layout;
use crate::model::{Dialog, Model};

impl Model {
    pub(super) fn in_dialog(&mut self, dialog: Dialog, action: Action, effects: &mut Vec<Effect>) {
        let height = isize::try_from(layout::dialog_rows(self)).unwrap_or(1);
        let step: isize = match action {
            Action::Open
            | Action::Held
            | Action::Release
            | Action::Discard
            | Action::PageUp
            | Action::PageDown
                if let Dialog::Held { cursor } = dialog =>
            {
                self.decide(cursor, action, effects);
                return;
            }
            Action::Rules | Action::Discard if let Dialog::Rules { cursor } = dialog => {
                self.change_rules(cursor, action, effects);
                return;
            }
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
            Action::Back | Action::Help | Action::Bookmarks | Action::Clients => {
                self.dialog = None;
                return;
            }
            _ => return,
        };
        let last = match dialog {
            Dialog::Help { .. } => layout::help_scroll_end(self),
            Dialog::Bookmarks { .. } => self.bookmarks.len().saturating_sub(1),
            Dialog::Held { .. } => self.held.len().saturating_sub(1),
            Dialog::Clients { .. } => self.card.len().saturating_sub(1),
            Dialog::Rules { .. } => self.rules.as_ref().map_or(0, Vec::len).saturating_sub(1),
        };
        let to = |at: usize| at.saturating_add_signed(step).min(last);
        self.dialog = Some(match dialog {
            Dialog::Help { scroll } => Dialog::Help { scroll: to(scroll) },
            Dialog::Bookmarks { cursor } => Dialog::Bookmarks { cursor: to(cursor) },
            Dialog::Held { cursor } => Dialog::Held { cursor: to(cursor) },
            Dialog::Clients { scroll } => Dialog::Clients { scroll: to(scroll) },
            Dialog::Rules { cursor } => Dialog::Rules { cursor: to(cursor) },
        });
    }

    pub(super) fn show_bookmark(&mut self, at: usize) {
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
}
