//! Numbers and ids: where they start, how they go on, how long they are.

use serde_json::Value;
use touchstone_reference_server::Config;
use touchstone_reference_server::seams::Seams;

/// Puts another number in the place of the seq of an update.
fn renumber(event: &str, payload: &mut Value, number: impl FnOnce(u64) -> u64) {
    if event == "update"
        && let Some(seq) = payload["seq"].as_u64()
    {
        payload["seq"] = number(seq).into();
    }
}

/// Some numbers are used for nothing, as where transactions are rolled back.
#[derive(Debug)]
pub(super) struct SeqHoles;

impl Seams for SeqHoles {
    fn payload(&self, event: &str, payload: &mut Value) {
        renumber(event, payload, |seq| seq + seq / 2 + seq / 3);
    }
}

/// The first number is as large as those of an account that is old.
#[derive(Debug)]
pub(super) struct LargeSeqs;

/// Larger than what 32 bits hold, and far below what a double holds exactly.
const OLD: u64 = 1 << 40;

impl Seams for LargeSeqs {
    fn payload(&self, event: &str, payload: &mut Value) {
        renumber(event, payload, |seq| seq + OLD);
    }
}

/// Every second number is left free for something else.
pub(super) fn doubled(event: &str, payload: &mut Value) {
    renumber(event, payload, |seq| seq * 2);
}

/// Ids have more characters.
#[derive(Debug)]
pub(super) struct LongIds;

impl Seams for LongIds {
    fn settings(&self, config: &mut Config) {
        config.ids = config.ids.longer_by(75);
    }
}

/// The first versions are higher.
#[derive(Debug)]
pub(super) struct FirstVersions(pub(super) u64);

impl Seams for FirstVersions {
    fn settings(&self, config: &mut Config) {
        config.policy.first_versions_above = self.0;
    }
}
