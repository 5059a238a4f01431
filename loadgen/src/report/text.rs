//! How numbers and foreign texts are written for people.
//!
//! Scenario names, URLs and error texts come from outside, and a report ends up on terminals and in
//! pages: what a terminal would obey is shown as its escape.

pub(crate) use touchstone_client::text::{grouped, one_line, plural, wrap};

use super::model::Phase;

/// Microseconds as milliseconds with about three digits, and never as 0 what is not: `0.042`, `1.27`,
/// `84.1`, `1 250`.
pub(crate) fn ms(us: u64) -> String {
    let exact = std::time::Duration::from_micros(us).as_secs_f64() * 1000.0;
    match us {
        0 => "0".to_owned(),
        1..=999 => format!("{exact:.3}"),
        1_000..=9_999 => format!("{exact:.2}"),
        10_000..=99_999 => format!("{exact:.1}"),
        _ => grouped((us + 500) / 1000),
    }
}

/// Seconds of milliseconds: `60.0 s`.
pub(crate) fn seconds(ms: u64) -> String {
    let exact = std::time::Duration::from_millis(ms).as_secs_f64();
    format!("{exact:.1} s")
}

/// A rate per second: whole where it is large.
pub(crate) fn rate(per_second: f64) -> String {
    if per_second >= 99.95 {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "rates are positive and far below 2^64"
        )]
        let whole = per_second.round() as u64;
        grouped(whole)
    } else {
        format!("{per_second:.1}")
    }
}

/// `312 MB`; a megabyte has 1 000 000 bytes.
pub(crate) fn megabytes(bytes: u64) -> String {
    format!("{} MB", grouped((bytes + 500_000) / 1_000_000))
}

/// A part of 1 as per cent.
pub(crate) fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}

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

    #[track_caller]
    fn check(got: impl AsRef<str>, expected: &str) {
        assert_eq!(got.as_ref(), expected);
    }

    #[test]
    fn numbers() {
        check(rate(0.0), "0.0");
        check(rate(99.94), "99.9");
        check(rate(5_550.4), "5 550");
        check(megabytes(312_400_000), "312 MB");
        check(percent(0.214), "21 %");
        check(seconds(59_980), "60.0 s");
        check(factor(1.0), "1");
        check(factor(0.25), "0.25");
    }

    #[test]
    fn times() {
        check(ms(0), "0");
        check(ms(42), "0.042");
        check(ms(1_274), "1.27");
        check(ms(84_123), "84.1");
        check(ms(1_250_499), "1 250");
        check(ms(3_600_000_000), "3 600 000");
    }

    #[test]
    fn times_are_in_both_units() {
        let figure = |field, value: f64| figure(field, &value.into());
        check(
            figure("latencyUs.ack.p99", 6340.0),
            "latencyUs.ack.p99 = 6340.0 (6.34 ms)",
        );
        check(
            figure("generator.lagP99Us", 20.0),
            "generator.lagP99Us = 20.0 (0.020 ms)",
        );
        check(
            figure("latencyUs.ack.count", 3.0),
            "latencyUs.ack.count = 3.0",
        );
        check(figure("audit.lost", 3.0), "audit.lost = 3.0");
    }
}
