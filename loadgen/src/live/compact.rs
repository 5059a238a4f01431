//! The live view on a terminal that is too small for charts: figures alone, what is lost or wrong first.
//! No number is cut from 60 columns on, and 15 rows hold all of them.

use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    text::{Line, Span},
    widgets::Paragraph,
};

use super::{
    View,
    parts::{BAD, DIM, foot, head, progress},
};
use crate::report::model::Counts;
use touchstone_output::number::{megabytes, ms, percent};
use touchstone_output::text::grouped;

/// Draws it.
pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, view: &View) {
    let [top, gauge, figures, bottom] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Min(0),
        Constraint::Length(1),
    ])
    .areas(area);
    head(frame, top, view);
    progress(frame, gauge, view);
    let mut lines = deliveries(view);
    lines.extend(latencies(view));
    let health = health(view);
    // Where not all fits, latencies give way.
    let room = usize::from(figures.height);
    lines.truncate(room.saturating_sub(health.len()).max(3));
    lines.extend(health);
    frame.render_widget(Paragraph::new(lines), figures);
    foot(frame, bottom, view);
}

fn deliveries(view: &View) -> Vec<Line<'static>> {
    let row = |name: &'static str, counts: &Counts, may_be_lost: bool| {
        let wrong = counts.duplicated + counts.reordered + counts.misrouted;
        Line::from(vec![
            Span::styled(format!("{name:<12}"), DIM),
            Span::raw(format!("{:>16}", grouped(counts.delivered))),
            marked(
                counts.lost > 0 && !may_be_lost,
                format!("{:>16}", grouped(counts.lost)),
            ),
            marked(wrong > 0, format!("{:>16}", grouped(wrong))),
        ])
    };
    let head = format!("{:<12}{:>16}{:>16}{:>16}", "", "delivered", "lost", "wrong");
    vec![
        Line::styled(head, DIM),
        row("updates", &view.snapshot.audit, false),
        row("heartbeats", &view.snapshot.volatile, true),
    ]
}

fn latencies(view: &View) -> Vec<Line<'static>> {
    let row = |name: &str, cells: [String; 4]| {
        let cells = cells.map(|cell| format!("{cell:>12}")).concat();
        Line::raw(format!("{name:<12}{cells}"))
    };
    let titles = ["p50", "p99", "p99.9", "max"].map(str::to_owned);
    let head = row("ms", titles).style(DIM);
    let kinds = view.snapshot.latency_us.iter().map(|(name, of)| {
        let cells = match of.count {
            0 => ["-"; 4].map(str::to_owned),
            _ => [of.p50, of.p99, of.p999, of.max].map(ms),
        };
        row(name, cells)
    });
    std::iter::once(head).chain(kinds).collect()
}

/// The connections, what is sent, and how the generator is.
fn health(view: &View) -> Vec<Line<'static>> {
    let snapshot = &view.snapshot;
    let health = &snapshot.health;
    let gone = snapshot.connections.dropped + snapshot.connections.failed;
    let (open, wanted) = (grouped(snapshot.open), grouped(snapshot.wanted));
    let (text, is_bad) = view.health();
    vec![
        Line::from(vec![
            Span::raw(format!("{open} of {wanted} open, ")),
            marked(gone > 0, format!("{} failed", grouped(gone))),
        ]),
        Line::from(vec![
            Span::raw(format!("{} sent, ", grouped(snapshot.sent))),
            marked(
                snapshot.unsent > 0,
                format!("{} unsent", grouped(snapshot.unsent)),
            ),
            Span::raw(format!(
                ", CPU {}, {}",
                percent(health.cpu_share),
                megabytes(health.rss_bytes)
            )),
        ]),
        Line::from(vec![
            marked(is_bad, text),
            Span::raw(format!(", lag {} ms", ms(health.lag_p99_us))),
        ]),
    ]
}

fn marked(is_bad: bool, text: String) -> Span<'static> {
    if is_bad {
        Span::styled(text, BAD)
    } else {
        Span::raw(text)
    }
}
