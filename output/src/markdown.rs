//! Text from outside in Markdown.
//!
//! What is quoted from a server stands in a [`code`] span or a [`block`]; names that are part of a
//! sentence or a heading are [`plain`].

use crate::text::{clean, one_line};

/// The longest run of backticks in `text`.
fn ticks(text: &str) -> usize {
    text.split(|c| c != '`').map(str::len).max().unwrap_or(0)
}

/// A code span, in which nothing of a text has a meaning.
pub fn code(text: &str) -> String {
    let text = one_line(text);
    let tick = "`".repeat(ticks(&text) + 1);
    let pad = if text.is_empty() || text.starts_with('`') || text.ends_with('`') {
        " "
    } else {
        ""
    };
    format!("{tick}{pad}{text}{pad}{tick}")
}

/// A code span in a cell of a table.
pub fn code_cell(text: &str) -> String {
    code(text).replace('|', "\\|")
}

/// A code block.
pub fn block(text: &str) -> String {
    let text = clean(text);
    let tick = "`".repeat((ticks(&text) + 1).max(3));
    format!("{tick}text\n{text}\n{tick}")
}

/// A text that Markdown shows as it is: no markup, no end of a cell.
pub fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in one_line(text).chars() {
        match c {
            '<' => plain.push_str("&lt;"),
            '>' => plain.push_str("&gt;"),
            '&' => plain.push_str("&amp;"),
            '|' | '\\' | '`' | '*' | '_' | '[' | ']' | '#' | '!' | '~' => {
                plain.push('\\');
                plain.push(c);
            }
            _ => plain.push(c),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backticks_cannot_end_a_span_or_a_block() {
        assert_eq!(code("a"), "`a`");
        assert_eq!(code("a``b"), "```a``b```");
        assert_eq!(code("`"), "`` ` ``");
        assert_eq!(code_cell("a|b"), r"`a\|b`");
        assert_eq!(block("a\n````\nb"), "`````text\na\n````\nb\n`````");
    }

    #[test]
    fn plain_text_has_no_markup() {
        assert_eq!(
            plain("a|b<script>`x` [l](u)\n# h\u{202e}"),
            r"a\|b&lt;script&gt;\`x\` \[l\](u)\\n\# h\\u{202e}"
        );
    }
}
