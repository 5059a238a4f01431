//! A history as a sequence diagram in text: a lane for each connection, a line for each thing that happened.

use std::collections::BTreeSet;

use touchstone_client::{
    Direction,
    trace::{Kind, Record, Traced},
};
use touchstone_output::text::one_line;

/// How many lines are shown besides those that break the rule.
const LINES: usize = 40;
/// How many characters of a packet.
const SHOWN: usize = 110;

/// The diagram. The lines of `marked`, counted from 1, begin with `!`.
pub(crate) fn diagram(records: &[Record], marked: &[u64]) -> String {
    let marked: BTreeSet<usize> = marked
        .iter()
        .filter_map(|one| usize::try_from(*one).ok())
        .collect();
    let lines: Vec<(usize, &Record, String)> = (1..)
        .zip(records)
        .filter(|(number, record)| marked.contains(number) || !is_noise(record))
        .filter_map(|(number, record)| Some((number, record, words(record)?)))
        .collect();
    let lanes: Vec<&str> = lines.iter().fold(Vec::new(), |mut lanes, (_, record, _)| {
        if record.conn != "-" && !lanes.contains(&record.conn.as_str()) {
            lanes.push(&record.conn);
        }
        lanes
    });
    let width = lanes.iter().map(|lane| lane.len()).max().unwrap_or(1);
    let head: String = lanes
        .iter()
        .map(|lane| format!("{lane:<width$} "))
        .collect();
    let mut text = format!("    {}\n", head.trim_end());
    // Most of what comes before and after is greeting and reading.
    let last = marked.last().copied().unwrap_or(usize::MAX);
    let mut room = LINES;
    let mut is_cut = false;
    for (number, record, words) in &lines {
        let is_marked = marked.contains(number);
        if !is_marked && (room == 0 || *number > last) {
            is_cut |= room == 0;
            continue;
        }
        if !is_marked {
            room -= 1;
        }
        if std::mem::take(&mut is_cut) {
            text.push_str("    …\n");
        }
        let row: String = lanes
            .iter()
            .map(|lane| format!("{:<width$} ", if *lane == record.conn { "●" } else { "│" }))
            .collect();
        let sign = if is_marked { "!" } else { " " };
        text.push_str(&format!("  {sign} {row} {words}\n"));
    }
    text
}

/// Whether it is only there to begin or to end: sign-ins, and what is read.
fn is_noise(record: &Record) -> bool {
    matches!(&record.kind, Kind::Http(exchange) if exchange.method == "GET" || exchange.url.contains("/auth"))
}

/// What a record says, nothing where it is not worth a line.
fn words(record: &Record) -> Option<String> {
    let cut = |text: &str| {
        let line = one_line(text);
        match line.chars().count() > SHOWN {
            true => line.chars().take(SHOWN).collect::<String>() + "…",
            false => line.into_owned(),
        }
    };
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
