//! Deliberate protocol faults: one named wrong behaviour each, off by default.
//!
//! They exist so that a conformance suite can be shown to catch what it claims to catch. A fault has
//! one hook in the code, at the line where the right behaviour is decided; handlers ask
//! [`Faults::on`], or [`Faults::strikes`] for those that act on each n-th occasion. Adding a fault
//! takes a line in the table below and its hook.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

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
        pub(crate) enum Fault { $($($variant),*),* }

        const TABLE: &[FaultInfo] = &[$($(FaultInfo {
            layer: $layer,
            name: $name,
            description: $description,
            argument: if 0 $(+ $default)? == 0_u64 { None } else { Some("N") },
        }),*),*];

        const DEFAULTS: &[u64] = &[$($(0 $(+ $default)?),*),*];
    };
}

faults! {
    "Delivery" {
        EchoToSender "echo-to-sender" "a message is also sent back to the connection it came from"
        SkipSession "skip-session" "a message skips every connection of its session, not only its sender"
        WrongSession "wrong-session" "what concerns one session reaches the connections of all sessions of the account"
        WrongMachine "wrong-machine" "what concerns one machine reaches the connections of all machines of the account"
        MachineDeaf "machine-deaf" "a machine's own connections do not hear of changes to it"
        UserDeaf "user-deaf" "user-scoped connections do not receive new messages"
        WideArtifacts "wide-artifacts" "what is for user-scoped connections only reaches every connection of the account"
        WideEphemerals "wide-ephemerals" "ephemerals reach every connection of the account"
        LeakUpdate "leak-update" "updates also reach the user-scoped connections of other accounts"
        LeakEphemeral "leak-ephemeral" "ephemerals also reach the user-scoped connections of other accounts"
        LostUpdate "lost-update" [every 10] "each N-th update, counted over all accounts, is not delivered"
        DupUpdate "dup-update" [every 10] "each N-th update, counted over all accounts, is delivered twice"
        LateUpdate "late-update" [every 10] "each N-th update, counted over all accounts, is delivered after the account's next one"
    }
    "Sequence, versions, envelopes" {
        SeqStuck "seq-stuck" "the seq of updates stays at 1"
        SeqShared "seq-shared" [every 10] "each N-th update carries the seq of the one before it"
        MismatchSeq "mismatch-seq" "a refused change consumes a seq"
        MessageSeqStuck "message-seq-stuck" "the seq of messages within a session stays at 1"
        StaleAccept "stale-accept" "any expectedVersion is accepted"
        NoMismatchData "no-mismatch-data" "a version mismatch does not tell the current value"
        MismatchAsError "mismatch-as-error" "a version mismatch is answered as an error"
        MismatchWrites "mismatch-writes" "a mismatching change is written and announced all the same"
        VersionPlusTwo "version-plus-two" "a change raises the version by two"
        SidKey "sid-key" "the body of update-session names the session `sid` instead of `id`"
        NullOptionals "null-optionals" "parts that did not change are null in update-session, instead of absent"
        Seconds "seconds" "createdAt of updates is in seconds"
        NoEnvelopeId "no-envelope-id" "updates have no id"
        TextVersions "text-versions" "the version in update-session and update-machine is a text"
        NoThinking "no-thinking" "activity does not say whether the session is thinking"
    }
    "Answers" {
        NoAck "no-ack" "nothing is ever acknowledged"
        AckTwice "ack-twice" "everything is acknowledged twice"
        AckWrapped "ack-wrapped" "an acknowledgement is wrapped in an array"
        UnknownSilent "unknown-silent" "a change of an unknown session is never acknowledged"
        HandlerFails "handler-fails" "every handler fails, and says `Internal error`"
        PingData "ping-data" "ping is answered with null instead of {}"
    }
    "Handshake" {
        RefusalDrop "refusal-drop" "a refused client is dropped without a message"
        RefusalText "refusal-text" "a refusal carries another text"
        RefusalAdmits "refusal-admits" "a client with a bad token is connected to an account of its own"
        EarlyLost "early-lost" "the first event of a connection is ignored"
    }
    "Presence" {
        OfflineEarly "offline-early" "a machine is announced as offline while another of its connections lives"
        OnlineSilent "online-silent" "machines come and go without being announced"
        FutureTime "future-time" "a heartbeat from the future is not clamped to now"
        StaleHeartbeat "stale-heartbeat" "a heartbeat older than ten minutes counts"
        ReviveEnded "revive-ended" "a heartbeat revives a session that was ended"
    }
    "Messages" {
        DedupeOff "dedupe-off" "a repeated localId is stored and delivered again"
        DedupeWide "dedupe-wide" "a localId is remembered for all sessions of the account together"
    }
    "RPC" {
        CrossUser "cross-user" "all accounts share one set of RPC methods"
        RpcParamsWrapped "rpc-params-wrapped" "the callee receives its params inside an array"
        RpcResultWrapped "rpc-result-wrapped" "the caller receives the result inside an array"
        RpcToAll "rpc-to-all" "every registrant of a method receives each call"
        RpcSelfCall "rpc-self-call" "a connection may call its own method"
        RpcStranger "rpc-stranger" "anybody may unregister a method"
        RpcForgetful "rpc-forgetful" "a method is gone after its first call"
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
        Ok(Self(Some(Arc::new(Active { every, occasions }))))
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
        assert!(faults.on(Fault::SeqStuck) && !faults.on(Fault::SidKey));
        assert!(!faults.strikes(Fault::DupUpdate));
        assert!(!Faults::default().on(Fault::SeqStuck));
    }
}
