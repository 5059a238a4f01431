//! Faults of RPC: who has registered what, who is called, and with what.

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::time::Instant;
use touchstone_reference_server::seams::{
    Asked, Cause, Change, Connection, ConnectionId, Effects, Frame, Reply, Routed as _, Rows, Seams,
};

use crate::{Fault, Faults, calls};

/// The methods that a connection may have with the fault `rpc-few-methods`.
const FEW: usize = 8;

/// A call that is about to be sent to its callee.
#[derive(Clone, Debug)]
pub(crate) struct Forwarded {
    /// The socket id of who calls.
    caller: String,
    /// Who receives the request besides the callee.
    others: Vec<Arc<Connection>>,
    /// How often the callee receives it.
    times: usize,
}

/// A method of an account.
pub(crate) type Method = (String, String);

/// Puts what happens with the faults that are on in the place of what is right.
pub(crate) fn change(
    faults: &Faults,
    cause: &Cause<'_>,
    rows: &Rows,
    effects: &mut Effects,
    reply: &mut Reply,
) {
    let all = |method: &str| -> Vec<Change> {
        let registrants = rows.registrants(method).iter();
        registrants
            .map(|one| unregistered(method, one.id()))
            .collect()
    };
    match (cause.name, &*reply) {
        ("rpc-register", _) => {
            if let Some(Change::Registered {
                method, connection, ..
            }) = effects.changes.last()
                && !is_registered(faults, rows, method, connection)
            {
                effects.changes.clear();
            }
        }
        ("rpc-unregister", _) => {
            if let Some(method) = cause.data["method"].as_str() {
                let mut memory = faults.memory();
                if let Some(connection) = cause
                    .connection
                    .filter(|_| !faults.on(Fault::RpcUnregisterKeeps))
                {
                    memory.forget_method(rows.account(), method, connection.id());
                }
                if faults.on(Fault::RpcStranger) {
                    effects.changes.extend(all(method));
                }
                if faults.on(Fault::RpcUnregisterAll)
                    && let Some(connection) = cause.connection
                    && let Some(methods) = memory.methods.remove(&connection.id())
                {
                    let every = methods
                        .iter()
                        .map(|name| unregistered(name, connection.id()));
                    effects.changes.extend(every);
                }
            }
        }
        ("rpc-call", Reply::Forward(forward)) => {
            if let Some(caller) = cause.connection {
                let method = (rows.account().to_owned(), forward.method.clone());
                let mut memory = faults.memory();
                if faults.on(Fault::RpcSerial)
                    && cause.ack.is_some()
                    && !memory.calling.insert(caller.id())
                {
                    let error = "RPC method not available";
                    *reply = Reply::Ack(json!({ "ok": false, "error": error }));
                    return;
                }
                let callee = &forward.callee;
                let is_other = |one: &&Arc<Connection>| one.id() != callee.id();
                let others = rows.registrants(&method.1).iter().filter(is_other);
                let registered = memory.registered.get(&(method.clone(), callee.id()));
                let forwarded = Forwarded {
                    caller: caller.socket_id().to_owned(),
                    others: others.cloned().collect(),
                    times: registered.copied().unwrap_or(1),
                };
                memory.forwarded.insert(callee.id(), forwarded);
                if faults.on(Fault::RpcForgetful) {
                    effects.changes.extend(all(&method.1));
                }
                if let Some(ack) = cause.ack {
                    memory.calls.insert((caller.id(), ack), method);
                }
            }
        }
        _ => {}
    }
}

fn unregistered(method: &str, connection: ConnectionId) -> Change {
    Change::Unregistered {
        method: method.to_owned(),
        connection,
    }
}

/// Notes that a method is registered; false if it is to be lost.
fn is_registered(faults: &Faults, rows: &Rows, method: &str, connection: &Arc<Connection>) -> bool {
    let mut memory = faults.memory();
    let methods = memory.methods.entry(connection.id()).or_default();
    if methods.len() >= FEW && faults.on(Fault::RpcFewMethods) {
        return false;
    }
    methods.insert(method.to_owned());
    let key = (rows.account().to_owned(), method.to_owned());
    memory.gone.remove(&key);
    memory.used_at.insert(key.clone(), Instant::now());
    *memory.registered.entry((key, connection.id())).or_default() += 1;
    let shared = memory.shared.entry(method.to_owned()).or_default();
    shared.retain(|other| other.id() != connection.id());
    shared.push(Arc::clone(connection));
    true
}

/// A connection leaves, and with it its methods.
pub(crate) fn leave(faults: &Faults, rows: &Rows, effects: &mut Effects) {
    let mut memory = faults.memory();
    for change in &effects.changes {
        if let Change::Unregistered { method, connection } = change {
            memory.forget_method(rows.account(), method, *connection);
            if faults.on(Fault::RpcNoReturn) {
                memory
                    .lost
                    .insert((rows.account().to_owned(), method.clone()));
            }
        }
        if let Change::Left(id) = change {
            memory.forget(*id);
        }
    }
    if faults.on(Fault::RpcLeaverTakes) {
        let mut taken = Vec::new();
        for change in &effects.changes {
            if let Change::Unregistered { method, .. } = change {
                let others = rows.registrants(method).iter();
                taken.extend(others.map(|one| unregistered(method, one.id())));
            }
        }
        effects.changes.extend(taken);
    }
    if faults.on(Fault::RpcLeaverStays) {
        let changes = &mut effects.changes;
        changes.retain(|change| !matches!(change, Change::Unregistered { .. }));
    }
}

/// Who is called.
#[derive(Debug)]
pub(crate) struct Callees(pub(crate) Faults);

impl Seams for Callees {
    fn callee(
        &self,
        rows: &Rows,
        method: &str,
        right: Option<Arc<Connection>>,
    ) -> Option<Arc<Connection>> {
        let faults = &self.0;
        let mut memory = faults.memory();
        let key = (rows.account().to_owned(), method.to_owned());
        if memory.is_faded(&key) && faults.on(Fault::RpcFades) {
            return None;
        }
        if memory.gone.contains(&key) || memory.lost.contains(&key) {
            return None;
        }
        if faults.on(Fault::CrossUser) {
            return memory.shared.get(method)?.last().cloned();
        }
        right
    }
}

/// A call is answered.
pub(crate) fn answered(faults: &Faults, asked: &Asked<'_>, answer: &Value) {
    let mut memory = faults.memory();
    let caller = asked.connection.id();
    let Some(method) = asked
        .ack
        .and_then(|ack| memory.calls.remove(&(caller, ack)))
    else {
        return;
    };
    memory.calling.remove(&caller);
    if answer["error"] == "operation has timed out" && faults.on(Fault::RpcLateForgets) {
        memory.gone.insert(method);
    }
}

/// Sends a request otherwise than it is; false if it is right as it is.
pub(crate) fn is_resent(faults: &Faults, callee: &Connection, frame: &Frame, id: &str) -> bool {
    let Some(forwarded) = faults.memory().forwarded.remove(&callee.id()) else {
        return false;
    };
    let mut packet = frame.clone();
    let wraps = faults.on(Fault::RpcParamsWrapped);
    if wraps || faults.on(Fault::RpcRequestSid) {
        let start = frame.find('[').unwrap_or_default();
        let Ok(mut event) = serde_json::from_str::<Value>(&frame[start..]) else {
            return false;
        };
        match event[1].get_mut("params") {
            Some(params) if wraps => *params = json!([params]),
            _ => {}
        }
        if faults.on(Fault::RpcRequestSid) {
            event[1]["sid"] = forwarded.caller.into();
        }
        packet = Frame::from(format!("2{id}{event}"));
    }
    let mut times = 1;
    if faults.on(Fault::RpcRequestTwice) {
        times += 1;
    }
    if faults.on(Fault::RpcRegisterTwice) {
        times += forwarded.times - 1;
    }
    for _ in 0..times {
        if calls::send(faults, callee, &packet) {
            callee.push(packet.clone());
        }
    }
    if faults.on(Fault::RpcToAll) {
        forwarded
            .others
            .iter()
            .for_each(|one| one.push(packet.clone()));
    }
    true
}
