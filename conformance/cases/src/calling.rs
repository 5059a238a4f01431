//! What cases need to call methods: connections that register and answer, and callers.

use std::time::Duration;

use serde_json::{Value, json};
use touchstone_client::Args;

use super::rpc;
use touchstone_harness::{
    case::{Flow, Stop},
    ctx::Ctx,
    ledger::Requirement,
    peer::{Arrival, Peer},
    stage::Wanted,
};

/// How long a server may wait for somebody to register a method, beyond the usual patience.
pub(super) const ABSENT_GRACE: Duration = Duration::from_secs(15);

/// Registers `method` through `peer`.
pub(super) async fn register(cx: &mut Ctx, peer: &Peer, method: &str) -> Flow {
    register_as(cx, peer, method, &rpc::REGISTERED).await
}

/// As [`register`], where `parent` judges that the server answers such a registration.
pub(super) async fn register_as(
    cx: &mut Ctx,
    peer: &Peer,
    method: &str,
    parent: &'static Requirement,
) -> Flow {
    cx.emit(peer, "rpc-register", json!({"method": method}))
        .await?;
    let named = |a: &Arrival| a.name == "rpc-registered" && a.raw.contains(method);
    match cx.arrival(peer, "rpc-registered", named).await {
        Some(_) => Ok(()),
        None => Err(Stop::Blocked {
            parent,
            reason: format!("{} cannot register a method", peer.who),
        }),
    }
}

/// Makes `peer` answer each request with its own params.
pub(super) fn echo(peer: &Peer) {
    peer.respond(|request| {
        Some(Args::from(vec![
            request.get("params").cloned().unwrap_or(Value::Null),
        ]))
    });
}

/// Makes `peer` answer each request with `name`.
pub(super) fn answer_as(peer: &Peer, name: &'static str) {
    peer.respond(move |_| Some(Args::from(json!(name))));
}

pub(super) fn requests(peer: &Peer, method: &str) -> Vec<Value> {
    let log = peer.all(|a| a.name == "rpc-request" && a.raw.contains(method));
    log.into_iter().map(|arrival| arrival.data).collect()
}

/// Calls a method with a text, as clients do: their params are ciphertext. Other params belong to the case
/// that is about them, `rpc.params`.
pub(super) async fn rpc(
    cx: &mut Ctx,
    by: &'static Requirement,
    caller: &Peer,
    method: &str,
    params: &str,
) -> Flow<Value> {
    let request = json!({"method": method, "params": params});
    cx.call(by, caller, "rpc-call", request).await
}

/// Calls a method that is not there, with patience for servers that wait for it.
pub(super) async fn call_absent(
    cx: &mut Ctx,
    by: &'static Requirement,
    caller: &Peer,
    method: &str,
) -> Flow<Value> {
    let patience = cx.shared.pace.patience() + ABSENT_GRACE;
    let request = json!({"method": method, "params": "call"});
    match cx.ask_within(caller, "rpc-call", request, patience).await? {
        Ok(answer) => Ok(answer.data),
        Err(silent) => {
            let after = silent.after.as_secs_f64();
            cx.broken(
                by,
                "an answer of ok false",
                format!("none within {after:.1} s"),
            );
            Err(Stop::Judged)
        }
    }
}

/// Ends `peer`, a connection of `machine`. The server has noticed when it announces that to `listener`; one
/// that does not announce it gets the time of a few round trips.
pub(super) async fn leaves(cx: &Ctx, peer: &Peer, machine: &str, listener: &Peer) {
    peer.socket.disconnect().await;
    let gone = Wanted::ephemeral("machine-activity", machine);
    let deadline = tokio::time::Instant::now() + cx.shared.pace.sentinel();
    let offline = |a: &Arrival| gone.matches(a) && a.data["active"] == false;
    listener.wait_for(deadline, offline).await;
}
