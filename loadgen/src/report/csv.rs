//! The series as comma-separated values, one line per second, for spreadsheets and plots of one's own.

use std::fmt::Write as _;

use super::model::Report;

/// The series of a run; all cells are numbers, so that nothing needs quotes.
#[must_use]
pub fn csv(report: &Report) -> String {
    let mut text = String::from(
        "second,connections,planned,sent,delivered,\
         p50_us,p90_us,p99_us,p999_us,max_us\n",
    );
    for second in &report.series {
        let latency = &second.latency_us;
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "{},{},{},{},{},{},{},{},{},{}",
            second.second,
            second.connections,
            second.planned,
            second.sent,
            second.delivered,
            latency.p50,
            latency.p90,
            latency.p99,
            latency.p999,
            latency.max,
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::testing::sample;
    use super::*;

    #[test]
    fn snapshot() {
        insta::assert_snapshot!(csv(&sample()));
    }
}
