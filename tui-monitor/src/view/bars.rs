//! The header, which never hides a loss, the filter, and the status line.

use ratatui::layout::Rect;

use super::Pen;
use crate::event::Recording;
use crate::help;
use crate::keys::Action;
use crate::model::connections::State;
use crate::model::prompt::Purpose;
use crate::model::{Dialog, Focus, Model, Section};
use crate::text;
use crate::theme::Tone;

/// The fewest columns that the name of what is watched is cut to.
const NAME: usize = 12;

/// What is longer than any figure is a text, which may be cut.
const PROSE: usize = 28;

type Segments = Vec<(Tone, String)>;

pub(super) fn header(pen: &mut Pen<'_>, area: Rect) {
    let model = pen.model;
    // The recording is the last to give way, so it has the right end for itself.
    let (tone, told) = recording(pen);
    let right = area.right().saturating_sub(1);
    pen.put_right(right, area.y, &told, tone);
    let used = match text::width(&told) {
        0 => 0,
        width => u16::try_from(width + 2).unwrap_or(0),
    };
    let mut first = vec![(Tone::Title, text::clean(&model.target).into_owned())];
    first.extend(source(pen));
    let mut second = vec![
        (Tone::Title, text::rate(model.rates.per_second())),
        (
            Tone::Plain,
            format!("{} seen", text::short(number(model.rates.total()))),
        ),
        loss(model),
        ring(model),
    ];
    let lints = model.lint_count();
    let tone = if lints == 0 { Tone::Plain } else { Tone::Bad };
    let mut told = text::count(number(lints), "lint");
    if lints > 0 && area.width >= 100 {
        let rules = model.lints.iter();
        let rules: Vec<String> = rules
            .map(|(rule, count)| format!("{rule} {}", text::short(number(*count))))
            .collect();
        told = format!("{told}: {}", rules.join(", "));
    }
    let lints = (tone, told);
    if model.playback.is_none() {
        let tone = if model.lag_us > 500_000 {
            Tone::Warning
        } else {
            Tone::Plain
        };
        second.push((tone, format!("lag {}", text::latency(model.lag_us))));
    }
    // The longest is the last, so that nothing else gives way to it.
    second.push(lints);
    let of_first = right.saturating_sub(used);
    // A name is known from its beginning, and a figure that is cut tells nothing.
    let figures = first.iter().skip(1).map(|(_, text)| text::width(text) + 2);
    let figures: usize = figures.filter(|columns| *columns < PROSE).sum();
    let left = usize::from(of_first.saturating_sub(1)).saturating_sub(figures);
    let (_, name) = &mut first[0];
    *name = text::cut(name, left.max(NAME));
    // What tells least goes first.
    for spare in ["ring ", "lag "] {
        if width(&second) > usize::from(right.saturating_sub(1)) {
            second.retain(|(tone, text)| *tone != Tone::Plain || !text.starts_with(spare));
        }
    }
    segments(pen, area.y, of_first, &first);
    segments(pen, area.y + 1, right, &second);
}

/// The columns that segments take with the gaps between them.
fn width(segments: &Segments) -> usize {
    let each = segments.iter().map(|(_, text)| text::width(text) + 2);
    each.sum::<usize>().saturating_sub(2)
}

fn segments(pen: &mut Pen<'_>, y: u16, right: u16, segments: &[(Tone, String)]) {
    let mut x = 1;
    for (tone, segment) in segments {
        x = pen.put(x, y, right.saturating_sub(x), segment, *tone) + 2;
    }
}

fn source(pen: &Pen<'_>) -> Segments {
    let model = pen.model;
    let glyphs = pen.glyphs;
    let mut told = Vec::new();
    let tally = model.connections.tally();
    // Somebody waits for a decision, so it gives way to nothing.
    if !model.held.is_empty() {
        let held = text::count(model.held.len(), "message");
        told.push((Tone::Warning, format!("{held} held")));
    }
    if let Some(playback) = model.playback {
        let sign = if playback.playing {
            glyphs.play
        } else {
            glyphs.pause
        };
        let place = text::place(playback.position_us, playback.length_us);
        told.push((Tone::Good, format!("{sign} {place}, x{}", playback.speed)));
    }
    if tally.open > 0 {
        told.push((Tone::Good, format!("{} {} open", glyphs.dot, tally.open)));
    }
    if tally.connecting > 0 {
        told.push((
            Tone::Warning,
            format!("{} {} connecting", glyphs.ring, tally.connecting),
        ));
    }
    if tally.lost > 0 {
        told.push((Tone::Bad, format!("{} {} lost", glyphs.ring, tally.lost)));
    }
    if tally.closed > 0 {
        told.push((
            Tone::Bad,
            format!("{} {} closed", glyphs.ring, tally.closed),
        ));
    }
    match &model.ended {
        Some(reason) if reason.is_empty() => told.push((Tone::Warning, "ended".to_owned())),
        Some(reason) => told.push((Tone::Bad, format!("ended: {}", text::clean(reason)))),
        None => {}
    }
    match model.connections.trouble() {
        Some((
            conn,
            State::Lost {
                reason,
                attempt,
                in_ms,
            },
        )) => {
            let wait = text::latency(in_ms * 1000);
            let reason = text::clean(reason);
            told.push((
                Tone::Warning,
                format!("attempt {attempt} in {wait}, {conn}: {reason}"),
            ));
        }
        Some((conn, State::Closed { reason })) => {
            told.push((Tone::Warning, format!("{conn}: {}", text::clean(reason))));
        }
        _ => {}
    }
    told
}

fn ring(model: &Model) -> (Tone, String) {
    let fill = model.ring.fill_percent();
    let weight = text::bytes(model.ring.weight());
    let left = match model.forgotten {
        0 => String::new(),
        count => format!(", {} left it", text::short(number(count))),
    };
    (Tone::Plain, format!("ring {fill}% {weight}{left}"))
}

fn loss(model: &Model) -> (Tone, String) {
    let tone = if model.dropped == 0 {
        Tone::Plain
    } else {
        Tone::Bad
    };
    (
        tone,
        format!("{} dropped", text::short(number(model.dropped))),
    )
}

fn recording(pen: &Pen<'_>) -> (Tone, String) {
    match &pen.model.recording {
        Recording::Off => (Tone::Plain, String::new()),
        Recording::On { records, .. } => {
            let records = text::short(number(*records));
            (Tone::Bad, format!("{} rec {records}", pen.glyphs.dot))
        }
        Recording::Failed { reason, .. } if pen.model.size.0 >= 110 => {
            let reason = text::cut(&text::clean(reason), 40);
            (Tone::Bad, format!("recording failed: {reason}"))
        }
        Recording::Failed { .. } => (Tone::Bad, "recording failed".to_owned()),
    }
}

/// Counts are shown with three digits, so that what does not fit into a word changes nothing.
fn number(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

/// The filter, or the line that is being typed; returns where its cursor is.
pub(super) fn filter(pen: &mut Pen<'_>, area: Rect) -> Option<(u16, u16)> {
    let model = pen.model;
    let (y, right) = (area.y, area.right().saturating_sub(1));
    let Some(prompt) = &model.prompt else {
        let all = model.filter.is_everything();
        let x = pen.put(area.x + 1, y, area.width, "filter ", Tone::Faint);
        let (told, tone) = match model.filter.text() {
            "" => ("everything", Tone::Faint),
            text => (text, Tone::Title),
        };
        let counts = match (all, model.list.filtering()) {
            (_, true) => format!("filtering, {} so far", text::short(model.list.len())),
            (true, false) => String::new(),
            (false, false) => {
                let of = text::short(model.ring.len());
                format!("{} of {of}", text::short(model.list.len()))
            }
        };
        let width = u16::try_from(text::width(&counts)).unwrap_or(0);
        let room = right.saturating_sub(x + width + 1);
        pen.put(x, y, room, &text::clean(told), tone);
        pen.put_right(right, y, &counts, Tone::Plain);
        return None;
    };
    let label = match prompt.purpose {
        Purpose::Filter => "filter> ",
        Purpose::Search => "search> ",
        Purpose::Edit(_) => "edit> ",
        Purpose::Rule => "rule> ",
    };
    let (verdict, tone) = match (prompt.purpose, prompt.error()) {
        (Purpose::Search, _) => ("", Tone::Plain),
        (_, None) => ("valid", Tone::Good),
        (_, Some(_)) => ("not valid", Tone::Bad),
    };
    let x = pen.put(area.x + 1, y, area.width, label, Tone::Key);
    let room = right.saturating_sub(x + 11);
    let (before, after) = prompt.parts();
    // A long text is shown from where its cursor can be seen.
    let mut start = 0;
    while text::width(&before[start..]) > usize::from(room.saturating_sub(1)) {
        start += before[start..].chars().next().map_or(1, char::len_utf8);
    }
    let cursor = pen.put(x, y, room, &before[start..], Tone::Plain);
    pen.put(
        cursor,
        y,
        (x + room).saturating_sub(cursor),
        after,
        Tone::Plain,
    );
    pen.put_right(right, y, verdict, tone);
    Some((cursor, y))
}

pub(super) fn status(pen: &mut Pen<'_>, area: Rect) {
    let model = pen.model;
    let y = area.y;
    let (place, tone) = place(pen);
    let right = area.right().saturating_sub(1);
    let room = right.saturating_sub(u16::try_from(text::width(&place)).unwrap_or(0) + 2);
    pen.put_right(right, y, &place, tone);
    if let Some(prompt) = &model.prompt {
        let (candidates, chosen) = prompt.candidates();
        // That a half-typed word is not valid, the filter's line says already.
        if let Some(error) = prompt.error().filter(|_| candidates.is_empty()) {
            pen.put(1, y, room, &text::clean(error), Tone::Bad);
            return;
        }
        let mut x = 1;
        let hints = [("enter", "use"), ("esc", "leave"), ("tab", "complete")];
        let hints = match prompt.purpose {
            Purpose::Filter | Purpose::Rule => &hints[..],
            Purpose::Search | Purpose::Edit(_) => &hints[..2],
        };
        if candidates.is_empty() {
            for (key, about) in hints {
                x = put_hint(pen, x, y, room, key, about);
            }
        }
        for (at, name) in candidates.iter().enumerate() {
            let tone = if Some(at) == chosen {
                Tone::Selected
            } else {
                Tone::Plain
            };
            x = pen.put(x, y, room.saturating_sub(x), name, tone) + 1;
        }
        return;
    }
    if let Some(message) = &model.message {
        let tone = if message.bad { Tone::Bad } else { Tone::Good };
        pen.put(1, y, room, &text::clean(&message.text), tone);
        return;
    }
    let mut x = 1;
    for action in hints(model) {
        if let Some((key, short)) = help::hint(&model.keys, *action) {
            let width = u16::try_from(text::width(&key) + 1 + text::width(short)).unwrap_or(0);
            if x + width > room {
                break;
            }
            x = put_hint(pen, x, y, room, &key, short);
        }
    }
}

fn put_hint(pen: &mut Pen<'_>, x: u16, y: u16, right: u16, key: &str, about: &str) -> u16 {
    let x = pen.put(x, y, right.saturating_sub(x), key, Tone::Key) + 1;
    pen.put(x, y, right.saturating_sub(x), about, Tone::Faint) + 2
}

/// Where the cursor stands, and what is below the window or held back.
fn place(pen: &Pen<'_>) -> (String, Tone) {
    let model = pen.model;
    let list = &model.list;
    let rank = format!("{}/{}", list.rank(), list.len());
    if list.paused() {
        return (
            format!("paused, {} held  {rank}", text::short(list.held_back())),
            Tone::Warning,
        );
    }
    match list.new_below() {
        0 if list.following() => (format!("following  {rank}"), Tone::Good),
        0 => (rank, Tone::Plain),
        new => (
            format!("{new} new below {}  {rank}", pen.glyphs.down),
            Tone::Warning,
        ),
    }
}

/// The actions that the status line offers, the most wanted first.
fn hints(model: &Model) -> &'static [Action] {
    use Action::{
        Back, Backward, Bookmark, Bottom, Copy, Discard, Faster, Filter, Forward, Held, Help, Hide,
        NextLint, NextPane, Only, Open, Pair, Pause, Play, Quit, Record, Release, Right, Rules,
        Save, SaveList, Search, Side, Slower, Zoom,
    };
    match (model.dialog, model.focus) {
        (Some(Dialog::Help { .. }), _) => &[Back, Quit],
        (Some(Dialog::Clients { .. }), _) => &[Back, Quit],
        (Some(Dialog::Held { .. }), _) => &[Release, Discard, Held, Back, Quit],
        (Some(Dialog::Rules { .. }), _) => &[Rules, Discard, Back, Quit],
        (Some(Dialog::Bookmarks { .. }), _) => &[Open, Bookmark, Copy, Save, SaveList, Back],
        (None, Focus::Detail) => &[Back, Zoom, Pair, Copy, Save, Bookmark, NextPane, Help, Quit],
        (None, Focus::Side) if model.section == Section::Calls => {
            &[Open, Only, Hide, Help, Right, NextPane, Side, Quit]
        }
        (None, Focus::Side) => &[Only, Hide, Help, Right, NextPane, Side, Quit],
        (None, Focus::List) if model.playback.is_some() => &[
            Open, Filter, Play, Faster, Slower, Forward, Backward, Help, Quit, Only, Search, Hide,
            Pair, Bookmark, Copy,
        ],
        (None, Focus::List) => &[
            Open, Filter, Only, Search, Help, Pause, Quit, Hide, Bottom, Pair, Bookmark, Copy,
            Save, Record, NextLint, Side,
        ],
    }
}
