//! `rpc-unregister`: answers by `rpc-unregistered` or `rpc-error`. Who does not own the method is told
//! the same, and nothing changes.

use serde_json::json;

use super::rpc_register::refuse;
use super::{Call, Context, Outcome};
use crate::router::Routed as _;
use crate::seams::Reply;
use crate::store::Change;

pub(super) fn decide(_: &Context<'_>, call: &Call<'_>) -> Outcome<Reply> {
    let Some(method) = call.data.name("method") else {
        return refuse("unregister");
    };
    let (method, connection) = (method.to_owned(), call.connection.id());
    Outcome::of(Reply::Notice(
        "rpc-unregistered",
        json!({ "method": method }),
    ))
    .change(Change::Unregistered { method, connection })
}
