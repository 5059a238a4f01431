//! The handlers of the specification's 18 client events, one module per handler file.
//!
//! A handler runs to its end in the task that reads its connection. That is what keeps the events of
//! one connection in order, with no queue that could grow: rows are in memory, so nothing in a
//! handler waits. Only `rpc-call` leaves something behind, a task that waits for the callee.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use crate::app::App;
use crate::connection::Connection;
use crate::faults::{Fault, Faults};
use crate::packet;
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
    /// The first argument as it came.
    raw: Option<&'a RawValue>,
    /// The first argument's fields.
    data: Data,
    ack: Option<u64>,
}

impl Call<'_> {
    fn account(&self) -> &Arc<Account> {
        self.connection.account()
    }

    fn faults(&self) -> &Faults {
        self.app.faults()
    }

    fn responder(&self) -> Responder {
        Responder {
            connection: Arc::clone(self.connection),
            ack: self.ack,
            faults: self.faults().clone(),
        }
    }

    /// Sends an event to the connection that the call came from.
    fn emit(&self, event: &str, payload: &Value) {
        self.connection
            .send(packet::encode_event(event, payload, None));
    }
}

/// Acknowledges an event, if its sender wants that.
struct Responder {
    connection: Arc<Connection>,
    ack: Option<u64>,
    faults: Faults,
}

impl Responder {
    fn send(self, answer: &impl Serialize) {
        let Some(id) = self.ack.filter(|_| !self.faults.on(Fault::NoAck)) else {
            return;
        };
        let packet = if self.faults.on(Fault::AckWrapped) {
            packet::encode_ack(id, &[answer])
        } else {
            packet::encode_ack(id, answer)
        };
        if self.faults.on(Fault::AckTwice) {
            self.connection.send(packet.clone());
        }
        self.connection.send(packet);
    }
}

/// The fields of an event's data. Whatever is no object has none; a field of another type than asked
/// for counts as missing.
#[derive(Default)]
struct Data(Map<String, Value>);

impl Data {
    fn parse(raw: Option<&RawValue>) -> Self {
        Self(
            raw.and_then(|raw| serde_json::from_str(raw.get()).ok())
                .unwrap_or_default(),
        )
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
    ack: Option<u64>,
) {
    if connection.is_first_event() && app.faults().on(Fault::EarlyLost) {
        return;
    }
    let Some(handler) = HANDLERS.iter().find(|handler| handler.event == event) else {
        tracing::debug!(socket = connection.socket_id(), event, "unknown event");
        return;
    };
    tracing::trace!(socket = connection.socket_id(), event, ack, "event");
    // RPC parameters are only passed on, so `rpc-call` reads its fields raw.
    let data = if event == "rpc-call" {
        Data::default()
    } else {
        Data::parse(raw)
    };
    let call = Call {
        app,
        connection,
        raw,
        data,
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
        Ok(Answer::Now(answer)) => call.responder().send(&answer),
        Ok(Answer::Later | Answer::Never) => {}
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
