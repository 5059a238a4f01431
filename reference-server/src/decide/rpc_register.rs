//! `rpc-register`: answers by `rpc-registered` or `rpc-error`. The last registrant of a method owns it;
//! when it goes or unregisters, the one before takes over. A method needs no heartbeat: it is there as
//! long as a registrant is connected.

use std::sync::Arc;

use serde_json::json;

use super::{Call, Context, Outcome};
use crate::policy::RpcOwner;
use crate::router::Routed as _;
use crate::seams::Reply;
use crate::store::Change;

pub(super) fn decide(cx: &Context<'_>, call: &Call<'_>) -> Outcome<Reply> {
    let nameless = cx.policy().rpc_any_name.then_some("");
    let Some(method) = call.data.name("method").or(nameless) else {
        return refuse("register");
    };
    let (connection, method) = (Arc::clone(call.connection), method.to_owned());
    let mut outcome = Outcome::of(Reply::Notice("rpc-registered", json!({ "method": method })));
    // The transport may have ended while its last events are still being read.
    if cx.rows.registry.get(connection.id()).is_none() {
        return outcome;
    }
    let registrants = cx.rows.registrants(&method);
    let owner = cx.policy().rpc_owner;
    if owner == RpcOwner::Last {
        for other in registrants {
            let (method, connection) = (method.clone(), other.id());
            outcome = outcome.change(Change::Unregistered { method, connection });
        }
    }
    let is_known = registrants
        .iter()
        .any(|other| other.id() == connection.id());
    if owner == RpcOwner::First && is_known {
        return outcome;
    }
    let is_owner = owner != RpcOwner::First || registrants.is_empty();
    outcome.change(Change::Registered {
        method,
        connection,
        is_owner,
    })
}

pub(super) fn refuse(kind: &str) -> Outcome<Reply> {
    let error = json!({ "type": kind, "error": "Invalid method name" });
    Outcome::of(Reply::Notice("rpc-error", error))
}
