//! What the HTML pages about cases have in common: they can be filtered by verdict and by text.

use maud::{Markup, html};
use touchstone_output::html::COPY;

use crate::verdict::Verdict;

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("filter.js");

/// A whole page around `body`.
pub fn page(title: &str, body: &Markup) -> String {
    touchstone_output::html::page(title, STYLE, &[SCRIPT, COPY], body)
}

/// A verdict as a coloured word.
pub fn badge(verdict: Verdict, word: &str) -> Markup {
    html! { span class={ "badge " (verdict.as_str()) } { (word) } }
}

/// The fields that filter whatever has the attribute `data-verdict`: a text, and a button for each
/// verdict of `counts`, with the word for it on this page.
pub fn filters(counts: &[(Verdict, &str, usize)]) -> Markup {
    html! {
        div.filters {
            input #text type="search" placeholder="filter by text" aria-label="filter by text";
            div.buttons role="group" aria-label="filter by verdict" {
                @for (verdict, word, count) in counts {
                    button type="button" class=(verdict.as_str()) data-filter=(verdict.as_str())
                        aria-pressed="false" { (count) " " (word) }
                }
            }
            div.buttons #walk hidden {
                button type="button" data-step="-1" { "previous failure" }
                button type="button" data-step="1" { "next failure" }
            }
            p #none hidden { "Nothing matches the filter." }
        }
    }
}
