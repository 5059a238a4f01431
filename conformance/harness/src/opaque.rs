//! The values that cases store and send: texts that no server has a reason to change.
//!
//! Clients store ciphertext, as base64. Some servers keep it as it is, some decode it on its way in and
//! encode it on its way out, so a value that is not canonical base64 comes back as something else there,
//! and the server is right. All values of the suite therefore have letters and digits only, and a length
//! that is a multiple of four: they survive either way. A value of another kind belongs to the case that
//! is about it (`tests/trace` of the workspace holds the cases to this).

/// How many characters of base64 stand for whole bytes.
const QUANTUM: usize = 4;

/// How many digits a number has, a multiple of [`QUANTUM`].
const DIGITS: usize = 8;

/// A text that occurs nowhere else: `number` and `random` see to that, `what` is for the reader.
pub fn marker(what: &str, salt: &str, number: u32, random: u64) -> String {
    let what: String = what.chars().filter(char::is_ascii_alphanumeric).collect();
    let head = format!("{what}{salt}x{number}x");
    let tail = format!("{random:016x}");
    let missing = (head.len() + tail.len()).next_multiple_of(QUANTUM) - head.len() - tail.len();
    format!("{head}{}{tail}", "x".repeat(missing))
}

/// The `number`-th of several values that all contain `marker`, none of which contains another.
pub fn numbered(marker: &str, number: usize) -> String {
    format!("{marker}{number:0DIGITS$}")
}

/// The number of the first value of [`numbered`] in `text`.
pub(crate) fn number_in(text: &str, marker: &str) -> Option<usize> {
    let at = text.find(marker)? + marker.len();
    text.get(at..at + DIGITS)?.parse().ok()
}

/// A value of about `bytes` bytes that contains `marker`.
pub fn filled(marker: &str, bytes: usize) -> String {
    let missing = bytes.saturating_sub(marker.len()) / QUANTUM * QUANTUM;
    format!("{marker}{}", "x".repeat(missing))
}

#[cfg(test)]
mod tests {
    use base64::{Engine as _, prelude::BASE64_STANDARD};

    use super::*;

    #[track_caller]
    fn survives(text: &str) {
        let bytes = BASE64_STANDARD.decode(text).expect("base64");
        assert_eq!(BASE64_STANDARD.encode(bytes), text);
    }

    #[test]
    fn values_survive_a_server_that_decodes_them() {
        for what in ["", "a", "no-such-session", "key", "\u{e9} \"x\" 12345"] {
            for number in [0, 7, 99, 123_456] {
                let marker = marker(what, "1a2b3c", number, 0xfeed);
                survives(&marker);
                survives(&numbered(&marker, 0));
                survives(&numbered(&marker, 199));
                for bytes in [0, 1, 2, 3, 500, 640_001] {
                    survives(&filled(&marker, bytes));
                }
            }
        }
    }

    #[test]
    fn no_numbered_value_contains_another() {
        let marker = marker("burst", "1a", 1, 5);
        let values: Vec<_> = (0..250).map(|number| numbered(&marker, number)).collect();
        for (index, value) in values.iter().enumerate() {
            let holders = values.iter().filter(|other| other.contains(value));
            assert_eq!(holders.count(), 1, "{value}");
            let text = format!("[\"{value}\",1]");
            assert_eq!(number_in(&text, &marker), Some(index));
        }
        assert_eq!(number_in(&marker, &marker), None);
        assert_eq!(number_in("something else", &marker), None);
    }
}
