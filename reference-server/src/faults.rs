//! Deliberate protocol faults: one named wrong behaviour each, off by default.
//!
//! They exist so that a conformance suite can be shown to catch what it claims to catch. A fault has
//! one hook in the code, at the line where the right behaviour is decided; handlers ask
//! [`Faults::on`], or [`Faults::strikes`] for those that act on each n-th occasion. Adding a fault
//! takes a line in the table below and its hook.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
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
        WrongSession "wrong-session" "what concerns one session reaches the connections of all sessions of the account"
        WrongMachine "wrong-machine" "what concerns one machine reaches the connections of all machines of the account"
        WideArtifacts "wide-artifacts" "what is for user-scoped connections only reaches every connection of the account"
        WideEphemerals "wide-ephemerals" "ephemerals reach every connection of the account"
        LeakUpdate "leak-update" "updates also reach the user-scoped connections of other accounts"
        LeakEphemeral "leak-ephemeral" "ephemerals also reach the user-scoped connections of other accounts"
        LostUpdate "lost-update" [every 10] "each N-th update of an account is not delivered"
        DupUpdate "dup-update" [every 10] "each N-th update of an account is delivered twice"
        LateUpdate "late-update" [every 10] "each N-th update of an account is delivered after the account's next one"
        SenderDeaf "sender-deaf" "the connection that changes a session or machine does not hear of that change"
        ForeignIdHears "foreign-id-hears" "a session-scoped connection receives what concerns its session also if that is another account's"
        LateMessage "late-message" [every 2] "each N-th message of a session is delivered after the account's next update"
        PostSkipsUser "post-skips-user" "a message that is posted over HTTP skips a user-scoped connection, as if that had sent it"
        LeaversSilence "leavers-silence" "the messages of an account are dropped after five of its connections have left"
        FloodSilence "flood-silence" "the messages of an account are dropped after one of its connections has sent a thousand events"
        BufferFull "buffer-full" "the messages of an account are dropped after five million bytes of them"
        PayloadRestamped "payload-restamped" "createdAt of a payload that is handed to the router becomes the present time"
    }
    "Sequence and versions" {
        SeqStuck "seq-stuck" "the seq of updates stays at 1"
        SeqShared "seq-shared" [every 10] "each N-th update of an account carries the seq of the one before it"
        MismatchSeq "mismatch-seq" "a refused change consumes a seq"
        MessageSeqStuck "message-seq-stuck" "the seq of messages within a session stays at 1"
        StaleAccept "stale-accept" "any expectedVersion is accepted"
        NoMismatchData "no-mismatch-data" "a version mismatch does not tell the current value"
        MismatchAsError "mismatch-as-error" "a version mismatch is answered as an error"
        MismatchWrites "mismatch-writes" "a mismatching change is written and announced all the same"
        VersionPlusTwo "version-plus-two" "a change raises the version by two"
        SeqDown "seq-down" "the seq of updates counts down from a million"
        MessageSeqZero "message-seq-zero" "the messages of a session are numbered from 0"
        MessageSeqAccount "message-seq-account" "messages are numbered per account instead of per session"
        VersionStuck "version-stuck" "a change does not raise the version"
        FutureAccept "future-accept" "an expectedVersion from the future is accepted"
        FractionAccept "fraction-accept" "a fractional expectedVersion is rounded down"
        NegativeAccept "negative-accept" "a negative expectedVersion is taken for any version"
        TwoWinners "two-winners" "an expectedVersion that is one behind is accepted"
        MismatchEcho "mismatch-echo" "a version mismatch tells the version that was expected as the current one"
        MismatchAnnounced "mismatch-announced" "a mismatch is announced, though nothing was written"
        ChangeTwice "change-twice" "a change of a session or machine is announced twice"
        NullState "null-state" "clearing the agent state is an error"
        VersionsShared "versions-shared" "a change of one part of a record raises the version of the other part too"
    }
    "Envelopes and bodies" {
    }
    "Answers" {
        NoAck "no-ack" "nothing is ever acknowledged"
        AckTwice "ack-twice" "everything is acknowledged twice"
        AckWrapped "ack-wrapped" "an acknowledgement is wrapped in an array"
        UnknownSilent "unknown-silent" "a change of an unknown session is never acknowledged"
        HandlerFails "handler-fails" "every handler fails, and says `Internal error`"
        PingData "ping-data" "ping is answered with null instead of {}"
        AckEmpty "ack-empty" "everything is acknowledged without any argument"
        CallbackRequired "callback-required" "an event that could be acknowledged, and need not be, is ignored"
        HeartbeatsAcked "heartbeats-acked" "messages and heartbeats are acknowledged"
        MalformedEnds "malformed-ends" "data that is no object ends the connection"
        UnknownEnds "unknown-ends" "an event that does not exist ends the connection"
        PingDataless "ping-dataless" "a ping that carries data is not answered"
        ForeignRows "foreign-rows" "an account may act on the sessions, machines and artifacts of others"
    }
    "Handshake" {
        RefusalDrop "refusal-drop" "a refused client is dropped without a message"
        RefusalText "refusal-text" "a refusal carries another text"
        RefusalAdmits "refusal-admits" "a client with a bad token is connected to an account of its own"
        EarlyLost "early-lost" "an rpc-register that is the first event of its connection is ignored"
        TokenOptional "token-optional" "a client without a token is connected to an account of its own"
        SessionIdOptional "session-id-optional" "a session-scoped client without sessionId is connected"
        MachineIdOptional "machine-id-optional" "a machine-scoped client without machineId is connected"
        ClientTypeRequired "client-type-required" "a client without clientType is refused"
        UserTypeUnknown "user-type-unknown" "a client with clientType user-scoped is refused"
        RefusedListens "refused-listens" "a client that is refused for a missing id receives what is for user-scoped connections all the same"
        UnknownIdDropped "unknown-id-dropped" "events of a connection whose session or machine does not exist are ignored"
        ReturnDeaf "return-deaf" "connections that come after another one of the account has left receive no updates"
        SmallPayload "small-payload" "the largest payload is 100 kB"
        BadConnectAdmitted "bad-connect-admitted" "a CONNECT whose payload is no JSON is admitted to an account of its own"
        ExtraAuthRefused "extra-auth-refused" "a client whose auth has a field that the server does not know is refused"
        SessionTypeUnknown "session-type-unknown" "a client with clientType session-scoped is refused"
        MachineTypeUnknown "machine-type-unknown" "a client with clientType machine-scoped is refused"
        EarlyServed "early-served" "events before CONNECT are acknowledged with an empty object"
    }
    "Presence" {
        OfflineEarly "offline-early" "a machine is announced as offline while another of its connections lives"
        OnlineSilent "online-silent" "machines come and go without being announced"
        FutureTime "future-time" "a heartbeat from the future is not clamped to now"
        StaleHeartbeat "stale-heartbeat" "a heartbeat older than ten minutes counts"
        ReviveEnded "revive-ended" "a heartbeat revives a session that was ended"
        HeartbeatIgnored "heartbeat-ignored" "heartbeats of machines are ignored"
        NeverSwept "never-swept" "silent sessions and machines stay active"
        HeartbeatNow "heartbeat-now" "heartbeats count as sent when they arrive, whatever their time"
    }
    "Messages" {
        DedupeOff "dedupe-off" "a repeated localId is stored and delivered again"
        DedupeWide "dedupe-wide" "a localId is remembered for all sessions of the account together"
        DedupeLast "dedupe-last" "a localId is compared with that of the last message alone"
        DedupeText "dedupe-text" "messages without localId are stored once per text"
        DedupeNumber "dedupe-number" "a localId that is a number is kept as a text, and deduplicated"
        LocalIdsShared "local-ids-shared" "a localId is remembered for all accounts together"
        MessageContentless "message-contentless" "a message without content counts as an empty one"
        DedupeSeq "dedupe-seq" "a repeated localId consumes a seq of the account's updates"
    }
    "RPC" {
        CrossUser "cross-user" "all accounts share one set of RPC methods"
        RpcParamsWrapped "rpc-params-wrapped" "the callee receives its params inside an array"
        RpcResultWrapped "rpc-result-wrapped" "the caller receives the result inside an array"
        RpcToAll "rpc-to-all" "every registrant of a method receives each call"
        RpcSelfCall "rpc-self-call" "a connection may call its own method"
        RpcStranger "rpc-stranger" "anybody may unregister a method"
        RpcForgetful "rpc-forgetful" "a method is gone after its first call"
        RpcRegisterSilent "rpc-register-silent" "rpc-register is not answered"
        RpcUnregisterSilent "rpc-unregister-silent" "rpc-unregister is not answered"
        RpcUnregisterKeeps "rpc-unregister-keeps" "rpc-unregister is answered and changes nothing"
        RpcAnyName "rpc-any-name" "a method without a name can be registered"
        RpcNoticesPublic "rpc-notices-public" "what answers rpc-register goes to all connections of the account"
        RpcRegisterTwice "rpc-register-twice" "a connection that registers a method again receives each call twice"
        RpcRequestTwice "rpc-request-twice" "the callee receives each request twice"
        RpcSerial "rpc-serial" "a call is answered as unavailable while another call of the same caller is under way"
        RpcHang "rpc-hang" "a call whose callee stays silent or leaves is never answered"
        RpcNamesPlain "rpc-names-plain" "a method with another character than a letter, digit, dot, dash, colon or underscore is refused"
        RpcFewMethods "rpc-few-methods" "only the first eight methods of a connection can be called"
        RpcNoReturn "rpc-no-return" "a method whose registrant left cannot be called any more"
        RpcLeaverStays "rpc-leaver-stays" "a method stays registered when its registrant leaves"
        RpcCallbackRequired "rpc-callback-required" "a call that wants no answer does not reach its callee"
        RpcLateForgets "rpc-late-forgets" "a method is gone after a call of it has timed out"
        RpcRequestSid "rpc-request-sid" "the callee receives the caller's socket id besides method and params"
        RpcEarlyTimeout "rpc-early-timeout" "a call times out after a tenth of its time"
    }
    "Artifacts, access keys, usage, REST" {
        ArtifactPartial "artifact-partial" "a mismatch of one part of an artifact does not stop the other from being written"
        ArtifactOverwrite "artifact-overwrite" "creating an artifact again replaces it"
        Base64Unchecked "base64-unchecked" "artifacts take text that is not base64"
        AccessKeyMissing "access-key-missing" "a pair without an access key is answered with an error"
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
        AccessKeyUnknown "access-key-unknown" "an unknown session or machine has a null access key"
        SignatureUnchecked "signature-unchecked" "any signature signs in"
        SignInAnew "sign-in-anew" "each sign-in makes a new account"
        TokenUnchecked "token-unchecked" "a REST request without a good token is answered for an account of its own"
        UnknownRouteOk "unknown-route-ok" "a route that does not exist is answered 200"
        HealthDown "health-down" "GET /health says that the status is down"
        MachineOverwritten "machine-overwritten" "posting a machine that exists overwrites it"
        SessionDeletedStays "session-deleted-stays" "a deleted session stays in lists"
        ActiveListAll "active-list-all" "the list of active sessions has the ended ones too"
        PageRepeats "page-repeats" "each page of sessions begins with the last one of the page before"
        ChangedSinceIgnored "changed-since-ignored" "changedSince is ignored"
        ArchiveSilent "archive-silent" "archiving a session is not announced"
        ArchiveLimited "archive-limited" [every 50] "each N-th request to archive a session is answered 500"
        TagsShared "tags-shared" "all accounts share one set of session tags"
        UsageKeysShared "usage-keys-shared" "all accounts share one set of usage reports"
        KvKeysShared "kv-keys-shared" "a key of the key-value store can be written only by the account that wrote it first"
        MessagesForeign "messages-foreign" "the messages of a session can be read and posted by every account"
        AccessKeyAnyPair "access-key-any-pair" "access keys are made and read for sessions and machines that do not exist"
        ArtifactListBodies "artifact-list-bodies" "the list of artifacts has their bodies"
        FeedEmpty "feed-empty" "the feed is always empty"
        FriendsAtOnce "friends-at-once" "asking somebody to be a friend makes both friends"
        KvDeletedStays "kv-deleted-stays" "a deleted key can still be read"
        KvBulkNulls "kv-bulk-nulls" "reading several keys gives null for those that do not exist"
        KvAnswersOld "kv-answers-old" "the answer to a write of keys tells their versions from before"
        MachineListStateless "machine-list-stateless" "the list of machines has no daemon states"
        MachineUnknownOk "machine-unknown-ok" "an unknown machine is answered with 200 and null"
        MessagePageRepeats "message-page-repeats" "a page of messages begins or ends with the one that the cursor names"
        MessagesOldestFirst "messages-oldest-first" "the list of messages has the oldest first"
        PostAnswersEarly "post-answers-early" "a batch of messages is answered before it is stored and sent"
        PairingTokenless "pairing-tokenless" "a paired terminal is not told its token"
        RestValuesTrimmed "rest-values-trimmed" "white space around the metadata of a new session is dropped"
        SessionListStale "session-list-stale" "the list of sessions has the first version of their metadata"
        StateAtCreationIgnored "state-at-creation-ignored" "the agentState of a new session is ignored"
    }
    "Transport" {
        GarbageKills "garbage-kills" "a packet that cannot be read ends the connections of everybody"
        LargeIgnored "large-ignored" "events above 700 kB are ignored"
        IdleEnds "idle-ends" "a connection that has sent no event for six sweeps is ended, though it answers pings"
        DeepKills "deep-kills" "data that is nested deeper than four hundred levels ends the server"
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
    occasions: [AtomicU64; TABLE.len()],
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
        let occasions = std::array::from_fn(|_| AtomicU64::new(0));
        Ok(Self(Some(Arc::new(Active {
            every,
            occasions,
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

    /// Counts an occasion of a fault, and tells whether it acts on this one.
    pub(crate) fn strikes(&self, fault: Fault) -> bool {
        let Some(active) = self.0.as_ref().filter(|_| self.on(fault)) else {
            return false;
        };
        let occasion = active.occasions[fault as usize].fetch_add(1, Ordering::SeqCst) + 1;
        occasion.is_multiple_of(active.every[fault as usize])
    }

    /// Tells whether a fault acts on an occasion that somebody else has counted: what an account or a
    /// session has its own numbers for is the same whatever else the server does.
    pub(crate) fn strikes_at(&self, fault: Fault, occasion: u64) -> bool {
        self.0.as_ref().is_some_and(|active| {
            let every = active.every[fault as usize];
            every > 0 && occasion.is_multiple_of(every)
        })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_sorted_out() {
        let mut names: Vec<_> = faults().iter().map(|fault| fault.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), faults().len());
        for fault in faults() {
            assert!(Faults::parse([fault.name]).is_ok(), "{}", fault.name);
            assert!(
                !fault.description.is_empty() && !fault.description.ends_with('.'),
                "{}",
                fault.name
            );
        }
    }

    #[track_caller]
    fn check(name: &str, expected: &str) {
        assert_eq!(Faults::parse([name]).unwrap_err().to_string(), expected);
    }

    #[test]
    fn wrong_names_are_explained() {
        check("nope", "unknown fault \"nope\"");
        check("", "unknown fault \"\"");
        check("seq-stuck=3", "fault seq-stuck takes no argument");
        check(
            "lost-update=0",
            "fault lost-update: \"0\" is not a whole number from 1",
        );
        check(
            "lost-update=x",
            "fault lost-update: \"x\" is not a whole number from 1",
        );
    }

    #[test]
    fn periodic_faults_strike_each_nth_time() {
        let faults = Faults::parse(["lost-update=3", "seq-stuck"]).unwrap();
        let strikes: Vec<bool> = (0..6).map(|_| faults.strikes(Fault::LostUpdate)).collect();
        assert_eq!(strikes, [false, false, true, false, false, true]);
        assert!(faults.on(Fault::SeqStuck) && !faults.on(Fault::SeqDown));
        assert!(!faults.strikes(Fault::DupUpdate));
        assert!(!Faults::default().on(Fault::SeqStuck));
        assert!(
            faults.strikes_at(Fault::LostUpdate, 6) && !faults.strikes_at(Fault::LostUpdate, 7)
        );
        assert!(!faults.strikes_at(Fault::DupUpdate, 10));
    }

    #[test]
    fn a_shared_name_belongs_to_the_first_who_asks() {
        let faults = Faults::parse(["tags-shared"]).unwrap();
        for asking in ["a", "b"] {
            let owner = faults.owner(Fault::TagsShared, "tag", asking);
            assert_eq!(owner.as_deref(), Some("a"));
            assert_eq!(faults.owner(Fault::KvKeysShared, "tag", asking), None);
        }
    }
}
