//! `docs/liberties.md`, from the list of liberties and what they give up.

use touchstone_reference_faults::liberties;

use crate::Table;

pub(crate) const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/liberties.md");

/// The whole document.
pub(crate) fn render(table: &Table) -> String {
    let mut text = format!(
        "# Liberties\n\n\
         Right servers differ. The reference server can take each of these {} named liberties: \
         `touchstone serve --liberty NAME` (a client that works with all of them relies on nothing that \
         servers need not do), or `touchstone check --liberty NAME` to see that the suite blames none. \
         Several may be taken together. `tests/liberties` runs cases of the suite under each: none may \
         fail, and none may warn except about the recommendations that are listed here as given up. The \
         page is written by `UPDATE=1 cargo test --test liberties document`.\n",
        liberties().len(),
    );
    let mut layer = "";
    for liberty in liberties() {
        if liberty.layer != layer {
            layer = liberty.layer;
            text += &format!("\n## {layer}\n");
        }
        let argument = liberty
            .argument
            .map(|(name, default)| format!("[={name}] (default {default})"));
        text += &format!(
            "\n### `{}`{}\n\n{}. Allowed because {}.\n",
            liberty.name,
            argument.unwrap_or_default(),
            capitalized(liberty.description),
            liberty.basis,
        );
        let given_up = table.given_up.get(liberty.name).into_iter().flatten();
        let lines: Vec<String> = given_up
            .map(|(requirement, reason)| format!("- gives up `{requirement}`: {reason}\n"))
            .collect();
        if !lines.is_empty() {
            text += &format!("\n{}", lines.concat());
        }
    }
    text
}

fn capitalized(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_uppercase().collect::<String>() + letters.as_str()
    })
}
