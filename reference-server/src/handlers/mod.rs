//! The handlers of the specification's 18 client events, one module per handler file.
//!
//! A handler runs to its end in the task that reads its connection. That is what keeps the events of
//! one connection in order, with no queue that could grow: rows are in memory, so nothing in a
//! handler waits. Only `rpc-call` leaves something behind, a task that waits for the callee.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use crate::app::App;
use crate::connection::Connection;
use crate::faults::{Fault, Faults};
use crate::journal;
use crate::packet;
use crate::router::{ConnectionId, Routed as _};
use crate::seams::{self, Asked, Flow};
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
            Some(seams) => {
                let asked = Asked {
                    connection: self.connection,
                    event,
                    ack: None,
                };
                match seams.answer(self.app, &asked, payload.clone()) {
                    Some(payload) => packet::encode_event(event, &payload, None),
                    None => return,
                }
            }
            None => packet::encode_event(event, payload, None),
        };
        self.connection.send(packet);
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
        let mut answer = serde_json::value::to_raw_value(answer).ok();
        // What does not fit into a JSON value is not what anybody would change.
        if let Some(seams) = self.app.seams()
            && let Some(right) = answer
                .as_ref()
                .and_then(|raw| serde_json::from_str(raw.get()).ok())
        {
            let asked = Asked {
                connection: &self.connection,
                event: self.event,
                ack: self.ack,
            };
            answer = seams
                .answer(&self.app, &asked, right)
                .and_then(|answer| serde_json::value::to_raw_value(&answer).ok());
        }
        let (Some(id), Some(answer)) = (self.ack, answer) else {
            return;
        };
        let packet = packet::encode_binary_ack(id, &answer, attachments.len());
        self.connection.send_with(packet, attachments);
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
    connection.count_event();
    // RPC parameters are only passed on, so `rpc-call` reads its fields raw.
    let mut data = if event == "rpc-call" {
        Data::default()
    } else {
        Data::parse(raw)
    };
    let mut account = Arc::clone(connection.account());
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
        let flow = seams.call(app, &mut call);
        if flow == Flow::Handle {
            wait = seams.before_call(app, &call);
        }
        flow
    };
    let flow = catch_unwind(AssertUnwindSafe(ask));
    if matches!(flow, Ok(Flow::Ignore)) {
        return;
    }
    let Some(handler) = HANDLERS.iter().find(|handler| handler.event == event) else {
        journal::ignored(connection.socket_id(), event, "unknown event");
        return;
    };
    tracing::trace!(socket = connection.socket_id(), event, ack, "event");
    let has_failed = flow.is_err();
    let Some(wait) = wait else {
        let call = Call {
            app,
            connection,
            account: account_meant(app, account, &data),
            event: handler.event,
            raw,
            data,
            attachments,
            ack,
        };
        return handle(handler, &call, has_failed);
    };
    let (app, connection) = (Arc::clone(app), Arc::clone(connection));
    let (raw, attachments) = (raw.map(ToOwned::to_owned), attachments.to_vec());
    tokio::spawn(async move {
        let _turn = wait.await;
        let call = Call {
            app: &app,
            connection: &connection,
            account: account_meant(&app, account, &data),
            event: handler.event,
            raw: raw.as_deref(),
            data,
            attachments: &attachments,
            ack,
        };
        handle(handler, &call, has_failed);
    });
}

/// Runs a handler and answers for it, also if it, or what stands before it, fails.
fn handle(handler: &'static Handler, call: &Call<'_>, has_failed: bool) {
    let (app, connection, event) = (call.app, call.connection, call.event);
    let run = || {
        assert!(!has_failed, "what stands before the handler has failed");
        (handler.run)(call)
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

/// The account whose rows an event is about: that of its connection, or with the fault
/// `foreign-rows` whichever has the rows that the data names.
fn account_meant(app: &App, own: Arc<Account>, data: &Data) -> Arc<Account> {
    if app.faults().on(Fault::ForeignRows) {
        let id = |field| data.text(field).unwrap_or_default();
        let owner = app.store.account_with(|rows| {
            rows.sessions.contains_key(id("sid"))
                || rows.sessions.contains_key(id("sessionId"))
                || rows.machines.contains_key(id("machineId"))
                || rows.artifacts.contains_key(id("artifactId"))
        });
        return owner.unwrap_or(own);
    }
    own
}
