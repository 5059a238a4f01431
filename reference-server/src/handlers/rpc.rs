//! `rpcHandler`: calls between the connections of one account.
//!
//! The last registrant of a method owns it; when it goes or unregisters, the one before takes over.
//! A method needs no heartbeat: it is there as long as a registrant is connected.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, PoisonError};

use serde::Serialize;
use serde_json::json;
use serde_json::value::RawValue;
use tokio::time::Instant;

use super::{Answer, Call};
use crate::app::App;
use crate::connection::Connection;
use crate::faults::{Fault, Faults};
use crate::journal;
use crate::packet::{self, Passed};
use crate::policy::RpcOwner;
use crate::router::{ConnectionId, Registry, Routed as _};
use crate::store::{Account, AccountState};

/// The methods that a connection may have with the fault `rpc-few-methods`.
const FEW: usize = 8;

/// Who has registered what.
#[derive(Debug, Default)]
pub(crate) struct Methods {
    /// The last of a method's registrants owns it.
    registrants: HashMap<String, Vec<Arc<Connection>>>,
    by_connection: HashMap<ConnectionId, HashSet<String>>,
    /// Methods whose registrant has left, for the fault that never lets them return.
    lost: HashSet<String>,
    /// How many connections have left, for the fault that minds.
    leavers: u64,
}

impl Methods {
    /// Makes a connection the owner of a method.
    fn register(
        &mut self,
        method: &str,
        connection: &Arc<Connection>,
        owner: RpcOwner,
        faults: &Faults,
    ) {
        let known = self.by_connection.get(&connection.id());
        if faults.on(Fault::RpcFewMethods) && known.is_some_and(|known| known.len() >= FEW) {
            return;
        }
        let registrants = self.registrants.entry(method.to_owned()).or_default();
        match owner {
            RpcOwner::LastOfAll if faults.on(Fault::RpcRegisterTwice) => {}
            RpcOwner::LastOfAll => registrants.retain(|other| other.id() != connection.id()),
            RpcOwner::Last => registrants.clear(),
            RpcOwner::First => {}
        }
        // The owner stands last.
        match owner {
            RpcOwner::First
                if registrants
                    .iter()
                    .any(|other| other.id() == connection.id()) => {}
            RpcOwner::First => registrants.insert(0, Arc::clone(connection)),
            RpcOwner::LastOfAll | RpcOwner::Last => registrants.push(Arc::clone(connection)),
        }
        self.by_connection
            .entry(connection.id())
            .or_default()
            .insert(method.to_owned());
    }

    /// Takes a connection off a method; nothing happens if it never registered it.
    fn unregister(&mut self, method: &str, id: ConnectionId) {
        if let Some(methods) = self.by_connection.get_mut(&id) {
            methods.remove(method);
        }
        self.remove(method, |registrant| registrant.id() == id);
    }

    /// Takes everybody off a method, for the faults that forget.
    fn clear(&mut self, method: &str) {
        self.remove(method, |_| true);
    }

    /// Takes a connection off all its methods.
    fn forget(&mut self, id: ConnectionId, faults: &Faults) {
        self.leavers += 1;
        if faults.on(Fault::RpcLeaverStays) {
            return;
        }
        for method in self.by_connection.remove(&id).unwrap_or_default() {
            self.remove(&method, |registrant| registrant.id() == id);
            if faults.on(Fault::RpcNoReturn) {
                self.lost.insert(method);
            }
        }
    }

    /// How many connections of the account have left.
    pub(super) fn leavers(&self) -> u64 {
        self.leavers
    }

    fn remove(&mut self, method: &str, is_leaving: impl Fn(&Connection) -> bool) {
        if let Some(registrants) = self.registrants.get_mut(method) {
            registrants.retain(|registrant| !is_leaving(registrant));
            if registrants.is_empty() {
                self.registrants.remove(method);
            }
        }
    }

    /// Whether a method can be called.
    pub(crate) fn is_registered(&self, method: &str) -> bool {
        !self.registrants(method).is_empty()
    }

    fn registrants(&self, method: &str) -> &[Arc<Connection>] {
        if self.lost.contains(method) {
            return &[];
        }
        self.registrants.get(method).map_or(&[], Vec::as_slice)
    }
}

/// Works on the methods of an account. The registry is there to see who is still connected.
fn with_methods<T>(
    app: &App,
    account: &Account,
    work: impl FnOnce(&mut Methods, &Registry) -> T,
) -> T {
    let rows = &mut *account.lock();
    if app.faults().on(Fault::CrossUser) {
        let mut shared = app
            .shared_methods
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        return work(&mut shared, &rows.registry);
    }
    work(&mut rows.methods, &rows.registry)
}

/// A connection has left: its methods go to those who registered them before.
pub(crate) fn forget(app: &App, rows: &mut AccountState, id: ConnectionId) {
    rows.methods.forget(id, app.faults());
    if app.faults().on(Fault::CrossUser) {
        app.shared_methods
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .forget(id, app.faults());
    }
}

/// `rpc-register`: answers by `rpc-registered` or `rpc-error`.
pub(super) fn register(call: &Call<'_>) -> Answer {
    let nameless = call.faults().on(Fault::RpcAnyName).then_some("");
    let Some(method) = call.data.name("method").or(nameless) else {
        return refuse(call, "register");
    };
    with_methods(call.app, call.account(), |methods, registry| {
        // The transport may have ended while its last events are still being read.
        if registry.get(call.connection.id()).is_some() {
            let owner = call.app.config.policy.rpc_owner;
            methods.register(method, call.connection, owner, call.faults());
        }
    });
    call.emit("rpc-registered", &json!({ "method": method }));
    Answer::Never
}

/// `rpc-unregister`: answers by `rpc-unregistered` or `rpc-error`. Whoever does not own the method is
/// told the same, and nothing changes.
pub(super) fn unregister(call: &Call<'_>) -> Answer {
    let Some(method) = call.data.name("method") else {
        return refuse(call, "unregister");
    };
    with_methods(call.app, call.account(), |methods, _| {
        if call.faults().on(Fault::RpcStranger) {
            methods.clear(method);
        }
        if !call.faults().on(Fault::RpcUnregisterKeeps) {
            methods.unregister(method, call.connection.id());
        }
    });
    call.emit("rpc-unregistered", &json!({ "method": method }));
    Answer::Never
}

fn refuse(call: &Call<'_>, kind: &str) -> Answer {
    let error = "Invalid method name";
    call.emit("rpc-error", &json!({ "type": kind, "error": error }));
    journal::refused(call.connection.socket_id(), call.event, error);
    Answer::Never
}

/// What the callee receives, as `rpc-request`. The parameters are those of the caller, byte by byte.
#[derive(Serialize)]
struct Request<'a> {
    method: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    params: Option<&'a RawValue>,
    /// Who calls: for the fault that tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    sid: Option<&'a str>,
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

fn fail(error: &'static str) -> Answer {
    Answer::Now(json!({ "ok": false, "error": error }))
}

/// `rpc-call`: hands the call to the method's owner and answers with what that acknowledges.
pub(super) fn call(call: &Call<'_>) -> Answer {
    let fields = packet::raw_fields(call.raw);
    let method: Option<String> = fields
        .get("method")
        .and_then(|method| serde_json::from_str(method.get()).ok());
    let Some(method) = method.filter(|method| !method.is_empty()) else {
        return fail("Invalid parameters: method is required");
    };
    let faults = call.faults();
    let mut registrants = with_methods(call.app, call.account(), |methods, _| {
        let registrants = methods.registrants(&method).to_vec();
        if faults.on(Fault::RpcForgetful) {
            methods.clear(&method);
        }
        registrants
    });
    let Some(callee) = registrants.pop() else {
        return fail("RPC method not available");
    };
    if callee.id() == call.connection.id() && !faults.on(Fault::RpcSelfCall) {
        return fail("Cannot call RPC on the same socket");
    }
    // Only the fault `rpc-register-twice` has a connection among the registrants again.
    let again = registrants
        .iter()
        .filter(|other| other.id() == callee.id())
        .count();
    let mut params = packet::passed(&fields, "params", call.attachments);
    if faults.on(Fault::RpcParamsWrapped) {
        params = params.and_then(wrapped);
    }
    let attachments = params
        .as_ref()
        .map_or(&[][..], |params| &params.attachments);
    let request = Request {
        method: &method,
        params: params.as_ref().map(|params| &*params.json),
        sid: faults
            .on(Fault::RpcRequestSid)
            .then(|| call.connection.socket_id()),
    };
    if faults.on(Fault::RpcSerial) && call.connection.set_calling(true) {
        return fail("RPC method not available");
    }
    let (id, answered) = callee.expect_answer();
    let times = 1 + again;
    let packet = packet::encode_binary_event("rpc-request", &request, Some(id), attachments.len());
    for _ in 0..times {
        callee.send_with(packet.clone(), attachments);
    }
    if faults.on(Fault::RpcToAll) {
        for other in registrants {
            other.send_with(packet.clone(), attachments);
        }
    }
    let (responder, timeout) = (call.responder(), call.app.config.rpc_timeout);
    let (caller, faults) = (Arc::clone(call.connection), faults.clone());
    let (app, account) = (Arc::clone(call.app), Arc::clone(call.account()));
    tokio::spawn(async move {
        let ends = Instant::now() + timeout;
        let mut outcome = tokio::time::timeout_at(ends, answered).await;
        let left = matches!(outcome, Ok(Err(_))).then(Instant::now);
        if let Some(notice) = left.map(|left| left + app.config.policy.rpc_abort_after) {
            tokio::time::sleep_until(notice.min(ends)).await;
            if notice >= ends {
                outcome = tokio::time::timeout_at(ends, std::future::pending()).await;
            }
        }
        caller.set_calling(false);
        let mut attachments = Vec::new();
        let response = match outcome {
            Ok(Ok(result)) => {
                let (result, binary) = result
                    .map(|result| (result.json, result.attachments))
                    .unzip();
                attachments = binary.unwrap_or_default();
                Response {
                    ok: true,
                    error: None,
                    result,
                }
            }
            Ok(Err(_)) => Response {
                ok: false,
                error: Some("RPC target disconnected"),
                result: None,
            },
            Err(_) => {
                callee.forget_answer(id);
                if faults.on(Fault::RpcLateForgets) {
                    with_methods(&app, &account, |methods, _| methods.clear(&method));
                }
                Response {
                    ok: false,
                    error: Some("operation has timed out"),
                    result: None,
                }
            }
        };
        if let Some(error) = response.error {
            journal::refused(caller.socket_id(), "rpc-call", error);
        }
        responder.send_with(&response, &attachments);
    });
    Answer::Later
}

fn wrapped(passed: Passed) -> Option<Passed> {
    let json = RawValue::from_string(format!("[{}]", passed.json)).ok()?;
    Some(Passed { json, ..passed })
}
