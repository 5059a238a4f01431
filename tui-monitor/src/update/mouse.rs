//! What the mouse does.

use ratatui::crossterm::event::{MouseButton, MouseEvent, MouseEventKind};
use ratatui::layout::Rect;

use crate::event::Effect;
use crate::keys::Action;
use crate::layout;
use crate::model::{Focus, Model, Section};

/// Rows that a turn of the wheel moves.
const WHEEL: isize = 3;

impl Model {
    pub(super) fn mouse(&mut self, mouse: MouseEvent, effects: &mut Vec<Effect>) {
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
        self.narrowing = None;
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
            let was_there = std::mem::replace(&mut self.focus, Focus::Side) == Focus::Side;
            if wheel == 0 {
                self.click_side(areas.side.unwrap_or_default(), mouse.row, was_there);
            } else {
                self.scroll_side(wheel);
            }
        } else if within(areas.list) {
            self.focus = Focus::List;
            if wheel == 0 {
                let row = mouse.row.checked_sub(areas.rows().y);
                let number = row.and_then(|row| self.list.at_row(usize::from(row)));
                if let Some(number) = number {
                    // The second click on a row is like the key.
                    let again = self.list.selected() == Some(number) && !self.list.following();
                    self.list.select(number);
                    if again {
                        self.open();
                    }
                }
            } else {
                self.list.step(wheel);
            }
        } else if within(Some(areas.filter)) && wheel == 0 && self.prompt.is_none() {
            self.act(Action::Filter, effects);
        }
    }

    /// Selects the row of the side pane at a row of the screen.
    fn click_side(&mut self, side: Rect, row: u16, was_there: bool) {
        for (section, area) in Section::ALL.into_iter().zip(layout::sections(side)) {
            let inside = layout::inside(area);
            if (area.y..area.bottom()).contains(&row) {
                // Where the keys do not go, a section is shown from its first row.
                let had_keys = was_there && self.section == section;
                self.section = section;
                let top = if had_keys { self.cursor().place().1 } else { 0 };
                if (inside.y..inside.bottom()).contains(&row) {
                    let things = self.things(section);
                    let at = top + usize::from(row - inside.y);
                    self.cursor_mut().go_to(&things, at);
                }
            }
        }
    }
}
