//! Text that came from outside, made safe and short enough to be shown.
//!
//! What a server, a scenario or a recording says ends up on terminals, in CI logs and in files that
//! people print. None of it may move the cursor, hide a line or control the terminal. This module must
//! not decide where a text is shown, nor know any format but JSON.

use std::borrow::Cow;
use std::error::Error;
use std::fmt::Write as _;

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};
use url::Url;

/// Whether a terminal obeys this character instead of showing it: control characters, line ends
/// among them, and those that reorder or hide their neighbours.
pub fn is_control(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// The text on one line, with every [control character](is_control) written as its escape: `\u{1b}[2J`.
pub fn one_line(text: &str) -> Cow<'_, str> {
    escaped(text, is_control)
}

/// As [`one_line`], but line ends stay.
pub fn clean(text: &str) -> Cow<'_, str> {
    escaped(text, |c| c != '\n' && is_control(c))
}

fn escaped(text: &str, escapes: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.chars().any(&escapes) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if escapes(c) {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    Cow::Owned(shown)
}

/// JSON that means the same and holds no [control character](is_control) but its line ends.
///
/// Outside of strings valid JSON has no other control characters than line ends and tabs, so that
/// whatever is escaped stands in a string. Tabs between its parts would be escaped, too; serde_json writes none.
pub fn json_without_controls(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for c in json.chars() {
        if c != '\n' && is_control(c) {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                // Writing to a string cannot fail.
                let _ = write!(text, "\\u{unit:04x}");
            }
        } else {
            text.push(c);
        }
    }
    text
}

/// An error with its causes on one line, each once.
pub fn error_chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

/// The lines of a text of at most `columns`, which begins at column `indent`. Nothing is left out: what
/// explains a result stands at its end.
pub fn wrap(text: &str, indent: usize, columns: usize) -> Vec<String> {
    let room = columns.saturating_sub(indent).max(16);
    let text = one_line(text);
    let mut lines = vec![String::new()];
    let mut used = 0;
    for word in text.split(' ') {
        if used > 0 && used + 1 + word.width() > room {
            lines.push(String::new());
            used = 0;
        }
        let last = lines.len() - 1;
        if used > 0 {
            lines[last].push(' ');
            used += 1;
        }
        for c in word.chars() {
            let width = c.width().unwrap_or(0);
            // Such a word has no better place to be parted.
            if used + width > room {
                lines.push(String::new());
                used = 0;
            }
            let last = lines.len() - 1;
            lines[last].push(c);
            used += width;
        }
    }
    lines
}

/// At most `columns` of a text on one line, with a sign where something was cut.
pub fn cut(text: &str, columns: usize) -> String {
    let text = one_line(text);
    if text.width() <= columns {
        return text.into_owned();
    }
    let mut kept = String::new();
    let mut used = 1;
    for c in text.chars() {
        used += c.width().unwrap_or(0);
        if used > columns {
            break;
        }
        kept.push(c);
    }
    if columns > 0 {
        kept.push('…');
    }
    kept
}

/// A URL without whatever may be secret in it (credentials and query), and without the slash that an
/// empty path leaves.
pub fn display_url(url: &Url) -> String {
    let mut url = url.clone();
    // Both fail only for URLs that cannot hold credentials in the first place.
    let _ = url.set_password(None);
    let _ = url.set_username("");
    url.set_query(None);
    url.as_str().trim_end_matches('/').to_owned()
}

/// `12 345`: digits in groups of three.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

/// `1 case`, `2 cases`, `12 345 cases`; `1 entry`, `2 entries`.
pub fn plural(count: impl TryInto<u64>, noun: &str) -> String {
    let count = count.try_into().unwrap_or(u64::MAX);
    let number = grouped(count);
    match (count, noun.strip_suffix('y')) {
        (1, _) => format!("1 {noun}"),
        (_, Some(stem)) if !stem.ends_with(['a', 'e', 'o', 'u']) => format!("{number} {stem}ies"),
        _ => format!("{number} {noun}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        assert_eq!(one_line(text), expected);
        assert_eq!(clean(text), expected.replace(r"\n", "\n"));
    }

    #[test]
    fn long_lines_are_cut() {
        assert_eq!(cut("abcdef", 6), "abcdef");
        assert_eq!(cut("abcdefg", 6), "abcde…");
        assert_eq!(cut("\u{7}bcd", 6), r"\u{7}…");
        assert_eq!(cut("日本語", 5), "日本…");
        assert_eq!(cut("日本語", 4), "日…");
        assert_eq!(cut("abc", 0), "");
    }

    #[test]
    fn control_characters_become_visible_and_the_rest_stays() {
        check("plain, é, 漢字, 🙂", "plain, é, 漢字, 🙂");
        check("\u{1b}[2Jgone\u{7}", r"\u{1b}[2Jgone\u{7}");
        check("over\rwritten\u{8}", r"over\rwritten\u{8}");
        check("a\nb\tc", r"a\nb\tc");
        check("\u{9b}31m", r"\u{9b}31m");
        check("\u{202e}txet\u{200b}", r"\u{202e}txet\u{200b}");
        check("two\u{2028}lines", r"two\u{2028}lines");
        check("nul \0", r"nul \u{0}");
    }

    #[test]
    fn json_means_the_same_without_control_characters() {
        let value = serde_json::json!({"a\u{9b}b": ["\u{1b}[2J\u{202e}", "é 🙂 \u{7f}\n", 1.5]});
        let json = serde_json::to_string_pretty(&value).unwrap();
        assert!(json.contains('\u{202e}'), "serde_json escapes it by now");
        let text = json_without_controls(&json);
        assert!(!text.contains(|c| c != '\n' && is_control(c)), "{text}");
        assert!(text.contains(r"\u202e") && text.contains("é 🙂"), "{text}");
        let read: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(read, value);
    }

    #[test]
    fn each_cause_is_named_once() {
        #[derive(Debug, thiserror::Error)]
        #[error("{text}")]
        struct Layer {
            text: &'static str,
            source: Option<Box<Layer>>,
        }
        let layer = |text, source: Option<Layer>| Layer {
            text,
            source: source.map(Box::new),
        };
        let inner = layer("refused", None);
        let middle = layer("cannot connect: refused", Some(inner));
        let outer = layer("no run", Some(middle));
        assert_eq!(error_chain(&outer), "no run: cannot connect: refused");
    }

    #[test]
    fn long_lines_are_wrapped() {
        #[track_caller]
        fn check(text: &str, indent: usize, width: usize, expected: &[&str]) {
            assert_eq!(wrap(text, indent, width), expected);
        }
        check("", 0, 20, &[""]);
        check("as it is", 0, usize::MAX, &["as it is"]);
        check(
            "one two three four five",
            4,
            20,
            &["one two three", "four five"],
        );
        check(
            "a longer-than-there-is-room",
            0,
            20,
            &["a", "longer-than-there-is", "-room"],
        );
        check("日本語日本語日本 8", 0, 16, &["日本語日本語日本", "8"]);
        check("1234567890123456 8", 0, 16, &["1234567890123456", "8"]);
    }

    #[test]
    fn urls_show_no_secret() {
        #[track_caller]
        fn check(url: &str, expected: &str) {
            assert_eq!(display_url(&url.parse().unwrap()), expected);
        }
        check("http://127.0.0.1:3006/", "http://127.0.0.1:3006");
        check("https://me:secret@host/base?token=x", "https://host/base");
    }

    #[track_caller]
    fn check_plural(count: u64, noun: &str, expected: &str) {
        assert_eq!(plural(count, noun), expected);
    }

    #[test]
    fn nouns_have_their_number() {
        check_plural(1, "case", "1 case");
        check_plural(0, "case", "0 cases");
        check_plural(1, "entry", "1 entry");
        check_plural(2, "entry", "2 entries");
        check_plural(2, "delivery", "2 deliveries");
        check_plural(2, "day", "2 days");
        check_plural(999, "event", "999 events");
        check_plural(1_000, "event", "1 000 events");
        check_plural(12_345_678, "event", "12 345 678 events");
    }
}
