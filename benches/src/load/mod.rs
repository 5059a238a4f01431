//! Load generators side by side: what `load_peers`, `audited_rate` and `production`
//! are made of.
//!
//! - [`tools`]: the four generators and how each is started;
//! - [`listener`]: a foreign one, which opens connections and listens while we speak;
//! - [`own`]: `touchstone load`, which does all by itself and reports;
//! - [`bare`]: a server that only fans out, for finding the generator's own limit;
//! - [`shards`]: `touchstone load` in several processes at once;
//! - [`speaker`]: a session that sends messages at a rate;
//! - [`search`]: the highest rate that holds; pure;
//! - [`table`]: figures, ratios and their text; pure.
//!
//! Nothing here prints or asserts a figure. What a tool received is checked against what was sent,
//! because a tool that misses events would look cheap.

pub mod bare;
pub mod listener;
pub mod own;
pub mod search;
pub mod shards;
pub mod speaker;
pub mod table;
pub mod tools;

use std::time::Duration;

/// The work, the same for every tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Work {
    /// User-scoped connections of one account. Each message reaches all of them.
    pub connections: u32,
    /// Bytes of a message.
    pub message_bytes: usize,
}

impl Work {
    /// The time between two messages at which connections receive `rate` events per second together.
    #[must_use]
    pub fn every(self, rate: f64) -> Duration {
        Duration::from_secs_f64(f64::from(self.connections) / rate)
    }

    /// How many messages that are within `duration`, at least one.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "casts from float saturate, and no run has that many messages"
    )]
    pub fn messages(self, rate: f64, duration: Duration) -> u32 {
        let messages = rate * duration.as_secs_f64() / f64::from(self.connections);
        (messages.round() as u32).max(1)
    }
}

/// How a tool is tried.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Trials {
    /// Events per second at which all tools are compared.
    pub rate: f64,
    /// For how long.
    pub steady: Duration,
    /// How long each rate is tried on the way to the highest.
    pub step: Duration,
}

/// How long after the last message its last event may arrive if the generator is to have kept up.
pub const KEPT_UP: Duration = Duration::from_millis(250);

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(connections: u32, rate: f64, every: Duration, in_two_seconds: u32) {
        let work = Work {
            connections,
            message_bytes: 1,
        };
        assert_eq!(work.every(rate), every, "{connections} at {rate}/s");
        let messages = work.messages(rate, Duration::from_secs(2));
        assert_eq!(messages, in_two_seconds, "{connections} at {rate}/s");
    }

    #[test]
    fn a_message_is_as_many_events_as_there_are_connections() {
        check(500, 5_000.0, Duration::from_millis(100), 20);
        check(1, 1_000.0, Duration::from_millis(1), 2_000);
        check(500, 250_000.0, Duration::from_millis(2), 1_000);
        check(500, 100.0, Duration::from_secs(5), 1);
    }
}
