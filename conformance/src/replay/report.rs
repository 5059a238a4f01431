//! What came of a replay, as text and as JSON.

use std::{fmt::Write as _, path::PathBuf, time::Duration};

use serde_json::{Value, json};

use super::{
    compare::{Difference, Item, Outcome},
    script::RecordedCase,
};
use crate::evidence::shorten;

/// How many characters of a value are shown in the text.
const SHOWN: usize = 160;

/// What came of a replay.
#[derive(Debug)]
pub struct ReplayReport {
    /// When it began, in Unix milliseconds.
    pub started_at: u64,
    /// How long it took.
    pub duration: Duration,
    /// The recording.
    pub trace: PathBuf,
    /// What wrote it.
    pub recorded_by: String,
    /// The server that it was recorded from.
    pub recorded_from: String,
    /// The case that it is the evidence of, if it is.
    pub case: Option<RecordedCase>,
    /// The server that it was sent to.
    pub target: String,
    /// The pace; as fast as possible where none.
    pub speed: Option<f64>,
    /// Everything that the server did then or now, in order.
    pub items: Vec<Item>,
    /// What could not be sent.
    pub unsent: Vec<Unsent>,
    /// Whether the failure of the case is mended, where one was recorded and its case ran again.
    pub repair: Option<Repair>,
}

/// A step that could not be carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsent {
    /// The connection.
    pub conn: String,
    /// What was to be sent.
    pub what: String,
    /// Why it could not be.
    pub why: String,
}

/// What became of a failure that was recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repair {
    /// The case passes now.
    Fixed,
    /// It still fails.
    Failed,
    /// It could not be judged.
    Error,
}

impl Repair {
    /// The word of reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fixed => "FIXED",
            Self::Failed => "FAILED",
            Self::Error => "ERROR",
        }
    }
}

/// How many things had which outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// The same as recorded.
    pub same: usize,
    /// Different in some place.
    pub different: usize,
    /// Recorded, and not seen again.
    pub missing: usize,
    /// Seen, and not recorded.
    pub extra: usize,
    /// Seen or recorded by chance.
    pub unsettled: usize,
}

impl ReplayReport {
    /// Counts the outcomes.
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for item in &self.items {
            match item.outcome {
                Outcome::Same => counts.same += 1,
                Outcome::Different(_) => counts.different += 1,
                Outcome::Missing(_) => counts.missing += 1,
                Outcome::Extra(_) => counts.extra += 1,
                Outcome::Unsettled(_) => counts.unsettled += 1,
            }
        }
        counts
    }

    /// Whether the server did exactly what was recorded.
    pub fn is_identical(&self) -> bool {
        let counts = self.counts();
        (counts.different, counts.missing, counts.extra) == (0, 0, 0)
    }

    /// The report for people: what is not the same, and the counts.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for item in &self.items {
            // Writing to a string does not fail.
            let _ = render(&mut text, item);
        }
        for unsent in &self.unsent {
            let _ = writeln!(
                text,
                "not sent   {}  {}: {}",
                unsent.conn, unsent.what, unsent.why
            );
        }
        let Counts {
            same,
            different,
            missing,
            extra,
            unsettled,
        } = self.counts();
        if !text.is_empty() {
            text.push('\n');
        }
        let _ = writeln!(
            text,
            "{same} same, {different} different, {missing} missing, {extra} extra{}{}",
            match unsettled {
                0 => String::new(),
                unsettled => format!(", {unsettled} left to chance"),
            },
            match self.unsent.len() {
                0 => String::new(),
                unsent => format!(", {unsent} not sent"),
            }
        );
        if let (Some(repair), Some(case)) = (self.repair, &self.case) {
            let now = match repair {
                Repair::Fixed => "passes now",
                Repair::Failed => "still fails",
                Repair::Error => "could not be judged",
            };
            let _ = writeln!(text, "{}: {} {now}", repair.as_str(), case.id);
        }
        text
    }

    /// The report for programs. Names are those of the text; `items` leaves out what is the same.
    pub fn json(&self) -> Value {
        let counts = self.counts();
        let items: Vec<Value> = self
            .items
            .iter()
            .filter(|item| !matches!(item.outcome, Outcome::Same))
            .map(item_json)
            .collect();
        let mut report = json!({
            "format": "touchstone-replay",
            "version": 1,
            "touchstone": env!("CARGO_PKG_VERSION"),
            "target": {"name": self.target},
            "startedAt": self.started_at,
            "durationMs": u64::try_from(self.duration.as_millis()).unwrap_or(u64::MAX),
            "trace": {
                "path": self.trace.display().to_string(),
                "tool": self.recorded_by,
                "target": self.recorded_from,
            },
            "speed": self.speed,
            "summary": {
                "same": counts.same,
                "different": counts.different,
                "missing": counts.missing,
                "extra": counts.extra,
                "unsettled": counts.unsettled,
                "unsent": self.unsent.len(),
            },
            "items": items,
            "unsent": self.unsent.iter().map(|one| json!({
                "conn": one.conn, "what": one.what, "why": one.why,
            })).collect::<Vec<_>>(),
        });
        if let Some(case) = &self.case {
            report["case"] = json!({"id": case.id, "verdict": case.verdict});
        }
        if let Some(repair) = self.repair {
            report["repair"] = json!(repair.as_str());
        }
        report
    }
}

fn render(text: &mut String, item: &Item) -> std::fmt::Result {
    #[expect(clippy::cast_precision_loss, reason = "shown with three digits")]
    let at = item.t_us as f64 / 1e6;
    let mut head =
        |word: &str| write!(text, "{word:10} {at:9.3} s  {:10} {}", item.conn, item.what);
    match &item.outcome {
        Outcome::Same | Outcome::Unsettled(_) => {}
        Outcome::Different(differences) => {
            head("different")?;
            text.push('\n');
            for one in differences {
                let path = if one.path.is_empty() {
                    "all"
                } else {
                    &one.path
                };
                writeln!(
                    text,
                    "    {path}: {} -> {}",
                    value(&one.recorded),
                    value(&one.replayed)
                )?;
            }
        }
        Outcome::Missing(recorded) => {
            head("missing")?;
            writeln!(text, "\n    {}", cut(&recorded.to_string()))?;
        }
        Outcome::Extra(replayed) => {
            head("extra")?;
            writeln!(text, "\n    {}", cut(&replayed.to_string()))?;
        }
    }
    Ok(())
}

fn value(value: &Option<Value>) -> String {
    value
        .as_ref()
        .map_or_else(|| "nothing".to_owned(), |value| cut(&value.to_string()))
}

fn cut(text: &str) -> String {
    let text = shorten(text);
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

fn item_json(item: &Item) -> Value {
    let mut json = json!({"conn": item.conn, "what": item.what, "tUs": item.t_us});
    match &item.outcome {
        Outcome::Same => json["outcome"] = "same".into(),
        Outcome::Different(differences) => {
            json["outcome"] = "different".into();
            json["differences"] = differences.iter().map(difference_json).collect();
        }
        Outcome::Missing(recorded) => {
            json["outcome"] = "missing".into();
            json["recorded"] = recorded.clone();
        }
        Outcome::Extra(replayed) => {
            json["outcome"] = "extra".into();
            json["replayed"] = replayed.clone();
        }
        Outcome::Unsettled(seen) => {
            json["outcome"] = "unsettled".into();
            json["seen"] = seen.clone();
        }
    }
    json
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
