//! Deliberate protocol faults: one named wrong behaviour each, off by default.
//!
//! They exist so that a conformance suite can be shown to catch what it claims to catch. A fault has
//! one hook in the code, at the line where the right behaviour is decided; handlers ask
//! [`Faults::on`], or [`Faults::strikes`] for those that act on each n-th occasion. Adding a fault
//! takes a line in the table below and its hook.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// A fault as people see it in lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FaultInfo {
    /// The part of the protocol that it is about, as a heading.
    pub layer: &'static str,
    /// The name that turns it on.
    pub name: &'static str,
    /// What goes wrong, in one sentence.
    pub description: &'static str,
    /// The name of its optional argument, as in `name[=argument]`.
    pub argument: Option<&'static str>,
}

/// Why a list of faults cannot be turned on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FaultError {
    /// There is no fault of that name.
    #[error("unknown fault {0:?}")]
    Unknown(String),
    /// The fault takes no argument.
    #[error("fault {0} takes no argument")]
    NoArgument(&'static str),
    /// The argument is not a positive whole number.
    #[error("fault {name}: {argument:?} is not a whole number from 1")]
    BadArgument {
        /// The fault.
        name: &'static str,
        /// What was given.
        argument: String,
    },
}

macro_rules! faults {
    ($($layer:literal {
        $($variant:ident $name:literal $([every $default:literal])? $description:literal)*
    })*) => {
        /// One wrong behaviour. The table in this module says which.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Fault { $($($variant,)*)* }

        const TABLE: &[FaultInfo] = &[$($(FaultInfo {
            layer: $layer,
            name: $name,
            description: $description,
            argument: if 0 $(+ $default)? == 0_u64 { None } else { Some("N") },
        },)*)*];

        const DEFAULTS: &[u64] = &[$($(0 $(+ $default)?,)*)*];
    };
}

faults! {
    "Delivery" {
        EchoToSender "echo-to-sender" "a message is also sent back to the connection it came from"
        SkipSession "skip-session" "a message skips every connection of its session, not only its sender"
        SenderDeaf "sender-deaf" "the connection that changes a session or machine does not hear of that change"
        PostSkipsUser "post-skips-user" "a message that is posted over HTTP skips a user-scoped connection, as if that had sent it"
        LeaversSilence "leavers-silence" "the messages of an account are dropped after five of its connections have left"
        FloodSilence "flood-silence" "the messages of an account are dropped after one of its connections has sent a thousand events"
        BufferFull "buffer-full" "the messages of an account are dropped after five million bytes of them"
        PayloadRestamped "payload-restamped" "createdAt of a payload that is handed to the router becomes the present time"
    }
    "Sequence and versions" {
        MessageSeqStuck "message-seq-stuck" "the seq of messages within a session stays at 1"
        StaleAccept "stale-accept" "any expectedVersion is accepted"
        MismatchWrites "mismatch-writes" "a mismatching change is written and announced all the same"
        VersionPlusTwo "version-plus-two" "a change raises the version by two"
        MessageSeqZero "message-seq-zero" "the messages of a session are numbered from 0"
        MessageSeqAccount "message-seq-account" "messages are numbered per account instead of per session"
        VersionStuck "version-stuck" "a change does not raise the version"
        FutureAccept "future-accept" "an expectedVersion from the future is accepted"
        FractionAccept "fraction-accept" "a fractional expectedVersion is rounded down"
        NegativeAccept "negative-accept" "a negative expectedVersion is taken for any version"
        TwoWinners "two-winners" "an expectedVersion that is one behind is accepted"
        MismatchEcho "mismatch-echo" "a version mismatch tells the version that was expected as the current one"
        MismatchAnnounced "mismatch-announced" "a mismatch is announced, though nothing was written"
        VersionsShared "versions-shared" "a change of one part of a record raises the version of the other part too"
    }
    "Envelopes and bodies" {
    }
    "Answers" {
        UnknownSilent "unknown-silent" "a change of an unknown session is never acknowledged"
        HeartbeatsAcked "heartbeats-acked" "messages and heartbeats are acknowledged"
        ForeignRows "foreign-rows" "an account may act on the sessions, machines and artifacts of others"
    }
    "Handshake" {
        ReturnDeaf "return-deaf" "connections that come after another one of the account has left receive no updates"
    }
    "Presence" {
        OfflineEarly "offline-early" "a machine is announced as offline while another of its connections lives"
        OnlineSilent "online-silent" "machines come and go without being announced"
        FutureTime "future-time" "a heartbeat from the future is not clamped to now"
        ReviveEnded "revive-ended" "a heartbeat revives a session that was ended"
        NeverSwept "never-swept" "silent sessions and machines stay active"
    }
    "Messages" {
        DedupeOff "dedupe-off" "a repeated localId is stored and delivered again"
        DedupeWide "dedupe-wide" "a localId is remembered for all sessions of the account together"
        DedupeLast "dedupe-last" "a localId is compared with that of the last message alone"
        DedupeText "dedupe-text" "messages without localId are stored once per text"
        LocalIdsShared "local-ids-shared" "a localId is remembered for all accounts together"
        DedupeSeq "dedupe-seq" "a repeated localId consumes a seq of the account's updates"
    }
    "RPC" {
        CrossUser "cross-user" "all accounts share one set of RPC methods"
        RpcParamsWrapped "rpc-params-wrapped" "the callee receives its params inside an array"
        RpcToAll "rpc-to-all" "every registrant of a method receives each call"
        RpcSelfCall "rpc-self-call" "a connection may call its own method"
        RpcStranger "rpc-stranger" "anybody may unregister a method"
        RpcForgetful "rpc-forgetful" "a method is gone after its first call"
        RpcUnregisterKeeps "rpc-unregister-keeps" "rpc-unregister is answered and changes nothing"
        RpcAnyName "rpc-any-name" "a method without a name can be registered"
        RpcRegisterTwice "rpc-register-twice" "a connection that registers a method again receives each call twice"
        RpcSerial "rpc-serial" "a call is answered as unavailable while another call of the same caller is under way"
        RpcFewMethods "rpc-few-methods" "only the first eight methods of a connection can be called"
        RpcNoReturn "rpc-no-return" "a method whose registrant left cannot be called any more"
        RpcLeaverStays "rpc-leaver-stays" "a method stays registered when its registrant leaves"
        RpcLateForgets "rpc-late-forgets" "a method is gone after a call of it has timed out"
        RpcRequestSid "rpc-request-sid" "the callee receives the caller's socket id besides method and params"
    }
    "Artifacts, access keys, usage, REST" {
        ArtifactPartial "artifact-partial" "a mismatch of one part of an artifact does not stop the other from being written"
        ArtifactOverwrite "artifact-overwrite" "creating an artifact again replaces it"
        Base64Unchecked "base64-unchecked" "artifacts take text that is not base64"
        UsageEverywhere "usage-everywhere" "a usage report without a session is announced"
        UsageNewReport "usage-new-report" "reporting the same key again makes a new report"
        TagIgnored "tag-ignored" "creating a session with a known tag makes another one"
        TagAnnounced "tag-announced" "creating a session with a known tag announces it again"
        DeleteSilent "delete-silent" "deleting a session or an artifact is not announced"
        MachineOnce "machine-once" "a new machine is announced without its second update"
        KvPartial "kv-partial" "one stale key does not stop the other mutations from being written"
        ArtifactAnnouncedAgain "artifact-announced-again" "creating an artifact again announces it again"
        ArtifactMismatchAll "artifact-mismatch-all" "a mismatch of one part of an artifact lists both parts"
        ArtifactSeqStuck "artifact-seq-stuck" "changes of an artifact do not raise its seq"
        ArtifactNoUpdates "artifact-no-updates" "an update of an artifact without any part succeeds"
        ArtifactStays "artifact-stays" "a deleted artifact can still be read"
        ArtifactTaken "artifact-taken" "an artifact may have the id of another account's"
        UsageTotalOptional "usage-total-optional" "a usage report needs no totals"
        UsageSessionRequired "usage-session-required" "a usage report without a session is an error"
        UsageErrorOrder "usage-error-order" "the cost of a usage report is checked before its tokens"
        UsageStale "usage-stale" "repeating a usage report does not renew updatedAt"
        MachineOverwritten "machine-overwritten" "posting a machine that exists overwrites it"
        SessionDeletedStays "session-deleted-stays" "a deleted session stays in lists"
        ActiveListAll "active-list-all" "the list of active sessions has the ended ones too"
        PageRepeats "page-repeats" "each page of sessions begins with the last one of the page before"
        ArchiveSilent "archive-silent" "archiving a session is not announced"
        TagsShared "tags-shared" "all accounts share one set of session tags"
        UsageKeysShared "usage-keys-shared" "all accounts share one set of usage reports"
        MessagesForeign "messages-foreign" "the messages of a session can be read and posted by every account"
        AccessKeyAnyPair "access-key-any-pair" "access keys are made and read for sessions and machines that do not exist"
        ArtifactListBodies "artifact-list-bodies" "the list of artifacts has their bodies"
        FriendsAtOnce "friends-at-once" "asking somebody to be a friend makes both friends"
        KvDeletedStays "kv-deleted-stays" "a deleted key can still be read"
        KvBulkNulls "kv-bulk-nulls" "reading several keys gives null for those that do not exist"
        PostAnswersEarly "post-answers-early" "a batch of messages is answered before it is stored and sent"
    }
    "Transport" {
        IdleEnds "idle-ends" "a connection that has sent no event for six sweeps is ended, though it answers pings"
    }
}

/// All faults that exist, for lists.
#[must_use]
pub fn faults() -> &'static [FaultInfo] {
    TABLE
}

/// The faults that are turned on; clones share their counters.
#[derive(Clone, Debug, Default)]
pub struct Faults(Option<Arc<Active>>);

#[derive(Debug)]
struct Active {
    /// Per fault: 0 when off, else its argument (1 for those without).
    every: [u64; TABLE.len()],
    /// Per fault and name: whose the name is.
    owners: Mutex<HashMap<(usize, String), String>>,
}

impl Faults {
    /// Turns on faults by name, each as `name` or `name=N`.
    ///
    /// # Errors
    /// When a name or an argument is wrong.
    pub fn parse<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Self, FaultError> {
        let mut every = [0; TABLE.len()];
        for text in names {
            let (name, argument) = match text.split_once('=') {
                Some((name, argument)) => (name, Some(argument)),
                None => (text, None),
            };
            let index = TABLE
                .iter()
                .position(|fault| fault.name == name)
                .ok_or_else(|| FaultError::Unknown(name.to_owned()))?;
            every[index] = match argument {
                None => DEFAULTS[index].max(1),
                Some(_) if TABLE[index].argument.is_none() => {
                    return Err(FaultError::NoArgument(TABLE[index].name));
                }
                Some(argument) => argument.parse().ok().filter(|&n| n > 0).ok_or_else(|| {
                    FaultError::BadArgument {
                        name: TABLE[index].name,
                        argument: argument.to_owned(),
                    }
                })?,
            };
        }
        if every.iter().all(|&n| n == 0) {
            return Ok(Self::default());
        }
        Ok(Self(Some(Arc::new(Active {
            every,
            owners: Mutex::default(),
        }))))
    }

    /// Whether any fault is turned on.
    pub(crate) fn any(&self) -> bool {
        self.0.is_some()
    }

    /// Whether a fault is turned on.
    pub(crate) fn on(&self, fault: Fault) -> bool {
        self.0
            .as_ref()
            .is_some_and(|active| active.every[fault as usize] > 0)
    }

    /// Whose a name is that a fault takes for one name of all accounts: that of the first who asks.
    /// `None` if the fault is off.
    pub(crate) fn owner(&self, fault: Fault, name: &str, asking: &str) -> Option<String> {
        let active = self.0.as_ref().filter(|_| self.on(fault))?;
        let mut owners = active.owners.lock().unwrap_or_else(PoisonError::into_inner);
        let owner = owners.entry((fault as usize, name.to_owned()));
        Some(owner.or_insert_with(|| asking.to_owned()).clone())
    }
}
