//! The search for the lines that made one finding.

use std::collections::BTreeMap;

use super::{
    clue::{Clue, Part},
    look::{Look, What, is_helper, markers_in},
    text::{TELLING, beginning_in, is_absence, json_in, names, whole},
};
use crate::{marks::SUITE, verdict::Mismatch};

/// How many lines that caused something are told of one finding, the last ones.
const CAUSES: usize = 4;

/// What tells that a machine came or went.
const PRESENCE: &str = "\"machine-activity\"";

/// How many connections are proved to have received nothing.
const PROVED: usize = 3;

pub(super) struct Search<'l, 'r> {
    pub(super) before: &'l [Look<'r>],
    pub(super) salt: &'l str,
    pub(super) parts: BTreeMap<usize, Part>,
    pub(super) missing: Vec<String>,
}

impl Search<'_, '_> {
    pub(super) fn run(&mut self, clue: &Clue, broken: &Mismatch) {
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
        if self.by_value(told) || self.by_note(told) {
            return;
        }
        let markers: Vec<String> = markers_in(told, self.salt).map(str::to_owned).collect();
        if ending.is_none() && !markers.is_empty() && self.by_markers(&markers, &[]) {
            if !self.last_that_came(&markers) {
                self.by_request(told);
            }
            return;
        }
        if is_absence(told) && self.unanswered(&broken.expected) {
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
        if is_told || !self.missing.is_empty() {
            return;
        }
        if is_absence(told) {
            self.missing = self.connections_in(&broken.expected);
            if self.missing.is_empty() && told.starts_with("no such event") {
                let cause = self.parts.keys().next_back();
                let conn = cause.map(|&at| self.before[at].conn.to_owned());
                self.missing.extend(conn);
            }
            return;
        }
        // Where the value that is wanted went another way, or else what came of it last.
        let wanted = markers_in(&broken.expected, self.salt);
        let wanted: Vec<String> = wanted.map(str::to_owned).collect();
        if !self.last_that_came(&wanted) {
            let mut kept = self.parts.keys().rev().copied();
            let came = kept.find(|&at| self.before[at].came());
            if let Some(at) = came.or_else(|| self.last_after_the_cause()) {
                self.keep(at, Part::Wrong);
            }
        }
    }

    /// What the server sent last after what the case did, or else the end of that connection.
    fn last_after_the_cause(&self) -> Option<usize> {
        let cause = *self.parts.keys().next_back()?;
        let after = &self.before[cause..];
        let came = |look: &Look<'_>| {
            matches!(look.what, What::Receives | What::IsAnswered(_)) && !look.helps(self.salt)
        };
        let ends = |look: &Look<'_>| {
            look.conn == self.before[cause].conn
                && look.what == What::Note
                && look.head.starts_with("ended: ")
        };
        let found = after.iter().rposition(came);
        found
            .or_else(|| after.iter().position(ends))
            .map(|at| cause + at)
    }

    /// The last request whose path is told.
    fn by_request(&mut self, told: &str) {
        let is_told = |look: &Look<'_>| {
            let path = look.head.split('?').next().unwrap_or_default();
            look.what == What::Http && path.len() > TELLING && told.contains(path)
        };
        if let Some(at) = self.before.iter().rposition(is_told) {
            self.keep(at, Part::Wrong);
        }
    }

    /// The connections that a text names by a name such as `u1`.
    fn connections_in(&self, text: &str) -> Vec<String> {
        let mut named: Vec<String> = Vec::new();
        for look in self.before {
            let is_meant = look.conn.contains(|c: char| c.is_ascii_digit())
                && names(text, look.conn)
                && !named.iter().any(|name| name == look.conn);
            if is_meant {
                named.push(look.conn.to_owned());
            }
        }
        named
    }

    /// A note of the suite that says what is told, such as the status of an answer, with what stands before it.
    fn by_note(&mut self, told: &str) -> bool {
        let is_note = |look: &Look<'_>| look.conn == SUITE && look.what == What::Note;
        let says = |look: &Look<'_>| is_note(look) && look.head == told;
        let Some(at) = self.before.iter().rposition(says) else {
            return false;
        };
        if let Some(cause) = self.before[..at].iter().rposition(is_note) {
            self.keep(cause, Part::Cause);
        }
        self.keep(at, Part::Wrong);
        true
    }

    /// The last event that `expected` names and that was never answered.
    fn unanswered(&mut self, expected: &str) -> bool {
        let asks = |at: &usize| match &self.before[*at].what {
            What::Sends(name, Some(_)) => names(expected, name) && self.answer_of(*at).is_none(),
            _ => false,
        };
        let Some(at) = (0..self.before.len()).rev().find(asks) else {
            return false;
        };
        self.missing.push(self.before[at].conn.to_owned());
        self.keep(at, Part::Cause);
        true
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
                let of_case = |marker: &&str| !is_helper(marker);
                let markers = came.markers(self.salt).filter(of_case);
                let markers: Vec<String> = markers.map(str::to_owned).collect();
                // A machine comes and goes with its connections.
                let is_presence = came.json.contains(PRESENCE);
                let connects = |look: &Look<'_>| {
                    is_presence && look.what == What::Connects && look.mentions(&markers)
                };
                let ends = |look: &Look<'_>| {
                    let is_end = look.what == What::Note && look.head.starts_with("ended: ");
                    let mut others = self.before[..at].iter();
                    is_end && others.any(|other| other.conn == look.conn && connects(other))
                };
                let acts = |look: &Look<'_>| {
                    let sends = matches!(look.what, What::Sends(..) | What::Http)
                        && look.mentions(&markers);
                    sends || connects(look) || ends(look)
                };
                if let Some(cause) = self.before[..at].iter().rposition(acts) {
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
