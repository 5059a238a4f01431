//! The side pane: rates by type, connections by scope, remote calls.

use ratatui::layout::Rect;

use super::Pen;
use super::list::kind_tone;
use crate::event::Kind;
use crate::layout;
use crate::model::connections::State;
use crate::model::rates::SECONDS;
use crate::model::rpc::Outcome;
use crate::model::{Focus, Section};
use crate::text;
use crate::theme::Tone;

pub(super) fn draw(pen: &mut Pen<'_>, area: Rect) {
    let model = pen.model;
    for (section, area) in Section::ALL.into_iter().zip(layout::sections(area)) {
        let chosen = model.focus == Focus::Side && model.section == section;
        let (at, scroll) = match chosen {
            true => model.cursor().place(),
            false => (0, 0),
        };
        match section {
            Section::Rates => rates(pen, area, chosen, scroll),
            Section::Connections => connections(pen, area, chosen, scroll),
            Section::Calls => calls(pen, area, chosen, scroll),
        }
        if chosen && model.cursor().thing().is_some() {
            // The window is around the cursor, and within a terminal.
            let row = u16::try_from(at - scroll).unwrap_or(u16::MAX);
            let inside = layout::inside(area);
            pen.select(inside, inside.y.saturating_add(row));
        }
    }
}

fn rates(pen: &mut Pen<'_>, area: Rect, chosen: bool, scroll: usize) {
    let model = pen.model;
    let rows = model.rates.rows();
    let title = format!("Rates, {}", text::count(rows.len(), "type"));
    let inside = pen.frame(area, &title, chosen);
    // Name and rate take what they need, the minute's history the rest.
    let name = (inside.width * 2 / 5).clamp(10, 20);
    let spark = inside
        .width
        .saturating_sub(name + 9)
        .min(SECONDS as u16 - 1);
    for (y, (kind, event, series)) in (inside.y..inside.bottom()).zip(rows.skip(scroll)) {
        // An answer has the name of what it answers.
        let sign = match kind {
            Kind::Ack => pen.glyphs.received,
            _ => "",
        };
        let event = text::shown(event, name.into());
        pen.put(
            inside.x,
            y,
            name,
            &format!("{sign}{event}"),
            kind_tone(kind),
        );
        let rate = text::rate(model.rates.mean(series));
        pen.put_right(inside.x + name + 8, y, &rate, Tone::Plain);
        let history = model.rates.history(series, usize::from(spark));
        let line = sparkline(&history, pen.glyphs.levels);
        pen.put(inside.x + name + 9, y, spark, &line, kind_tone(kind));
    }
}

/// One character per second, as high as the second was busy; nothing for an empty second.
fn sparkline(history: &[u32], levels: [&'static str; 8]) -> String {
    let highest = history.iter().copied().max().unwrap_or(0).max(1) as usize;
    let level = |count: &u32| match *count as usize {
        0 => " ",
        count => levels[(count * levels.len()).div_ceil(highest) - 1],
    };
    history.iter().map(level).collect()
}

fn connections(pen: &mut Pen<'_>, area: Rect, chosen: bool, scroll: usize) {
    let model = pen.model;
    let tally = model.connections.tally();
    let title = match tally.open {
        0 => "Connections".to_owned(),
        open => format!("Connections, {open} open"),
    };
    let inside = pen.frame(area, &title, chosen);
    let mut lines = Vec::new();
    // Only the rows that can be seen are made.
    let wanted = scroll + usize::from(inside.height);
    'accounts: for (of, account) in model.connections.accounts() {
        let name = match &**of {
            "" => "(no account)",
            name => name,
        };
        let events = text::count(
            usize::try_from(account.events).unwrap_or(usize::MAX),
            "event",
        );
        lines.push(vec![
            (Tone::Title, text::shown(name, inside.width.into())),
            (Tone::Faint, format!("  {events}")),
        ]);
        let last = account.connections.len().saturating_sub(1);
        for (at, (conn, connection)) in account.connections.iter().enumerate() {
            if lines.len() >= wanted {
                break 'accounts;
            }
            let branch = if at == last {
                pen.glyphs.last
            } else {
                pen.glyphs.branch
            };
            let (sign, tone) = match connection.state {
                State::Mentioned => (pen.glyphs.dot, Tone::Faint),
                State::Open => (pen.glyphs.dot, Tone::Good),
                State::Connecting => (pen.glyphs.ring, Tone::Warning),
                State::Lost { .. } | State::Closed { .. } => (pen.glyphs.ring, Tone::Bad),
            };
            // Below its account, a label needs no account of its own.
            let short = conn
                .strip_prefix(&**of)
                .and_then(|rest| rest.strip_prefix('/'));
            let short = short.unwrap_or(conn);
            let scope = match connection.scope.as_str() {
                scope if short.split('/').any(|part| part.starts_with(scope)) => String::new(),
                scope => format!(" {scope}"),
            };
            lines.push(vec![
                (Tone::Faint, branch.to_owned()),
                (tone, format!("{sign} ")),
                (Tone::Plain, text::shown(short, inside.width.into())),
                (Tone::Faint, scope),
                (Tone::Plain, format!("  {}", connection.events)),
            ]);
        }
    }
    if model.connections.unnamed > 0 {
        let more = format!("and more: {} mentions", model.connections.unnamed);
        lines.push(vec![(Tone::Faint, more)]);
    }
    for (y, line) in (inside.y..inside.bottom()).zip(lines.iter().skip(scroll)) {
        pen.line(inside, y, line);
    }
}

fn calls(pen: &mut Pen<'_>, area: Rect, chosen: bool, scroll: usize) {
    let model = pen.model;
    let inside = pen.frame(area, "Remote calls", chosen);
    if model.calls.len() == 0 {
        pen.put(inside.x, inside.y, inside.width, "none seen", Tone::Faint);
    }
    let rows = model.calls.newest().skip(scroll);
    for (y, call) in (inside.y..inside.bottom()).zip(rows) {
        let (sign, tone) = match call.outcome {
            Outcome::Pending => (pen.glyphs.ring, Tone::Warning),
            Outcome::Answered => (pen.glyphs.dot, Tone::Good),
            Outcome::Failed(_) => (pen.glyphs.lint, Tone::Bad),
        };
        let x = pen.put(inside.x, y, 2, sign, tone) + 1;
        let told = match (&call.outcome, call.latency_us) {
            (Outcome::Failed(reason), _) => text::shown(reason, inside.width.into()),
            (Outcome::Pending, _) => "pending".to_owned(),
            (Outcome::Answered, Some(latency)) => text::latency(latency),
            (Outcome::Answered, None) => "answered".to_owned(),
        };
        let told = text::cut(&told, usize::from(inside.width / 2));
        let width = u16::try_from(text::width(&told)).unwrap_or(0);
        let room = inside.right().saturating_sub(x + width + 1);
        let method = text::shown_end(&call.method, room.into());
        pen.put(x, y, room, &method, Tone::Plain);
        pen.put_right(inside.right(), y, &told, tone);
    }
}
