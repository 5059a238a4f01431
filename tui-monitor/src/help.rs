//! The help and the hints of the status line, made from the one table of keys.

use touchstone_output::text::wrap;

use crate::keys::{Action, BINDINGS, Binding, Group, Key, Keymap};
use crate::model::detail::Line;
use crate::text;
use crate::theme::Tone;

/// The width of one of two columns of the help, and of a single one.
const COLUMN: [usize; 2] = [54, 73];

/// What the mouse does, which no table of keys knows.
const MOUSE: &str = "Mouse: the wheel scrolls, a click selects, a click on the filter edits it.";

/// The lines of the help in one or two columns.
pub(crate) fn lines(keys: &Keymap, columns: usize) -> Vec<Line> {
    let width = if columns < 2 { COLUMN[1] } else { COLUMN[0] };
    let blocks = Group::ALL.iter().map(|group| block(keys, *group, width));
    let blocks: Vec<Vec<Line>> = blocks.chain(saved(keys, width)).collect();
    let mut lines: Vec<Line> = if columns < 2 {
        blocks.into_iter().flatten().collect()
    } else {
        let (mut left, mut right) = (Vec::new(), Vec::new());
        let all: usize = blocks.iter().map(Vec::len).sum();
        for block in blocks {
            if left.len() + block.len() / 2 <= all / 2 && right.is_empty() {
                left.extend(block);
            } else {
                right.extend(block);
            }
        }
        left.resize(left.len().max(right.len()), Line::new());
        right.resize(left.len(), Line::new());
        let rows = left.into_iter().zip(right);
        rows.map(|(left, right)| beside(left, right)).collect()
    };
    lines.push(vec![(Tone::Faint, MOUSE.to_owned())]);
    lines
}

fn beside(mut left: Line, right: Line) -> Line {
    let used: usize = left.iter().map(|(_, piece)| text::width(piece)).sum();
    left.push((Tone::Plain, " ".repeat(COLUMN[0].saturating_sub(used))));
    left.extend(right);
    left
}

fn block(keys: &Keymap, group: Group, width: usize) -> Vec<Line> {
    let mut lines = vec![vec![(Tone::Title, group.title().to_owned())]];
    for binding in BINDINGS.iter().filter(|binding| binding.group == group) {
        lines.extend(row(keys, binding, width));
    }
    lines.push(Line::new());
    lines
}

/// The saved filters, if there are any.
fn saved(keys: &Keymap, width: usize) -> Option<Vec<Line>> {
    if keys.filters().is_empty() {
        return None;
    }
    let mut lines = vec![vec![(Tone::Title, "Filters of your own".to_owned())]];
    for filter in keys.filters() {
        let about = format!(
            "{}: {}",
            text::clean(&filter.name),
            text::clean(&filter.show)
        );
        lines.extend(wrapped(&filter.key.to_string(), &about, width));
    }
    lines.push(Line::new());
    Some(lines)
}

/// One action.
fn row(keys: &Keymap, binding: &Binding, width: usize) -> Vec<Line> {
    let names: Vec<String> = keys
        .keys(binding.action)
        .iter()
        .map(Key::to_string)
        .collect();
    match names.is_empty() {
        true => wrapped("no key", binding.about, width),
        false => wrapped(&names.join(" "), binding.about, width),
    }
}

/// Keys and what they do, wrapped so that it fits into a column.
fn wrapped(names: &str, about: &str, width: usize) -> Vec<Line> {
    let lead = |nth| match nth {
        0 => (Tone::Key, format!("  {names:<15} ")),
        _ => (Tone::Plain, " ".repeat(18)),
    };
    let lines = wrap(about, 20, width).into_iter().enumerate();
    lines
        .map(|(nth, line)| vec![lead(nth), (Tone::Plain, line)])
        .collect()
}

/// The first key of an action and its short name, for the status line.
pub(crate) fn hint(keys: &Keymap, action: Action) -> Option<(String, &'static str)> {
    let key = keys.keys(action).first()?.to_string();
    let binding = BINDINGS.iter().find(|binding| binding.action == action)?;
    Some((key, binding.short))
}
