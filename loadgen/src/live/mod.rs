//! The live view of a run: what there is to see ([`View`]), and how it is drawn ([`draw`]).
//!
//! Both are pure. A terminal, its keys and its size belong to whoever calls.

mod compact;
mod draw;
mod parts;
#[cfg(test)]
pub(crate) mod testing;
mod types;

use std::collections::VecDeque;

pub use draw::draw;

use crate::progress::{Snapshot, Stage};
use crate::report::model::{Second, Summary};
use touchstone_output::Style;
use touchstone_output::number::ms;
use touchstone_output::text::{grouped, one_line};

/// How many seconds the charts of a view reach back.
const HISTORY: usize = 300;

/// What the live view shows.
#[derive(Debug, Clone)]
pub struct View {
    title: String,
    snapshot: Snapshot,
    seconds: VecDeque<Tick>,
    stopping: bool,
    /// Whether somebody wants the end and has to say that it is meant.
    asking: bool,
    style: Style,
    ascii: bool,
}

/// A key that is pressed while a run is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// A character.
    Char(char),
    /// Any other key.
    Other,
}

/// What charts need of one second.
#[derive(Debug, Clone, Copy)]
struct Tick {
    second: u32,
    planned: u64,
    sent: u64,
    delivered: u64,
    latency_us: Summary,
}

impl View {
    /// A view of a run that has not begun. The title says what is loaded with what, the style whether
    /// there are colours.
    #[must_use]
    pub fn new(title: impl Into<String>, style: Style) -> Self {
        Self {
            title: title.into(),
            snapshot: Snapshot::default(),
            seconds: VecDeque::with_capacity(HISTORY),
            stopping: false,
            asking: false,
            style,
            ascii: false,
        }
    }

    /// Draws with ASCII characters alone.
    #[must_use]
    pub fn in_ascii(mut self, ascii: bool) -> Self {
        self.ascii = ascii;
        self
    }

    /// A key is pressed. Returns whether somebody wants the end, and has said that it is meant where
    /// that takes something from the report.
    pub fn press(&mut self, key: Key) -> bool {
        let is_asked = std::mem::take(&mut self.asking);
        match key {
            Key::Char('y' | 'Y') => is_asked,
            Key::Char('q') => {
                self.asking = match self.snapshot.stage {
                    Stage::Running | Stage::Draining => true,
                    // Nothing has run yet, or everything has.
                    Stage::Preparing | Stage::Waiting | Stage::Finished => self.stopping,
                };
                !self.asking
            }
            Key::Char(_) | Key::Other => false,
        }
    }

    /// Takes over what a snapshot says.
    pub fn update(&mut self, snapshot: Snapshot) {
        if let Some(second) = &snapshot.second {
            self.second(second);
        }
        self.snapshot = snapshot;
    }

    /// The run is being ended.
    pub fn stopping(&mut self) {
        self.stopping = true;
        self.asking = false;
    }

    /// What the keys do now.
    fn keys(&self) -> &'static str {
        match (self.stopping, self.asking) {
            (false, false) => "q ends the run and reports",
            (false, true) => "end the run now? y ends it with a report, n goes on",
            (true, false) => "ending, the report follows; q ends without it",
            (true, true) => "end without a report? y ends at once, n waits for it",
        }
    }

    /// How the generator is, and whether that is bad.
    fn health(&self) -> (String, bool) {
        let health = &self.snapshot.health;
        match (self.snapshot.stage, health.exceeded, health.strained) {
            (_, Some(bound), _) => (format!("INVALID: {bound}"), true),
            (_, None, Some(lack)) => (lack.to_owned(), true),
            (Stage::Preparing | Stage::Waiting, None, None) => {
                ("not sending yet".to_owned(), false)
            }
            (_, None, None) => ("the generator keeps up".to_owned(), false),
        }
    }

    fn second(&mut self, second: &Second) {
        if self
            .seconds
            .back()
            .is_some_and(|last| last.second >= second.second)
        {
            return;
        }
        if self.seconds.len() == HISTORY {
            self.seconds.pop_front();
        }
        self.seconds.push_back(Tick {
            second: second.second,
            planned: second.planned,
            sent: second.sent,
            delivered: second.delivered,
            latency_us: second.latency_us,
        });
    }
}

/// A snapshot as one line, for logs and pipes.
#[must_use]
pub fn line(snapshot: &Snapshot) -> String {
    let (open, wanted) = (grouped(snapshot.open), grouped(snapshot.wanted));
    let of = |what: &str| format!("{}: {open} of {wanted} {what}", snapshot.stage.as_str());
    match snapshot.stage {
        Stage::Preparing => return of("accounts"),
        Stage::Waiting | Stage::Finished => return snapshot.stage.as_str().to_owned(),
        Stage::Running | Stage::Draining => {}
    }
    let (audit, volatile) = (&snapshot.audit, &snapshot.volatile);
    let wrong = audit.duplicated + audit.reordered + audit.misrouted;
    let phase = match snapshot.stage {
        Stage::Running => one_line(&snapshot.phase),
        _ => snapshot.stage.as_str().into(),
    };
    let mut line = format!(
        "{} of {} s, {phase}: {open} of {wanted} connections, {} sent, {} delivered",
        snapshot.elapsed.as_secs(),
        snapshot.total.as_secs(),
        grouped(snapshot.sent),
        grouped(audit.delivered + volatile.delivered),
    );
    let fanout = &snapshot.latency_us.fanout;
    // Nothing counts while the run warms up.
    if fanout.count > 0 {
        line.push_str(&format!(", fan-out p99 {} ms", ms(fanout.p99)));
    }
    for (count, what) in [
        (audit.lost, "lost"),
        (wrong, "wrong"),
        (snapshot.unsent, "unsent"),
        (snapshot.connections.dropped, "dropped"),
        (snapshot.connections.failed, "failed"),
    ] {
        if count > 0 {
            line.push_str(&format!(", {} {what}", grouped(count)));
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(change: impl FnOnce(&mut Snapshot), expected: &str) {
        let mut snapshot = testing::snapshots().pop().unwrap();
        change(&mut snapshot);
        assert_eq!(line(&snapshot), expected);
    }

    #[test]
    fn lines() {
        check(
            |_| {},
            "6 of 10 s, steady: 240 of 240 connections, 1 677 sent, 4 200 delivered, fan-out p99 6.34 ms",
        );
        check(
            |s| {
                s.audit.lost = 3;
                s.audit.misrouted = 1;
                s.connections.dropped = 2;
            },
            "6 of 10 s, steady: 240 of 240 connections, 1 677 sent, 4 200 delivered, fan-out p99 6.34 ms, \
             3 lost, 1 wrong, 2 dropped",
        );
        check(
            |s| s.latency_us.fanout.count = 0,
            "6 of 10 s, steady: 240 of 240 connections, 1 677 sent, 4 200 delivered",
        );
        check(
            |s| s.stage = Stage::Preparing,
            "preparing: 240 of 240 accounts",
        );
        check(|s| s.stage = Stage::Waiting, "waiting");
    }

    #[test]
    fn only_who_means_it_ends_a_run() {
        #[track_caller]
        fn check(stage: Stage, is_stopping: bool, keys: &[Key], ends: bool, says: &str) {
            let mut view = View::new("test", Style::Plain);
            view.snapshot.stage = stage;
            if is_stopping {
                view.stopping();
            }
            let pressed: Vec<_> = keys.iter().map(|key| view.press(*key)).collect();
            let (last, before) = pressed.split_last().unwrap();
            assert!(!before.contains(&true), "{keys:?}");
            assert_eq!(*last, ends, "{keys:?}");
            assert!(view.keys().starts_with(says), "{keys:?}: {}", view.keys());
        }
        let [q, y, n, other] = [Key::Char('q'), Key::Char('y'), Key::Char('n'), Key::Other];
        for stage in [Stage::Running, Stage::Draining] {
            check(stage, false, &[other], false, "q ends the run");
            check(stage, false, &[y], false, "q ends the run");
            check(stage, false, &[q], false, "end the run now?");
            check(stage, false, &[q, q], false, "end the run now?");
            check(stage, false, &[q, y], true, "q ends the run");
            check(stage, false, &[q, n, y], false, "q ends the run");
            check(stage, false, &[q, other, y], false, "q ends the run");
            check(stage, true, &[q], false, "end without a report?");
            check(stage, true, &[q, y], true, "ending");
        }
        check(Stage::Preparing, false, &[q], true, "q ends the run");
    }

    #[test]
    fn a_generator_that_is_behind_does_not_keep_up() {
        let mut view = View::new("test", Style::Plain);
        assert_eq!(view.health(), ("not sending yet".to_owned(), false));
        view.snapshot.stage = Stage::Running;
        assert_eq!(view.health(), ("the generator keeps up".to_owned(), false));
        view.snapshot.health.strained = Some("behind its schedule");
        assert_eq!(view.health(), ("behind its schedule".to_owned(), true));
        view.snapshot.health.exceeded = Some("events are sent too late");
        assert!(view.health().0.starts_with("INVALID: events") && view.health().1);
    }

    #[test]
    fn a_view_reaches_back_so_far_and_no_further() {
        let mut view = View::new("test", Style::Coloured);
        let one = testing::snapshots().pop().unwrap();
        for second in 0..1_000 {
            let mut snapshot = one.clone();
            if let Some(of) = &mut snapshot.second {
                of.second = second;
            }
            view.update(snapshot.clone());
            view.update(snapshot);
        }
        assert_eq!(view.seconds.len(), HISTORY);
        assert_eq!(view.seconds.front().unwrap().second, 700);
        assert_eq!(view.seconds.back().unwrap().second, 999);
    }
}
