//! The live view of a run: what there is to see ([`View`]), and how it is drawn ([`draw`]).
//!
//! Both are pure. A terminal, its keys and its size belong to whoever calls.

mod draw;
#[cfg(test)]
pub(crate) mod testing;

use std::collections::VecDeque;

pub use draw::draw;

use crate::progress::{Snapshot, Stage};
use crate::report::Style;
use crate::report::model::{Second, Summary};
use crate::report::text::{grouped, ms, one_line};

/// How many seconds the charts of a view reach back.
const HISTORY: usize = 300;

/// What the live view shows.
#[derive(Debug, Clone)]
pub struct View {
    title: String,
    snapshot: Snapshot,
    seconds: VecDeque<Tick>,
    stopping: bool,
    style: Style,
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
            style,
        }
    }

    /// Takes over what a snapshot says.
    pub fn update(&mut self, snapshot: Snapshot) {
        if let Some(second) = &snapshot.second {
            self.second(second);
        }
        self.snapshot = snapshot;
    }

    /// Somebody asked for the end.
    pub fn stopping(&mut self) {
        self.stopping = true;
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
