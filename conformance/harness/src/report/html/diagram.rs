//! The lines that made a finding as a sequence diagram: a lane for each connection and one for the server,
//! time downwards. What is wrong is red, what is missing is dashed.

use std::borrow::Cow;

use maud::{Markup, html};

use super::super::{
    one_line,
    shown::{MISSING, Row, rows},
    trace_ms,
};
use crate::{
    event::{CaseReport, Direction},
    focus::Part,
};

/// How many rows a diagram has at most.
const ROWS: usize = 24;

/// The columns of the drawing, in its own units.
const MARGIN: usize = 78;
const LANE: usize = 120;
const TOP: usize = 44;
const STEP: usize = 34;

/// How many characters stand on an arrow.
const SHOWN: usize = 40;

/// Half the width of a head of an arrow.
const TIP: usize = 7;

/// The name of the lane that everything goes to or comes from.
const SERVER: &str = "server";

/// One arrow.
struct Arrow<'a> {
    conn: &'a str,
    to_server: bool,
    class: &'static str,
    at: String,
    text: String,
    /// All that was said.
    whole: Cow<'a, str>,
}

impl<'a> Arrow<'a> {
    fn of(row: &Row<'a>) -> Option<Self> {
        Some(match *row {
            Row::Missing(conn) => Self {
                conn,
                to_server: false,
                class: "missing",
                at: String::new(),
                text: MISSING.to_owned(),
                whole: Cow::Borrowed(MISSING),
            },
            Row::Line(line, part) => Self {
                conn: &line.conn,
                to_server: match line.dir {
                    Direction::C2s | Direction::Http => true,
                    Direction::S2c => false,
                    Direction::Mark => return None,
                },
                class: part.map_or("", Part::as_str),
                at: trace_ms(line),
                text: label(&line.text),
                whole: one_line(&line.text),
            },
        })
    }
}

/// What was said in a few words: its name, and for events of the server their kind.
fn label(text: &str) -> String {
    let kind = |key: &str| {
        let (_, rest) = text.split_once(key)?;
        Some(rest.split('"').next().unwrap_or_default())
    };
    let name = text.split(" {").next().unwrap_or_default();
    let text = match name {
        "update" => kind("\"t\":\"").map(|kind| format!("update {kind}")),
        "ephemeral" => kind("\"type\":\"").map(|kind| format!("ephemeral {kind}")),
        _ => None,
    }
    .unwrap_or_else(|| text.to_owned());
    let text = one_line(&text);
    match text.char_indices().nth(SHOWN) {
        None => text.into_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}

/// The diagram of what made the findings of a case. Nothing where no line did.
pub(super) fn diagram(case: &CaseReport) -> Markup {
    let rows = rows(case, ROWS);
    let focused = |row: &Row<'_>| !matches!(row, Row::Line(_, None));
    let arrows: Vec<_> = rows
        .iter()
        .filter(|row| focused(row))
        .filter_map(Arrow::of)
        .collect();
    if arrows.is_empty() {
        return html! {};
    }
    let mut lanes: Vec<&str> = Vec::new();
    for arrow in &arrows {
        if !lanes.contains(&arrow.conn) {
            lanes.push(arrow.conn);
        }
    }
    // Who speaks stands to the left of the server, who listens to the right.
    let speaks = |lane: &&str| arrows.iter().any(|it| it.conn == *lane && it.to_server);
    let (mut order, listeners): (Vec<&str>, Vec<&str>) = lanes.into_iter().partition(speaks);
    order.push(SERVER);
    order.extend(listeners);
    let x = |lane: &str| {
        let at = order.iter().position(|name| *name == lane).unwrap_or(0);
        MARGIN + LANE / 2 + at * LANE
    };
    let width = MARGIN + order.len() * LANE + LANE;
    let bottom = TOP + arrows.len() * STEP + STEP / 2;
    html! {
        div.diagram {
            svg viewBox=(format!("0 0 {width} {}", bottom + 8)) width=(width) height=(bottom + 8)
                role="img" aria-label="sequence diagram of the lines that made the finding" {
                @for lane in &order {
                    text.lane x=(x(lane)) y="18" text-anchor="middle" { (one_line(lane)) }
                    line.lane x1=(x(lane)) x2=(x(lane)) y1="26" y2=(bottom) {}
                }
                @for (at, arrow) in arrows.iter().enumerate() {
                    (drawn(arrow, x(arrow.conn), x(SERVER), TOP + at * STEP + STEP / 2))
                }
            }
        }
    }
}

fn drawn(arrow: &Arrow<'_>, conn: usize, server: usize, y: usize) -> Markup {
    let (from, to) = match arrow.to_server {
        true => (conn, server),
        false => (server, conn),
    };
    let back = match from < to {
        true => to - TIP,
        false => to + TIP,
    };
    let tip = format!(
        "{to},{y} {back},{} {back},{}",
        y - TIP / 2 - 1,
        y + TIP / 2 + 1
    );
    let left = from.min(to);
    html! {
        g class=(arrow.class) {
            title { (arrow.class) " " (arrow.whole) }
            text.at x=(MARGIN - 14) y=(y + 4) text-anchor="end" { (arrow.at) }
            line x1=(from) x2=(to) y1=(y) y2=(y) {}
            polygon points=(tip) {}
            text x=(left + 8) y=(y - 5) { (arrow.text) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{focus::Focus, report::testing};

    #[test]
    fn an_arrow_says_what_it_is() {
        let update = r#"update {"id":"x","seq":3,"body":{"t":"new-message","sid":"s"}}"#;
        assert_eq!(label(update), "update new-message");
        let ephemeral = r#"ephemeral {"type":"activity","id":"s"}"#;
        assert_eq!(label(ephemeral), "ephemeral activity");
        assert_eq!(label("ack #3 {}"), "ack #3 {}");
        assert_eq!(label(&"x".repeat(99)).chars().count(), SHOWN + 1);
    }

    #[test]
    fn the_wrong_arrow_and_the_missing_one_are_marked() {
        let mut case = testing::report().cases[1].clone();
        let finding = &mut case.findings[0];
        finding.focus = vec![
            Focus {
                line: 0,
                part: Part::Cause,
            },
            Focus {
                line: 1,
                part: Part::Wrong,
            },
        ];
        finding.missing = vec!["u2".into()];
        let drawn = diagram(&case).into_string();
        for part in [
            "class=\"cause\"",
            "class=\"wrong\"",
            "class=\"missing\"",
            ">u2<",
            ">server<",
        ] {
            assert!(drawn.contains(part), "{part}: {drawn}");
        }
        case.findings[0].focus.clear();
        case.findings[0].missing.clear();
        assert_eq!(diagram(&case).into_string(), "");
    }
}
