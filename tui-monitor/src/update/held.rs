//! What is decided about the messages that a proxy holds.

use std::sync::Arc;

use crate::event::{Effect, Order, Verdict};
use crate::keys::Action;
use crate::layout;
use crate::model::detail::Detail;
use crate::model::prompt::{LONGEST_EDIT, Prompt, Purpose};
use crate::model::{Dialog, Model};

fn decided(number: u64, verdict: Verdict) -> Effect {
    Effect::Order(Order::Decide(number, verdict))
}

impl Model {
    /// What a key means for the held message at the cursor. Pages are those of its detail.
    pub(super) fn decide(&mut self, cursor: usize, action: Action, effects: &mut Vec<Effect>) {
        let Some((held, _)) = self.held.values().nth(cursor) else {
            return;
        };
        let number = held.entry.number;
        match action {
            Action::Release => effects.push(decided(number, Verdict::Release)),
            Action::Discard => effects.push(decided(number, Verdict::Discard)),
            Action::PageUp | Action::PageDown => {
                let height = layout::inside(layout::held(self)[1]).height;
                let page = isize::try_from(height).unwrap_or(1);
                let rows = if action == Action::PageUp {
                    -page
                } else {
                    page
                };
                if let Some(detail) = &mut self.held_detail {
                    detail.scroll_by(rows, usize::from(height));
                }
            }
            _ => match &held.text {
                Some(text) if text.len() <= LONGEST_EDIT => {
                    self.prompt = Some(Prompt::new(Purpose::Edit(number), text));
                }
                Some(_) => self.warn("it is too long to be edited here"),
                None => self.warn("it cannot be edited: release or drop it"),
            },
        }
    }

    /// A message is held no more.
    pub(super) fn over(&mut self, number: u64) {
        let at = self.held.keys().position(|one| *one == number);
        self.held.remove(&number);
        if let Some(prompt) = &self.prompt
            && prompt.purpose == Purpose::Edit(number)
        {
            self.prompt = None;
            self.warn("what was edited is held no more");
        }
        // The cursor stays at its message.
        if let (Some(Dialog::Held { cursor }), Some(at)) = (&mut self.dialog, at)
            && at < *cursor
        {
            *cursor -= 1;
        }
    }

    /// Brings the cursor and the detail of the held messages in line with what is held.
    pub(super) fn settle_held(&mut self) {
        let Some(Dialog::Held { cursor }) = &mut self.dialog else {
            self.held_detail = None;
            return;
        };
        *cursor = (*cursor).min(self.held.len().saturating_sub(1));
        let chosen = self.held.values().nth(*cursor);
        let width = usize::from(layout::inside(layout::held(self)[1]).width);
        let Some((held, _)) = chosen else {
            self.held_detail = None;
            return;
        };
        let is_shown = self
            .held_detail
            .as_ref()
            .is_some_and(|detail| detail.shows(&held.entry, &[], width));
        if !is_shown {
            let entry = Arc::clone(&held.entry);
            self.held_detail = Some(Detail::new(entry, Vec::new(), width));
        }
    }
}
