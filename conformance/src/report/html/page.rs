//! What every HTML page of ours has: one file without outside resources, which looks good on a phone
//! and in the dark, and can be filtered by verdict and by text.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::super::one_line;
use crate::verdict::Verdict;

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("filter.js");

/// A browser that obeys this fetches nothing, whatever a server under test said.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; \
                      base-uri 'none'; form-action 'none'";

/// A whole page around `body`.
pub(crate) fn page(title: &str, body: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (one_line(title)) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                main { (body) }
                script { (PreEscaped(SCRIPT)) }
            }
        }
    }
}

/// A verdict as a coloured word.
pub(crate) fn badge(verdict: Verdict, word: &str) -> Markup {
    html! { span class={ "badge " (verdict.as_str()) } { (word) } }
}

/// The fields that filter whatever has the attribute `data-verdict`: a text, and a button for each
/// verdict of `counts`.
pub(crate) fn filters(counts: &[(Verdict, usize)]) -> Markup {
    html! {
        div.filters {
            input #text type="search" placeholder="filter by text" aria-label="filter by text";
            div.buttons role="group" aria-label="filter by verdict" {
                @for (verdict, count) in counts {
                    button type="button" class=(verdict.as_str()) data-filter=(verdict.as_str())
                        aria-pressed="false" { (count) " " (verdict.as_str()) }
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
