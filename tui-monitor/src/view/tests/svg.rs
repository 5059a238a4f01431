//! A buffer as a picture, for the documentation.

use std::fmt::Write as _;

use ratatui::buffer::{Buffer, Cell};
use ratatui::style::{Color, Modifier};

const CELL: (f64, f64) = (8.4, 17.0);
const INK: &str = "#d5d9e0";
const PAPER: &str = "#1b1e25";

/// Draws each row as runs of cells that look the same.
pub(super) fn picture(buffer: &Buffer) -> String {
    let (width, height) = (buffer.area.width, buffer.area.height);
    let (w, h) = (f64::from(width) * CELL.0, f64::from(height) * CELL.1);
    let mut svg = format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {w:.1} {h:.1}" width="{w:.0}" height="{h:.0}" font-family="ui-monospace,Menlo,Consolas,'DejaVu Sans Mono',monospace" font-size="14">
<rect width="100%" height="100%" rx="6" fill="{PAPER}"/>
"#
    );
    for y in 0..height {
        let mut x = 0;
        while x < width {
            let look = look(&buffer[(x, y)]);
            let start = x;
            let mut text = String::new();
            while x < width && self::look(&buffer[(x, y)]) == look {
                text.push_str(buffer[(x, y)].symbol());
                x += 1;
            }
            run(&mut svg, (start, x, y), &text, look);
        }
    }
    svg.push_str("</svg>\n");
    svg
}

type Look = (&'static str, &'static str, bool, bool);

fn run(svg: &mut String, (from, to, y): (u16, u16, u16), text: &str, look: Look) {
    let (ink, paper, bold, dim) = look;
    let (x, top) = (f64::from(from) * CELL.0, f64::from(y) * CELL.1);
    let width = f64::from(to - from) * CELL.0;
    if paper != PAPER {
        let height = CELL.1;
        writeln!(
            svg,
            r#"<rect x="{x:.1}" y="{top:.1}" width="{width:.1}" height="{height}" fill="{paper}"/>"#
        )
        .unwrap();
    }
    let weight = if bold { r#" font-weight="bold""# } else { "" };
    let opacity = if dim { r#" opacity="0.6""# } else { "" };
    let base = top + 13.0;
    let mut before = 0;
    // Browsers drop spaces at the ends of a text and take several for one.
    for part in text.split("  ") {
        let indent = part.len() - part.trim_start().len();
        let x = x + (before + indent) as f64 * CELL.0;
        before += part.chars().count() + 2;
        let part = part.trim();
        if part.is_empty() {
            continue;
        }
        let width = part.chars().count() as f64 * CELL.0;
        let escaped = part
            .replace('&', "&amp;")
            .replace('<', "&lt;")
            .replace('>', "&gt;");
        writeln!(
            svg,
            r#"<text x="{x:.1}" y="{base:.1}" textLength="{width:.1}" fill="{ink}"{weight}{opacity}>{escaped}</text>"#
        )
        .unwrap();
    }
}

fn look(cell: &Cell) -> Look {
    let (mut ink, mut paper) = (colour(cell.fg, INK), colour(cell.bg, PAPER));
    if cell.modifier.contains(Modifier::REVERSED) {
        std::mem::swap(&mut ink, &mut paper);
    }
    let bold = cell.modifier.contains(Modifier::BOLD);
    let dim = cell.modifier.contains(Modifier::DIM);
    (ink, paper, bold, dim)
}

fn colour(colour: Color, reset: &'static str) -> &'static str {
    match colour {
        Color::Black => "#15171c",
        Color::Red => "#e06c75",
        Color::LightRed => "#ff7b85",
        Color::Green => "#8cc570",
        Color::LightGreen => "#a5d68c",
        Color::Yellow => "#e2b86b",
        Color::LightYellow => "#f0d399",
        Color::Blue => "#5fa8f5",
        Color::LightBlue => "#7fbcff",
        Color::Magenta => "#c678dd",
        Color::LightMagenta => "#d89bea",
        Color::Cyan => "#4fb8c4",
        Color::LightCyan => "#6fd2de",
        Color::Gray => "#a9afba",
        Color::DarkGray => "#727985",
        Color::White => "#ffffff",
        _ => reset,
    }
}
