//! How the parts of a report are written for people.

use touchstone_output::number::{ms, seconds};

use super::model::Phase;

/// A scale factor as people write it: `1`, `0.25`.
pub(crate) fn factor(factor: f64) -> String {
    format!("{factor}")
}

/// What a phase lasted, and of what where it was ended early.
pub(crate) fn lasted(phase: &Phase) -> String {
    if phase.planned_ms <= phase.duration_ms {
        seconds(phase.duration_ms)
    } else if phase.duration_ms == 0 {
        "not reached".to_owned()
    } else {
        format!(
            "{} of {}",
            seconds(phase.duration_ms),
            seconds(phase.planned_ms)
        )
    }
}

/// What the figures of calls are of.
pub(crate) const CALLEE: &str = "rpc is without callee, the time that simulated callees worked";

/// A field of a report with its value: `latencyUs.ack.p99 = 6340 (6.34 ms)`, since reports hold
/// microseconds and people read milliseconds.
pub(crate) fn figure(field: &str, value: &serde_json::Value) -> String {
    let is_time = field.ends_with("Us") || field.contains("Us.") && !field.ends_with(".count");
    match value.as_f64().filter(|_| is_time) {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "times are positive and far below 2^53"
        )]
        Some(us) => format!("{field} = {value} ({} ms)", ms(us.round() as u64)),
        None => format!("{field} = {value}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn factors() {
        assert_eq!(factor(1.0), "1");
        assert_eq!(factor(0.25), "0.25");
    }

    #[test]
    fn times_are_in_both_units() {
        let figure = |field, value: f64| figure(field, &value.into());
        assert_eq!(
            figure("latencyUs.ack.p99", 6340.0),
            "latencyUs.ack.p99 = 6340.0 (6.34 ms)"
        );
        assert_eq!(
            figure("generator.lagP99Us", 20.0),
            "generator.lagP99Us = 20.0 (0.020 ms)"
        );
        assert_eq!(
            figure("latencyUs.ack.count", 3.0),
            "latencyUs.ack.count = 3.0"
        );
        assert_eq!(figure("audit.lost", 3.0), "audit.lost = 3.0");
    }
}
