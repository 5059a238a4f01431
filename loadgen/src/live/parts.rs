//! What the views of all sizes draw alike.

use ratatui::{
    Frame,
    layout::{Alignment, Rect},
    style::{Color, Modifier, Style},
    text::Span,
    widgets::{Block, LineGauge, Paragraph},
};
use touchstone_output::text::cut;

use super::View;
use crate::progress::Stage;

pub(super) const DIM: Style = Style::new().add_modifier(Modifier::DIM);
pub(super) const BOLD: Style = Style::new().add_modifier(Modifier::BOLD);
pub(super) const BAD: Style = Style::new().fg(Color::Red).add_modifier(Modifier::BOLD);

pub(super) fn head(frame: &mut Frame<'_>, area: Rect, view: &View) {
    let time = format!(
        "{} of {} s",
        view.snapshot.elapsed.as_secs(),
        view.snapshot.total.as_secs()
    );
    let room = usize::from(area.width).saturating_sub(time.len() + 2);
    frame.render_widget(Paragraph::new(cut(&view.title, room)).style(BOLD), area);
    frame.render_widget(Paragraph::new(time).alignment(Alignment::Right), area);
}

pub(super) fn progress(frame: &mut Frame<'_>, area: Rect, view: &View) {
    let snapshot = &view.snapshot;
    let total = snapshot.total.as_secs_f64();
    let ratio = if total > 0.0 {
        (snapshot.elapsed.as_secs_f64() / total).clamp(0.0, 1.0)
    } else {
        0.0
    };
    let doing = match snapshot.stage {
        Stage::Running if snapshot.counted => cut(&snapshot.phase, 24),
        Stage::Running => format!("{} (not counted)", cut(&snapshot.phase, 24)),
        other => other.as_str().to_owned(),
    };
    let gauge = LineGauge::default()
        .ratio(ratio)
        .label(doing)
        .filled_symbol("━")
        .unfilled_symbol("─")
        .filled_style(Style::new().fg(Color::Cyan))
        .unfilled_style(DIM);
    frame.render_widget(gauge, area);
}

pub(super) fn block(title: &str) -> Block<'_> {
    Block::bordered()
        .border_style(DIM)
        .title(Span::styled(format!(" {title} "), DIM))
}

pub(super) fn foot(frame: &mut Frame<'_>, area: Rect, view: &View) {
    let style = if view.asking { BOLD } else { DIM };
    frame.render_widget(Paragraph::new(view.keys()).style(style), area);
}
