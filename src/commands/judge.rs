//! `touchstone judge`: what recordings show to be wrong, whoever made them.

use std::path::Path;

use anyhow::Context as _;
use touchstone_client::trace::{DROPPED, Kind, Reader, Record};
use touchstone_history::{Judge, Knowledge};

use crate::args::JudgeArguments;
use crate::error::Failure;
use crate::exit::Exit;
use crate::reports;
use crate::sinks::{Render, Sinks};
use crate::traces::traces;

use self::report::{Judged, Judgment};
use super::violation::FORMATS;

mod report;

/// Judges the traces that the arguments name.
pub(crate) fn run(arguments: &JudgeArguments) -> Result<Exit, Failure> {
    let sinks = Sinks::open(&arguments.report, FORMATS, renderer)?;
    let mut judgment = Judgment::default();
    for path in traces(&arguments.traces)? {
        let judged = judge(&path, arguments)
            .with_context(|| format!("cannot judge {}", path.display()))
            .map_err(Failure::usage)?;
        judgment.traces.push(judged);
    }
    sinks.write(&judgment, Judgment::text)?;
    Ok(if judgment.has_failures() {
        Exit::Failures
    } else if judgment.is_blind() || judgment.traces.iter().any(|trace| trace.unread > 0) {
        Exit::Incomplete
    } else {
        Exit::Passed
    })
}

fn judge(path: &Path, arguments: &JudgeArguments) -> anyhow::Result<Judged> {
    let reader = Reader::open(path)?;
    let header = reader.header().clone();
    let knowledge = match (arguments.complete, arguments.partial) {
        (true, _) => Knowledge::Complete,
        (_, true) => Knowledge::Partial,
        _ => Knowledge::of(&header.tool),
    };
    let mut judge = Judge::new(knowledge);
    let mut violations = Vec::new();
    let (mut packets, mut unread) = (0, 0);
    for record in reader {
        let record = record.unwrap_or_else(|error| {
            unread += 1;
            reports::notice(&format!("{}: {error}", path.display()));
            missing()
        });
        packets += u64::from(matches!(record.kind, Kind::Packet(..)));
        violations.extend(judge.hear(&record));
    }
    violations.extend(judge.finish());
    Ok(Judged {
        path: path.to_owned(),
        header,
        knowledge,
        records: judge.records(),
        accounts: judge.accounts(),
        connections: judge.connections(),
        packets,
        unread,
        violations,
    })
}

/// What stands for a line that cannot be read: nobody is accused for what it may have said.
fn missing() -> Record {
    Record {
        t_us: 0,
        conn: "-".to_owned(),
        kind: Kind::Mark(format!("{DROPPED}: 1")),
        recipients: None,
    }
}

fn renderer(format: &str) -> Option<Render<Judgment>> {
    Some(match format {
        "json" => |judgment| Ok(judgment.json()),
        "junit" => Judgment::junit,
        "html" => |judgment| Ok(judgment.html()),
        "markdown" => |judgment| Ok(judgment.markdown()),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use touchstone_cases::requirements;
    use touchstone_history::REQUIREMENTS;

    #[test]
    fn what_rules_name_stands_in_the_ledger() {
        for named in REQUIREMENTS {
            let listed = requirements().find(|listed| listed.id == named.id);
            let listed = listed.unwrap_or_else(|| panic!("no requirement {}", named.id));
            assert_eq!(
                listed.level.to_string(),
                named.level.to_string(),
                "{}",
                named.id
            );
        }
    }
}
