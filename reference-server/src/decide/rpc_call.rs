//! `rpc-call`: hands the call to the method's owner, whose acknowledgement is the answer. It is the one
//! event that is answered later.

use std::sync::Arc;

use serde_json::json;

use super::{Call, Context, Outcome};
use crate::packet;
use crate::router::Routed as _;
use crate::seams::{Forward, Reply};

pub(super) fn decide(cx: &Context<'_>, call: &Call<'_>) -> Outcome<Reply> {
    let fields = packet::raw_fields(call.raw);
    let method = fields.get("method").map(|method| method.get());
    let method: Option<String> = method.and_then(|method| serde_json::from_str(method).ok());
    let Some(method) = method.filter(|method| !method.is_empty()) else {
        return fail("Invalid parameters: method is required");
    };
    let mut callee = cx.rows.registrants(&method).last().map(Arc::clone);
    if let Some(seams) = &cx.config.seams {
        callee = seams.callee(cx.rows, &method, callee);
    }
    let Some(callee) = callee else {
        return fail("RPC method not available");
    };
    if callee.id() == call.connection.id() && !cx.policy().rpc_self_call {
        return fail("Cannot call RPC on the same socket");
    }
    Outcome::of(Reply::Forward(Forward {
        callee,
        params: packet::passed(&fields, "params", call.attachments),
        method,
    }))
}

fn fail(error: &str) -> Outcome<Reply> {
    Outcome::of(Reply::Ack(json!({ "ok": false, "error": error })))
}
