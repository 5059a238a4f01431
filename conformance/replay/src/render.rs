//! Replays as text for people and as JSON for programs. The schema of the latter is
//! `schema/replay-report.schema.json`; the format is an interface, so changes are additions.

use std::{collections::BTreeMap, fmt::Write as _};

use serde_json::{Value, json};

use super::{
    alike::alike,
    judged::Judged,
    outcome::{Item, Outcome},
    payload::Difference,
    report::{Counts, Repair, ReplayReport, ReplayRun, Replayed, Unsent},
};
use touchstone_output::text::{clean, json_without_controls};

use touchstone_harness::evidence::shorten;
use touchstone_output::text::plural;

/// The value of `format` in the report.
const FORMAT: &str = "touchstone-replay";
/// The version of the format.
const VERSION: u32 = 2;

/// The JSON Schema (2020-12) of the report.
pub const SCHEMA: &str = include_str!("../schema/replay-report.schema.json");

/// How many characters of a value are shown in the text.
const SHOWN: usize = 160;

impl ReplayRun {
    /// The report for people: what is not the same, the counts, and of several traces their number.
    pub fn text(&self) -> String {
        let mut text = format!("replayed against {}\n", self.target);
        let several = self.traces.len() > 1;
        for trace in &self.traces {
            // Writing to a string does not fail.
            let _ = one(&mut text, trace, several);
        }
        if several {
            let _ = writeln!(
                text,
                "{} traces: {}",
                self.traces.len(),
                counted(&self.counts())
            );
        }
        clean(&text).into_owned()
    }

    /// The report for programs; `items` leaves out what is the same.
    pub fn json(&self) -> String {
        let traces: Vec<Value> = self.traces.iter().map(trace_json).collect();
        let mut report = json!({
            "format": FORMAT,
            "version": VERSION,
            "touchstone": env!("CARGO_PKG_VERSION"),
            "target": {"name": self.target},
            "startedAt": self.started_at,
            "durationMs": millis(self.duration),
            "seed": self.seed,
            "summary": counts_json(&self.counts()),
            "traces": traces,
        });
        if let Some(speed) = self.speed {
            report["speed"] = speed.into();
        }
        json_without_controls(&format!("{report:#}\n"))
    }
}

fn one(text: &mut String, trace: &Replayed, several: bool) -> std::fmt::Result {
    if several {
        write!(text, "{}: ", trace.path.display())?;
    }
    let report = match &trace.outcome {
        Err(why) => return writeln!(text, "not replayed: {why}"),
        Ok(report) => report,
    };
    let counts = report.counts();
    let quiet = several && counts.is_same() && report.unsent.is_empty();
    if several {
        writeln!(text, "{}", counted(&counts))?;
    }
    for (item, others) in alike(&report.items) {
        different(text, item)?;
        if others > 0 {
            writeln!(text, "    and {} of the same kind", plural(others, "other"))?;
        }
    }
    for one in &report.judged {
        let (repair, said) = said(one);
        let at = seconds(one.t_us);
        writeln!(
            text,
            "{repair:10} {at:9.3} s  {said}\n    {}",
            cut(&one.text)
        )?;
    }
    let mut unsent: Vec<(&Unsent, usize)> = Vec::new();
    for one in &report.unsent {
        let is_alike = |other: &Unsent| (&other.what, &other.why) == (&one.what, &one.why);
        match unsent.iter_mut().find(|(other, _)| is_alike(other)) {
            Some((_, count)) => *count += 1,
            None => unsent.push((one, 1)),
        }
    }
    for (one, count) in unsent {
        let more = match count {
            1 => String::new(),
            count => format!(" ({count} times)"),
        };
        let Unsent {
            conn, what, why, ..
        } = one;
        writeln!(text, "not replayable  {conn}  {what}: {why}{more}")?;
    }
    if !quiet {
        for (word, count, why) in reasons(&report.items) {
            writeln!(text, "{word:14} {count:4}  {why}")?;
        }
        if report.decisions > 0 {
            let count = report.decisions;
            writeln!(
                text,
                "not compared   {count:4}  routing decisions, which no client receives"
            )?;
        }
    }
    if !several {
        if !text.is_empty() {
            text.push('\n');
        }
        writeln!(text, "{}", counted(&counts))?;
    }
    if report.interrupted {
        writeln!(text, "interrupted: what comes behind was not sent")?;
    }
    if let Some((repair, case)) = told(report) {
        writeln!(text, "{repair}: {case}")?;
    }
    Ok(())
}

/// What became of the failure of a case, in a word and a sentence.
pub(super) fn told(report: &ReplayReport) -> Option<(&'static str, String)> {
    let (repair, case) = (report.repair?, report.case.as_ref()?);
    let now = match repair {
        Repair::Fixed => "passes now",
        Repair::Failed => "still fails",
        Repair::Error => "could not be judged",
    };
    Some((repair.as_str(), format!("{} {now}", case.id)))
}

/// What became of a requirement that was broken, in a word and a few more.
pub(super) fn said(one: &Judged) -> (&'static str, String) {
    let also = match one.repair {
        Repair::Failed if one.is_recorded => ", as in the recording",
        Repair::Failed => ", not in the recording",
        Repair::Fixed => ", in the recording only",
        Repair::Error => ", in the recording, and the repetition was not whole",
    };
    let Judged {
        level, requirement, ..
    } = one;
    let lines: Vec<_> = one.lines.iter().map(u64::to_string).collect();
    let place = match &lines[..] {
        [] => String::new(),
        [line] => format!(" (line {line})"),
        lines => format!(" (lines {})", lines.join(", ")),
    };
    (
        one.repair.as_str(),
        format!("{level} {requirement}{also}{place}"),
    )
}

/// What is otherwise and does not count: a word, how often, and why, with the ways in which it is.
pub(super) fn reasons<'a>(
    items: impl IntoIterator<Item = &'a Item>,
) -> Vec<(&'static str, usize, String)> {
    let mut reasons: BTreeMap<_, BTreeMap<_, usize>> = BTreeMap::new();
    for item in items {
        let (reason, was) = match &item.outcome {
            Outcome::Observed { why, was } => (("observed", *why), was),
            Outcome::Blocked { why, was } => (("not compared", why.as_str()), was),
            _ => continue,
        };
        *reasons
            .entry(reason)
            .or_default()
            .entry(was.as_str())
            .or_default() += 1;
    }
    let told = reasons.into_iter().map(|((word, why), ways)| {
        let each = ways.iter().map(|(way, count)| format!("{count} {way}"));
        let ways_told = each.collect::<Vec<_>>().join(", ");
        (word, ways.values().sum(), format!("{why} ({ways_told})"))
    });
    told.collect()
}

pub(super) fn counted(counts: &Counts) -> String {
    let Counts {
        same,
        different,
        missing,
        extra,
        observed,
        blocked,
        not_replayable,
        fixed,
        failed,
    } = counts;
    let mut text = format!("{same} same, {different} different, {missing} missing, {extra} extra");
    let rest = [
        (failed, "FAILED"),
        (fixed, "FIXED"),
        (observed, "observed"),
        (blocked, "not compared"),
        (not_replayable, "not replayable"),
    ];
    for (count, word) in rest.into_iter().filter(|(count, _)| **count > 0) {
        let _ = write!(text, ", {count} {word}");
    }
    text
}

fn different(text: &mut String, item: &Item) -> std::fmt::Result {
    let at = seconds(item.t_us);
    let mut head =
        |word: &str| writeln!(text, "{word:10} {at:9.3} s  {:10} {}", item.conn, item.what);
    match &item.outcome {
        Outcome::Same | Outcome::Observed { .. } | Outcome::Blocked { .. } => {}
        Outcome::Different(differences) => {
            head("different")?;
            for one in differences {
                let path = one.place();
                let (then, now) = (value(&one.recorded), value(&one.replayed));
                writeln!(text, "    {path}: {then} -> {now}")?;
            }
        }
        Outcome::Missing(recorded) => {
            head("missing")?;
            writeln!(text, "    {}", cut(&recorded.to_string()))?;
        }
        Outcome::Extra(replayed) => {
            head("extra")?;
            writeln!(text, "    {}", cut(&replayed.to_string()))?;
        }
    }
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "shown with three digits")]
pub(super) fn seconds(us: u64) -> f64 {
    us as f64 / 1e6
}

pub(super) fn value(value: &Option<Value>) -> String {
    value
        .as_ref()
        .map_or_else(|| "nothing".to_owned(), |value| cut(&value.to_string()))
}

pub(super) fn cut(text: &str) -> String {
    let text = shorten(text);
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn counts_json(counts: &Counts) -> Value {
    json!({
        "same": counts.same,
        "different": counts.different,
        "missing": counts.missing,
        "extra": counts.extra,
        "observed": counts.observed,
        "blocked": counts.blocked,
        "notReplayable": counts.not_replayable,
        "fixed": counts.fixed,
        "failed": counts.failed,
    })
}

fn trace_json(trace: &Replayed) -> Value {
    let path = trace.path.display().to_string();
    match &trace.outcome {
        Err(why) => json!({"path": path, "error": why}),
        Ok(report) => report_json(&path, report),
    }
}

fn report_json(path: &str, report: &ReplayReport) -> Value {
    let otherwise = report
        .items
        .iter()
        .filter(|item| !matches!(item.outcome, Outcome::Same));
    let items: Vec<Value> = otherwise.map(item_json).collect();
    let unsent: Vec<Value> = report
        .unsent
        .iter()
        .map(|one| json!({"conn": one.conn, "what": one.what, "why": one.why}))
        .collect();
    let mut json = json!({
        "path": path,
        "tool": report.recorded_by,
        "target": report.recorded_from,
        "startedAt": report.started_at,
        "durationMs": millis(report.duration),
        "summary": counts_json(&report.counts()),
        "items": items,
        "violations": report.judged.iter().map(judged_json).collect::<Vec<_>>(),
        "notReplayable": unsent,
    });
    if report.decisions > 0 {
        json["decisions"] = report.decisions.into();
    }
    if report.interrupted {
        json["interrupted"] = true.into();
    }
    if let Some(case) = &report.case {
        json["case"] = json!({"id": case.id, "verdict": case.verdict});
    }
    if let Some(repair) = report.repair {
        json["repair"] = json!(repair.as_str());
    }
    json
}

fn judged_json(one: &Judged) -> Value {
    json!({
        "requirement": one.requirement,
        "level": one.level.to_string(),
        "text": one.text,
        "tUs": one.t_us,
        "lines": one.lines,
        "recorded": one.is_recorded,
        "repair": one.repair.as_str(),
    })
}

fn item_json(item: &Item) -> Value {
    let mut json = json!({"conn": item.conn, "what": item.what, "tUs": item.t_us});
    content(&mut json, &item.outcome);
    json["outcome"] = item.outcome.as_str().into();
    json
}

fn content(json: &mut Value, outcome: &Outcome) {
    match outcome {
        Outcome::Same => {}
        Outcome::Different(differences) => {
            json["differences"] = differences.iter().map(difference_json).collect();
        }
        Outcome::Missing(recorded) => json["recorded"] = recorded.clone(),
        Outcome::Extra(replayed) => json["replayed"] = replayed.clone(),
        Outcome::Observed { why, was } => aside(json, why, was),
        Outcome::Blocked { why, was } => aside(json, why, was),
    }
}

/// What does not count, and in what way it is otherwise.
fn aside(json: &mut Value, why: &str, was: &Outcome) {
    content(json, was);
    json["was"] = was.as_str().into();
    json["why"] = why.into();
}

/// A value that was not there has no key.
fn difference_json(difference: &Difference) -> Value {
    let mut json = json!({"path": difference.path});
    if let Some(recorded) = &difference.recorded {
        json["recorded"] = recorded.clone();
    }
    if let Some(replayed) = &difference.replayed {
        json["replayed"] = replayed.clone();
    }
    json
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use touchstone_history::Level;

    use super::*;
    use crate::RecordedCase;

    fn item(what: &str, outcome: Outcome) -> Item {
        Item {
            conn: "u1".into(),
            what: what.into(),
            t_us: 1_250_000,
            outcome,
        }
    }

    fn run() -> ReplayRun {
        let difference = Difference {
            path: "/version".into(),
            recorded: Some(json!(2)),
            replayed: None,
        };
        let observed = Outcome::Extra(json!({})).observed("a race");
        let blocked = Outcome::Blocked {
            why: "it comes after x".into(),
            was: Box::new(Outcome::Missing(json!({}))),
        };
        let judged = |requirement, level, repair| Judged {
            requirement,
            level,
            text: format!("{requirement} is broken."),
            t_us: 2_500_000,
            lines: match repair {
                Repair::Fixed => vec![12, 15],
                _ => Vec::new(),
            },
            is_recorded: true,
            repair,
        };
        let report = ReplayReport {
            started_at: 1_795_313_000_000,
            duration: Duration::from_millis(1_500),
            trace: "a.jsonl".into(),
            recorded_by: "touchstone-check 0.1.0".into(),
            recorded_from: "http://127.0.0.1:3005".into(),
            case: Some(RecordedCase {
                id: "a.case".into(),
                verdict: "fail".into(),
            }),
            items: vec![
                item("answer to ping #1", Outcome::Same),
                item(
                    "answer to update-metadata #2",
                    Outcome::Different(vec![difference]),
                ),
                item("update new-message", Outcome::Missing(json!({"seq": 3}))),
                item(
                    "update new-message",
                    Outcome::Extra(json!("\u{1b}[2J and \u{202e}")),
                ),
                item("ephemeral machine-activity", observed),
                item("update x", blocked),
            ],
            judged: vec![
                judged("a.must", Level::Must, Repair::Failed),
                judged("a.should", Level::Should, Repair::Fixed),
            ],
            unsent: vec![Unsent {
                conn: "http/a1".into(),
                what: "POST /x".into(),
                why: "the server has no such route (404)".into(),
                step: Some(1),
            }],
            decisions: 3,
            interrupted: true,
            repair: Some(Repair::Failed),
        };
        ReplayRun {
            started_at: 1_795_313_000_000,
            duration: Duration::from_millis(1_600),
            target: "http://127.0.0.1:3006".into(),
            seed: 7,
            speed: Some(2.0),
            traces: vec![
                Replayed {
                    path: "a.jsonl".into(),
                    outcome: Ok(report),
                },
                Replayed {
                    path: "b.jsonl".into(),
                    outcome: Err("not a trace".into()),
                },
            ],
        }
    }

    #[test]
    fn people_see_what_is_otherwise_and_what_does_not_count() {
        insta::assert_snapshot!(run().text(), @r#"
        replayed against http://127.0.0.1:3006
        a.jsonl: 1 same, 1 different, 1 missing, 1 extra, 1 FAILED, 1 FIXED, 1 observed, 1 not compared, 1 not replayable
        different      1.250 s  u1         answer to update-metadata #2
            /version: 2 -> nothing
        missing        1.250 s  u1         update new-message
            {"seq":3}
        extra          1.250 s  u1         update new-message
            "\u001b[2J and \u{202e}"
        FAILED         2.500 s  MUST a.must, as in the recording
            a.must is broken.
        FIXED          2.500 s  SHOULD a.should, in the recording only (lines 12, 15)
            a.should is broken.
        not replayable  http/a1  POST /x: the server has no such route (404)
        not compared      1  it comes after x (1 missing)
        observed          1  a race (1 extra)
        not compared      3  routing decisions, which no client receives
        interrupted: what comes behind was not sent
        FAILED: a.case still fails
        b.jsonl: not replayed: not a trace
        2 traces: 1 same, 1 different, 1 missing, 1 extra, 1 FAILED, 1 FIXED, 1 observed, 1 not compared, 1 not replayable
        "#);
    }

    #[test]
    fn a_page_shows_what_is_otherwise() {
        insta::assert_snapshot!(run().markdown());
    }

    #[test]
    fn the_page_of_a_browser_shows_the_same() {
        let text = run().html();
        let (_, body) = text.split_once("<main>").expect("a body");
        let (body, _) = body.split_once("</main>").expect("its end");
        let body = body.replace(env!("CARGO_PKG_VERSION"), "VERSION");
        insta::assert_snapshot!(body.replace("><", ">\n<"));
    }

    #[test]
    fn the_report_agrees_with_its_schema() {
        let schema: Value = serde_json::from_str(SCHEMA).unwrap();
        jsonschema::meta::validate(&schema).unwrap();
        let validator = jsonschema::draft202012::new(&schema).unwrap();
        let report: Value = serde_json::from_str(&run().json()).unwrap();
        let errors: Vec<_> = validator
            .iter_errors(&report)
            .map(|error| error.to_string())
            .collect();
        assert!(errors.is_empty(), "{errors:?}");

        let mut renamed = report;
        let item = renamed["traces"][0]["items"][0].as_object_mut().unwrap();
        let conn = item.remove("conn").unwrap();
        item.insert("connection".into(), conn);
        assert!(!validator.is_valid(&renamed), "the schema accepts anything");
    }
}
