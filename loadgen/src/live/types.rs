//! The table of the live view that has a row for each type of event, where there is room for it.

use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
    widgets::Paragraph,
};

use super::{
    View,
    parts::{BAD, DIM, block},
};
use crate::progress::OfType;
use touchstone_output::number::ms;
use touchstone_output::text::grouped;

/// Columns of a name, and of a number.
const NAME: usize = 20;
const NUMBER: usize = 11;

/// Columns from which on each number of a row has a place.
const ROOMY: u16 = NAME as u16 + 8 * NUMBER as u16;

/// The rows that it needs, with its frame.
pub(super) fn rows(view: &View) -> u16 {
    u16::try_from(view.snapshot.types.len() + 3).unwrap_or(u16::MAX)
}

/// Draws it: as many numbers as there is room for, and never without what is lost or wrong.
pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, view: &View) {
    let block = block("by type of event, latency in ms");
    let inside = block.inner(area);
    let is_roomy = inside.width >= ROOMY;
    let titles = [
        "delivered",
        "late",
        "lost",
        "wrong",
        "p50",
        "p99",
        "p99.9",
        "max",
    ];
    let titles = titles.map(|title| Span::styled(format!("{title:>NUMBER$}"), DIM));
    let mut lines = vec![line(Span::raw(format!("{:NAME$}", "")), titles, is_roomy)];
    for (name, of) in &view.snapshot.types {
        let name = Span::styled(format!("{name:<NAME$}"), DIM);
        lines.push(line(name, cells(of), is_roomy));
    }
    let room = usize::from(inside.height);
    if lines.len() > room && room > 0 {
        let more = lines.len() - room + 1;
        lines.truncate(room - 1);
        lines.push(Line::styled(format!("and {more} more"), DIM));
    }
    frame.render_widget(Paragraph::new(lines).block(block), area);
}

fn cells(of: &OfType) -> [Span<'static>; 8] {
    let count = |count: u64, is_bad: bool| {
        let text = format!("{:>NUMBER$}", grouped(count));
        match is_bad && count > 0 {
            true => Span::styled(text, BAD),
            false => Span::raw(text),
        }
    };
    let time = |us: u64| {
        let text = match of.latency_us.count {
            0 => "-".to_owned(),
            _ => ms(us),
        };
        Span::raw(format!("{text:>NUMBER$}"))
    };
    let audit = &of.audit;
    [
        count(audit.delivered, false),
        count(audit.late, false),
        count(audit.lost, !of.volatile),
        count(audit.duplicated + audit.reordered + audit.misrouted, true),
        time(of.latency_us.p50),
        time(of.latency_us.p99),
        time(of.latency_us.p999),
        time(of.latency_us.max),
    ]
}

/// A row; where it is narrow, without what is late and the outer percentiles.
fn line(name: Span<'static>, cells: [Span<'static>; 8], is_roomy: bool) -> Line<'static> {
    let [delivered, late, lost, wrong, half, most, nearly_all, max] = cells;
    let all = match is_roomy {
        true => vec![
            name, delivered, late, lost, wrong, half, most, nearly_all, max,
        ],
        false => vec![name, delivered, lost, wrong, most],
    };
    Line::from(all)
}
