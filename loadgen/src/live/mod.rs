//! The live view of a run: what there is to see ([`View`]), and how it is drawn ([`draw`]).
//!
//! Both are pure. A terminal, its keys and its size belong to whoever calls.

mod draw;
#[cfg(test)]
pub(crate) mod testing;

use std::collections::VecDeque;

pub use draw::draw;

use crate::progress::Snapshot;
use crate::report::model::{Second, Summary};

/// How many seconds the charts of a view reach back.
const HISTORY: usize = 300;

/// What the live view shows.
#[derive(Debug, Clone)]
pub struct View {
    title: String,
    snapshot: Snapshot,
    seconds: VecDeque<Tick>,
    stopping: bool,
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
    /// A view of a run that has not begun. The title says what is loaded with what.
    #[must_use]
    pub fn new(title: impl Into<String>) -> Self {
        Self {
            title: title.into(),
            snapshot: Snapshot::default(),
            seconds: VecDeque::with_capacity(HISTORY),
            stopping: false,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_reaches_back_so_far_and_no_further() {
        let mut view = View::new("test");
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
