//! A series of numbered messages of one sender to one session: what arrives of it, and in which order.

use serde_json::json;

use crate::{
    case::Flow,
    ctx::Ctx,
    focus::Clue,
    opaque,
    peer::{Arrival, Peer},
};

/// The kind of thing that a message of a series is.
const MESSAGE: &str = "update new-message";

/// Numbered messages, told by a marker.
pub struct Series {
    marker: String,
    sent: usize,
}

impl Series {
    /// A series of which nothing has been sent yet.
    pub fn new(cx: &mut Ctx, what: &str) -> Self {
        Self {
            marker: cx.marker(what),
            sent: 0,
        }
    }

    /// What tells its messages.
    pub fn clue(&self) -> Clue {
        Clue::of([&self.marker])
    }

    /// How many messages were sent.
    pub fn sent(&self) -> usize {
        self.sent
    }

    /// Sends the next message to the session `sid`.
    pub async fn send(&mut self, cx: &Ctx, sender: &Peer, sid: &str) -> Flow {
        let message = opaque::numbered(&self.marker, self.sent);
        self.sent += 1;
        cx.emit(sender, "message", json!({"sid": sid, "message": message}))
            .await
    }

    /// The number of the message in `arrival`, if it is one of this series.
    pub fn number(&self, arrival: &Arrival) -> Option<usize> {
        if arrival.kind() != Some("new-message") {
            return None;
        }
        opaque::number_in(&arrival.raw, &self.marker)
    }

    /// The numbers that have arrived so far, in the order of arrival.
    pub fn numbers(&self, log: &[Arrival]) -> Vec<usize> {
        log.iter()
            .filter_map(|arrival| self.number(arrival))
            .collect()
    }

    /// How many different messages of the series have arrived so far.
    pub fn count(&self, log: &[Arrival]) -> usize {
        let mut numbers = self.numbers(log);
        numbers.sort_unstable();
        numbers.dedup();
        numbers.len()
    }

    /// Waits until `receiver` has all of them, as long as they keep coming. When they stop to come, another
    /// message of the same sender to the same session tells that what is missing is lost: one sender's
    /// messages to a session arrive in order, which nothing else of that sender proves. Gives the
    /// numbers in the order of arrival.
    pub async fn arrived(
        &self,
        cx: &mut Ctx,
        sender: &Peer,
        sid: &str,
        receiver: &Peer,
    ) -> Flow<Vec<usize>> {
        let patience = cx.shared.pace.patience_for(MESSAGE);
        let brief = cx.shared.pace.sentinel().min(patience);
        let count = |log: &[Arrival]| self.count(log);
        let here = receiver.wait_while_coming(brief, self.sent, count).await;
        if here < self.sent && receiver.ended().is_none() {
            let probe = cx.marker("probe");
            cx.emit(sender, "message", json!({"sid": sid, "message": probe}))
                .await?;
            let count_or_probe =
                |log: &[Arrival]| match log.iter().any(|arrival| arrival.raw.contains(&probe)) {
                    true => self.sent,
                    false => self.count(log),
                };
            receiver
                .wait_while_coming(patience, self.sent, count_or_probe)
                .await;
            receiver.wait_while_coming(brief, self.sent, count).await;
        }
        let numbers = self.numbers(&receiver.all(|_| true));
        if numbers.is_empty() && self.sent > 0 {
            cx.shared.pace.missed(MESSAGE);
        } else if cx.shared.pace.never_came(MESSAGE) {
            cx.shared.pace.came(MESSAGE, patience);
        }
        Ok(numbers)
    }
}
