//! The detail of the selected event.

use ratatui::layout::Rect;

use super::Pen;
use crate::model::Focus;
use crate::text;

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
    for (y, line) in (inside.y..inside.bottom()).zip(detail.window(height)) {
        pen.line(inside, y, line);
    }
}
