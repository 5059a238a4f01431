//! Small things about text that every view needs: units, widths, and keeping a terminal safe from
//! what payloads hold.

use std::borrow::Cow;
use std::time::{Duration, UNIX_EPOCH};

pub(crate) use touchstone_output::text::cut;
use touchstone_output::text::is_control;
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// The columns that a text takes.
pub(crate) fn width(text: &str) -> usize {
    text.width()
}

/// The text without what could move the cursor, change colours or turn the direction of writing.
pub(crate) fn clean(text: &str) -> Cow<'_, str> {
    // An escape would be longer than what it stands for, and columns are dear here.
    if text.contains(is_control) {
        text.replace(is_control, "\u{b7}").into()
    } else {
        text.into()
    }
}

/// At most `columns` of a text that may hold megabytes, safe to write on a line.
pub(crate) fn shown(text: &str, columns: usize) -> String {
    // No character has more bytes, and one more than fits shows that something was cut.
    let end = text.floor_char_boundary((columns + 1) * 4);
    cut(&clean(&text[..end]), columns)
}

/// The same for a text whose end tells it from others, such as a method behind the id of its owner.
pub(crate) fn shown_end(text: &str, columns: usize) -> String {
    let start = text.ceil_char_boundary(text.len().saturating_sub((columns + 1) * 4));
    let cleaned = clean(&text[start..]);
    if start == 0 && cleaned.width() <= columns {
        return cleaned.into_owned();
    }
    let mut used = 1;
    let fits = |character: &char| {
        used += character.width().unwrap_or(0);
        used <= columns
    };
    let mut kept: Vec<char> = cleaned.chars().rev().take_while(fits).collect();
    kept.extend((columns > 0).then_some('…'));
    kept.into_iter().rev().collect()
}

/// `14:03:59.250`, UTC.
pub(crate) fn time(unix_ms: u64) -> String {
    let text = date_time(unix_ms);
    text.get(11..23).unwrap_or(&text).to_owned()
}

/// `2026-03-01T14:03:59.250Z`.
pub(crate) fn date_time(unix_ms: u64) -> String {
    // The year 9999 is as far as the format goes; what a recording claims may lie beyond.
    let at = UNIX_EPOCH + Duration::from_millis(unix_ms.min(253_402_300_799_999));
    humantime::format_rfc3339_millis(at).to_string()
}

/// A size with three digits: `999 B`, `1.5 kB`, `120 MB`.
pub(crate) fn bytes(bytes: usize) -> String {
    scaled(bytes, &["B", "kB", "MB", "GB", "TB"], " ")
}

/// A number with three digits: `999`, `1.5k`, `120M`.
pub(crate) fn short(number: usize) -> String {
    scaled(number, &["", "k", "M", "G", "T"], "")
}

fn scaled(number: usize, units: &[&str], space: &str) -> String {
    let mut value = number as f64;
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < units.len() {
        value /= 1000.0;
        unit += 1;
    }
    let decimals = usize::from(unit > 0 && value < 9.95);
    format!("{value:.decimals$}{space}{}", units[unit])
}

/// A time span with three digits: `950 µs`, `1.5 ms`, `12 s`.
pub(crate) fn latency(micros: u64) -> String {
    match micros {
        0..1_000 => format!("{micros} µs"),
        1_000..9_950 => format!("{:.1} ms", micros as f64 / 1e3),
        9_950..999_500 => format!("{:.0} ms", micros as f64 / 1e3),
        999_500..9_950_000 => format!("{:.1} s", micros as f64 / 1e6),
        _ => format!("{:.0} s", micros as f64 / 1e6),
    }
}

/// `1:02:03` or `2:03`, of microseconds.
pub(crate) fn span(micros: u64) -> String {
    let seconds = micros / 1_000_000;
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match hours {
        0 => format!("{minutes}:{seconds:02}"),
        _ => format!("{hours}:{minutes:02}:{seconds:02}"),
    }
}

/// A place in a recording and its length: `1:05 of 2:03`, or `0.15 of 0.18 s` where that is short.
pub(crate) fn place(position_us: u64, length_us: u64) -> String {
    if length_us < 10_000_000 {
        let seconds = |micros: u64| micros as f64 / 1e6;
        return format!("{:.2} of {:.2} s", seconds(position_us), seconds(length_us));
    }
    format!("{} of {}", span(position_us), span(length_us))
}

/// A rate: `0.4/s`, `12/s`, `9.9k/s`.
pub(crate) fn rate(per_second: f64) -> String {
    if per_second > 0.0 && per_second < 9.95 {
        format!("{per_second:.1}/s")
    } else {
        // Rates are counts of events, far below what both types hold.
        format!("{}/s", short(per_second.round() as usize))
    }
}

/// `1 event`, `2 events`; without groups of digits, as the columns beside it.
pub(crate) fn count(number: usize, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {what}{plural}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(made: impl AsRef<str>, expected: &str) {
        assert_eq!(made.as_ref(), expected);
    }

    #[test]
    fn units() {
        check(bytes(0), "0 B");
        check(bytes(999), "999 B");
        check(bytes(1_000), "1.0 kB");
        check(bytes(9_960), "10 kB");
        check(bytes(999_600), "1.0 MB");
        check(short(12_345), "12k");
        check(latency(0), "0 µs");
        check(latency(1_500), "1.5 ms");
        check(latency(9_960), "10 ms");
        check(latency(999_600), "1.0 s");
        check(latency(65_000_000), "65 s");
        check(span(123_000_000), "2:03");
        check(span(3_723_000_000), "1:02:03");
        check(place(65_000_000, 123_000_000), "1:05 of 2:03");
        check(place(150_000, 181_000), "0.15 of 0.18 s");
        check(rate(0.0), "0/s");
        check(rate(0.4), "0.4/s");
        check(rate(9_900.0), "9.9k/s");
        check(count(1, "event"), "1 event");
        check(count(0, "event"), "0 events");
        check(time(1_800_000_000_123), "08:00:00.123");
        check(date_time(u64::MAX), "9999-12-31T23:59:59.999Z");
    }

    #[test]
    fn what_a_payload_holds_cannot_reach_the_terminal_as_a_command() {
        check(clean("plain"), "plain");
        check(clean("\u{1b}[2Jx\u{9b}1m\u{202e}y\r\n"), "·[2Jx·1m·y··");
    }

    #[test]
    fn what_is_shown_is_cut_before_it_is_cleaned() {
        check(shown(&"\u{1b}x".repeat(1 << 20), 3), "·x…");
        check(shown(&"日".repeat(1 << 20), 5), "日日…");
        check(shown("a\nb", 3), "a·b");
    }

    #[test]
    fn the_end_is_shown_where_it_tells_more() {
        check(shown_end("s1:method-12", 12), "s1:method-12");
        check(shown_end("s1:method-12", 11), "…:method-12");
        check(shown_end("日本語", 5), "…本語");
        check(shown_end("日本語", 4), "…語");
        check(shown_end("a\u{1b}b", 3), "a·b");
        check(shown_end(&"x".repeat(1 << 20), 3), "…xx");
        check(shown_end("abc", 0), "");
    }
}
