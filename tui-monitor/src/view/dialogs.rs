//! What lies over the rest: the help and the bookmarks.

use ratatui::widgets::{Clear, Widget as _};

use super::Pen;
use crate::help;
use crate::layout;
use crate::model::Dialog;
use crate::text;
use crate::theme::Tone;

pub(super) fn draw(pen: &mut Pen<'_>) {
    let model = pen.model;
    let Some(dialog) = model.dialog else { return };
    let area = layout::dialog(model);
    Clear.render(area, pen.buffer);
    match dialog {
        Dialog::Help { scroll } => {
            let lines = help::lines(&model.keys, layout::help_columns(model));
            let rows = usize::from(area.height.saturating_sub(2));
            let more = match lines.len().saturating_sub(scroll + rows) {
                0 => String::new(),
                more => format!(", {} below", text::count(more, "line")),
            };
            let inside = pen.frame(area, &format!("Keys{more}"), true);
            for (y, line) in (inside.y..inside.bottom()).zip(lines.iter().skip(scroll)) {
                pen.line(inside, y, line);
            }
        }
        Dialog::Bookmarks { cursor } => {
            let title = text::count(model.bookmarks.len(), "bookmark");
            let inside = pen.frame(area, &title, true);
            if model.bookmarks.is_empty() {
                pen.put(inside.x, inside.y, inside.width, "none yet", Tone::Faint);
            }
            let rows = usize::from(inside.height);
            let first = (cursor + 1).saturating_sub(rows);
            let entries = model.bookmarks.values().enumerate().skip(first);
            for (y, (at, entry)) in (inside.y..inside.bottom()).zip(entries) {
                let here = if model.ring.get(entry.number).is_some() {
                    ""
                } else {
                    "  (left the ring)"
                };
                let entity = entry.entity.as_ref().map_or("", |entity| entity.id());
                let told = format!(
                    "#{:<8} {}  {:<10} {:<18} {}{here}",
                    entry.number,
                    text::time(entry.at_ms),
                    entry.kind,
                    text::shown(&entry.event, 24),
                    text::shown(entity, 40),
                );
                pen.put(inside.x, y, inside.width, &told, Tone::Plain);
                if at == cursor {
                    pen.select(inside, y);
                }
            }
        }
    }
}
