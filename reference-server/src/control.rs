//! The control extension (docs/control.md): emitting through the router, and watching its decisions.
//!
//! It exists so that a suite can test the router and the builders without a cause for each event,
//! and a monitor can show ground truth. It is off unless asked for.

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::Stream;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use crate::app::App;
use crate::builders::{
    self, ArtifactRow, EphemeralPayload, KvChange, MachineRow, MessageRow, RelationshipStatus,
    SessionRow, Stamp, UpdatePayload, Versioned,
};
use crate::faults::Fault;
use crate::rest::{ApiError, Body};
use crate::router::{ConnectionId, RecipientFilter, Routed as _, Routing};
use crate::store::{Account, AccountState};

/// Decisions that may wait for a reader of the tap; beyond it, the reader is told how many it lost.
const TAP_QUEUE: usize = 4_096;

/// One decision of the router, as the tap shows it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Decision<'a> {
    pub(crate) account: &'a str,
    pub(crate) event: &'a str,
    pub(crate) payload: &'a Value,
    pub(crate) filter: &'a RecipientFilter,
    #[serde(skip)]
    pub(crate) routing: &'a Routing,
}

/// Hands the router's decisions to whoever watches.
#[derive(Clone, Debug)]
pub(crate) struct Tap(Option<broadcast::Sender<Arc<str>>>);

impl Tap {
    pub(crate) fn new(is_offered: bool) -> Self {
        Self(is_offered.then(|| broadcast::channel(TAP_QUEUE).0))
    }

    /// Whether the extension is on, so that decisions are worth describing.
    pub(crate) fn is_offered(&self) -> bool {
        self.0.is_some()
    }

    /// Publishes a decision, if somebody watches.
    pub(crate) fn publish<'a>(&self, decision: impl FnOnce() -> Decision<'a>) {
        let Some(sender) = self.0.as_ref().filter(|sender| sender.receiver_count() > 0) else {
            return;
        };
        let decision = decision();
        let mut line = json!(decision);
        line["recipients"] = json!(decision.routing.recipients);
        line["skipped"] = json!(decision.routing.skipped);
        // It fails only when the last watcher left in this moment.
        let _ = sender.send(line.to_string().into());
    }
}

/// `GET /control/tap`: every routing decision from now on, as server-sent events.
pub(crate) async fn tap(
    State(app): State<Arc<App>>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, ApiError> {
    let sender = app
        .tap
        .0
        .as_ref()
        .ok_or_else(|| ApiError::not_found("the tap is off"))?;
    let (receiver, stop) = (sender.subscribe(), app.stop.clone());
    let stream =
        futures_util::stream::unfold((receiver, stop), |(mut receiver, stop)| async move {
            let event = tokio::select! {
                () = stop.cancelled() => return None,
                received = receiver.recv() => match received {
                    Ok(line) => Event::default().event("decision").data(&*line),
                    Err(RecvError::Lagged(lost)) => {
                        Event::default().event("lost").data(json!({ "lost": lost }).to_string())
                    }
                    Err(RecvError::Closed) => return None,
                },
            };
            Some((Ok(event), (receiver, stop)))
        });
    Ok(Sse::new(stream).keep_alive(KeepAlive::default()))
}

/// The body of `POST /control/emit`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Emit {
    /// Whose connections: an account id, or
    user_id: Option<String>,
    /// the bearer token of an account.
    token: Option<String>,
    /// With `payload`: which of the two events it is.
    kind: Option<Kind>,
    payload: Option<Map<String, Value>>,
    /// Instead of a payload: the builder that makes it, and its arguments.
    builder: Option<String>,
    args: Option<Value>,
    #[serde(default)]
    recipient_filter: RecipientFilter,
    /// The socket id of a connection that is left out.
    skip_sender_connection: Option<String>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Update,
    Ephemeral,
}

/// `POST /control/emit`: hands the router a payload, as `emitUpdate` and `emitEphemeral` do.
pub(crate) async fn emit(
    State(app): State<Arc<App>>,
    Body(body): Body,
) -> Result<axum::Json<Value>, ApiError> {
    let emit: Emit = serde_json::from_value(body)
        .map_err(|error| ApiError::invalid(&format!("body {error}")))?;
    let account = match (&emit.user_id, &emit.token) {
        (Some(id), _) => app.store.account(id),
        (None, Some(token)) => app.store.account_of_token(token),
        (None, None) => return Err(ApiError::invalid("body/userId or body/token required")),
    };
    let account = account.ok_or_else(|| ApiError::not_found("Account not found"))?;
    let mut state = account.lock();
    let skip = match &emit.skip_sender_connection {
        None => None,
        Some(socket_id) => {
            let found = connection(&state, socket_id);
            Some(found.ok_or_else(|| ApiError::not_found("Connection not found"))?)
        }
    };
    let route = Route {
        app: &app,
        account: &account,
        filter: emit.recipient_filter,
        skip,
    };
    let (payload, routing) = match (emit.kind, emit.payload, emit.builder) {
        (Some(Kind::Update), Some(payload), None) => {
            route.send("update", &state, Value::Object(accepted(&app, payload)))
        }
        (Some(Kind::Ephemeral), Some(payload), None) => {
            route.send("ephemeral", &state, Value::Object(accepted(&app, payload)))
        }
        (None, None, Some(builder)) => {
            match build(&builder, emit.args.unwrap_or_default(), app.now())? {
                Built::Update(build) => {
                    let (payload, routing) =
                        app.update(&account, &mut state, route.filter, route.skip, build);
                    (payload.0, routing)
                }
                Built::Ephemeral(payload) => route.send("ephemeral", &state, payload.0),
            }
        }
        _ => {
            return Err(ApiError::invalid(
                "body needs kind and payload, or builder and args",
            ));
        }
    };
    Ok(axum::Json(json!({
        "payload": payload,
        "recipients": routing.recipients,
        "skipped": routing.skipped,
    })))
}

/// A payload as the router is handed it: untouched, but for the fault that knows the time better.
fn accepted(app: &App, mut payload: Map<String, Value>) -> Map<String, Value> {
    if app.faults().on(Fault::PayloadRestamped) {
        payload.insert("createdAt".to_owned(), app.now().into());
    }
    payload
}

fn connection(state: &AccountState, socket_id: &str) -> Option<ConnectionId> {
    state
        .registry
        .iter()
        .find(|connection| connection.socket_id() == socket_id)
        .map(|found| found.id())
}

struct Route<'a> {
    app: &'a App,
    account: &'a Account,
    filter: RecipientFilter,
    skip: Option<ConnectionId>,
}

impl Route<'_> {
    fn send(self, event: &'static str, state: &AccountState, payload: Value) -> (Value, Routing) {
        let (account, registry) = (self.account.id(), &state.registry);
        let routing = self.app.router.emit(
            self.app,
            account,
            registry,
            event,
            &payload,
            &self.filter,
            self.skip,
        );
        (payload, routing)
    }
}

enum Built {
    Update(Box<dyn FnOnce(Stamp<'_>) -> UpdatePayload + Send>),
    Ephemeral(EphemeralPayload),
}

/// Calls a builder by the name that the specification gives it; `args` has its parameters by name,
/// without `updateSeq` and `updateId`, which the server fills in.
fn build(builder: &str, args: Value, now: i64) -> Result<Built, ApiError> {
    fn parse<T: serde::de::DeserializeOwned>(args: Value) -> Result<T, ApiError> {
        serde_json::from_value(args).map_err(|error| ApiError::invalid(&format!("args: {error}")))
    }
    fn update(build: impl FnOnce(Stamp<'_>) -> UpdatePayload + Send + 'static) -> Built {
        Built::Update(Box::new(build))
    }
    Ok(match builder {
        "buildNewSessionUpdate" => {
            let a: SessionArgs = parse(args)?;
            update(move |stamp| builders::new_session(&a.session, stamp))
        }
        "buildNewMessageUpdate" => {
            let a: MessageArgs = parse(args)?;
            update(move |stamp| builders::new_message(&a.message, &a.session_id, stamp))
        }
        "buildUpdateSessionUpdate" => {
            let a: UpdateSessionArgs = parse(args)?;
            update(move |stamp| {
                builders::update_session(
                    &a.session_id,
                    a.metadata.as_ref(),
                    a.agent_state.as_ref(),
                    stamp,
                )
            })
        }
        "buildDeleteSessionUpdate" => {
            let a: SessionIdArgs = parse(args)?;
            update(move |stamp| builders::delete_session(&a.session_id, stamp))
        }
        "buildUpdateAccountUpdate" => {
            let a: AccountArgs = parse(args)?;
            update(move |stamp| builders::update_account(&a.user_id, &a.profile, stamp))
        }
        "buildNewMachineUpdate" => {
            let a: MachineArgs = parse(args)?;
            update(move |stamp| builders::new_machine(&a.machine, stamp))
        }
        "buildUpdateMachineUpdate" => {
            let a: UpdateMachineArgs = parse(args)?;
            update(move |stamp| {
                builders::update_machine(
                    &a.machine_id,
                    a.metadata.as_ref(),
                    a.daemon_state.as_ref(),
                    stamp,
                )
            })
        }
        "buildNewArtifactUpdate" => {
            let a: ArtifactArgs = parse(args)?;
            update(move |stamp| builders::new_artifact(&a.artifact, stamp))
        }
        "buildUpdateArtifactUpdate" => {
            let a: UpdateArtifactArgs = parse(args)?;
            update(move |stamp| {
                builders::update_artifact(&a.artifact_id, a.header.as_ref(), a.body.as_ref(), stamp)
            })
        }
        "buildDeleteArtifactUpdate" => {
            let a: ArtifactIdArgs = parse(args)?;
            update(move |stamp| builders::delete_artifact(&a.artifact_id, stamp))
        }
        "buildRelationshipUpdatedEvent" => {
            let a: RelationshipArgs = parse(args)?;
            let data = a.data;
            update(move |stamp| {
                builders::relationship_updated(&data.uid, data.status, data.timestamp, stamp)
            })
        }
        "buildNewFeedPostUpdate" => {
            let a: FeedArgs = parse(args)?;
            let item = a.feed_item;
            update(move |stamp| {
                builders::new_feed_post(&item.id, &item.body, &item.cursor, item.created_at, stamp)
            })
        }
        "buildKVBatchUpdateUpdate" => {
            let a: KvArgs = parse(args)?;
            update(move |stamp| builders::kv_batch_update(&a.changes, stamp))
        }
        "buildSessionActivityEphemeral" => {
            let a: ActivityArgs = parse(args)?;
            Built::Ephemeral(builders::session_activity(
                &a.session_id,
                a.active,
                a.active_at,
                a.thinking,
            ))
        }
        "buildMachineActivityEphemeral" => {
            let a: MachineActivityArgs = parse(args)?;
            Built::Ephemeral(builders::machine_activity(
                &a.machine_id,
                a.active,
                a.active_at,
            ))
        }
        "buildUsageEphemeral" => {
            let a: UsageArgs = parse(args)?;
            Built::Ephemeral(builders::usage(
                &a.session_id,
                &a.key,
                &json!(a.tokens),
                &json!(a.cost),
                now,
            ))
        }
        "buildMachineStatusEphemeral" => {
            let a: MachineStatusArgs = parse(args)?;
            Built::Ephemeral(builders::machine_status(&a.machine_id, a.online, now))
        }
        other => return Err(ApiError::not_found(&format!("no builder {other}"))),
    })
}

macro_rules! args {
    ($($name:ident { $($field:ident: $type:ty),+ })+) => {$(
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase", deny_unknown_fields)]
        struct $name { $($field: $type),+ }
    )+};
}

args! {
    SessionArgs { session: SessionRow }
    MessageArgs { message: MessageRow, session_id: String }
    UpdateSessionArgs { session_id: String, metadata: Option<Versioned>, agent_state: Option<Versioned> }
    SessionIdArgs { session_id: String }
    AccountArgs { user_id: String, profile: Map<String, Value> }
    MachineArgs { machine: MachineRow }
    UpdateMachineArgs { machine_id: String, metadata: Option<Versioned>, daemon_state: Option<Versioned> }
    ArtifactArgs { artifact: ArtifactRow }
    UpdateArtifactArgs { artifact_id: String, header: Option<Versioned>, body: Option<Versioned> }
    ArtifactIdArgs { artifact_id: String }
    RelationshipArgs { data: Relationship }
    Relationship { uid: String, status: RelationshipStatus, timestamp: i64 }
    FeedArgs { feed_item: FeedRow }
    FeedRow { id: String, body: Value, cursor: String, created_at: i64 }
    KvArgs { changes: Vec<KvChange> }
    ActivityArgs { session_id: String, active: bool, active_at: i64, thinking: Option<bool> }
    MachineActivityArgs { machine_id: String, active: bool, active_at: i64 }
    UsageArgs { session_id: String, key: String, tokens: Map<String, Value>, cost: Map<String, Value> }
    MachineStatusArgs { machine_id: String, online: bool }
}
