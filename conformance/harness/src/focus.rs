//! Which lines of a wire trace made a finding: what caused it, what came of it, and what proves that
//! nothing else did.
//!
//! A judge that knows what it looked at says so in a [`Clue`]. The lines of other findings are those that
//! hold what the finding tells, or else the last thing that the case did before. Nothing here judges, and
//! a finding without any line stands all the same.

use std::{borrow::Cow, collections::BTreeMap};

use serde::Serialize;
use serde_json::Value;
use touchstone_client::{
    Args, Direction as Way,
    trace::{Kind, Record, Traced},
};

use crate::{
    marks::{CUT, SUITE},
    verdict::{Finding, Mismatch},
};

/// What a line has to do with a finding, the most telling last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// What the event came to that may have it.
    Delivery,
    /// The answer to the cause.
    Answer,
    /// A later event on the same connection: what has not come before it does not come.
    Proof,
    /// What was sent, and made the server do what was found.
    Cause,
    /// What the server should not have sent, or not so.
    Wrong,
}

impl Part {
    /// The word that reports use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Delivery => "delivery",
            Self::Answer => "answer",
            Self::Proof => "proof",
            Self::Cause => "cause",
            Self::Wrong => "wrong",
        }
    }
}

/// A line of the trace that made a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Focus {
    /// Its place in the trace, counted from 0.
    pub line: usize,
    /// What it has to do with the finding.
    pub part: Part,
}

/// What a judge knows of the packets that it judged.
#[derive(Debug, Clone, Default)]
pub struct Clue {
    /// The note that the finding left in the trace.
    pub(crate) mark: String,
    /// Texts that occur in the packets that belong to what was judged, and in no others.
    pub(crate) markers: Vec<String>,
    /// The connections that received what they should not.
    pub(crate) wrong: Vec<String>,
    /// The connections that did not receive what they should.
    pub(crate) missing: Vec<String>,
}

impl Clue {
    /// A clue about packets that hold one of `markers`.
    pub fn of(markers: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self {
            markers: markers.into_iter().map(Into::into).collect(),
            ..Self::default()
        }
    }

    /// These connections received what they should not.
    pub fn wrong<'n>(self, names: impl IntoIterator<Item = &'n str>) -> Self {
        Self {
            wrong: names.into_iter().map(str::to_owned).collect(),
            ..self
        }
    }

    /// These connections did not receive what they should.
    pub fn missing<'n>(self, names: impl IntoIterator<Item = &'n str>) -> Self {
        Self {
            missing: names.into_iter().map(str::to_owned).collect(),
            ..self
        }
    }
}

/// How many lines that caused something are told of one finding, the last ones.
const CAUSES: usize = 4;

/// How many connections are proved to have received nothing.
const PROVED: usize = 3;

/// The least length of a text that is looked for as it is.
const TELLING: usize = 6;

/// What markers of the suite's own events begin with: they cause nothing that is judged.
const HELPERS: [&str; 3] = ["sentinel", "probe", "series"];

/// A record, as far as it is searched.
struct Look<'r> {
    conn: &'r str,
    what: What,
    /// What is said beside the JSON: the URL of a request, or a note.
    head: Cow<'r, str>,
    /// The JSON in it, its values separated by commas. A server may send much: it is not copied.
    json: Cow<'r, str>,
}

#[derive(PartialEq, Eq)]
enum What {
    /// The suite sends an event, asking for the answer of this id.
    Sends(String, Option<u64>),
    Connects,
    Receives,
    IsAnswered(u64),
    /// CONNECT is answered, in either way.
    IsAdmittedOrRefused,
    Http,
    Note,
    Other,
}

impl<'r> Look<'r> {
    fn at(record: &'r Record) -> Self {
        let args = |args: &'r Args| Cow::from(args.as_str());
        let whole = |data: &Value| Cow::from(data.to_string());
        let mut head = Cow::default();
        let (what, json) = match &record.kind {
            Kind::Packet(
                Way::Sent,
                Traced::Event {
                    name, args: a, ack, ..
                },
            ) => (What::Sends(name.clone(), *ack), args(a)),
            Kind::Packet(Way::Sent, Traced::Connect(data)) => (What::Connects, whole(data)),
            Kind::Packet(Way::Received, Traced::Event { args: a, .. }) => (What::Receives, args(a)),
            Kind::Packet(Way::Received, Traced::Ack { id, args: a, .. }) => {
                (What::IsAnswered(*id), args(a))
            }
            Kind::Packet(Way::Received, Traced::Connect(data) | Traced::ConnectError(data)) => {
                (What::IsAdmittedOrRefused, whole(data))
            }
            Kind::Http(exchange) => {
                head = Cow::from(&exchange.url);
                let bodies = [&exchange.request, &exchange.response];
                let bodies: Vec<_> = bodies.into_iter().flatten().map(Value::to_string).collect();
                (What::Http, bodies.join(",").into())
            }
            Kind::Mark(text) => {
                head = Cow::from(text);
                (What::Note, Cow::default())
            }
            Kind::Packet(..) => (What::Other, Cow::default()),
        };
        Self {
            conn: &record.conn,
            what,
            head,
            json,
        }
    }

    /// Whether this is something that a case does to see what comes of it.
    fn acts(&self, salt: &str) -> bool {
        match &self.what {
            What::Sends(name, _) => name != "ping" && !self.helps(salt),
            What::Connects | What::Http => true,
            _ => false,
        }
    }

    /// Whether it is an event of the suite's own, such as a sentinel.
    fn helps(&self, salt: &str) -> bool {
        self.markers(salt)
            .any(|marker| HELPERS.iter().any(|it| marker.starts_with(it)))
    }

    /// The values of the suite in it.
    fn markers<'l>(&'l self, salt: &'l str) -> impl Iterator<Item = &'l str> {
        let texts = [self.head.as_ref(), self.json.as_ref()];
        texts
            .into_iter()
            .flat_map(move |text| markers_in(text, salt))
    }

    fn mentions(&self, markers: &[String]) -> bool {
        markers.iter().any(|marker| {
            self.head.contains(marker.as_str()) || self.json.contains(marker.as_str())
        })
    }

    /// Whether it is `name` or a later connection of that name.
    fn is_of(&self, name: &str) -> bool {
        let rest = self.conn.strip_prefix(name);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('#'))
    }

    fn is_of_any(&self, names: &[String]) -> bool {
        names.iter().any(|name| self.is_of(name))
    }

    /// Whether the server sent it, or a part of it.
    fn came(&self) -> bool {
        matches!(
            self.what,
            What::Receives | What::IsAnswered(_) | What::Http | What::IsAdmittedOrRefused
        )
    }

    /// Whether what came holds `value` somewhere.
    fn holds(&self, value: &Value) -> bool {
        let values = || -> Vec<Value> {
            serde_json::from_str(&format!("[{}]", self.json)).unwrap_or_default()
        };
        self.came() && values().iter().any(|all| contains(all, value))
    }
}

/// The values of the suite in `text`: texts of letters and digits that contain `salt`.
pub(crate) fn markers_in<'t>(text: &'t str, salt: &'t str) -> impl Iterator<Item = &'t str> {
    let is_part = |c: char| c.is_ascii_alphanumeric();
    text.match_indices(salt).map(move |(at, _)| {
        let head = text[..at].trim_end_matches(is_part).len();
        let tail = text[at..].trim_start_matches(is_part).len();
        &text[head..text.len() - tail]
    })
}

fn contains(all: &Value, part: &Value) -> bool {
    all == part
        || match all {
            Value::Array(items) => items.iter().any(|item| contains(item, part)),
            Value::Object(fields) => fields.values().any(|field| contains(field, part)),
            _ => false,
        }
}

/// The JSON in a text that says more than a word: it occurs in nothing else.
fn json_in(text: &str) -> Option<Value> {
    let value = match whole(text) {
        Some(value) => value,
        None => {
            let start = text.find(['{', '['])?;
            let end = text.rfind(['}', ']'])?;
            serde_json::from_str(text.get(start..=end)?).ok()?
        }
    };
    let says_something = match &value {
        Value::Object(fields) => !fields.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::String(text) => text.len() > TELLING,
        _ => false,
    };
    says_something.then_some(value)
}

/// The beginning of JSON whose middle was left out of a text.
fn beginning_in(text: &str) -> Option<&str> {
    let (head, _) = text.split_once(CUT)?;
    let json = &head[head.find(['{', '['])?..];
    (json.len() > TELLING * TELLING).then_some(json)
}

/// Whether a finding says that something did not come, or says of what came that it is all.
fn is_absence(told: &str) -> bool {
    let begins = |word: &&str| told.starts_with(word);
    told.is_empty() || ["nothing", "none", "no ", "only "].iter().any(begins)
}

/// A text that is JSON, but for how often it was found.
fn whole(text: &str) -> Option<Value> {
    let text = match text.rsplit_once(" (") {
        Some((head, tail)) if tail.ends_with(" times)") => head,
        _ => text,
    };
    serde_json::from_str(text).ok()
}

/// Finds the records that made each finding, as places in `records`. Their lines are told by `place`,
/// which knows where a record stands in the trace for people.
pub(crate) fn find(
    records: &[Record],
    salt: &str,
    findings: &mut [Finding],
    place: impl Fn(usize) -> Option<usize>,
) {
    let looks: Vec<_> = records.iter().map(Look::at).collect();
    for finding in findings {
        let Some(broken) = &finding.broken else {
            continue;
        };
        let is_mark = |look: &Look<'_>| look.conn == SUITE && look.head == finding.clue.mark;
        let end = looks.iter().position(is_mark).unwrap_or(looks.len());
        let mut search = Search {
            before: &looks[..end],
            salt,
            parts: BTreeMap::new(),
            missing: finding.clue.missing.clone(),
        };
        search.run(&finding.clue, broken);
        let lines = search.parts.iter().filter_map(|(&record, &part)| {
            let line = place(record)?;
            Some(Focus { line, part })
        });
        finding.focus = lines.collect();
        finding.missing = search.missing;
    }
}

struct Search<'l, 'r> {
    before: &'l [Look<'r>],
    salt: &'l str,
    parts: BTreeMap<usize, Part>,
    missing: Vec<String>,
}

impl Search<'_, '_> {
    fn run(&mut self, clue: &Clue, broken: &Mismatch) {
        if !clue.markers.is_empty() {
            self.by_markers(&clue.markers, &clue.wrong);
            self.prove(&clue.wrong, &clue.missing);
            return;
        }
        let told = broken.actual.as_str();
        let ending = self.before.iter().rposition(|look| {
            let end = look.head.strip_prefix("ended: ");
            look.what == What::Note
                && end.is_some_and(|end| end.len() > TELLING && told.contains(end))
        });
        if let Some(at) = ending {
            self.keep(at, Part::Wrong);
        }
        if self.by_value(told) {
            return;
        }
        let markers: Vec<String> = markers_in(told, self.salt).map(str::to_owned).collect();
        if ending.is_none() && !markers.is_empty() && self.by_markers(&markers, &[]) {
            self.last_that_came(&markers);
            return;
        }
        self.last_action();
        // What is told is in what came of it.
        if let Some(value) = whole(told) {
            let came = |(&at, &part): (&usize, &Part)| {
                let look = &self.before[at];
                let is_result = part != Part::Cause || look.what == What::Http;
                (is_result && look.holds(&value)).then_some(at)
            };
            let holding: Vec<_> = self.parts.iter().filter_map(came).collect();
            for at in holding {
                self.keep(at, Part::Wrong);
            }
        }
        let is_told = self.parts.values().any(|part| *part == Part::Wrong);
        if is_told || !self.missing.is_empty() || is_absence(told) {
            return;
        }
        // Where the value that is wanted went another way, or else what came of it last.
        let wanted = markers_in(&broken.expected, self.salt);
        let wanted: Vec<String> = wanted.map(str::to_owned).collect();
        if !self.last_that_came(&wanted) {
            let mut kept = self.parts.keys().rev().copied();
            if let Some(at) = kept.find(|&at| self.before[at].came()) {
                self.keep(at, Part::Wrong);
            }
        }
    }

    /// Marks the last thing that came and holds one of `markers`.
    fn last_that_came(&mut self, markers: &[String]) -> bool {
        let holds = |look: &Look<'_>| look.came() && look.mentions(markers);
        let last = self.before.iter().rposition(holds);
        if let Some(at) = last {
            self.keep(at, Part::Wrong);
        }
        last.is_some()
    }

    fn keep(&mut self, at: usize, part: Part) {
        let kept = self.parts.entry(at).or_insert(part);
        *kept = part.max(*kept);
    }

    /// What holds a marker: what was sent is the cause, what came is right or wrong by its connection.
    fn by_markers(&mut self, markers: &[String], wrong: &[String]) -> bool {
        let mut causes = Vec::new();
        for (at, look) in self.before.iter().enumerate() {
            if !look.mentions(markers) {
                continue;
            }
            match look.what {
                What::Sends(..) | What::Http | What::Connects => causes.push(at),
                What::Receives if look.is_of_any(wrong) => self.keep(at, Part::Wrong),
                What::Receives => self.keep(at, Part::Delivery),
                _ => {}
            }
        }
        for &at in causes.iter().rev().take(CAUSES) {
            self.cause(at);
        }
        !causes.is_empty()
    }

    /// A cause with its answer.
    fn cause(&mut self, at: usize) {
        self.keep(at, Part::Cause);
        if let Some(answer) = self.answer_of(at) {
            self.keep(answer, Part::Answer);
        }
    }

    fn answer_of(&self, at: usize) -> Option<usize> {
        let asked = &self.before[at];
        let answers = |look: &Look<'_>| {
            look.conn == asked.conn
                && match (&asked.what, &look.what) {
                    (What::Sends(_, Some(asked)), What::IsAnswered(id)) => asked == id,
                    (What::Connects, What::IsAdmittedOrRefused | What::Receives) => true,
                    _ => false,
                }
        };
        let after = self.before[at..].iter().position(answers)?;
        Some(at + after)
    }

    /// The last thing that came and holds the value that is told, and what caused it.
    fn by_value(&mut self, told: &str) -> bool {
        let holding = match json_in(told) {
            Some(value) => self.before.iter().rposition(|look| look.holds(&value)),
            None => beginning_in(told).and_then(|beginning| {
                let holds = |look: &Look<'_>| look.came() && look.json.contains(beginning);
                self.before.iter().rposition(holds)
            }),
        };
        let Some(at) = holding else {
            return false;
        };
        let came = &self.before[at];
        match came.what {
            What::IsAnswered(id) => {
                let asks = |look: &Look<'_>| {
                    look.conn == came.conn
                        && matches!(look.what, What::Sends(_, Some(asked)) if asked == id)
                };
                if let Some(asked) = self.before[..at].iter().rposition(asks) {
                    self.keep(asked, Part::Cause);
                }
            }
            What::Receives => {
                let of_case = |marker: &&str| !HELPERS.iter().any(|it| marker.starts_with(it));
                let markers = came.markers(self.salt).filter(of_case);
                let markers: Vec<String> = markers.map(str::to_owned).collect();
                let sends = |look: &Look<'_>| {
                    matches!(look.what, What::Sends(..) | What::Http) && look.mentions(&markers)
                };
                if let Some(cause) = self.before[..at].iter().rposition(sends) {
                    self.cause(cause);
                }
            }
            What::IsAdmittedOrRefused => {
                let asks = |look: &Look<'_>| look.conn == came.conn && look.what == What::Connects;
                if let Some(asked) = self.before[..at].iter().rposition(asks) {
                    self.keep(asked, Part::Cause);
                }
            }
            _ => {}
        }
        self.keep(at, Part::Wrong);
        true
    }

    /// What the case did last, and what came of it.
    fn last_action(&mut self) {
        let acts = |look: &Look<'_>| look.acts(self.salt);
        let sends = |look: &Look<'_>| matches!(look.what, What::Sends(..));
        let last = self.before.iter().rposition(acts);
        let Some(at) = last.or_else(|| self.before.iter().rposition(sends)) else {
            return;
        };
        let acted = &self.before[at];
        let markers: Vec<String> = acted.markers(self.salt).map(str::to_owned).collect();
        if matches!(acted.what, What::Sends(..)) {
            let comes = |(at, look): (usize, &Look<'_>)| {
                (look.what == What::Receives && look.mentions(&markers)).then_some(at)
            };
            let came: Vec<_> = self
                .before
                .iter()
                .enumerate()
                .skip(at)
                .filter_map(comes)
                .collect();
            for at in came {
                self.keep(at, Part::Delivery);
            }
            if matches!(acted.what, What::Sends(_, Some(_))) && self.answer_of(at).is_none() {
                self.missing.push(acted.conn.to_owned());
            }
        }
        self.cause(at);
    }

    /// The last sentinels of those who received too little, or of one who received too much.
    fn prove(&mut self, wrong: &[String], missing: &[String]) {
        let silent = match missing {
            [] => wrong.get(..1).unwrap_or_default(),
            some => &some[..some.len().min(PROVED)],
        };
        for name in silent {
            let proves = |look: &Look<'_>| {
                look.what == What::Receives && look.is_of(name) && look.helps(self.salt)
            };
            if let Some(at) = self.before.iter().rposition(proves) {
                self.keep(at, Part::Proof);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use touchstone_client::{Frame, trace::Exchange};

    use super::*;
    use crate::ledger::{Basis, Level, Requirement};

    static SAMPLE: Requirement = Requirement {
        id: "sample.requirement",
        level: Level::Must,
        basis: Basis::Decision,
        text: "A sample.",
    };

    /// A record in a few words: `u1 > 42["x"]` is sent, `u1 < …` received, `u1 . …` a note, and `u1 = …` the
    /// answer to a request.
    fn record(line: &str) -> Record {
        let (conn, rest) = line.split_once(' ').expect("a connection");
        let (sign, text) = rest.split_once(' ').expect("a sign");
        let kind = match sign {
            ">" => Kind::Packet(Way::Sent, Traced::of(&Frame::text(text))),
            "<" => Kind::Packet(Way::Received, Traced::of(&Frame::text(text))),
            "=" => Kind::Http(Exchange {
                method: "GET".into(),
                url: "/v1/x".into(),
                status: Some(200),
                request: None,
                response: serde_json::from_str(text).ok(),
                ms: 1,
                us: None,
            }),
            _ => Kind::Mark(text.to_owned()),
        };
        Record {
            t_us: 0,
            conn: conn.to_owned(),
            kind,
            recipients: None,
        }
    }

    /// The salt of the samples is `S7`, and the mark `broken`.
    #[track_caller]
    fn check(
        lines: &[&str],
        clue: Clue,
        actual: &str,
        expected: &[(usize, Part)],
        missing: &[&str],
    ) {
        let records: Vec<_> = lines.iter().map(|line| record(line)).collect();
        let mut finding = Finding::broken(&SAMPLE, "x".into(), actual.into());
        finding.clue = Clue {
            mark: "broken".into(),
            ..clue
        };
        let mut findings = [finding];
        find(&records, "S7", &mut findings, Some);
        let told: Vec<_> = findings[0]
            .focus
            .iter()
            .map(|it| (it.line, it.part))
            .collect();
        assert_eq!(told, expected);
        assert_eq!(findings[0].missing, missing);
    }

    #[test]
    fn a_wrong_delivery_is_told_by_its_connection() {
        let lines = [
            r#"u1 > 42["message",{"m":"messageS7x1"}]"#,
            r#"u2 < 42["update",{"m":"messageS7x1"}]"#,
            r#"s2 < 42["update",{"m":"messageS7x1"}]"#,
            r#"u1 > 421["update-metadata",{"m":"sentinelS7x2"}]"#,
            r#"s2 < 42["update",{"m":"sentinelS7x2"}]"#,
            r#"s2#2 < 42["update",{"m":"messageS7x1"}]"#,
            "suite . broken",
            r#"s2 < 42["update",{"m":"messageS7x1"}]"#,
        ];
        let clue = || Clue::of(["messageS7x1"]);
        let expected = [
            (0, Part::Cause),
            (1, Part::Delivery),
            (2, Part::Wrong),
            (4, Part::Proof),
            (5, Part::Wrong),
        ];
        check(
            &lines,
            clue().wrong(["s2"]),
            "it reached s2",
            &expected,
            &[],
        );
        let expected = [
            (0, Part::Cause),
            (1, Part::Delivery),
            (2, Part::Delivery),
            (4, Part::Proof),
            (5, Part::Delivery),
        ];
        let clue = clue().missing(["s2", "m1"]);
        check(&lines, clue, "nothing for s2", &expected, &["s2", "m1"]);
    }

    #[test]
    fn an_answer_is_told_by_what_it_holds() {
        let lines = [
            r#"u1 > 421["update-state",{"v":1}]"#,
            r#"u1 < 431[{"result":"success","version":2}]"#,
            r#"u1 > 422["ping"]"#,
            "u1 < 432[{}]",
            "suite . broken",
        ];
        let expected = [(0, Part::Cause), (1, Part::Wrong)];
        for actual in [
            r#"{"result":"success","version":2}"#,
            r#"in {"version":2,"result":"success"} (3 times)"#,
            r#""success""#,
            "2",
        ] {
            check(&lines, Clue::default(), actual, &expected, &[]);
        }
        check(&lines, Clue::default(), "something else", &expected, &[]);
        let expected = [(0, Part::Cause), (1, Part::Answer)];
        check(&lines, Clue::default(), "no result", &expected, &[]);
    }

    #[test]
    fn what_is_not_answered_is_missing() {
        let lines = [r#"u1 > 421["update-state",{"v":1}]"#, "suite . broken"];
        check(
            &lines,
            Clue::default(),
            "none",
            &[(0, Part::Cause)],
            &["u1"],
        );
    }

    #[test]
    fn requests_and_ends_are_found() {
        let lines = [
            r#"http = {"sessions":[]}"#,
            "u1 . ended: the server hung up",
            "suite . broken",
        ];
        check(
            &lines,
            Clue::default(),
            r#"200 {"sessions":[]}"#,
            &[(0, Part::Wrong)],
            &[],
        );
        let expected = [(0, Part::Cause), (1, Part::Wrong)];
        let actual = "the connection u1 ended: the server hung up";
        check(&lines, Clue::default(), actual, &expected, &[]);
    }

    #[test]
    fn what_was_read_is_told_by_its_values() {
        let lines = [
            r#"u1 > 421["update-state",{"v":"foreignS7x1"}]"#,
            r#"http = {"sessions":[{"metadata":"foreignS7x1","other":"a value that is long"}]}"#,
            "suite . broken",
        ];
        let expected = [(0, Part::Cause), (1, Part::Wrong)];
        let actual = r#"metadata: "ownS7x0" became "foreignS7x1""#;
        check(&lines, Clue::default(), actual, &expected, &[]);
        // Of a long answer the middle is left out.
        let actual = r#"{"sessions":[{"metadata":"foreignS7x1","other" …(2000 characters)… }"#;
        check(&lines, Clue::default(), actual, &[(1, Part::Wrong)], &[]);
    }

    #[test]
    fn markers_are_whole_words() {
        let found: Vec<_> = markers_in(r#"{"a":"aS7x1","b":"x S7y"}"#, "S7").collect();
        assert_eq!(found, ["aS7x1", "S7y"]);
    }
}
