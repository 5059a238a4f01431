//! Which values have versions, and what each must hold.

use crate::{print::prints, requirement as r, requirement::Requirement};

/// A value that has versions, of a kind of entity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Part {
    SessionMetadata,
    SessionState,
    MachineMetadata,
    MachineState,
    ArtifactHeader,
    ArtifactBody,
    Settings,
    AccessKey,
    Kv,
}

/// What each part must hold.
#[derive(Debug)]
pub(crate) struct Demands {
    pub(crate) what: &'static str,
    pub(crate) answer: &'static Requirement,
    pub(crate) stale: &'static Requirement,
    pub(crate) current: &'static Requirement,
    pub(crate) winner: &'static Requirement,
    pub(crate) step: &'static Requirement,
    pub(crate) losers: &'static Requirement,
    pub(crate) silent: &'static Requirement,
    pub(crate) announced: &'static Requirement,
    pub(crate) read: &'static Requirement,
}

static SESSION_METADATA: Demands = Demands {
    what: "the metadata of session",
    answer: &r::METADATA_ANSWER,
    stale: &r::METADATA_STALE,
    current: &r::METADATA_CURRENT,
    winner: &r::METADATA_WINNER,
    step: &r::SESSION_STEP,
    losers: &r::SESSION_LOSERS,
    silent: &r::SESSION_SILENT,
    announced: &r::SESSION_BODY,
    read: &r::SESSION_READ,
};
static SESSION_STATE: Demands = Demands {
    what: "the agentState of session",
    answer: &r::STATE_ANSWER,
    stale: &r::STATE_STALE,
    current: &r::STATE_CURRENT,
    winner: &r::STATE_WINNER,
    ..SESSION_METADATA
};
static MACHINE_METADATA: Demands = Demands {
    what: "the metadata of machine",
    answer: &r::MACHINE_METADATA_ANSWER,
    stale: &r::MACHINE_METADATA_STALE,
    current: &r::MACHINE_METADATA_CURRENT,
    winner: &r::MACHINE_METADATA_WINNER,
    step: &r::MACHINE_STEP,
    losers: &r::MACHINE_LOSERS,
    silent: &r::MACHINE_SILENT,
    announced: &r::MACHINE_BODY,
    read: &r::MACHINE_READ,
};
static MACHINE_STATE: Demands = Demands {
    what: "the daemonState of machine",
    answer: &r::MACHINE_STATE_ANSWER,
    stale: &r::MACHINE_STATE_STALE,
    current: &r::MACHINE_STATE_CURRENT,
    winner: &r::MACHINE_STATE_WINNER,
    ..MACHINE_METADATA
};
static ARTIFACT_HEADER: Demands = Demands {
    what: "the header of artifact",
    answer: &r::ARTIFACT_ANSWER,
    stale: &r::ARTIFACT_STALE,
    current: &r::ARTIFACT_CURRENT,
    winner: &r::ARTIFACT_WINNER,
    step: &r::ARTIFACT_STEP,
    losers: &r::ARTIFACT_LOSERS,
    silent: &r::ARTIFACT_SILENT,
    announced: &r::ARTIFACT_BODY,
    read: &r::ARTIFACT_READ,
};
static ARTIFACT_BODY: Demands = Demands {
    what: "the body of artifact",
    ..ARTIFACT_HEADER
};
static SETTINGS: Demands = Demands {
    what: "the settings of account",
    answer: &r::SETTINGS_WRITTEN,
    stale: &r::SETTINGS_STALE,
    current: &r::SETTINGS_STALE,
    winner: &r::SETTINGS_WRITTEN,
    step: &r::SETTINGS_WRITTEN,
    losers: &r::SETTINGS_STALE,
    silent: &r::SETTINGS_STALE,
    announced: &r::ACCOUNT_BODY,
    read: &r::SETTINGS_WRITTEN,
};

static ACCESS_KEY: Demands = Demands {
    what: "the access key of",
    answer: &r::ACCESS_KEY_CHANGED,
    stale: &r::ACCESS_KEY_STALE,
    current: &r::ACCESS_KEY_STALE,
    winner: &r::ACCESS_KEY_CHANGED,
    step: &r::ACCESS_KEY_CHANGED,
    losers: &r::ACCESS_KEY_STALE,
    silent: &r::ACCESS_KEY_STALE,
    announced: &r::ACCESS_KEY_CHANGED,
    read: &r::ACCESS_KEY,
};
static KV: Demands = Demands {
    what: "the value of key",
    answer: &r::KV_WRITTEN,
    stale: &r::KV_ATOMIC,
    current: &r::KV_ATOMIC,
    winner: &r::KV_WRITTEN,
    step: &r::KV_WRITTEN,
    losers: &r::KV_ATOMIC,
    silent: &r::KV_ATOMIC,
    announced: &r::KV_BODY,
    read: &r::KV_READ,
};

impl Part {
    pub(crate) fn demands(self) -> &'static Demands {
        match self {
            Self::SessionMetadata => &SESSION_METADATA,
            Self::SessionState => &SESSION_STATE,
            Self::MachineMetadata => &MACHINE_METADATA,
            Self::MachineState => &MACHINE_STATE,
            Self::ArtifactHeader => &ARTIFACT_HEADER,
            Self::ArtifactBody => &ARTIFACT_BODY,
            Self::Settings => &SETTINGS,
            Self::AccessKey => &ACCESS_KEY,
            Self::Kv => &KV,
        }
    }

    /// What tells a version of this part of an entity from all others.
    pub(crate) fn key(self, id: &str, version: u64) -> u64 {
        prints(&[&self.demands().what.into(), &id.into(), &version.into()])
    }

    /// Whether only events write it, which are all recorded when they are sent.
    pub(crate) fn is_written_by_events_only(self) -> bool {
        matches!(
            self,
            Self::SessionMetadata | Self::SessionState | Self::MachineMetadata | Self::MachineState
        )
    }

    /// Whether an entity of this kind can be made again with the same id after it was deleted.
    pub(crate) fn can_come_again(self) -> bool {
        matches!(self, Self::ArtifactHeader | Self::ArtifactBody | Self::Kv)
    }
}
