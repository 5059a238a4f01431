//! `update-metadata` and `update-state`: the requirements of a session's values that have versions.

use super::versioned::Cas;
use touchstone_harness::ledger::requirement_table;

requirement_table! {
    METADATA_ANSWER = "session.update-metadata.answer", Must, Specification,
        "update-metadata with the current version is answered with success, the new version and the \
         new metadata.";
    METADATA_STALE = "session.update-metadata.stale", Must, Specification,
        "update-metadata with a stale or future expectedVersion is answered with version-mismatch.";
    METADATA_CURRENT = "session.update-metadata.mismatch-returns-current", Must, Specification,
        "A mismatch of update-metadata tells the current version and the current metadata.";
    METADATA_RACE = "session.update-metadata.one-winner", Must, Decision,
        "Of several update-metadata with the same expectedVersion at the same time exactly one succeeds.";
    STATE_ANSWER = "session.update-state.answer", Must, Specification,
        "update-state with the current version is answered with success, the new version and the new \
         agentState, which may be null.";
    STATE_STALE = "session.update-state.stale", Must, Specification,
        "update-state with a stale or future expectedVersion is answered with version-mismatch.";
    STATE_CURRENT = "session.update-state.mismatch-returns-current", Must, Specification,
        "A mismatch of update-state tells the current version and the current agentState.";
    STATE_RACE = "session.update-state.one-winner", Must, Decision,
        "Of several update-state with the same expectedVersion at the same time exactly one succeeds.";
    VERSION_STEP = "session.version-step", Should, Decision,
        "Each success raises the version by one.";
    ODD_VERSION = "session.odd-version", Should, Decision,
        "A negative or fractional expectedVersion is a mismatch like any other.";
    RACE_LOSERS = "session.race-losers", Should, Decision,
        "Who loses a race is told the winner's version and value.";
    ONE_BROADCAST = "session.one-broadcast", Must, Decision,
        "A race of writers announces one change.";
    SILENT_MISMATCH = "session.silent-mismatch", Must, Decision,
        "A mismatch writes and announces nothing.";
}

/// `update-metadata` with its requirements.
pub(crate) const METADATA: Cas = Cas {
    event: "update-metadata",
    id_key: "sid",
    field: "metadata",
    update: "update-session",
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

/// `update-state` with its requirements.
pub(crate) const STATE: Cas = Cas {
    event: "update-state",
    field: "agentState",
    answers: &STATE_ANSWER,
    refuses_stale: &STATE_STALE,
    returns_current: &STATE_CURRENT,
    one_winner: &STATE_RACE,
    ..METADATA
};
