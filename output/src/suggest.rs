//! What was probably meant: the known name that is most like one that is not known.

/// How alike two names have to be before one is taken for the other.
const ALIKE: f64 = 0.8;

/// The known name that `asked` is all but.
pub fn closest<'k>(asked: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let likenesses = known.into_iter().map(|name| (likeness(asked, name), name));
    likenesses
        .filter(|(likeness, _)| *likeness > ALIKE)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}

/// How much a name is like a known one, from 0 to 1. The beginning of a long one is like it.
pub fn likeness(asked: &str, known: &str) -> f64 {
    let likeness = strsim::jaro_winkler(asked, known);
    match known.starts_with(asked) && !asked.is_empty() {
        true => likeness.max(0.9),
        false => likeness,
    }
}

/// What a parser says is wrong with a text, with its line, and perhaps what was meant by a key. `at` is the
/// byte where it is.
pub fn problem(text: &str, at: Option<usize>, message: &str) -> String {
    let line = line_of(text, at);
    let message = message.replace('\n', " ");
    match closest_key(&message) {
        Some(key) => format!("line {line}: {message}; did you mean `{key}`?"),
        None => format!("line {line}: {message}"),
    }
}

/// The line of a byte of a text, the first of which is 1.
pub fn line_of(text: &str, at: Option<usize>) -> usize {
    let before = &text.as_bytes()[..at.unwrap_or(0).min(text.len())];
    1 + before.iter().filter(|byte| **byte == b'\n').count()
}

/// A parser's message names the unknown key first and then all known ones, in backticks.
pub fn closest_key(message: &str) -> Option<&str> {
    if !message.starts_with("unknown field") && !message.starts_with("unknown variant") {
        return None;
    }
    let mut quoted = message.split('`').skip(1).step_by(2);
    closest(quoted.next()?, quoted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_meant_is_found_and_nothing_else() {
        let known = ["kind", "users", "new-message", "update"];
        let check = |asked: &str, expected: Option<&str>| {
            assert_eq!(closest(asked, known), expected, "{asked}");
        };
        check("knd", Some("kind"));
        check("user", Some("users"));
        check("new-mesage", Some("new-message"));
        check("upd", Some("update"));
        check("", None);
        check("quux", None);
    }

    #[test]
    fn a_problem_names_its_line_and_the_key_that_was_meant() {
        let check = |at, message: &str, expected: &str| {
            assert_eq!(problem("a = 1\nb = 2\n", at, message), expected);
        };
        let unknown = "unknown field `tken`, expected `token` or `id`";
        check(
            Some(6),
            unknown,
            &format!("line 2: {unknown}; did you mean `token`?"),
        );
        check(Some(99), "missing\nvalue", "line 3: missing value");
        check(
            None,
            "unknown field `quux`, expected `id`",
            "line 1: unknown field `quux`, expected `id`",
        );
    }
}
