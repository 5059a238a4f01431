//! Calls from one connection of an account to another.

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::sync::oneshot;

use crate::account::{Link, Outgoing};
use crate::arguments::{Answer, Arguments};
use crate::refusal::{Outcome, Refusal, text};

/// `rpc-register` and `rpc-unregister`, which are answered by events
pub(crate) async fn register(link: &Link, event: &str, data: &Value) -> Option<Value> {
    let registers = event == "rpc-register";
    let (kind, done) = match registers {
        true => ("register", "rpc-registered"),
        false => ("unregister", "rpc-unregistered"),
    };
    let method = data["method"].as_str().filter(|method| !method.is_empty());
    let (event, data) = if let Some(method) = method {
        let mut connections = link.account.connections().await;
        let owners = connections.methods.entry(method.to_owned()).or_default();
        owners.retain(|sid| *sid != link.sid);
        if registers {
            owners.push(link.sid);
        } else if owners.is_empty() {
            connections.methods.remove(method);
        }
        (done, json!({"method": method}))
    } else {
        ("rpc-error", json!({"type": kind, "error": "Invalid method name"}))
    };
    link.outbox.send(Outgoing::Event(event, Arc::new(data))).await.ok();
    None
}

/// `rpc-call`, in a task of its own
pub(crate) async fn call(link: Arc<Link>, data: Value, answer: Answer) {
    let outcome = ask(&link, &data).await;
    let outcome = outcome.unwrap_or_else(|refusal| refusal.answer("rpc-call"));
    link.outbox.send(Outgoing::Answer(answer, outcome)).await.ok();
}

async fn ask(link: &Link, data: &Value) -> Outcome {
    const REQUIRED: &str = "Invalid parameters: method is required";
    const GONE: Refusal = Refusal::NotFound("RPC target disconnected");
    let method = text(data, "method", REQUIRED)?;
    if method.is_empty() {
        return Err(Refusal::Invalid(REQUIRED));
    }
    let callee = {
        let connections = link.account.connections().await;
        let owner = connections.methods.get(method).and_then(|owners| owners.last());
        let owner = owner.ok_or(Refusal::NotFound("RPC method not available"))?;
        if *owner == link.sid {
            return Err(Refusal::Invalid("Cannot call RPC on the same socket"));
        }
        connections.all.get(owner).cloned().ok_or(GONE)?
    };
    let request = json!({"method": method, "params": data["params"]});
    let (answered, answer) = oneshot::channel();
    callee.outbox.send(Outgoing::Request(request, answered)).await.map_err(|_| GONE)?;
    tokio::select! {
        biased;
        answer = answer => match answer {
            Ok(Ok(Arguments(Some(result)))) => Ok(json!({"ok": true, "result": result})),
            Ok(Ok(Arguments(None))) => Ok(json!({"ok": true})),
            Ok(Err(_)) if !callee.end.is_cancelled() => {
                Err(Refusal::Invalid("operation has timed out"))
            }
            _ => Err(GONE),
        },
        () = callee.end.cancelled() => Err(GONE),
    }
}
