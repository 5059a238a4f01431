//! What people and their programs say about accounts: target files, lines of provisioners, and how the
//! command line names them.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use touchstone_client::provision::{File, ProvisionSpec};

#[path = "../../client/src/provision/answer.rs"]
#[allow(dead_code, reason = "the fields are of no interest here")]
mod answer;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let _ = answer::Answer::parse(text);
    let _ = text.parse::<ProvisionSpec>();
    if let Ok(file) = File::parse(Path::new("target.toml"), text) {
        for _ in 0..8 {
            let Ok(account) = file.account() else { break };
            while let Ok(session) = file.session(&account) {
                let Ok(machine) = file.machine(&account) else {
                    break;
                };
                let _ = file.access_key(&account, &session.id, &machine.id);
            }
        }
        let _ = file.shortage();
    }
});
