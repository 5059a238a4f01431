//! What `load plan` says: a schedule in numbers, before anything connects.

use serde_json::{Value, json};

use crate::schedule::{Schedule, Summary};
use touchstone_output::Style;
use touchstone_output::number::rate;
use touchstone_output::text::{grouped, one_line, plural};

/// How many rows the course of a run has at most.
const ROWS: usize = 12;

/// What deliveries are counted without a server.
const ASSUMED: &str = "deliveries to those who need an event; a run measures who else gets it";

/// The plan for a person, with a line end behind its last line.
#[must_use]
pub fn plan(schedule: &Schedule, summary: &Summary, style: Style) -> String {
    let scenario = schedule.scenario();
    let shard = match schedule.shard().of() {
        1 => String::new(),
        _ => format!(", shard {}", schedule.shard()),
    };
    let mut lines = vec![
        style.bold(one_line(&scenario.name)),
        one_line(&scenario.description).into_owned(),
        format!("schedule {}", summary.digest),
        format!("seed {}, {}{shard}", schedule.seed(), scenario.duration()),
        format!(
            "{}, {} at the same time, {} opened",
            plural(summary.accounts, "account"),
            plural(summary.connections, "connection"),
            grouped(summary.connects)
        ),
        ASSUMED.to_owned(),
        String::new(),
    ];
    lines.push(style.dim(format!("{:<26}{:>14}{:>16}", "", "events", "deliveries")));
    for kind in &summary.kinds {
        lines.push(row(kind.kind.name(), kind.emits, kind.deliveries));
    }
    lines.push(row("all", summary.emits, summary.deliveries));
    lines.push(String::new());
    lines.extend(course(summary, style));
    lines.join("\n") + "\n"
}

fn row(name: &str, emits: u64, deliveries: u64) -> String {
    format!(
        "{name:<26}{:>14}{:>16}",
        grouped(emits),
        grouped(deliveries)
    )
}

/// Rates over time.
fn course(summary: &Summary, style: Style) -> Vec<String> {
    let seconds = summary.emits_per_second.len();
    let each = seconds.div_ceil(ROWS).max(1);
    let mut lines = vec![style.dim(format!(
        "{:<12}{:>14}{:>14}{:>16}",
        "seconds", "connections", "events/s", "deliveries/s"
    ))];
    for from in (0..seconds).step_by(each) {
        let to = (from + each).min(seconds);
        let mean =
            |counts: &[u64]| counts[from..to].iter().sum::<u64>() as f64 / (to - from) as f64;
        lines.push(format!(
            "{:<12}{:>14}{:>14}{:>16}",
            format!("{from}..{to}"),
            grouped(summary.connections_per_second[to - 1]),
            rate(mean(&summary.emits_per_second)),
            rate(mean(&summary.deliveries_per_second)),
        ));
    }
    lines
}

/// The plan for machines.
#[must_use]
pub fn plan_json(schedule: &Schedule, summary: &Summary) -> Value {
    let scenario = schedule.scenario();
    let kinds = summary.kinds.iter().map(|kind| {
        json!({
            "event": kind.kind.name(),
            "emits": kind.emits,
            "deliveries": kind.deliveries,
        })
    });
    json!({
        "format": "touchstone-load-plan",
        "version": 1,
        "touchstone": env!("CARGO_PKG_VERSION"),
        "scenario": scenario.name,
        "seed": schedule.seed(),
        "shard": schedule.shard().to_string(),
        "durationMs": schedule.end_us() / 1000,
        "digest": summary.digest.to_string(),
        "accounts": summary.accounts,
        "connections": summary.connections,
        "connects": summary.connects,
        "emits": summary.emits,
        "deliveries": summary.deliveries,
        "recipients": "narrow",
        "events": kinds.collect::<Vec<_>>(),
        "emitsPerSecond": summary.emits_per_second,
        "deliveriesPerSecond": summary.deliveries_per_second,
        "connectionsPerSecond": summary.connections_per_second,
    })
}
