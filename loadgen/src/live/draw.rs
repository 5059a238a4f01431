//! Drawing the live view. It fits 80x24, and shows more on larger terminals; smaller ones get figures
//! without charts.

use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::{Color, Style},
    symbols::Marker,
    text::{Line, Span},
    widgets::{Axis, Chart, Dataset, GraphType, Paragraph, Sparkline},
};

use super::{
    View, compact,
    parts::{BAD, DIM, block, foot, head, progress},
    types,
};
use crate::report::model::{Counts, Summary};
use touchstone_output::Style as ReportStyle;
use touchstone_output::number::{megabytes, ms, percent};
use touchstone_output::text::grouped;

/// Rows from which on there is room for more than the least.
const TALL: u16 = 36;

/// Columns from which on, on a tall terminal, each type of event has a row.
const WIDE: u16 = 150;

/// Rows and columns of what stands beside the table of types.
const BESIDE: (u16, u16) = (21, 40);

/// What charts and tables need.
const ROOM: (u16, u16) = (80, 24);

/// Draws the view.
pub fn draw(frame: &mut Frame<'_>, view: &View) {
    let area = frame.area();
    if area.width < ROOM.0 || area.height < ROOM.1 {
        compact::draw(frame, area, view);
    } else {
        in_full(frame, area, view);
    }
    if view.style == ReportStyle::Plain {
        without_colours(frame);
    }
    if view.ascii {
        to_ascii(frame);
    }
}

fn in_full(frame: &mut Frame<'_>, area: Rect, view: &View) {
    let is_tall = area.height >= TALL;
    let is_wide = is_tall && area.width >= WIDE;
    let (table_rows, rate_rows) = match (is_tall, is_wide) {
        (_, true) => (types::rows(view).clamp(10, area.height - BESIDE.0), 10),
        (true, false) => (10, 10),
        (false, false) => (6, 5),
    };
    let [top, gauge, charts, tables, rates, bottom] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Min(8),
        Constraint::Length(table_rows),
        Constraint::Length(rate_rows),
        Constraint::Length(1),
    ])
    .areas(area);
    head(frame, top, view);
    progress(frame, gauge, view);
    let [chart, table] =
        Layout::horizontal([Constraint::Min(30), Constraint::Length(41)]).areas(charts);
    latency_chart(frame, chart, view);
    latencies(frame, table, view);
    let [audit, health] =
        Layout::horizontal([Constraint::Min(30), Constraint::Length(41)]).areas(tables);
    if is_wide {
        let columns = [Constraint::Length(BESIDE.1), Constraint::Min(0)];
        let [audit, of_types] = Layout::horizontal(columns).areas(audit);
        deliveries(frame, audit, view, is_tall);
        types::draw(frame, of_types, view);
    } else {
        deliveries(frame, audit, view, is_tall);
    }
    generator(frame, health, view);
    let [sent, delivered] = Layout::horizontal([Constraint::Fill(1); 2]).areas(rates);
    rate(frame, sent, view, Rate::Sent);
    rate(frame, delivered, view, Rate::Delivered);
    foot(frame, bottom, view);
}

/// For terminals and fonts that have nothing else.
fn to_ascii(frame: &mut Frame<'_>) {
    for cell in &mut frame.buffer_mut().content {
        if cell.symbol().is_ascii() {
            continue;
        }
        let symbol = match cell.symbol() {
            "─" => "-",
            "━" => "=",
            "│" => "|",
            "┌" | "┐" | "└" | "┘" | "├" | "┤" | "┬" | "┴" | "┼" => "+",
            "▁" | "▂" | "▃" => ".",
            "▄" | "▅" => ":",
            "▆" | "▇" | "█" => "#",
            "·" | "•" => "*",
            "…" => "~",
            // Points of a chart.
            "\u{2800}" => " ",
            symbol if ("\u{2801}"..="\u{28ff}").contains(&symbol) => "*",
            _ => "?",
        };
        cell.set_symbol(symbol);
    }
}

/// Bold and dim stay, since what matters is told by them, too.
fn without_colours(frame: &mut Frame<'_>) {
    for cell in &mut frame.buffer_mut().content {
        cell.set_fg(Color::Reset).set_bg(Color::Reset);
    }
}

fn latency_chart(frame: &mut Frame<'_>, area: Rect, view: &View) {
    let title = "fan-out, ms: median · 99 % · max";
    let points = |of: fn(&Summary) -> u64| -> Vec<(f64, f64)> {
        let measured = view.seconds.iter().filter(|tick| tick.latency_us.count > 0);
        measured
            .map(|tick| (f64::from(tick.second), log(of(&tick.latency_us))))
            .collect()
    };
    let (median, most, max) = (points(|s| s.p50), points(|s| s.p99), points(|s| s.max));
    if max.is_empty() {
        let waiting = Paragraph::new("nothing has arrived yet")
            .style(DIM)
            .block(block(title));
        frame.render_widget(waiting, area);
        return;
    }
    // Powers of ten around all values, so that the axis does not jump about.
    let low = median
        .iter()
        .map(|(_, y)| *y)
        .fold(f64::MAX, f64::min)
        .floor();
    let high = max.iter().map(|(_, y)| *y).fold(low + 1.0, f64::max).ceil();
    let first = max.first().map_or(0.0, |(x, _)| *x);
    let last = max.last().map_or(0.0, |(x, _)| *x).max(first + 10.0);
    let line = |points, colour| {
        Dataset::default()
            .marker(Marker::Braille)
            .graph_type(GraphType::Line)
            .style(Style::new().fg(colour))
            .data(points)
    };
    let chart = Chart::new(vec![
        line(&max, Color::DarkGray),
        line(&most, Color::Yellow),
        line(&median, Color::Cyan),
    ])
    .block(block(title))
    .x_axis(
        Axis::default()
            .bounds([first, last])
            .labels([format!("{first} s"), format!("{last} s")])
            .style(DIM),
    )
    .y_axis(
        Axis::default()
            .bounds([low, high])
            .labels(powers(low, high))
            .style(DIM),
    );
    frame.render_widget(chart, area);
}

/// A label for each power of ten.
fn powers(low: f64, high: f64) -> Vec<String> {
    let steps = std::iter::successors(Some(low), |at| Some(at + 1.0));
    steps.take_while(|at| *at <= high).map(power).collect()
}

/// The power of ten that so many microseconds are in milliseconds.
fn log(us: u64) -> f64 {
    (us.max(1) as f64 / 1000.0).log10()
}

/// `10` for 1, `0.1` for -1.
fn power(exponent: f64) -> String {
    let value = 10f64.powf(exponent);
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn latencies(frame: &mut Frame<'_>, area: Rect, view: &View) {
    let mut lines = vec![Line::styled(
        format!(
            "{:<8}{:>7}{:>8}{:>8}{:>8}",
            "", "p50", "p99", "p99.9", "max"
        ),
        DIM,
    )];
    for (name, summary) in view.snapshot.latency_us.iter() {
        let cells = if summary.count == 0 {
            format!("{:>7}{:>8}{:>8}{:>8}", "-", "-", "-", "-")
        } else {
            format!(
                "{:>7}{:>8}{:>8}{:>8}",
                ms(summary.p50),
                ms(summary.p99),
                ms(summary.p999),
                ms(summary.max)
            )
        };
        lines.push(Line::raw(format!("{name:<8}{cells}")));
    }
    let title = "latency so far, ms";
    frame.render_widget(Paragraph::new(lines).block(block(title)), area);
}

fn deliveries(frame: &mut Frame<'_>, area: Rect, view: &View, in_full: bool) {
    let row = |name: &str, of: fn(&Counts) -> u64, may: bool, volatile_may: bool| {
        let (update, heartbeat) = (of(&view.snapshot.audit), of(&view.snapshot.volatile));
        let cell = |count: u64, may: bool| {
            let text = format!("{:>12}", grouped(count));
            if count > 0 && !may {
                Span::styled(text, BAD)
            } else {
                Span::raw(text)
            }
        };
        Line::from(vec![
            Span::styled(format!("{name:<11}"), DIM),
            cell(update, may),
            cell(heartbeat, volatile_may),
        ])
    };
    let mut lines = vec![
        Line::styled(
            format!("{:<11}{:>12}{:>12}", "", "updates", "heartbeats"),
            DIM,
        ),
        row("delivered", |c| c.delivered, true, true),
    ];
    if in_full {
        lines.extend([
            row("late", |c| c.late, true, true),
            row("lost", |c| c.lost, false, true),
            row("duplicated", |c| c.duplicated, false, false),
            row("reordered", |c| c.reordered, false, false),
            row("misrouted", |c| c.misrouted, false, false),
            row("uncertain", |c| c.uncertain, true, true),
        ]);
    } else {
        let wrong = |c: &Counts| c.duplicated + c.reordered + c.misrouted;
        lines.extend([
            row("lost", |c| c.lost, false, true),
            row("wrong", wrong, false, false),
        ]);
    }
    frame.render_widget(Paragraph::new(lines).block(block("deliveries")), area);
}

fn generator(frame: &mut Frame<'_>, area: Rect, view: &View) {
    let snapshot = &view.snapshot;
    let health = &snapshot.health;
    let connections = &snapshot.connections;
    let gone = connections.dropped + connections.failed;
    let open = format!(
        "{} of {} open",
        grouped(snapshot.open),
        grouped(snapshot.wanted)
    );
    let lost = format!(", {} failed", grouped(gone));
    let unsent = format!(", {} unsent", grouped(snapshot.unsent));
    let marked = |bad, text| {
        if bad {
            Span::styled(text, BAD)
        } else {
            Span::raw(text)
        }
    };
    let lines = vec![
        Line::from(vec![Span::raw(open), marked(gone > 0, lost)]),
        Line::from(vec![
            Span::raw(format!("{} events sent", grouped(snapshot.sent))),
            marked(snapshot.unsent > 0, unsent),
        ]),
        Line::raw(format!(
            "lag {} ms, CPU {}, {}",
            ms(health.lag_p99_us),
            percent(health.cpu_share),
            megabytes(health.rss_bytes)
        )),
        match view.health() {
            (text, true) => Line::styled(text, BAD),
            (text, false) => Line::styled(text, DIM),
        },
    ];
    let title = "connections and generator";
    frame.render_widget(Paragraph::new(lines).block(block(title)), area);
}

/// Which rate a chart shows.
#[derive(Clone, Copy)]
enum Rate {
    Sent,
    Delivered,
}

fn rate(frame: &mut Frame<'_>, area: Rect, view: &View, which: Rate) {
    let last = view.seconds.back();
    let title = match which {
        Rate::Sent => format!(
            "events/s: {} sent, {} planned",
            grouped(last.map_or(0, |tick| tick.sent)),
            grouped(last.map_or(0, |tick| tick.planned))
        ),
        Rate::Delivered => format!(
            "deliveries/s: {}",
            grouped(last.map_or(0, |tick| tick.delivered))
        ),
    };
    let block = block(&title);
    let room = usize::from(block.inner(area).width);
    let skipped = view.seconds.len().saturating_sub(room);
    let values: Vec<u64> = view
        .seconds
        .iter()
        .skip(skipped)
        .map(|tick| match which {
            Rate::Sent => tick.sent,
            Rate::Delivered => tick.delivered,
        })
        .collect();
    let spark = Sparkline::default()
        .data(values)
        .style(Style::new().fg(Color::Cyan))
        .block(block);
    frame.render_widget(spark, area);
}

#[cfg(test)]
mod tests {
    use ratatui::{Terminal, backend::TestBackend, buffer::Buffer};

    use super::super::testing::snapshots;
    use super::*;

    fn screen(width: u16, height: u16, view: &View) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(frame, view)).unwrap();
        terminal.backend().to_string()
    }

    fn running() -> View {
        let title = "production at scale 0.01, http://127.0.0.1:3005/";
        let mut view = View::new(title, ReportStyle::Coloured);
        for snapshot in snapshots() {
            view.update(snapshot);
        }
        view
    }

    /// A run with everything that is marked.
    fn troubled() -> View {
        let mut view = running();
        let mut snapshot = snapshots().pop().unwrap();
        snapshot.audit.lost = 12;
        snapshot.audit.misrouted = 1;
        snapshot.unsent = 7;
        snapshot.connections.dropped = 6;
        snapshot.health.exceeded = Some("events are sent too late");
        view.update(snapshot);
        view.stopping();
        view
    }

    #[test]
    fn on_a_small_terminal() {
        insta::assert_snapshot!(screen(80, 24, &running()));
    }

    #[test]
    fn on_a_large_terminal() {
        insta::assert_snapshot!(screen(120, 40, &running()));
    }

    /// Each type of event has a row, with what went wrong with it.
    #[test]
    fn on_a_very_large_terminal() {
        let mut view = troubled();
        let message = view.snapshot.types.get_mut("new-message");
        message.expect("one of the sample").audit.lost = 12;
        let screen = screen(200, 60, &view);
        for name in ["new-message", "update-session", "activity"] {
            let row = screen.lines().find(|row| row.contains(name));
            assert!(row.is_some(), "no {name} on\n{screen}");
        }
        insta::assert_snapshot!(screen);
    }

    #[test]
    fn in_trouble() {
        insta::assert_snapshot!(screen(80, 24, &troubled()));
    }

    /// All figures at their largest, on a terminal that has no room for charts: none is cut, and what
    /// is lost or wrong is seen.
    #[test]
    fn on_a_very_small_terminal() {
        let mut view = troubled();
        let counts = &mut view.snapshot.audit;
        (counts.delivered, counts.lost, counts.duplicated) = (987_654_321, 7_654_321, 6_543_210);
        view.snapshot.volatile = *counts;
        view.snapshot.latency_us.fanout.max = 3_600_000_000;
        (view.snapshot.open, view.snapshot.wanted) = (1_000_000, 1_000_000);
        view.snapshot.connections.failed = 999_993;
        (view.snapshot.sent, view.snapshot.planned) = (123_456_789, 123_456_799);
        let screen = screen(60, 15, &view);
        for number in [
            "987 654 321",
            "7 654 321",
            "6 543 211",
            "3 600 000",
            "1 000 000 of 1 000 000",
            "999 999",
            "123 456 789",
            "INVALID: events are sent too late",
        ] {
            assert!(screen.contains(number), "no {number} on\n{screen}");
        }
        insta::assert_snapshot!(screen);
        for height in [6, 10] {
            let screen = self::screen(60, height, &view);
            for word in ["lost", "wrong", "7 654 321", "6 543 211"] {
                assert!(screen.contains(word), "no {word} on\n{screen}");
            }
        }
    }

    #[test]
    fn in_ascii_alone() {
        for (width, height) in [(60, 15), (80, 24), (120, 40), (200, 60)] {
            let view = troubled().in_ascii(true);
            let text = screen(width, height, &view);
            assert!(text.is_ascii(), "{text}");
            insta::assert_snapshot!(format!("ascii_{width}x{height}"), text);
        }
    }

    #[test]
    fn somebody_who_wants_the_end_is_asked() {
        let mut view = running();
        view.press(crate::live::Key::Char('q'));
        let screen = screen(80, 24, &view);
        assert!(
            screen.contains("end the run now? y ends it with a report, n goes on"),
            "{screen}"
        );
    }

    #[test]
    fn before_anything_has_arrived() {
        let view = View::new("idle, nowhere", ReportStyle::Coloured);
        insta::assert_snapshot!(screen(80, 24, &view));
    }

    fn buffer(view: &View) -> Buffer {
        let mut terminal = Terminal::new(TestBackend::new(80, 24)).unwrap();
        terminal.draw(|frame| draw(frame, view)).unwrap();
        terminal.backend().buffer().clone()
    }

    #[test]
    fn without_colours_the_rest_stays() {
        let coloured = troubled();
        let plain = View {
            style: ReportStyle::Plain,
            ..troubled()
        };
        let (coloured, plain) = (buffer(&coloured), buffer(&plain));
        let pairs = || coloured.content.iter().zip(&plain.content);
        assert!(pairs().any(|(before, _)| before.fg != Color::Reset));
        for (before, after) in pairs() {
            assert_eq!(before.symbol(), after.symbol());
            assert_eq!(before.modifier, after.modifier);
            assert_eq!((after.fg, after.bg), (Color::Reset, Color::Reset));
        }
    }

    #[test]
    fn no_terminal_is_too_small() {
        for (width, height) in [
            (1, 1),
            (10, 3),
            (30, 10),
            (79, 23),
            (500, 5),
            (150, 36),
            (500, 200),
        ] {
            screen(width, height, &troubled());
        }
    }
}
