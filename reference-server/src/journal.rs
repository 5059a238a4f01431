//! What is logged for people who ask why something does not work: each connection, each HTTP request,
//! and each event that was refused or ignored, with its reason.
//!
//! No token, signature or challenge may come here: queries are left out, and so are the parts of
//! paths that are secrets.

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use serde_json::Value;

/// The path under which devices remove their tokens.
const PUSH_TOKENS: &str = "/v1/push-tokens/";

/// Why an HTTP request was not served, as its response carries it.
#[derive(Clone, Debug)]
pub(crate) struct HttpReason(pub(crate) String);

/// Logs each request with its outcome. Those of Engine.IO are only packets on their way.
pub(crate) async fn requests(request: Request, next: Next) -> Response {
    let method = request.method().clone();
    let mut path = request.uri().path().to_owned();
    if path.starts_with(PUSH_TOKENS) {
        path.replace_range(PUSH_TOKENS.len().., "…");
    }
    let is_packet = request
        .uri()
        .query()
        .is_some_and(|query| query.contains("EIO="));
    let response = next.run(request).await;
    let status = response.status().as_u16();
    let reason = response.extensions().get::<HttpReason>();
    match reason {
        _ if is_packet => tracing::trace!(%method, path, status, "request"),
        None => tracing::info!(%method, path, status, "request"),
        Some(HttpReason(reason)) => tracing::info!(%method, path, status, reason, "request"),
    }
    response
}

/// Logs an event that was answered with anything but success.
pub(crate) fn answered(socket: &str, event: &str, answer: &Value) {
    let is_refused = answer["result"]
        .as_str()
        .is_some_and(|result| result != "success")
        || answer["ok"] == false
        || answer["success"] == false;
    if !is_refused {
        return;
    }
    let texts = ["message", "error", "result"].map(|field| answer[field].as_str());
    let reason = texts.into_iter().flatten().next().unwrap_or("no reason");
    refused(socket, event, reason);
}

/// Logs an event that was refused.
pub(crate) fn refused(socket: &str, event: &str, reason: &str) {
    tracing::info!(socket, event, reason, "refused");
}

/// Logs an event that nothing answers and that changed nothing.
pub(crate) fn ignored(socket: &str, event: &str, reason: &str) {
    tracing::info!(socket, event, reason, "ignored");
}
