//! Drawing: pure functions from the model to a buffer.
//!
//! Only what is visible is formatted, so that a full ring costs no more than an empty one. This
//! module must not change anything and must not read a clock.

mod bars;
mod detail;
mod dialogs;
mod list;
mod side;
#[cfg(test)]
mod tests;

use ratatui::Frame;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::widgets::{Block, Widget as _};

use crate::layout::{self, SMALLEST};
use crate::model::Model;
use crate::model::detail::Line;
use crate::model::search::find;
use crate::text;
use crate::theme::{ASCII, Glyphs, Tone, UNICODE};

/// Draws the whole screen. A frame of another size than the model was told stays empty: the size
/// arrives as an input of its own.
pub fn draw(model: &Model, frame: &mut Frame<'_>) {
    let area = frame.area();
    if (area.width, area.height) != model.size {
        return;
    }
    let cursor = draw_on(model, frame.buffer_mut());
    if let Some(cursor) = cursor {
        frame.set_cursor_position(cursor);
    }
}

/// Draws on a buffer of the model's size, and returns where the cursor of a text field is.
fn draw_on(model: &Model, buffer: &mut Buffer) -> Option<(u16, u16)> {
    let mut pen = Pen {
        model,
        buffer,
        glyphs: if model.ascii { ASCII } else { UNICODE },
    };
    let (width, height) = model.size;
    if width < SMALLEST.0 || height < SMALLEST.1 {
        let told = format!("touchstone watch needs {} x {}", SMALLEST.0, SMALLEST.1);
        pen.put(0, 0, width, &told, Tone::Warning);
        return None;
    }
    let areas = layout::areas(model);
    bars::header(&mut pen, areas.header);
    let cursor = bars::filter(&mut pen, areas.filter);
    if let Some(area) = areas.list {
        list::draw(&mut pen, area, areas.rows());
        pen.mark_hits(area);
    }
    if let Some(area) = areas.detail {
        detail::draw(&mut pen, area);
    }
    if let Some(area) = areas.side {
        side::draw(&mut pen, area);
    }
    bars::status(&mut pen, areas.status);
    dialogs::draw(&mut pen);
    if model.ascii {
        to_ascii(pen.buffer);
    }
    cursor
}

/// What drawing needs: the model, the buffer and the characters.
struct Pen<'a> {
    model: &'a Model,
    buffer: &'a mut Buffer,
    glyphs: Glyphs,
}

impl Pen<'_> {
    fn style(&self, tone: Tone) -> Style {
        self.model.theme.style(tone)
    }

    /// Writes at most `width` columns, and returns where the text ends.
    fn put(&mut self, x: u16, y: u16, width: u16, text: &str, tone: Tone) -> u16 {
        let style = self.style(tone);
        self.put_styled(x, y, width, text, style)
    }

    fn put_styled(&mut self, x: u16, y: u16, width: u16, text: &str, style: Style) -> u16 {
        let area = *self.buffer.area();
        if y >= area.bottom() || x >= area.right() {
            return x;
        }
        let room = width.min(area.right() - x);
        let shown = text::cut(text, usize::from(room));
        self.buffer
            .set_stringn(x, y, shown, usize::from(room), style)
            .0
    }

    /// Writes a text that ends before column `right`.
    fn put_right(&mut self, right: u16, y: u16, text: &str, tone: Tone) {
        let width = u16::try_from(text::width(text)).unwrap_or(u16::MAX);
        let x = right.saturating_sub(width);
        self.put(x, y, right - x, text, tone);
    }

    /// Marks a row of an area as selected, up to its edges.
    fn select(&mut self, area: Rect, y: u16) {
        let style = self.style(Tone::Selected);
        let row = Rect {
            y,
            height: 1,
            ..area
        };
        self.buffer.set_style(row, style);
    }

    /// Writes the pieces of a line.
    fn line(&mut self, area: Rect, y: u16, line: &Line) {
        let mut x = area.x;
        for (tone, piece) in line {
            x = self.put(x, y, area.right().saturating_sub(x), piece, *tone);
        }
    }

    /// Marks what was searched for, wherever it is to be seen in an area.
    fn mark_hits(&mut self, area: Rect) {
        let Some(wanted) = self.model.wanted() else {
            return;
        };
        let style = self.style(Tone::Hit);
        for y in area.y..area.bottom() {
            let (mut text, mut columns) = (String::new(), Vec::new());
            let mut x = area.x;
            while x < area.right() {
                let symbol = self.buffer[(x, y)].symbol();
                text.push_str(symbol);
                columns.resize(text.len(), x);
                // What is behind a wide character belongs to it.
                x += u16::try_from(text::width(symbol)).unwrap_or(1).max(1);
            }
            let mut from = 0;
            while let Some(at) = text.get(from..).and_then(|rest| find(rest, wanted)) {
                let hit = from + at..from + at + wanted.len();
                for x in &columns[hit.clone()] {
                    self.buffer[(*x, y)].set_style(style);
                }
                from = hit.end;
            }
        }
    }

    /// A frame with a title; returns what is inside.
    fn frame(&mut self, area: Rect, title: &str, focused: bool) -> Rect {
        let tone = if focused { Tone::Title } else { Tone::Faint };
        let title = text::cut(title, usize::from(area.width.saturating_sub(4)));
        Block::bordered()
            .border_set(self.glyphs.border)
            .border_style(self.style(tone))
            .title(format!(" {title} "))
            .title_style(self.style(if focused { Tone::Title } else { Tone::Plain }))
            .render(area, self.buffer);
        layout::inside(area)
    }
}

/// Replaces what is not ASCII: labels and payloads may hold anything.
fn to_ascii(buffer: &mut Buffer) {
    for cell in &mut buffer.content {
        if cell.symbol().is_ascii() {
            continue;
        }
        let symbol = match cell.symbol() {
            "…" => "~",
            "·" => ".",
            "µ" => "u",
            _ => "?",
        };
        cell.set_symbol(symbol);
    }
}
