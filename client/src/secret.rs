//! A value that must never be seen in full: tokens and keys.
//!
//! Everything in this crate that holds a token holds it as a [`Secret`], so that no `Debug`
//! output, log line or report can show it by accident.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How many leading characters of a secret may be shown, so that two can be told apart.
const SHOWN: usize = 6;

/// A token or key. `Debug` and `Display` show at most its first six characters.
///
/// It serialises to the full value: a program that writes it out has decided to.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Wraps a value that must not be shown.
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The full value, for the wire only.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

/// The form of `value` that may be shown: six characters at most, and never more than a third
/// of it, since a short secret would otherwise be shown whole. What is in this form already stays
/// as it is, so that a trace can be read and written again.
pub(crate) fn redact(value: &str) -> String {
    if value.ends_with('…') && value.chars().count() <= SHOWN + 1 {
        return value.to_owned();
    }
    let shown = SHOWN.min(value.chars().count() / 3);
    value.chars().take(shown).chain(['…']).collect()
}

/// What the keys of secrets contain, beside those that end in `token`.
pub const SECRET_WORDS: [&str; 5] = ["authorization", "secret", "password", "apikey", "api_key"];

/// Whether the string under this key of a JSON object is to be shown to nobody.
pub fn is_secret_key(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    let is_token = key.ends_with("token") || key == "jwt";
    is_token || SECRET_WORDS.iter().any(|word| key.contains(word))
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({})", redact(&self.0))
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&redact(&self.0))
    }
}

impl From<String> for Secret {
    fn from(value: String) -> Self {
        Self(value)
    }
}

impl From<&str> for Secret {
    fn from(value: &str) -> Self {
        Self(value.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(value: &str, shown: &str) {
        let secret = Secret::from(value);
        assert_eq!(secret.to_string(), shown);
        assert_eq!(format!("{secret:?}"), format!("Secret({shown})"));
        assert_eq!(secret.expose(), value);
    }

    #[test]
    fn shows_at_most_six_characters_and_a_third() {
        check("", "…");
        check("ab", "…");
        check("abcdef", "ab…");
        check("abcdefghijklmnopqrstuvwxyz", "abcdef…");
        check("ééééééééé", "ééé…");
        check("abcdef…", "abcdef…");
        check("abcdefg…", "ab…");
    }
}
