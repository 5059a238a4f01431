//! Routes and transports that a server need not have, and what its lists look like.

use axum::http::{Method, StatusCode};
use serde_json::{Value, json};
use touchstone_reference_server::seams::{HttpAnswer, HttpRequest, Seams, Server};

/// Messages before a cursor are listed from the newest to the oldest.
#[derive(Debug)]
pub(super) struct NewestFirst;

impl Seams for NewestFirst {
    fn response(&self, _server: &Server, request: &HttpRequest<'_>, answer: &mut HttpAnswer) {
        let path = request.uri.path();
        let is_page = path.starts_with("/v3/sessions/") && path.ends_with("/messages");
        let query = request.uri.query().unwrap_or_default();
        if is_page
            && *request.method == Method::GET
            && query.contains("before_seq=")
            && let Some(Value::Array(messages)) = answer
                .body
                .as_mut()
                .and_then(|body| body.get_mut("messages"))
        {
            messages.reverse();
        }
    }
}

/// Beginnings of the paths that a server needs, so that accounts come to exist.
const NEEDED: &[&str] = &["/health", "/v1/auth", "/control/"];

/// Only the routes are there that make and list what connections are about.
#[derive(Debug)]
pub(super) struct FewRoutes;

fn not_found() -> HttpAnswer {
    HttpAnswer {
        status: StatusCode::NOT_FOUND,
        body: Some(json!({ "error": "Not found" })),
    }
}

impl Seams for FewRoutes {
    fn request(&self, _server: &Server, request: &HttpRequest<'_>) -> Option<HttpAnswer> {
        let path = request.uri.path();
        let is_made = path == "/v1/sessions" || path.starts_with("/v1/machines");
        let is_needed = NEEDED.iter().any(|needed| path.starts_with(needed));
        let is_there = is_made || is_needed || request.is_socket;
        (!is_there).then(not_found)
    }
}

/// The routes are missing that came with later generations.
#[derive(Debug)]
pub(super) struct FirstRoutes;

impl Seams for FirstRoutes {
    fn request(&self, _server: &Server, request: &HttpRequest<'_>) -> Option<HttpAnswer> {
        let path = request.uri.path();
        let is_later = ["/v2/", "/v3/"].iter().any(|one| path.starts_with(one))
            || ["/archive", "/push-event"]
                .iter()
                .any(|one| path.ends_with(one));
        is_later.then(not_found)
    }
}

/// Clients connect by WebSocket only.
#[derive(Debug)]
pub(super) struct WebsocketOnly;

impl Seams for WebsocketOnly {
    fn request(&self, _server: &Server, request: &HttpRequest<'_>) -> Option<HttpAnswer> {
        let query = request.uri.query().unwrap_or_default();
        let is_polling = query.contains("transport=polling");
        (request.is_socket && is_polling).then(|| HttpAnswer {
            status: StatusCode::BAD_REQUEST,
            body: Some(json!({ "code": 0, "message": "Transport unknown" })),
        })
    }
}
