//! The control extension (docs/control.md): emitting through the router, and watching its decisions.
//!
//! It exists so that a suite can test the router and the builders without a cause for each event,
//! and a monitor can show ground truth. It is off unless asked for.

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::Stream;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::sync::broadcast::error::RecvError;

use crate::announce::{Announcement, Event as Told, Update};
use crate::app::App;
use crate::builders::{
    self, ArtifactRow, KvChange, MachineRow, MessageRow, RelationshipStatus, SessionRow, Versioned,
};
use crate::commit::{Commit, Receipt};
use crate::router::{RecipientFilter, Routing};
use crate::seams::{Cause, Effects};
use crate::store::Account;

use super::{ApiError, Body};

/// `GET /control/tap`: every routing decision from now on, as server-sent events.
pub(crate) async fn tap(
    State(app): State<Arc<App>>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, ApiError> {
    let receiver = app.tap.subscribe();
    let receiver = receiver.ok_or_else(|| ApiError::not_found("the tap is off"))?;
    let stop = app.stop.clone();
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
    let what = match (emit.kind, emit.payload, emit.builder) {
        (Some(kind), Some(payload), None) => {
            let event = match kind {
                Kind::Update => "update",
                Kind::Ephemeral => "ephemeral",
            };
            Announcement::Ready(event, Value::Object(payload))
        }
        (None, None, Some(builder)) => build(&builder, emit.args.unwrap_or_default(), app.now())?,
        _ => {
            return Err(ApiError::invalid(
                "body needs kind and payload, or builder and args",
            ));
        }
    };
    let skip = emit.skip_sender_connection.as_deref();
    let (told, receipt) = announce(&app, &account, what, emit.recipient_filter, skip)?;
    receipt.wait().await;
    let (payload, routing) = told;
    Ok(axum::Json(json!({
        "payload": payload,
        "recipients": routing.recipients,
        "skipped": routing.skipped,
    })))
}

type Announced = ((Value, Routing), Receipt);

fn announce(
    app: &Arc<App>,
    account: &Arc<Account>,
    what: Announcement,
    filter: RecipientFilter,
    skip: Option<&str>,
) -> Result<Announced, ApiError> {
    let mut commit = Commit::new(app, account);
    let skip = match skip {
        None => None,
        Some(socket_id) => {
            let found = commit.connection(socket_id);
            Some(found.ok_or_else(|| ApiError::not_found("Connection not found"))?)
        }
    };
    let effects = Effects {
        changes: Vec::new(),
        events: vec![Told { what, filter, skip }],
    };
    let told = commit.happen(&Cause::of("emit", account, &Value::Null), effects, None);
    let told = told.into_iter().next().unwrap_or_default();
    Ok((told, commit.finish_with_receipt()))
}

/// Calls a builder by the name that the specification gives it; `args` has its parameters by name,
/// without `updateSeq` and `updateId`, which the server fills in.
fn build(builder: &str, args: Value, now: i64) -> Result<Announcement, ApiError> {
    fn parse<T: serde::de::DeserializeOwned>(args: Value) -> Result<T, ApiError> {
        serde_json::from_value(args).map_err(|error| ApiError::invalid(&format!("args: {error}")))
    }
    use Announcement::{Ephemeral, Update as Announce};
    Ok(match builder {
        "buildNewSessionUpdate" => {
            let a: SessionArgs = parse(args)?;
            Announce(Update::NewSession(a.session))
        }
        "buildNewMessageUpdate" => {
            let a: MessageArgs = parse(args)?;
            Announce(Update::NewMessage {
                session_id: a.session_id,
                message: a.message,
            })
        }
        "buildUpdateSessionUpdate" => {
            let a: UpdateSessionArgs = parse(args)?;
            Announce(Update::UpdateSession {
                session_id: a.session_id,
                metadata: a.metadata,
                agent_state: a.agent_state,
            })
        }
        "buildDeleteSessionUpdate" => {
            let a: SessionIdArgs = parse(args)?;
            Announce(Update::DeleteSession(a.session_id))
        }
        "buildUpdateAccountUpdate" => {
            let a: AccountArgs = parse(args)?;
            Announce(Update::UpdateAccount {
                user_id: a.user_id,
                profile: a.profile,
            })
        }
        "buildNewMachineUpdate" => {
            let a: MachineArgs = parse(args)?;
            Announce(Update::NewMachine(a.machine))
        }
        "buildUpdateMachineUpdate" => {
            let a: UpdateMachineArgs = parse(args)?;
            Announce(Update::UpdateMachine {
                machine_id: a.machine_id,
                metadata: a.metadata,
                daemon_state: a.daemon_state,
            })
        }
        "buildNewArtifactUpdate" => {
            let a: ArtifactArgs = parse(args)?;
            Announce(Update::NewArtifact(a.artifact))
        }
        "buildUpdateArtifactUpdate" => {
            let a: UpdateArtifactArgs = parse(args)?;
            Announce(Update::UpdateArtifact {
                artifact_id: a.artifact_id,
                header: a.header,
                body: a.body,
            })
        }
        "buildDeleteArtifactUpdate" => {
            let a: ArtifactIdArgs = parse(args)?;
            Announce(Update::DeleteArtifact(a.artifact_id))
        }
        "buildRelationshipUpdatedEvent" => {
            let a: RelationshipArgs = parse(args)?;
            Announce(Update::RelationshipUpdated {
                uid: a.data.uid,
                status: a.data.status,
                timestamp: a.data.timestamp,
            })
        }
        "buildNewFeedPostUpdate" => {
            let a: FeedArgs = parse(args)?;
            Announce(Update::NewFeedPost {
                id: a.feed_item.id,
                body: a.feed_item.body,
                cursor: a.feed_item.cursor,
                created_at: a.feed_item.created_at,
            })
        }
        "buildKVBatchUpdateUpdate" => {
            let a: KvArgs = parse(args)?;
            Announce(Update::KvBatchUpdate(a.changes))
        }
        "buildSessionActivityEphemeral" => {
            let a: ActivityArgs = parse(args)?;
            Ephemeral(builders::session_activity(
                &a.session_id,
                a.active,
                a.active_at,
                a.thinking,
            ))
        }
        "buildMachineActivityEphemeral" => {
            let a: MachineActivityArgs = parse(args)?;
            Ephemeral(builders::machine_activity(
                &a.machine_id,
                a.active,
                a.active_at,
            ))
        }
        "buildUsageEphemeral" => {
            let a: UsageArgs = parse(args)?;
            Ephemeral(builders::usage(
                &a.session_id,
                &a.key,
                &json!(a.tokens),
                &json!(a.cost),
                now,
            ))
        }
        "buildMachineStatusEphemeral" => {
            let a: MachineStatusArgs = parse(args)?;
            Ephemeral(builders::machine_status(&a.machine_id, a.online, now))
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
