//! Figures for people.

use crate::text::grouped;

/// Microseconds as milliseconds with about three digits, and never as 0 what is not: `0.042`, `1.27`,
/// `84.1`, `1 250`.
pub fn ms(us: u64) -> String {
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
pub fn seconds(ms: u64) -> String {
    let exact = std::time::Duration::from_millis(ms).as_secs_f64();
    format!("{exact:.1} s")
}

/// A rate per second: whole where it is large.
pub fn rate(per_second: f64) -> String {
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
pub fn megabytes(bytes: u64) -> String {
    format!("{} MB", grouped((bytes + 500_000) / 1_000_000))
}

/// A part of 1 as per cent.
pub fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        assert_eq!(rate(0.0), "0.0");
        assert_eq!(rate(99.94), "99.9");
        assert_eq!(rate(5_550.4), "5 550");
        assert_eq!(megabytes(312_400_000), "312 MB");
        assert_eq!(percent(0.214), "21 %");
        assert_eq!(seconds(59_980), "60.0 s");
    }

    #[test]
    fn times() {
        assert_eq!(ms(0), "0");
        assert_eq!(ms(42), "0.042");
        assert_eq!(ms(1_274), "1.27");
        assert_eq!(ms(84_123), "84.1");
        assert_eq!(ms(1_250_499), "1 250");
        assert_eq!(ms(3_600_000_000), "3 600 000");
    }
}
