//! `docs/faults.md`, from the table and the list of faults.

use touchstone_cases::requirements;
use touchstone_reference_faults::faults;

use crate::table::Table;

pub(crate) const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/faults.md");

/// The whole document.
pub(crate) fn render(table: &Table) -> String {
    let mut text = format!(
        "# Faults\n\n\
         The reference server can be wrong on purpose, in one way at a time: `touchstone serve --fault \
         NAME`, or `touchstone check --fault NAME` to see what the suite says of it. For each of its {} \
         faults stand here the requirements that it breaks, each with the cases that find it. \
         `tests/faults` runs some of these cases against each fault, enough to see every requirement \
         broken, and a sample of the others, which pass. The page is written from what was measured with \
         all cases, by `cargo test --test faults -- --ignored`.\n",
        faults().len(),
    );
    let mut layer = "";
    for fault in faults() {
        if fault.layer != layer {
            layer = fault.layer;
            text += &format!("\n## {layer}\n");
            if layer == "Histories" {
                text += "\nThey need an interleaving or a sequence that no case stages for sure: `docs/explore.md` \
                         says how soon `touchstone explore` finds them.\n";
            }
            if layer == "Storage" {
                text += "\nThey show only where the server keeps its rows in a database, and is ended: \
                         `tests/cli` finds them with `touchstone explore --crash`.\n";
            }
        }
        let name = table.spelled(fault.name);
        text += &format!("\n### `{name}`\n\n{}.\n", capitalized(fault.description));
        let Some(row) = table.rows.get(fault.name) else {
            continue;
        };
        if row.not_ready {
            text += "\nThe doctor refuses to judge such a server.\n";
            continue;
        }
        text += "\n";
        for (case, changed) in &row.traits {
            for id in changed {
                text += &format!("- `{id}`, which is not judged: `{case}`\n");
            }
        }
        for requirement in row.touches() {
            let finds = row.cases.iter();
            let finds = finds.filter(|(_, broken)| broken.contains(requirement));
            let cases: Vec<String> = finds.map(|(case, _)| format!("`{case}`")).collect();
            text += &format!("- `{requirement}`: {}\n", cases.join(", "));
        }
    }
    if !table.unproved.is_empty() {
        text += "\n## Requirements that no fault breaks\n\n";
        for (id, reason) in &table.unproved {
            let known = requirements().find(|requirement| requirement.id == id);
            let told = known.map_or("", |requirement| requirement.text);
            text += &format!("- `{id}`: {told} {reason}\n");
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
