//! What lies over the rest: the help, the bookmarks, and what a proxy does, holds and finds out.

use ratatui::widgets::{Clear, Widget as _};

use super::Pen;
use crate::event::Direction;
use crate::help;
use crate::layout;
use crate::model::Dialog;
use crate::text;
use crate::theme::Tone;

pub(super) fn draw(pen: &mut Pen<'_>) {
    let model = pen.model;
    let Some(dialog) = model.dialog else { return };
    match dialog {
        Dialog::Held { cursor } => return held(pen, cursor),
        Dialog::Rules { cursor } => return rules(pen, cursor),
        _ => {}
    }
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
        Dialog::Clients { scroll } => {
            let inside = pen.frame(area, "What clients have done, judged by nobody", true);
            if model.card.is_empty() {
                let told = "nothing yet; only a proxy finds this out";
                pen.put(inside.x, inside.y, inside.width, told, Tone::Faint);
            }
            for (y, line) in (inside.y..inside.bottom()).zip(model.card.iter().skip(scroll)) {
                pen.put(inside.x, y, inside.width, &text::clean(line), Tone::Plain);
            }
        }
        Dialog::Held { .. } | Dialog::Rules { .. } => {}
    }
}

/// What a proxy does to which messages. It leaves the filter's line free, where a rule is written.
fn rules(pen: &mut Pen<'_>, cursor: usize) {
    let model = pen.model;
    let area = layout::rules(model);
    Clear.render(area, pen.buffer);
    let rules = model.rules.as_deref().unwrap_or_default();
    let title = format!(
        "{}, of which the first that is true counts",
        text::count(rules.len(), "rule")
    );
    let inside = pen.frame(area, &title, true);
    if rules.is_empty() {
        let told = "messages go on as they are";
        pen.put(inside.x, inside.y, inside.width, told, Tone::Faint);
    }
    let first = (cursor + 1).saturating_sub(usize::from(inside.height));
    let all = rules.iter().enumerate().skip(first);
    for (y, (at, rule)) in (inside.y..inside.bottom()).zip(all) {
        let counts = format!("done {} of {}", rule.done, rule.matched);
        let width = u16::try_from(text::width(&counts)).unwrap_or(0);
        let room = inside.width.saturating_sub(width + 1);
        pen.put(inside.x, y, room, &text::clean(&rule.text), Tone::Plain);
        pen.put_right(inside.right(), y, &counts, Tone::Faint);
        if at == cursor {
            pen.select(inside, y);
        }
    }
}

/// What a proxy holds, and the detail of the chosen one.
fn held(pen: &mut Pen<'_>, cursor: usize) {
    let model = pen.model;
    let [list, detail] = layout::held(model);
    for area in [list, detail] {
        Clear.render(area, pen.buffer);
    }
    let title = format!("{} held", text::count(model.held.len(), "message"));
    let inside = pen.frame(list, &title, true);
    if model.held.is_empty() {
        let told = "nothing is held; a rule with --do hold does that";
        pen.put(inside.x, inside.y, inside.width, told, Tone::Faint);
    }
    let rows = usize::from(inside.height);
    let first = (cursor + 1).saturating_sub(rows);
    let all = model.held.values().enumerate().skip(first);
    for (y, (at, (held, since))) in (inside.y..inside.bottom()).zip(all) {
        let entry = &held.entry;
        let way = match entry.direction {
            Direction::Received => pen.glyphs.received,
            _ => pen.glyphs.sent,
        };
        let waits = model.now.t_us.saturating_sub(since.t_us);
        let told = format!(
            "#{:<6} {way} {:<10} {:<28} {:>9}  held for {}",
            entry.number,
            text::shown(&entry.account, 10),
            text::shown(&entry.event, 28),
            text::bytes(entry.size as usize),
            text::span(waits),
        );
        pen.put(inside.x, y, inside.width, &told, Tone::Plain);
        if at == cursor {
            pen.select(inside, y);
        }
    }
    let Some(shown) = &model.held_detail else {
        pen.frame(detail, "", false);
        return;
    };
    let title = match model.held.values().nth(cursor) {
        Some((held, _)) if held.text.is_none() => "it cannot be edited",
        _ => "what it is",
    };
    let inside = pen.frame(detail, title, false);
    let height = usize::from(inside.height);
    for (y, row) in (inside.y..inside.bottom()).zip(shown.window(height)) {
        pen.line(inside, y, &row.line);
    }
}
