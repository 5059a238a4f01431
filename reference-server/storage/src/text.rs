//! Texts of clients may hold a NUL, which Postgres does not take. It is written as two characters that
//! hardly any text has.

use std::borrow::Cow;

const ESCAPE: char = '\u{F8FE}';

/// The text without a NUL.
pub(crate) fn escaped(text: &str) -> Cow<'_, str> {
    if !text.contains(['\0', ESCAPE]) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        match character {
            '\0' => out.extend([ESCAPE, '0']),
            ESCAPE => out.extend([ESCAPE, ESCAPE]),
            other => out.push(other),
        }
    }
    Cow::Owned(out)
}

/// The text that was escaped.
pub(crate) fn unescaped(text: String) -> String {
    if !text.contains(ESCAPE) {
        return text;
    }
    let mut out = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        if character != ESCAPE {
            out.push(character);
            continue;
        }
        match characters.next() {
            Some('0') => out.push('\0'),
            other => out.extend(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{escaped, unescaped};

    #[test]
    fn every_text_comes_back_and_none_has_a_nul() {
        for text in [
            "",
            "a",
            "a\0b",
            "\0",
            "\u{F8FE}",
            "\u{F8FE}0",
            "\0\u{F8FE}\0\\",
            "é\0",
        ] {
            let stored = escaped(text);
            assert!(!stored.contains('\0'), "{text}");
            assert_eq!(unescaped(stored.into_owned()), text);
        }
    }
}
