//! The detail of the selected event.

use ratatui::layout::Rect;

use super::Pen;
use crate::model::Focus;
use crate::text;
use crate::theme::Tone;

pub(super) fn draw(pen: &mut Pen<'_>, area: Rect) {
    let model = pen.model;
    let Some(detail) = &model.detail else { return };
    let height = usize::from(area.height.saturating_sub(2));
    let last = (detail.scroll() + height).min(detail.len());
    let title = if detail.len() > height {
        format!(
            "#{}  lines {}-{last} of {}",
            detail.number(),
            detail.scroll() + 1,
            detail.len()
        )
    } else {
        format!(
            "#{}  {}",
            detail.number(),
            text::count(detail.len(), "line")
        )
    };
    let inside = pen.frame(area, &title, model.focus == Focus::Detail);
    for (y, row) in (inside.y..inside.bottom()).zip(detail.window(height)) {
        pen.line(inside, y, &row.line);
    }
    let Some(wanted) = model.wanted() else { return };
    let style = pen.style(Tone::Hit);
    for (row, column) in detail.hits_in_window(wanted, height) {
        // Both are within a window of the terminal.
        let at = |within: usize| u16::try_from(within).unwrap_or(u16::MAX);
        let (x, y) = (inside.x.saturating_add(at(column)), inside.y + at(row));
        if x < inside.right() {
            pen.buffer[(x, y)].set_style(style);
        }
    }
}
