//! What is wrong with a TOML text, in one line that names the place and perhaps what was meant.

/// The parser's message with its line, and the known key that is closest to an unknown one.
pub(super) fn problem(text: &str, error: &toml::de::Error) -> String {
    let message = error.message().replace('\n', " ");
    let line = error.span().map_or(1, |span| {
        let before = &text.as_bytes()[..span.start.min(text.len())];
        1 + before.iter().filter(|b| **b == b'\n').count()
    });
    let hint = suggestion(&message).map(|key| format!("; did you mean `{key}`?"));
    format!("line {line}: {message}{}", hint.unwrap_or_default())
}

/// The parser's message names the unknown key first and then all known ones, in backticks.
fn suggestion(message: &str) -> Option<&str> {
    if !message.starts_with("unknown field") && !message.starts_with("unknown variant") {
        return None;
    }
    let mut quoted = message.split('`').skip(1).step_by(2);
    let unknown = quoted.next()?;
    let near = quoted.map(|known| (strsim::jaro_winkler(unknown, known), known));
    let (score, key) = near.max_by(|a, b| a.0.total_cmp(&b.0))?;
    (score > 0.7).then_some(key)
}
