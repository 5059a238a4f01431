//! `machine-update-metadata` and `machine-update-state`: the requirements of a machine's values that have versions.

use super::versioned::Cas;
use touchstone_harness::ledger::requirement_table;

requirement_table! {
    METADATA_ANSWER = "machine.update-metadata.answer", Must, Specification,
        "machine-update-metadata with the current version is answered with success, the new version \
         and the new metadata.";
    METADATA_STALE = "machine.update-metadata.stale", Must, Specification,
        "machine-update-metadata with a stale or future expectedVersion is answered with \
         version-mismatch.";
    METADATA_CURRENT = "machine.update-metadata.mismatch-returns-current", Must, Specification,
        "A mismatch of machine-update-metadata tells the current version and the current metadata.";
    METADATA_RACE = "machine.update-metadata.one-winner", Must, Decision,
        "Of several machine-update-metadata with the same expectedVersion exactly one succeeds.";
    STATE_ANSWER = "machine.update-state.answer", Must, Specification,
        "machine-update-state with the current version is answered with success, the new version and \
         the new daemonState.";
    STATE_STALE = "machine.update-state.stale", Must, Specification,
        "machine-update-state with a stale or future expectedVersion is answered with \
         version-mismatch.";
    STATE_CURRENT = "machine.update-state.mismatch-returns-current", Must, Specification,
        "A mismatch of machine-update-state tells the current version and the current daemonState.";
    STATE_RACE = "machine.update-state.one-winner", Must, Decision,
        "Of several machine-update-state with the same expectedVersion exactly one succeeds.";
    VERSION_STEP = "machine.version-step", Should, Decision,
        "Each success raises the version by one.";
    ODD_VERSION = "machine.odd-version", Should, Decision,
        "A negative or fractional expectedVersion is a mismatch like any other.";
    RACE_LOSERS = "machine.race-losers", Should, Decision,
        "Who loses a race is told the winner's version and value.";
    ONE_BROADCAST = "machine.one-broadcast", Must, Decision,
        "A race of writers announces one change.";
    SILENT_MISMATCH = "machine.silent-mismatch", Must, Decision,
        "A mismatch writes and announces nothing.";
}

pub(crate) const METADATA: Cas = Cas {
    event: "machine-update-metadata",
    id_key: "machineId",
    field: "metadata",
    update: "update-machine",
    answers: &METADATA_ANSWER,
    increments: &VERSION_STEP,
    refuses_stale: &METADATA_STALE,
    refuses_odd: &ODD_VERSION,
    returns_current: &METADATA_CURRENT,
    one_winner: &METADATA_RACE,
    losers_see_winner: &RACE_LOSERS,
    one_broadcast: &ONE_BROADCAST,
    silent_mismatch: &SILENT_MISMATCH,
};

pub(crate) const STATE: Cas = Cas {
    event: "machine-update-state",
    field: "daemonState",
    answers: &STATE_ANSWER,
    refuses_stale: &STATE_STALE,
    returns_current: &STATE_CURRENT,
    one_winner: &STATE_RACE,
    ..METADATA
};
