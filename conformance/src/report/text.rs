//! Text from a server under test, made harmless before it is shown.
//!
//! Whatever a server says ends up in reports, and reports end up on terminals and in CI logs. A server
//! must not be able to move the cursor, to hide a line, or to give orders to the CI that prints it.

use std::borrow::Cow;

/// `1 case`, `2 cases`; `1 entry`, `2 entries`.
pub(crate) fn plural(count: usize, noun: &str) -> String {
    match (count, noun.strip_suffix('y')) {
        (1, _) => format!("1 {noun}"),
        (_, Some(stem)) => format!("{count} {stem}ies"),
        (_, None) => format!("{count} {noun}s"),
    }
}

/// The text with every character that a terminal obeys instead of showing written as its escape. Line
/// ends stay.
pub(crate) fn clean(text: &str) -> Cow<'_, str> {
    escaped(text, |c| c != '\n' && is_order(c))
}

/// As [`clean`], on one line.
pub(crate) fn one_line(text: &str) -> Cow<'_, str> {
    escaped(text, is_order)
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

/// Control characters, and those that reorder or hide their neighbours.
pub(super) fn is_order(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
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
    fn nouns_have_their_number() {
        assert_eq!(plural(1, "case"), "1 case");
        assert_eq!(plural(0, "case"), "0 cases");
        assert_eq!(plural(1, "entry"), "1 entry");
        assert_eq!(plural(2, "entry"), "2 entries");
    }

    #[test]
    fn orders_become_visible_and_the_rest_stays() {
        check("plain, é, 漢字, 🙂", "plain, é, 漢字, 🙂");
        check("\u{1b}[2Jgone\u{7}", r"\u{1b}[2Jgone\u{7}");
        check("over\rwritten\u{8}", r"over\rwritten\u{8}");
        check("a\nb\tc", r"a\nb\tc");
        check("\u{9b}31m", r"\u{9b}31m");
        check("\u{202e}txet\u{200b}", r"\u{202e}txet\u{200b}");
        check("nul \0", r"nul \u{0}");
    }
}
