//! `touchstone protocol`: the documents in `docs` are what it prints.

use std::fs;

use crate::support::check;

/// `UPDATE=1 cargo test --test cli protocol` writes it anew.
#[track_caller]
#[expect(
    clippy::disallowed_methods,
    reason = "a test asks whether to write the document"
)]
fn is_written(format: &str, document: &str) {
    let printed = check(&["protocol", "--format", format], 0, &[]).stdout;
    let path = format!("{}/docs/{document}", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, &printed).expect("a document");
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == printed,
        "{path} is not what the contract says; UPDATE=1 cargo test --test cli protocol writes it anew"
    );
}

#[test]
fn the_page_is_what_the_contract_says() {
    is_written("markdown", "protocol.md");
}

#[test]
fn the_document_for_tools_is_what_the_contract_says() {
    is_written("asyncapi", "asyncapi.json");
}
