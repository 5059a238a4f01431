//! The handlers of the specification's 18 client events, one module per handler file.
//!
//! A handler runs to its end in the task that reads its connection. That is what keeps the events of
//! one connection in order, with no queue that could grow: rows are in memory, so nothing in a
//! handler waits. Only `rpc-call` leaves something behind, a task that waits for the callee.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use bytes::Bytes;
use engineioxide::Str;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use crate::app::App;
use crate::connection::Connection;
use crate::faults::{Fault, Faults};
use crate::journal;
use crate::packet;
use crate::router::{ConnectionId, Routed as _, Scope};
use crate::seams::{self, Flow};
use crate::store::Account;

mod access_key;
pub(crate) mod artifact;
mod cas;
mod machine;
mod ping;
pub(crate) mod rpc;
pub(crate) mod session;
mod usage;

/// What a handler answers to its caller.
enum Answer {
    /// This, now.
    Now(Value),
    /// Somebody else will, through [`Call::responder`].
    Later,
    /// The event is never acknowledged, or answers by an event of its own.
    Never,
    /// This, now, whose reason its interface has no field for.
    Refused(Value, &'static str),
    /// The event is never acknowledged, and changed nothing for this reason.
    Ignored(&'static str),
}

/// What a handler's failure looks like to its caller.
enum Failure {
    Silent,
    Ack(fn() -> Value),
    RpcError(&'static str),
}

struct Handler {
    event: &'static str,
    run: fn(&Call<'_>) -> Answer,
    failure: Failure,
}

const HANDLERS: [Handler; 18] = [
    Handler {
        event: "access-key-get",
        run: access_key::get,
        failure: Failure::Ack(not_ok),
    },
    Handler {
        event: "artifact-read",
        run: artifact::on_read,
        failure: Failure::Ack(error),
    },
    Handler {
        event: "artifact-update",
        run: artifact::on_update,
        failure: Failure::Ack(error),
    },
    Handler {
        event: "artifact-create",
        run: artifact::on_create,
        failure: Failure::Ack(error),
    },
    Handler {
        event: "artifact-delete",
        run: artifact::on_delete,
        failure: Failure::Ack(error),
    },
    Handler {
        event: "machine-alive",
        run: machine::alive,
        failure: Failure::Silent,
    },
    Handler {
        event: "machine-update-metadata",
        run: machine::update_metadata,
        failure: Failure::Ack(error),
    },
    Handler {
        event: "machine-update-state",
        run: machine::update_state,
        failure: Failure::Ack(error),
    },
    Handler {
        event: "ping",
        run: ping::ping,
        failure: Failure::Silent,
    },
    Handler {
        event: "rpc-register",
        run: rpc::register,
        failure: Failure::RpcError("register"),
    },
    Handler {
        event: "rpc-unregister",
        run: rpc::unregister,
        failure: Failure::RpcError("unregister"),
    },
    Handler {
        event: "rpc-call",
        run: rpc::call,
        failure: Failure::Ack(not_ok),
    },
    Handler {
        event: "update-metadata",
        run: session::update_metadata,
        failure: Failure::Ack(session::error),
    },
    Handler {
        event: "update-state",
        run: session::update_state,
        failure: Failure::Ack(session::error),
    },
    Handler {
        event: "session-alive",
        run: session::alive,
        failure: Failure::Silent,
    },
    Handler {
        event: "message",
        run: session::message,
        failure: Failure::Silent,
    },
    Handler {
        event: "session-end",
        run: session::end,
        failure: Failure::Silent,
    },
    Handler {
        event: "usage-report",
        run: usage::report,
        failure: Failure::Ack(usage::internal_error),
    },
];

const INTERNAL_ERROR: &str = "Internal error";

fn error() -> Value {
    failed(INTERNAL_ERROR)
}

fn not_ok() -> Value {
    json!({ "ok": false, "error": INTERNAL_ERROR })
}

/// The error answer of the machine and artifact handlers.
fn failed(message: &str) -> Value {
    json!({ "result": "error", "message": message })
}

/// One event on its way through its handler.
struct Call<'a> {
    app: &'a Arc<App>,
    connection: &'a Arc<Connection>,
    account: Arc<Account>,
    event: &'static str,
    /// The first argument as it came.
    raw: Option<&'a RawValue>,
    /// The first argument's fields.
    data: Data,
    /// The binary values of the packet. Their placeholders are objects, which no handler takes for a
    /// text.
    attachments: &'a [Bytes],
    ack: Option<u64>,
}

impl Call<'_> {
    fn account(&self) -> &Arc<Account> {
        &self.account
    }

    fn faults(&self) -> &Faults {
        self.app.faults()
    }

    /// Whom the announcement of a change leaves out: nobody, but for the fault that skips senders.
    fn skipped(&self) -> Option<ConnectionId> {
        self.faults()
            .on(Fault::SenderDeaf)
            .then(|| self.connection.id())
    }

    fn responder(&self) -> Responder {
        Responder {
            connection: Arc::clone(self.connection),
            event: self.event,
            ack: self.ack,
            app: Arc::clone(self.app),
        }
    }

    /// Sends an event to the connection that the call came from.
    fn emit(&self, event: &str, payload: &Value) {
        let packet = match self.app.seams() {
            Some(seams) => match seams.answer(event, payload.clone()) {
                Some(payload) => packet::encode_event(event, &payload, None),
                None => return,
            },
            None => packet::encode_event(event, payload, None),
        };
        if self.faults().on(Fault::RpcNoticesPublic) {
            let rows = self.account().lock();
            rows.registry
                .iter()
                .for_each(|other| other.send(packet.clone()));
        } else {
            self.connection.send(packet);
        }
    }
}

/// Acknowledges an event, if its sender wants that.
struct Responder {
    connection: Arc<Connection>,
    event: &'static str,
    ack: Option<u64>,
    app: Arc<App>,
}

impl Responder {
    fn send(self, answer: &impl Serialize) {
        self.send_with(answer, &[]);
    }

    /// Acknowledges with binary values, whose placeholders are in the answer.
    fn send_with(self, answer: &impl Serialize, attachments: &[Bytes]) {
        let Some(id) = self.ack.filter(|_| !self.app.faults().on(Fault::NoAck)) else {
            return;
        };
        let (seams, count) = (self.app.seams(), attachments.len());
        // What does not fit into a JSON value is not what anybody would change.
        let packet = match seams.map(|seams| (seams, serde_json::to_value(answer))) {
            Some((seams, Ok(answer))) => match seams.answer(self.event, answer) {
                Some(answer) => self.encoded(id, &answer, count),
                None => return,
            },
            _ => self.encoded(id, answer, count),
        };
        if self.app.faults().on(Fault::AckTwice) {
            self.connection.send_with(packet.clone(), attachments);
        }
        self.connection.send_with(packet, attachments);
    }

    fn encoded(&self, id: u64, answer: &impl Serialize, attachments: usize) -> Str {
        match () {
            () if self.app.faults().on(Fault::AckWrapped) => packet::encode_ack(id, &[answer]),
            () if self.app.faults().on(Fault::AckEmpty) => packet::encode_empty_ack(id),
            () => packet::encode_binary_ack(id, answer, attachments),
        }
    }
}

/// The fields of an event's data. Whatever is no object has none; a field of another type than asked
/// for counts as missing.
#[derive(Default)]
struct Data(Map<String, Value>);

impl Data {
    fn parse(raw: Option<&RawValue>) -> Self {
        let fields = raw.and_then(|raw| serde_json::from_str(raw.get()).ok());
        Self(fields.unwrap_or_default())
    }

    fn get(&self, field: &str) -> Option<&Value> {
        self.0.get(field)
    }

    fn text(&self, field: &str) -> Option<&str> {
        self.get(field)?.as_str()
    }

    /// A text that is not empty, as ids and names must be.
    fn name(&self, field: &str) -> Option<&str> {
        self.text(field).filter(|text| !text.is_empty())
    }

    fn number(&self, field: &str) -> Option<f64> {
        self.get(field)?.as_f64()
    }
}

/// Handles one event of a connection. Unknown events are ignored, as by every server of this family.
pub(crate) fn dispatch(
    app: &Arc<App>,
    connection: &Arc<Connection>,
    event: &str,
    raw: Option<&RawValue>,
    attachments: &[Bytes],
    ack: Option<u64>,
) {
    let is_first = connection.is_first_event();
    if is_first && event == "rpc-register" && app.faults().on(Fault::EarlyLost) {
        return;
    }
    // RPC parameters are only passed on, so `rpc-call` reads its fields raw.
    let mut data = if event == "rpc-call" {
        Data::default()
    } else {
        Data::parse(raw)
    };
    let mut wait = None;
    if let Some(seams) = app.seams() {
        let mut call = seams::Call {
            connection,
            event,
            raw,
            data: &mut data.0,
            ack,
        };
        if seams.call(app, &mut call) == Flow::Ignore {
            return;
        }
        wait = seams.before_call(app, &call);
    }
    let Some(handler) = HANDLERS.iter().find(|handler| handler.event == event) else {
        journal::ignored(connection.socket_id(), event, "unknown event");
        if app.faults().on(Fault::UnknownEnds) {
            connection.end();
        }
        return;
    };
    tracing::trace!(socket = connection.socket_id(), event, ack, "event");
    if app.faults().any() && is_ignored(app, connection, handler, raw, ack) {
        return;
    }
    let Some(wait) = wait else {
        return handle(app, connection, handler, raw, data, attachments, ack);
    };
    let (app, connection) = (Arc::clone(app), Arc::clone(connection));
    let (raw, attachments) = (raw.map(ToOwned::to_owned), attachments.to_vec());
    tokio::spawn(async move {
        let _turn = wait.await;
        let raw = raw.as_deref();
        handle(&app, &connection, handler, raw, data, &attachments, ack);
    });
}

fn handle(
    app: &Arc<App>,
    connection: &Arc<Connection>,
    handler: &'static Handler,
    raw: Option<&RawValue>,
    data: Data,
    attachments: &[Bytes],
    ack: Option<u64>,
) {
    let event = handler.event;
    let account = account_meant(app, connection, &data);
    let call = Call {
        app,
        connection,
        account,
        event,
        raw,
        data,
        attachments,
        ack,
    };
    let run = || {
        assert!(
            !app.faults().on(Fault::HandlerFails),
            "the fault handler-fails is on"
        );
        (handler.run)(&call)
    };
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(Answer::Now(answer)) => {
            journal::answered(connection.socket_id(), event, &answer);
            call.responder().send(&answer);
        }
        Ok(Answer::Refused(answer, reason)) => {
            journal::refused(connection.socket_id(), event, reason);
            call.responder().send(&answer);
        }
        Ok(Answer::Later) => {}
        Ok(answer @ (Answer::Never | Answer::Ignored(_))) => {
            if let Answer::Ignored(reason) = answer {
                journal::ignored(connection.socket_id(), event, reason);
            }
            if app.faults().on(Fault::HeartbeatsAcked) && matches!(handler.failure, Failure::Silent)
            {
                call.responder().send(&json!({}));
            }
        }
        Err(_) => {
            tracing::error!(socket = connection.socket_id(), event, "a handler panicked");
            match handler.failure {
                Failure::Silent => {}
                Failure::Ack(answer) => call.responder().send(&answer()),
                Failure::RpcError(kind) => {
                    call.emit(
                        "rpc-error",
                        &json!({ "type": kind, "error": INTERNAL_ERROR }),
                    );
                }
            }
        }
    }
}

/// How many bytes of data are too many for the fault `large-ignored`.
const LARGE: usize = 700_000;
/// How many lists within each other are too many for the fault `deep-kills`.
const DEEP: usize = 400;

/// Whether a fault keeps an event from its handler.
fn is_ignored(
    app: &App,
    connection: &Connection,
    handler: &Handler,
    raw: Option<&RawValue>,
    ack: Option<u64>,
) -> bool {
    let faults = app.faults();
    if faults.on(Fault::MalformedEnds) && raw.is_some_and(|raw| !raw.get().starts_with('{')) {
        connection.end();
        return true;
    }
    if let Some(raw) = raw.map(RawValue::get) {
        if faults.on(Fault::LargeIgnored) && raw.len() > LARGE {
            return true;
        }
        if faults.on(Fault::DeepKills) && raw.matches('[').count() > DEEP {
            app.stop.cancel();
        }
    }
    if faults.on(Fault::UnknownIdDropped) {
        let rows = connection.account().lock();
        let is_unknown = match connection.scope() {
            Scope::User => false,
            Scope::Session(id) => !rows.sessions.contains_key(id),
            Scope::Machine(id) => !rows.machines.contains_key(id),
        };
        if is_unknown {
            return true;
        }
    }
    let needs_callback = match handler.event {
        "rpc-call" => faults.on(Fault::RpcCallbackRequired),
        _ => faults.on(Fault::CallbackRequired) && matches!(handler.failure, Failure::Ack(_)),
    };
    needs_callback && ack.is_none()
}

/// The account whose rows an event is about: that of its connection, or with the fault
/// `foreign-rows` whichever has the rows that the data names.
fn account_meant(app: &App, connection: &Connection, data: &Data) -> Arc<Account> {
    let own = connection.account();
    if app.faults().on(Fault::ForeignRows) {
        let id = |field| data.text(field).unwrap_or_default();
        let owner = app.store.account_with(|rows| {
            rows.sessions.contains_key(id("sid"))
                || rows.sessions.contains_key(id("sessionId"))
                || rows.machines.contains_key(id("machineId"))
                || rows.artifacts.contains_key(id("artifactId"))
        });
        return owner.unwrap_or_else(|| Arc::clone(own));
    }
    Arc::clone(own)
}
