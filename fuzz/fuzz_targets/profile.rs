//! `touchstone.toml`, with the profile that its first line names.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../src/profile/document.rs"]
#[allow(dead_code, reason = "the fields are of no interest here")]
mod document;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let name = text.lines().next().unwrap_or_default();
    let name = name.trim_start_matches("# ");
    if let Err(error) = document::find(text, name) {
        assert!(!error.to_string().is_empty());
    }
});
