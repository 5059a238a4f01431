//! Scenarios of `touchstone load`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use touchstone_loadgen::scenario::Scenario;

fuzz_target!(|data: &[u8]| {
    if let Ok(text) = std::str::from_utf8(data) {
        match Scenario::parse("fuzz", text) {
            Ok(scenario) => assert_eq!(scenario.digest(), scenario.clone().digest()),
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
});
