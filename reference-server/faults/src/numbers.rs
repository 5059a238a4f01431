//! Faults in what the server counts.

use std::collections::HashMap;

use crate::{Fault, Faults};

/// The seq of an account's next update.
pub(crate) fn update_seq(faults: &Faults, account: &str, right: u64) -> u64 {
    if faults.on(Fault::SeqStuck) {
        return 1;
    }
    if faults.on(Fault::SeqDown) {
        return 1_000_000 - right;
    }
    let mut memory = faults.memory();
    if right > 1 && faults.strikes_at(Fault::SeqShared, right) {
        *memory.shared_seqs.entry(account.to_owned()).or_default() += 1;
    }
    let of_account = |counts: &HashMap<String, u64>| counts.get(account).copied().unwrap_or(0);
    right + of_account(&memory.skipped_seqs) - of_account(&memory.shared_seqs)
}
