//! Calls from one connection of an account to another.

use std::sync::Arc;

use serde_json::{Value, json};
use socketioxide::AckError;
use tokio::sync::oneshot;

use crate::account::{Link, Outgoing};
use crate::answer::Answer;
use crate::refusal::{Outcome, Refusal, filled};

/// `rpc-register` and `rpc-unregister`, which are answered by events
pub(crate) async fn register(link: &Link, event: &str, data: &Value) -> Option<Value> {
    let (event, data) = match data["method"].as_str() {
        None | Some("") => {
            let kind = event.trim_start_matches("rpc-");
            ("rpc-error", json!({"type": kind, "error": "Invalid method name"}))
        }
        Some(method) => {
            let mut connections = link.account.connections().await;
            let owners = connections.methods.entry(method.to_owned()).or_default();
            owners.retain(|sid| *sid != link.sid);
            let registers = event == "rpc-register";
            if registers {
                owners.push(link.sid);
            } else if owners.is_empty() {
                connections.methods.remove(method);
            }
            let done = if registers { "rpc-registered" } else { "rpc-unregistered" };
            (done, json!({"method": method}))
        }
    };
    link.connection.outbox.send(Outgoing::Event(event, Arc::new(data))).await.ok();
    None
}

/// `rpc-call`, in a task of its own
pub(crate) async fn call(link: Arc<Link>, data: Value, answer: Answer) {
    let outcome = ask(&link, &data).await;
    let outcome = outcome.unwrap_or_else(|refusal| refusal.answer("rpc-call"));
    link.connection.outbox.send(Outgoing::Answer(answer, outcome)).await.ok();
}

async fn ask(link: &Link, data: &Value) -> Outcome {
    const REQUIRED: &str = "Invalid parameters: method is required";
    const GONE: Refusal = Refusal::NotFound("RPC target disconnected");
    let method = filled(data, "method", REQUIRED)?;
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
            Ok(Ok(result)) => Ok(json!({"ok": true, "result": result})),
            // It was answered, with nothing in the answer.
            Ok(Err(AckError::Decode(_))) => Ok(json!({"ok": true})),
            Ok(Err(AckError::Timeout)) if !callee.end.is_cancelled() => {
                Err(Refusal::Invalid("operation has timed out"))
            }
            _ => Err(GONE),
        },
        () = callee.end.cancelled() => Err(GONE),
    }
}
