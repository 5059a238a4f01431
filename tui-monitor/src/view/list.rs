//! The event list: which columns fit, and one row per event.

use ratatui::layout::Rect;

use super::Pen;
use crate::event::{Direction, Entity, Entry, Kind};
use crate::text;
use crate::theme::Tone;

/// A column, with the least and the most that it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Column {
    what: What,
    title: &'static str,
    least: u16,
    most: u16,
    /// Columns with the highest number leave first where there is no room.
    rank: u8,
    right: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Time,
    Account,
    Conn,
    Kind,
    Type,
    Entity,
    Seq,
    Recipients,
    Size,
    Latency,
    Payload,
}

const fn column(
    what: What,
    title: &'static str,
    least: u16,
    most: u16,
    rank: u8,
    right: bool,
) -> Column {
    Column {
        what,
        title,
        least,
        most,
        rank,
        right,
    }
}

const COLUMNS: [Column; 11] = [
    column(What::Time, "time", 12, 12, 1, false),
    column(What::Account, "account", 7, 12, 6, false),
    column(What::Conn, "connection", 12, 24, 9, false),
    column(What::Kind, "kind", 4, 10, 2, false),
    column(What::Type, "type", 14, 24, 0, false),
    column(What::Entity, "entity", 9, 36, 3, false),
    column(What::Seq, "seq", 5, 8, 4, true),
    column(What::Recipients, "to", 3, 4, 5, true),
    column(What::Size, "size", 6, 7, 7, true),
    column(What::Latency, "latency", 7, 7, 8, true),
    column(What::Payload, "payload", 20, u16::MAX, 10, false),
];

/// The marks before the first column.
const GUTTER: u16 = 2;

/// The columns that fit, with their widths.
fn columns(width: u16) -> Vec<(Column, u16)> {
    let room = width.saturating_sub(GUTTER);
    let needs =
        |columns: &[Column]| -> u16 { columns.iter().map(|c| c.least + 1).sum::<u16>() - 1 };
    let mut kept: Vec<Column> = COLUMNS.to_vec();
    while kept.len() > 1 && needs(&kept) > room {
        let last = kept.iter().map(|column| column.rank).max();
        kept.retain(|column| Some(column.rank) != last);
    }
    let mut spare = room.saturating_sub(needs(&kept));
    let mut fitted: Vec<(Column, u16)> =
        kept.iter().map(|column| (*column, column.least)).collect();
    // The important ones grow first.
    let mut order: Vec<usize> = (0..fitted.len()).collect();
    order.sort_by_key(|at| fitted[*at].0.rank);
    for at in order {
        let (column, width) = &mut fitted[at];
        let more = (column.most - *width).min(spare);
        *width += more;
        spare -= more;
    }
    fitted
}

pub(super) fn draw(pen: &mut Pen<'_>, area: Rect, rows: Rect) {
    let model = pen.model;
    let columns = columns(area.width);
    let mut x = area.x + GUTTER;
    for (column, width) in &columns {
        let title = match column.what {
            What::Time => model.times.title(),
            _ => column.title,
        };
        if column.right {
            pen.put_right(x + width, area.y, title, Tone::Faint);
        } else {
            pen.put(x, area.y, *width, title, Tone::Faint);
        }
        x += width + 1;
    }
    if model.list.len() == 0 {
        let told = match (model.ring.len(), model.list.filtering()) {
            (0, _) => "nothing was seen yet",
            (_, true) => "filtering",
            (_, false) => "the filter hides everything that was seen",
        };
        pen.put(
            area.x + GUTTER,
            rows.y,
            rows.width.saturating_sub(GUTTER),
            told,
            Tone::Faint,
        );
    }
    let t_us = |number: u64| Some(model.ring.get(number)?.t_us);
    let above = model.list.at_row(0);
    let above = above.and_then(|first| model.list.from(first, false).next());
    let mut before = above.and_then(t_us);
    for (y, number) in (rows.y..rows.bottom()).zip(model.list.window()) {
        if let Some(entry) = model.ring.get(number) {
            let area = Rect {
                y,
                height: 1,
                ..rows
            };
            row(pen, area, entry, before, &columns);
            before = Some(entry.t_us);
        }
    }
}

fn row(
    pen: &mut Pen<'_>,
    area: Rect,
    entry: &Entry,
    before: Option<u64>,
    columns: &[(Column, u16)],
) {
    let model = pen.model;
    let y = area.y;
    let selected = model.list.selected() == Some(entry.number);
    if model.bookmarks.contains_key(&entry.number) {
        pen.put(area.x, y, 1, pen.glyphs.bookmark, Tone::Warning);
    }
    if !entry.lints.is_empty() {
        pen.put(area.x + 1, y, 1, pen.glyphs.lint, Tone::Bad);
    }
    // What the monitor says itself is a sentence, which needs the place of the columns.
    let sentence = matches!(entry.kind, Kind::Gap | Kind::Note | Kind::Connection);
    let labelled = columns.iter().any(|(column, _)| column.what == What::Conn);
    let mut x = area.x + GUTTER;
    for (column, width) in columns {
        // The type of a note says no more than its kind.
        let is_word = column.what == What::Type && entry.event.as_ref() == entry.kind.as_str();
        let is_label = matches!(column.what, What::Account | What::Conn);
        if sentence && (is_word || column.rank > 2 && !is_label) {
            let tone = kind_tone(entry.kind);
            let mut told = text::shown(&entry.raw, usize::from(area.width));
            // Which connection it was would be known from no column.
            if entry.kind == Kind::Connection && !labelled && !entry.conn.is_empty() {
                told = format!("{}: {told}", text::shown(&entry.conn, 24));
            }
            pen.put(x, y, area.right().saturating_sub(x), &told, tone);
            break;
        }
        let (cell, tone) = match column.what {
            What::Time => {
                let told = model.times.show(entry, before, model.offset);
                (format!("{told:>12}"), Tone::Faint)
            }
            what => cell(pen, entry, what, *width),
        };
        if column.right {
            let cell = text::cut(&cell, usize::from(*width));
            pen.put_right(x + width, y, &cell, tone);
        } else {
            pen.put(x, y, *width, &cell, tone);
        }
        x += width + 1;
    }
    if selected {
        pen.select(area, y);
    }
}

fn cell(pen: &Pen<'_>, entry: &Entry, what: What, width: u16) -> (String, Tone) {
    let tone = kind_tone(entry.kind);
    let number = |value: Option<u64>| value.map(|value| value.to_string()).unwrap_or_default();
    match what {
        // It depends on the row before, too.
        What::Time => (String::new(), Tone::Faint),
        What::Account => (text::shown(&entry.account, width.into()), Tone::Plain),
        What::Conn => (text::shown(&entry.conn, width.into()), Tone::Plain),
        What::Kind if width < 10 => (short(entry.kind).to_owned(), tone),
        What::Kind => (entry.kind.as_str().to_owned(), tone),
        What::Type => {
            let sign = match (entry.kind, entry.direction) {
                (Kind::Rpc | Kind::Call | Kind::Ack, Direction::Sent) => pen.glyphs.sent,
                (Kind::Rpc | Kind::Call | Kind::Ack, Direction::Received) => pen.glyphs.received,
                _ => "",
            };
            (
                format!("{sign}{}", text::shown(&entry.event, width.into())),
                tone,
            )
        }
        What::Entity => {
            let told = match &entry.entity {
                Some(Entity::Method(name)) => text::shown_end(name, width.into()),
                Some(entity) => text::shown(entity.id(), width.into()),
                None => String::new(),
            };
            (told, Tone::Plain)
        }
        What::Seq => (number(entry.seq), Tone::Plain),
        What::Recipients => {
            let count = entry.recipients.count();
            let tone = if count == Some(0) {
                Tone::Faint
            } else {
                Tone::Plain
            };
            (count.map(text::short).unwrap_or_default(), tone)
        }
        What::Size => (
            text::bytes(entry.size as usize).replace(' ', ""),
            Tone::Faint,
        ),
        What::Latency => (
            entry.latency_us.map(text::latency).unwrap_or_default(),
            Tone::Plain,
        ),
        What::Payload if !entry.lints.is_empty() => {
            let first = &entry.lints[0];
            let more = match entry.lints.len() {
                1 => String::new(),
                count => format!(" (and {} more)", count - 1),
            };
            let told = format!("{}{more}: {}", first.title(), first.text);
            (text::shown(&told, width.into()), Tone::Bad)
        }
        What::Payload => (text::shown(&entry.raw, width.into()), Tone::Faint),
    }
}

/// Four letters for a kind.
fn short(kind: Kind) -> &'static str {
    match kind {
        Kind::Update => "upd",
        Kind::Ephemeral => "eph",
        Kind::Connection => "conn",
        other => other.as_str(),
    }
}

/// How a kind looks.
pub(super) fn kind_tone(kind: Kind) -> Tone {
    match kind {
        Kind::Update => Tone::Update,
        Kind::Ephemeral => Tone::Ephemeral,
        Kind::Rpc => Tone::Rpc,
        Kind::Call | Kind::Ack | Kind::Http => Tone::Call,
        Kind::Connection | Kind::Note => Tone::Faint,
        Kind::Gap => Tone::Warning,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The columns of a width, after checking that they fit.
    #[track_caller]
    fn fitted(width: u16) -> String {
        let columns = columns(width);
        let used: u16 = columns.iter().map(|(_, width)| width + 1).sum::<u16>() - 1 + GUTTER;
        assert!(used <= width, "{used} of {width}");
        let told = columns
            .iter()
            .map(|(column, width)| format!("{}:{width}", column.title));
        told.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn columns_leave_and_grow_by_their_rank() {
        insta::assert_snapshot!(fitted(40), @"time:12 kind:4 type:20");
        insta::assert_snapshot!(fitted(60), @"time:12 kind:4 type:20 entity:9 seq:5 to:3");
        insta::assert_snapshot!(fitted(80), @"time:12 account:7 kind:4 type:17 entity:9 seq:5 to:3 size:6 latency:7");
        insta::assert_snapshot!(fitted(120), @"time:12 account:7 connection:12 kind:4 type:23 entity:9 seq:5 to:3 size:6 latency:7 payload:20");
        insta::assert_snapshot!(fitted(200), @"time:12 account:12 connection:24 kind:10 type:24 entity:36 seq:8 to:4 size:7 latency:7 payload:44");
    }
}
