//! All liberties.

use std::sync::Arc;
use std::time::Duration;

use touchstone_reference_server::RpcOwner;
use touchstone_reference_server::seams::Seams;

use super::LibertyInfo;
use super::delivery::{AckFirst, BrokerDelay, Interleaved, RelationsSilent, Wide};
use super::generations::{ExtraEvents, ExtraKeys, NewestEvents};
use super::handshake::{
    DropForeign, GarbageIgnored, PatientConnect, RefuseTypes, RefuseUnknown, Refusing,
    SlowFirstToken,
};
use super::numbers::{FirstVersions, LargeSeqs, LongIds, SeqHoles};
use super::presence::{
    HeartbeatsOnce, OfflineGrace, Older, OwnMachineOnly, SessionsAnnounced, StateKeepsPresence,
    ThinkingTrue,
};
use super::rpc::{Grace, LateAbort, Owner, TextParams};
use super::surface::{FewRoutes, FirstRoutes, NewestFirst, WebsocketOnly};
use super::timing::{AsyncHandlers, Latency, SlowAnswers};
use super::values::{
    AgentStateIgnored, Base64Kv, CoarseTimes, DatalessSilent, ErrorTexts, IdsPerAccount,
    KnownUsage, NullParts, UnknownAnswered,
};
use crate::chain::Chain;

type Make = fn(u64) -> Arc<dyn Seams>;

const fn plain(
    layer: &'static str,
    name: &'static str,
    make: Make,
    description: &'static str,
    basis: &'static str,
) -> LibertyInfo {
    LibertyInfo {
        layer,
        name,
        argument: None,
        description,
        basis,
        make,
    }
}

/// One that takes milliseconds.
const fn timed(
    layer: &'static str,
    name: &'static str,
    default: u64,
    make: Make,
    description: &'static str,
    basis: &'static str,
) -> LibertyInfo {
    LibertyInfo {
        argument: Some(("MS", default)),
        ..plain(layer, name, make, description, basis)
    }
}

fn milliseconds(number: u64) -> Duration {
    Duration::from_millis(number)
}

const HANDSHAKE: &str = "Handshake";
const DELIVERY: &str = "Delivery";
const TIMING: &str = "Timing";
const NUMBERS: &str = "Numbers and ids";
const PRESENCE: &str = "Presence";
const RPC: &str = "RPC";
const VALUES: &str = "Values and answers";
const SURFACE: &str = "Routes and transports";
const GENERATIONS: &str = "Generations";

/// In the order in which they act, where several do.
pub(super) const TABLE: &[LibertyInfo] = &[
    plain(
        HANDSHAKE,
        "refuse-unknown-ids",
        |_| Arc::new(RefuseUnknown),
        "a client that names a session or machine that its account does not have is refused",
        "admitting, refusing and dropping such a client are all right; it only must receive nothing of others",
    ),
    plain(
        HANDSHAKE,
        "drop-foreign",
        |_| Arc::new(DropForeign),
        "a client that names a session or machine of another account is dropped without a packet",
        "admitting, refusing and dropping such a client are all right; it only must receive nothing of others",
    ),
    plain(
        HANDSHAKE,
        "refuse-unknown-types",
        |_| Arc::new(RefuseTypes),
        "a client of an unknown clientType is refused",
        "such a client may be taken for a user-scoped one or refused",
    ),
    plain(
        HANDSHAKE,
        "refusal-by-event",
        |_| Arc::new(Refusing::ByEvent),
        "who is refused is connected, told the reason by an event named error, and disconnected",
        "how a refusal looks is the server's choice, as long as the client learns the reason",
    ),
    plain(
        HANDSHAKE,
        "refusal-and-closing",
        |_| Arc::new(Refusing::AndClosing),
        "the transport of who is refused is closed after the reason is told",
        "how a refusal looks is the server's choice, as long as the client learns the reason",
    ),
    plain(
        HANDSHAKE,
        "garbage-ignored",
        |_| Arc::new(GarbageIgnored),
        "packets that cannot be read, and events before CONNECT, are ignored",
        "such a packet ends the transport that it came on, or is ignored",
    ),
    timed(
        HANDSHAKE,
        "slow-first-token",
        300,
        |time| Arc::new(SlowFirstToken::new(time)),
        "the first connection with each token is admitted only after some time",
        "a client has five seconds for what it waits for at connect; nothing that it sends meanwhile is lost",
    ),
    plain(
        HANDSHAKE,
        "patient-connect",
        |_| Arc::new(PatientConnect),
        "a transport on which no CONNECT comes stays open for an hour",
        "when such a transport is ended is the server's choice",
    ),
    plain(
        DELIVERY,
        "wide",
        |_| Arc::new(Wide),
        "all connections of an account receive what is not a message",
        "which connections receive an event besides those that need it is the server's choice",
    ),
    plain(
        DELIVERY,
        "relations-silent",
        |_| Arc::new(RelationsSilent),
        "nobody is told of a changed relation",
        "no server was ever seen to send relationship-updated",
    ),
    // Before those that keep packets back: what the broker delivers is not to be kept as well.
    timed(
        DELIVERY,
        "broker-delay",
        180,
        |time| Arc::new(BrokerDelay::new(time)),
        "updates and ephemerals arrive some time later, in their order, at those who are connected then",
        "servers that fan out through a broker acknowledge first and deliver up to 180 ms later",
    ),
    plain(
        DELIVERY,
        "ack-first",
        |_| Arc::new(AckFirst::default()),
        "who causes an update is answered before it receives that update",
        "an update may be sent before or after its cause is acknowledged",
    ),
    plain(
        DELIVERY,
        "seq-interleaved",
        |_| Arc::new(Interleaved::default()),
        "messages of several senders overtake each other by up to two",
        "for concurrent senders the order of delivery need not be that of seq",
    ),
    timed(
        TIMING,
        "async-handlers",
        15,
        |time| Arc::new(AsyncHandlers::new(time)),
        "events are handled side by side, each up to so long after it came; only messages of one connection to one session, and registrations of one method, keep their order",
        "an answer proves nothing about an earlier event of another kind",
    ),
    timed(
        TIMING,
        "latency",
        40,
        |time| Arc::new(Latency::new(time)),
        "what a client sends and requests is handled some time later, in its order",
        "nothing says how fast a server has to be",
    ),
    timed(
        TIMING,
        "slow-answers",
        60,
        |time| Arc::new(SlowAnswers(milliseconds(time))),
        "what a client asks for is done at once and acknowledged some time later",
        "an update may be sent before or after its cause is acknowledged, and nothing says how long",
    ),
    plain(
        NUMBERS,
        "seq-holes",
        |_| Arc::new(SeqHoles),
        "some numbers of an account's updates are never used",
        "the seq of updates may have holes",
    ),
    plain(
        NUMBERS,
        "large-seqs",
        |_| Arc::new(LargeSeqs),
        "the seq of an account's updates starts above what 32 bits hold",
        "the seq of updates has to rise; where it starts is not said",
    ),
    plain(
        NUMBERS,
        "long-ids",
        |_| Arc::new(LongIds),
        "the ids that the server makes have about a hundred characters",
        "ids are texts whose form is the server's choice",
    ),
    LibertyInfo {
        argument: Some(("N", 3)),
        ..plain(
            NUMBERS,
            "first-versions",
            |number| Arc::new(FirstVersions(number)),
            "what is new has versions that are higher by so much",
            "initial versions are the server's choice; clients read them first",
        )
    },
    plain(
        NUMBERS,
        "ids-per-account",
        |_| Arc::new(IdsPerAccount),
        "two accounts may have machines and artifacts of the same id",
        "ids of machines and artifacts are global or per account",
    ),
    plain(
        NUMBERS,
        "coarse-times",
        |_| Arc::new(CoarseTimes),
        "times are whole seconds",
        "stored times may be coarser than a millisecond, down to one second",
    ),
    plain(
        PRESENCE,
        "heartbeat-forward-only",
        |_| Arc::new(Older::Ignored),
        "heartbeats and ends from before the last known activity are ignored",
        "a heartbeat from before activeAt may be ignored, keep or lower it",
    ),
    plain(
        PRESENCE,
        "heartbeat-keeps-time",
        |_| Arc::new(Older::KeepsTime),
        "heartbeats and ends from before the last known activity count without changing activeAt",
        "a heartbeat from before activeAt may be ignored, keep or lower it",
    ),
    plain(
        PRESENCE,
        "heartbeats-once",
        |_| Arc::new(HeartbeatsOnce::default()),
        "a heartbeat that says the same as what was announced last, with the same time, is not announced",
        "an announcement that changes nothing tells nobody anything",
    ),
    plain(
        PRESENCE,
        "sessions-announced",
        |_| Arc::new(SessionsAnnounced),
        "a session is announced as active when a connection of it comes, and as inactive when the last one goes",
        "connections of a session may come and go with or without being announced",
    ),
    plain(
        PRESENCE,
        "own-machine-only",
        |_| Arc::new(OwnMachineOnly),
        "heartbeats of a machine count only from its own connections",
        "machine-alive from another connection than the machine's own may count or not",
    ),
    plain(
        PRESENCE,
        "thinking-true",
        |_| Arc::new(ThinkingTrue),
        "a session thinks only where its heartbeat says true",
        "what a heartbeat calls thinking becomes a boolean, whatever it is",
    ),
    plain(
        PRESENCE,
        "state-keeps-presence",
        |_| Arc::new(StateKeepsPresence),
        "a new state of its daemon does not make a machine active",
        "a change of the daemonState may make the machine active",
    ),
    timed(
        PRESENCE,
        "offline-grace",
        400,
        |time| Arc::new(OfflineGrace(milliseconds(time))),
        "that a machine is gone is announced only if it does not come back for some time",
        "how soon a machine without connections counts as gone is the server's choice",
    ),
    plain(
        RPC,
        "rpc-first-owner",
        |_| Arc::new(Owner(RpcOwner::First)),
        "the first of several registrants of a method answers, and the next one when it goes",
        "which of several registrants answers is the server's choice",
    ),
    plain(
        RPC,
        "rpc-last-owner",
        |_| Arc::new(Owner(RpcOwner::Last)),
        "the last registrant of a method answers, and nobody when it goes",
        "whether a displaced registrant takes over again is the server's choice",
    ),
    timed(
        RPC,
        "rpc-grace",
        300,
        |time| Arc::new(Grace(milliseconds(time))),
        "a call of a method that nobody has registered waits some time for somebody to do so",
        "a call of an absent method may wait for somebody to register it",
    ),
    timed(
        RPC,
        "rpc-late-abort",
        60_000,
        |time| Arc::new(LateAbort(milliseconds(time))),
        "who calls is told that the callee has left only after some time, or by the time-out",
        "how soon a call fails whose callee has left is the server's choice",
    ),
    plain(
        RPC,
        "text-params",
        |_| Arc::new(TextParams),
        "a call whose params are not a text is neither routed nor answered",
        "clients send texts; the interface allows any JSON",
    ),
    plain(
        VALUES,
        "base64-kv",
        |_| Arc::new(Base64Kv),
        "values of the key-value store are kept as the bytes that they encode",
        "values of the store are opaque base64",
    ),
    plain(
        VALUES,
        "usage-known-keys",
        |_| Arc::new(KnownUsage),
        "of a usage report only the figures are kept that the server knows",
        "tokens and cost may hold known keys only",
    ),
    plain(
        VALUES,
        "agent-state-ignored",
        |_| Arc::new(AgentStateIgnored),
        "a new session starts without the agent state that it is posted with",
        "real servers ignore it, and clients of both kinds exist",
    ),
    plain(
        VALUES,
        "null-parts",
        |_| Arc::new(NullParts),
        "optional parts of an answer that do not apply are null instead of absent",
        "optional parts are absent by the specification; null is read alike by all clients",
    ),
    plain(
        VALUES,
        "error-texts",
        |_| Arc::new(ErrorTexts),
        "errors have other texts",
        "that something is refused is required, how that is worded only recommended",
    ),
    plain(
        VALUES,
        "unknown-answered",
        |_| Arc::new(UnknownAnswered),
        "an event that the server does not know is answered with an error",
        "an unknown event that asks for an acknowledgement gets none, or an error",
    ),
    plain(
        VALUES,
        "dataless-silent",
        |_| Arc::new(DatalessSilent),
        "an event without any data is not answered",
        "a call without any data may be answered with the handler's error, or not at all",
    ),
    plain(
        SURFACE,
        "newest-first-before",
        |_| Arc::new(NewestFirst),
        "messages before a cursor are listed from the newest to the oldest",
        "either order is right",
    ),
    plain(
        SURFACE,
        "few-routes",
        |_| Arc::new(FewRoutes),
        "only the routes exist that make accounts, and that make and list sessions and machines",
        "a route that answers 404 is a missing capability",
    ),
    plain(
        SURFACE,
        "first-routes",
        |_| Arc::new(FirstRoutes),
        "the routes of version 2 and 3 are missing, and those that archive a session or push an event",
        "a route that answers 404 is a missing capability; these came with later generations",
    ),
    plain(
        SURFACE,
        "websocket-only",
        |_| Arc::new(WebsocketOnly),
        "clients cannot connect by long-polling",
        "the clients of this family connect by WebSocket only",
    ),
    plain(
        GENERATIONS,
        "extra-keys",
        |_| Arc::new(ExtraKeys),
        "events, answers and rows have a key that the specification does not name",
        "newer servers add keys, and clients ignore those that they do not know",
    ),
    plain(
        GENERATIONS,
        "extra-events",
        |_| Arc::new(ExtraEvents),
        "connections receive events, updates and ephemerals that the specification does not name",
        "newer servers send more kinds of events, and clients ignore those that they do not know",
    ),
    plain(
        GENERATIONS,
        "newest-events",
        |_| Arc::new(NewestEvents),
        "users are told by session-event of each message and end of a session, and by delete-machine of a machine that only lived for a deleted session",
        "the newest servers send these events, and clients ignore those that they do not know",
    ),
    plain(
        GENERATIONS,
        "older-generation",
        |_| {
            Arc::new(Chain(vec![
                Arc::new(Refusing::ByEvent),
                Arc::new(Wide),
                Arc::new(RelationsSilent),
                Arc::new(Owner(RpcOwner::Last)),
                Arc::new(LateAbort(milliseconds(60_000))),
                Arc::new(AgentStateIgnored),
                Arc::new(DatalessSilent),
                Arc::new(FirstRoutes),
            ]))
        },
        "refuses by an event, sends wide, has no taking over of methods, ignores the agent state of a new session, and lacks the routes that came later",
        "servers of the generation before",
    ),
    plain(
        GENERATIONS,
        "newer-generation",
        |_| {
            Arc::new(Chain(vec![
                Arc::new(RefuseTypes),
                Arc::new(BrokerDelay::new(150)),
                Arc::new(AsyncHandlers::new(15)),
                Arc::new(SeqHoles),
                Arc::new(Older::KeepsTime),
                Arc::new(Grace(milliseconds(300))),
                Arc::new(LateAbort(milliseconds(60_000))),
                Arc::new(Base64Kv),
                Arc::new(NewestFirst),
                Arc::new(ExtraKeys),
                Arc::new(ExtraEvents),
                Arc::new(NewestEvents),
            ]))
        },
        "delivers through a broker, handles side by side, waits for absent methods, and sends more keys and events",
        "servers of the generation after",
    ),
];
