//! What every HTML page of ours has: one file without outside resources, which looks good on a phone,
//! in the dark, and on paper.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::text::one_line;

/// The colours, as custom properties that follow the reader's light or dark scheme.
pub const COLOURS: &str = include_str!("colours.css");

const BASE: &str = include_str!("base.css");

/// What the buttons of [`command`]s do.
pub const COPY: &str = include_str!("copy.js");

/// What a browser may load and run: nothing from anywhere, whatever a server under test said, and a
/// script only on pages that have one of ours.
fn policy(has_script: bool) -> String {
    let script = if has_script {
        "script-src 'unsafe-inline'; "
    } else {
        ""
    };
    format!(
        "default-src 'none'; style-src 'unsafe-inline'; {script}base-uri 'none'; form-action 'none'"
    )
}

/// A text with what stands between backticks as code.
pub fn with_code(text: &str) -> Markup {
    html! {
        @for (nth, part) in text.split('`').enumerate() {
            @if nth % 2 == 1 { code { (part) } } @else { (part) }
        }
    }
}

/// A command to copy, on a page with the script [`COPY`].
pub fn command(title: &str, text: &str) -> Markup {
    html! {
        span.dim { (title) }
        div.command {
            pre { (one_line(text)) }
            button.copy type="button" { "copy" }
        }
    }
}

/// A whole page around `body`, with styles and scripts of its own.
pub fn page(title: &str, style: &str, scripts: &[&str], body: &Markup) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(policy(!scripts.is_empty()));
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (one_line(title)) }
                style { (PreEscaped(COLOURS)) (PreEscaped(BASE)) (PreEscaped(style)) }
            }
            body {
                main { (body) }
                @for script in scripts { script { (PreEscaped(script)) } }
            }
        }
    };
    page.into_string() + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_between_backticks_is_code() {
        let shown = with_code("A sends `ping` <b>").into_string();
        assert_eq!(shown, "A sends <code>ping</code> &lt;b&gt;");
    }
}
