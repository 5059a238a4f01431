//! A history as a sequence diagram: a lane for each connection, a line for each thing that happened.

use std::{
    collections::BTreeSet,
    fmt::{self, Display, Formatter},
};

use touchstone_client::{
    Direction,
    trace::{Kind, Record, Traced},
};
use touchstone_output::text::cut;

/// How many lines are shown besides those that break the rule.
const LINES: usize = 40;
/// How many columns of a packet.
const SHOWN: usize = 110;

/// A sequence diagram: lanes, and what happens in them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagram {
    /// The connections, in the order in which they come.
    pub lanes: Vec<String>,
    /// What happens, one after the other.
    pub rows: Vec<Row>,
    /// Whether more happened than is shown.
    pub is_cut: bool,
}

/// Something that happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// In which lane; nothing where it concerns all.
    pub lane: Option<usize>,
    /// What.
    pub text: String,
    /// Whether it is part of what breaks the rule.
    pub is_marked: bool,
}

impl Diagram {
    /// The diagram of a history, in which the records `marked`, counted from 1, break a rule.
    pub(crate) fn of(records: &[Record], marked: &[u64]) -> Self {
        let marked: BTreeSet<usize> = marked
            .iter()
            .filter_map(|one| usize::try_from(*one).ok())
            .collect();
        let last = marked.last().copied().unwrap_or(usize::MAX);
        let lines: Vec<(bool, &Record, String)> = (1..=last)
            .zip(records)
            .map(|(number, record)| (marked.contains(&number), record))
            .filter(|(is_marked, record)| *is_marked || !is_noise(record))
            .filter_map(|(is_marked, record)| Some((is_marked, record, words(record)?)))
            .collect();
        // What comes long before the end is mostly greeting.
        let unmarked = lines.iter().filter(|(is_marked, ..)| !is_marked).count();
        let mut skipped = unmarked.saturating_sub(LINES);
        let mut diagram = Self {
            lanes: Vec::new(),
            rows: Vec::new(),
            is_cut: skipped > 0,
        };
        for (is_marked, record, text) in lines {
            if !is_marked && skipped > 0 {
                skipped -= 1;
                continue;
            }
            let lane = (record.conn != "-").then(|| diagram.lane(&record.conn));
            diagram.rows.push(Row {
                lane,
                text,
                is_marked,
            });
        }
        diagram
    }

    fn lane(&mut self, name: &str) -> usize {
        let known = self.lanes.iter().position(|lane| lane == name);
        known.unwrap_or_else(|| {
            self.lanes.push(name.to_owned());
            self.lanes.len() - 1
        })
    }
}

/// As text: what breaks the rule begins with `!`.
impl Display for Diagram {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let width = self.lanes.iter().map(String::len).max().unwrap_or(1);
        let head: Vec<String> = self
            .lanes
            .iter()
            .map(|lane| format!("{lane:<width$}"))
            .collect();
        writeln!(f, "    {}", head.join(" ").trim_end())?;
        if self.is_cut {
            writeln!(f, "    …")?;
        }
        for row in &self.rows {
            write!(f, "  {} ", if row.is_marked { "!" } else { " " })?;
            for lane in 0..self.lanes.len() {
                let sign = if row.lane == Some(lane) { "●" } else { "│" };
                write!(f, "{sign:<width$} ")?;
            }
            writeln!(f, " {}", row.text)?;
        }
        Ok(())
    }
}

/// Whether it is only there to begin or to end: sign-ins, and what is read.
fn is_noise(record: &Record) -> bool {
    matches!(&record.kind, Kind::Http(exchange) if exchange.method == "GET" || exchange.url.contains("/auth"))
}

/// What a record says, nothing where it is not worth a line.
fn words(record: &Record) -> Option<String> {
    let cut = |text: &str| cut(text, SHOWN);
    let arrow = |direction: Direction| match direction {
        Direction::Sent => "→",
        Direction::Received => "←",
    };
    Some(match &record.kind {
        Kind::Packet(direction, packet) => match packet {
            Traced::Event {
                name, args, ack, ..
            } if name != "ping" => {
                let ack = ack.map_or(String::new(), |id| format!(" #{id}"));
                cut(&format!(
                    "{} {name}{ack} {}",
                    arrow(*direction),
                    args.as_str()
                ))
            }
            Traced::Ack { id, args, .. } if args.as_str() != "{}" => cut(&format!(
                "{} ack #{id} {}",
                arrow(*direction),
                args.as_str()
            )),
            Traced::Disconnect => format!("{} disconnect", arrow(*direction)),
            _ => return None,
        },
        Kind::Http(exchange) => {
            let status = exchange
                .status
                .map_or("no answer".to_owned(), |status| status.to_string());
            let request = exchange
                .request
                .as_ref()
                .map_or(String::new(), ToString::to_string);
            cut(&format!(
                "→ {} {} {request} ← {status}",
                exchange.method, exchange.url
            ))
        }
        Kind::Mark(text) => cut(text),
    })
}

#[cfg(test)]
mod tests {
    use touchstone_client::Args;

    use super::*;

    #[test]
    fn what_breaks_the_rule_is_marked_and_never_cut() {
        let record = |conn: &str, number: usize| Record {
            t_us: 0,
            conn: conn.to_owned(),
            kind: Kind::Packet(
                Direction::Sent,
                Traced::Event {
                    name: format!("event-{number}"),
                    args: Args::from(serde_json::json!({})),
                    ack: None,
                    attachments: 0,
                },
            ),
            recipients: None,
        };
        let records: Vec<Record> = (1..=100)
            .map(|number| record(if number % 2 == 0 { "A" } else { "B" }, number))
            .collect();
        let diagram = Diagram::of(&records, &[2, 90]);
        assert_eq!(diagram.lanes, ["A", "B"]);
        assert_eq!(diagram.rows.len(), LINES + 2);
        assert!(diagram.is_cut);
        let text = diagram.to_string();
        assert!(
            text.starts_with("    A B\n    …\n  ! ● │  → event-2 {}\n"),
            "{text}"
        );
        assert!(text.ends_with("  ! ● │  → event-90 {}\n"), "{text}");
    }
}
