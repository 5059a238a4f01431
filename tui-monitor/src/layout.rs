//! Where things are on the screen: pure functions of the size and of what is open.
//!
//! Drawing and the mouse ask here, so that a click lands on what is seen. This module must not draw.

use ratatui::layout::Rect;

use crate::help;
use crate::model::{Dialog, Model};

/// From this width on, the detail stands beside the list rather than below it.
const BESIDE: u16 = 150;

/// From this width on, the side pane stands beside the list; below, it takes the list's place.
const SIDE_BESIDE: u16 = 110;

/// Below this size nothing useful can be drawn.
pub(crate) const SMALLEST: (u16, u16) = (40, 10);

/// The parts of the screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Areas {
    pub(crate) header: Rect,
    pub(crate) filter: Rect,
    /// With the row of titles.
    pub(crate) list: Option<Rect>,
    pub(crate) detail: Option<Rect>,
    pub(crate) side: Option<Rect>,
    pub(crate) status: Rect,
}

impl Areas {
    /// The rows of the list.
    pub(crate) fn rows(&self) -> Rect {
        let list = self.list.unwrap_or_default();
        Rect {
            y: list.y + list.height.min(1),
            height: list.height.saturating_sub(1),
            ..list
        }
    }
}

pub(crate) fn areas(model: &Model) -> Areas {
    let (width, height) = model.size;
    let row = |y: u16, rows: u16| {
        let y = y.min(height);
        Rect::new(0, y, width, rows.min(height - y))
    };
    let body = row(3, height.saturating_sub(4));
    let mut areas = Areas {
        header: row(0, 2),
        filter: row(2, 1),
        list: Some(body),
        detail: None,
        side: None,
        status: row(height.saturating_sub(1), 1),
    };
    let mut rest = body;
    if model.side_shown() && !model.zoom {
        if width < SIDE_BESIDE {
            areas.side = Some(body);
            areas.list = None;
            return areas;
        }
        let side = (width / 4).clamp(34, 60);
        rest.width -= side;
        areas.side = Some(Rect::new(rest.width, body.y, side, body.height));
    }
    areas.list = Some(rest);
    if model.detail.is_some() {
        if model.zoom {
            areas.list = None;
            areas.detail = Some(rest);
        } else if rest.width >= BESIDE || width >= BESIDE && rest.width >= 120 {
            // A little more than half, so that every column fits as soon as this is the layout.
            let list = rest.width * 11 / 20;
            areas.list = Some(Rect {
                width: list,
                ..rest
            });
            let detail = Rect::new(list, rest.y, rest.width - list, rest.height);
            areas.detail = Some(detail);
        } else {
            let list = (rest.height * 2 / 5).max(4).min(rest.height);
            areas.list = Some(Rect {
                height: list,
                ..rest
            });
            let detail = Rect::new(rest.x, rest.y + list, rest.width, rest.height - list);
            areas.detail = Some(detail);
        }
    }
    areas
}

/// What a frame leaves inside.
pub(crate) fn inside(area: Rect) -> Rect {
    Rect {
        x: area.x + area.width.min(1),
        y: area.y + area.height.min(1),
        width: area.width.saturating_sub(2),
        height: area.height.saturating_sub(2),
    }
}

/// The place of a dialog: the middle of the screen.
pub(crate) fn dialog(model: &Model) -> Rect {
    let (width, height) = model.size;
    let rows = match model.dialog {
        Some(Dialog::Bookmarks { .. }) => model.bookmarks.len().clamp(3, 30),
        Some(Dialog::Clients { .. }) => model.card.len().clamp(3, 30),
        _ => help::lines(&model.keys, help_columns(model)).len(),
    };
    let rows = u16::try_from(rows + 2).unwrap_or(u16::MAX);
    let columns = match model.dialog {
        Some(Dialog::Help { .. }) if help_columns(model) == 1 => 76,
        Some(Dialog::Clients { .. }) => 80,
        _ => 110,
    };
    let (dialog_width, dialog_height) = (columns.min(width), rows.min(height));
    Rect {
        x: (width - dialog_width) / 2,
        y: (height - dialog_height) / 2,
        width: dialog_width,
        height: dialog_height,
    }
}

/// Where held messages are: the list of them, and the detail of one. The filter's line stays free, since a
/// message is edited there.
pub(crate) fn held(model: &Model) -> [Rect; 2] {
    let (width, height) = model.size;
    let body = Rect::new(0, 3.min(height), width, height.saturating_sub(4));
    let rows = u16::try_from(model.held.len().clamp(1, 8) + 2).unwrap_or(u16::MAX);
    let rows = rows.min(body.height);
    let list = Rect {
        height: rows,
        ..body
    };
    let detail = Rect {
        y: body.y + rows,
        height: body.height - rows,
        ..body
    };
    [list, detail]
}

/// Where the rules of a proxy are.
pub(crate) fn rules(model: &Model) -> Rect {
    let [list, detail] = held(model);
    list.union(detail)
}

/// Columns of the help.
pub(crate) fn help_columns(model: &Model) -> usize {
    if model.size.0 >= 114 { 2 } else { 1 }
}

/// Rows that a dialog shows at a time.
pub(crate) fn dialog_rows(model: &Model) -> usize {
    let area = match model.dialog {
        Some(Dialog::Held { .. }) => held(model)[0],
        Some(Dialog::Rules { .. }) => rules(model),
        _ => dialog(model),
    };
    usize::from(inside(area).height)
}

/// How far the help can be scrolled.
pub(crate) fn help_scroll_end(model: &Model) -> usize {
    let lines = help::lines(&model.keys, help_columns(model)).len();
    lines.saturating_sub(dialog_rows(model))
}

/// The sections of the side pane, with their frames.
pub(crate) fn sections(side: Rect) -> [Rect; 3] {
    let rates = side.height * 2 / 5;
    let connections = (side.height - rates) / 2;
    let calls = side.height - rates - connections;
    let mut y = side.y;
    [rates, connections, calls].map(|height| {
        let area = Rect { y, height, ..side };
        y += height;
        area
    })
}
