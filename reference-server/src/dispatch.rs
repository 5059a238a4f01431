//! From a packet to its decision, and from there to the answer.
//!
//! An event is decided in the task that reads its connection. That is what keeps the events of one
//! connection in order, with no queue that could grow: rows are in memory, so nothing here waits. Only
//! `rpc-call` leaves something behind, a task that waits for the callee.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::app::App;
use crate::commit::Commit;
use crate::connection::{CallAnswer, Connection};
use crate::decide::{Call, DECISIONS, Data, Decide, Failure, INTERNAL_ERROR, Outcome};
use crate::journal;
use crate::outbox::Delivery;
use crate::packet;
use crate::seams::{self, Asked, Cause, Flow, Forward, Reply};
use crate::store::Account;

/// An event on its way.
struct Incoming<'a> {
    app: &'a Arc<App>,
    account: Arc<Account>,
    sender: Sender,
    raw: Option<&'a RawValue>,
    data: Data,
    attachments: &'a [Bytes],
}

/// Who has sent an event, and how it is answered.
#[derive(Clone)]
struct Sender {
    connection: Arc<Connection>,
    event: &'static str,
    ack: Option<u64>,
}

/// Handles one event of a connection. Unknown events are ignored, as by every server of this family.
pub(crate) fn dispatch(
    app: &Arc<App>,
    mut account: Arc<Account>,
    connection: &Arc<Connection>,
    event: &str,
    raw: Option<&RawValue>,
    attachments: &[Bytes],
    ack: Option<u64>,
) {
    // RPC parameters are only passed on, so `rpc-call` reads its fields raw.
    let mut data = if event == "rpc-call" {
        Data::default()
    } else {
        Data::parse(raw)
    };
    let mut wait = None;
    let ask = || {
        let Some(seams) = app.seams() else {
            return Flow::Handle;
        };
        let mut call = seams::Call {
            connection,
            account: &mut account,
            event,
            raw,
            data: &mut data.0,
            ack,
        };
        let flow = seams.call(&**app, &mut call);
        if flow == Flow::Handle {
            wait = seams.before_call(&**app, &call);
        }
        flow
    };
    let flow = catch_unwind(AssertUnwindSafe(ask));
    if matches!(flow, Ok(Flow::Ignore)) {
        return;
    }
    let Some(entry) = DECISIONS.iter().find(|(name, ..)| *name == event) else {
        journal::ignored(connection.socket_id(), event, "unknown event");
        return;
    };
    tracing::trace!(socket = connection.socket_id(), event, ack, "event");
    let (name, decide, failure) = *entry;
    let decide = flow.is_ok().then_some(decide);
    let sender = Sender {
        connection: Arc::clone(connection),
        event: name,
        ack,
    };
    let Some(wait) = wait else {
        let incoming = Incoming {
            app,
            account,
            sender,
            raw,
            data,
            attachments,
        };
        return incoming.handle(decide, failure);
    };
    let (app, raw) = (Arc::clone(app), raw.map(ToOwned::to_owned));
    let attachments = attachments.to_vec();
    tokio::spawn(async move {
        let _turn = wait.await;
        let incoming = Incoming {
            app: &app,
            account,
            sender,
            raw: raw.as_deref(),
            data,
            attachments: &attachments,
        };
        incoming.handle(decide, failure);
    });
}

impl Incoming<'_> {
    /// Decides, unless what stands before the decision has failed, and lets the outcome happen. A
    /// failure is answered in the event's own words.
    fn handle(self, decide: Option<Decide>, failure: Failure) {
        // Whoever creates something has their turn until it is on its way to be kept.
        let _turn = self.created().map(|_| self.app.store.creation());
        let decided = catch_unwind(AssertUnwindSafe(|| self.decide(decide)));
        let socket = self.sender.connection.socket_id();
        let (mut commit, reply) = decided.unwrap_or_else(|_| {
            tracing::error!(socket, event = self.sender.event, "a handler panicked");
            let reply = match failure {
                Failure::Silent => Reply::Nothing,
                Failure::Ack(answer) => Reply::Ack(answer()),
                Failure::RpcError(kind) => Reply::Notice(
                    "rpc-error",
                    json!({ "type": kind, "error": INTERNAL_ERROR }),
                ),
            };
            (Commit::new(self.app, &self.account), reply)
        });
        self.sender.log(&reply);
        let delivery = match reply {
            Reply::Ack(answer) | Reply::Refused(answer, _) => {
                self.sender.acknowledge(self.app, &answer, Vec::new())
            }
            Reply::Notice(event, payload) => self.sender.notice(self.app, event, payload),
            Reply::Forward(forward) => Some(self.forward(forward)),
            Reply::Nothing | Reply::Ignored(_) => None,
        };
        delivery
            .into_iter()
            .for_each(|delivery| commit.deliver(delivery));
        commit.finish();
        let limit = self.app.config.send_queue;
        if self.app.config.storage.is_some() && self.account.outbox.has_more_than(limit) {
            let reason = "its events come faster than they can be kept";
            tracing::warn!(socket, reason, "disconnecting a client");
            self.sender.connection.end();
        }
    }

    /// The id of what is to be created.
    fn created(&self) -> Option<&str> {
        let id = self.data.0.get("id").and_then(Value::as_str);
        id.filter(|_| self.sender.event == "artifact-create")
    }

    fn decide(&self, decide: Option<Decide>) -> (Commit<'_>, Reply) {
        let decide = decide.expect("what stands before the decision has not failed");
        let mut commit = Commit::new(self.app, &self.account);
        let store = &self.app.store;
        let is_foreign = self
            .created()
            .is_some_and(|id| store.is_foreign_artifact(id, &self.account));
        if is_foreign {
            commit.wait_for_others();
        }
        let call = Call {
            connection: &self.sender.connection,
            data: &self.data,
            raw: self.raw,
            is_foreign,
            attachments: self.attachments,
        };
        let Outcome {
            effects,
            answer: mut reply,
        } = decide(&commit.context(), &call);
        let data = match self.app.seams() {
            Some(_) => Value::Object(self.data.0.clone()),
            None => Value::Null,
        };
        let cause = Cause {
            name: self.sender.event,
            account: &self.account,
            connection: Some(&self.sender.connection),
            ack: self.sender.ack,
            data: &data,
        };
        commit.happen(&cause, effects, Some(&mut reply));
        (commit, reply)
    }

    /// Hands an RPC to its callee, and leaves a task behind that answers the caller.
    fn forward(&self, forward: Forward) -> Delivery {
        let Forward {
            callee,
            method,
            params,
        } = forward;
        let (params, attachments) = params
            .map(|params| (params.json, params.attachments))
            .unzip();
        let (params, attachments) = (params.as_deref(), attachments.unwrap_or_default());
        let (id, answered) = callee.expect_answer();
        let request = Request {
            method: &method,
            params,
        };
        let count = attachments.len();
        let packet = packet::encode_binary_event("rpc-request", &request, Some(id), count);
        let delivery = Delivery::Packet(Arc::clone(&callee), packet, attachments);
        let (app, sender) = (Arc::clone(self.app), self.sender.clone());
        let account = Arc::clone(&self.account);
        tokio::spawn(async move {
            let answer = answer_of(&app, answered).await;
            if matches!(answer, Err(TIMED_OUT)) {
                callee.forget_answer(id);
            }
            sender.respond(&app, &account, answer);
        });
        delivery
    }
}

const TIMED_OUT: &str = "operation has timed out";
const DISCONNECTED: &str = "RPC target disconnected";

/// What a callee answers, or why it does not.
async fn answer_of(
    app: &App,
    answered: tokio::sync::oneshot::Receiver<CallAnswer>,
) -> Result<CallAnswer, &'static str> {
    let ends = Instant::now() + app.config.rpc_timeout;
    match tokio::time::timeout_at(ends, answered).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(_)) => {
            let notice = Instant::now() + app.config.policy.rpc_abort_after;
            tokio::time::sleep_until(notice.min(ends)).await;
            Err(if notice < ends {
                DISCONNECTED
            } else {
                TIMED_OUT
            })
        }
        Err(_) => Err(TIMED_OUT),
    }
}

/// What the callee receives, as `rpc-request`. The parameters are those of the caller, byte by byte.
#[derive(Serialize)]
struct Request<'a> {
    method: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    params: Option<&'a RawValue>,
}

/// What the caller is answered.
#[derive(Serialize)]
struct Response {
    ok: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<Box<RawValue>>,
}

impl Sender {
    fn asked<'a>(&'a self, event: &'a str, ack: Option<u64>) -> Asked<'a> {
        Asked {
            connection: &self.connection,
            event,
            ack,
        }
    }

    /// The acknowledgement, if the sender wants one, with the binary values whose placeholders are in
    /// the answer.
    fn acknowledge(
        &self,
        app: &App,
        answer: &impl Serialize,
        attachments: Vec<Bytes>,
    ) -> Option<Delivery> {
        let mut answer = to_raw_value(answer).ok()?;
        // What does not fit into a JSON value is not what anybody would change.
        if let Some(seams) = app.seams()
            && let Ok(right) = serde_json::from_str(answer.get())
        {
            let changed = seams.answer(app, &self.asked(self.event, self.ack), right)?;
            answer = to_raw_value(&changed).ok()?;
        }
        let packet = packet::encode_binary_ack(self.ack?, &answer, attachments.len());
        Some(Delivery::Packet(
            Arc::clone(&self.connection),
            packet,
            attachments,
        ))
    }

    /// An event that answers.
    fn notice(&self, app: &App, event: &str, mut payload: Value) -> Option<Delivery> {
        if let Some(seams) = app.seams() {
            payload = seams.answer(app, &self.asked(event, None), payload)?;
        }
        let packet = packet::encode_event(event, &payload, None);
        Some(Delivery::Packet(
            Arc::clone(&self.connection),
            packet,
            Vec::new(),
        ))
    }

    /// Answers an RPC.
    fn respond(
        &self,
        app: &Arc<App>,
        account: &Arc<Account>,
        answer: Result<CallAnswer, &'static str>,
    ) {
        let (result, error) = match answer {
            Ok(answer) => (answer, None),
            Err(error) => {
                journal::refused(self.connection.socket_id(), self.event, error);
                (None, Some(error))
            }
        };
        let (result, attachments) = result
            .map(|result| (result.json, result.attachments))
            .unzip();
        let response = Response {
            ok: error.is_none(),
            error,
            result,
        };
        let mut commit = Commit::new(app, account);
        let attachments = attachments.unwrap_or_default();
        if let Some(delivery) = self.acknowledge(app, &response, attachments) {
            commit.deliver(delivery);
        }
        commit.finish();
    }

    fn log(&self, reply: &Reply) {
        let (socket, event) = (self.connection.socket_id(), self.event);
        match reply {
            Reply::Ack(answer) => journal::answered(socket, event, answer),
            Reply::Refused(_, reason) => journal::refused(socket, event, reason),
            Reply::Ignored(reason) => journal::ignored(socket, event, reason),
            Reply::Notice("rpc-error", error) => {
                journal::refused(socket, event, error["error"].as_str().unwrap_or_default());
            }
            Reply::Notice(..) | Reply::Nothing | Reply::Forward(_) => {}
        }
    }
}
