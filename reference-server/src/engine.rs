//! What engineioxide does otherwise than the official servers, put right in front of it: the first
//! ping ([`FirstPing`]) and the bodies of its HTTP errors.

use axum::body::{Body, Bytes, HttpBody as _, to_bytes};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::request::Parts;
use axum::http::{Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use engineioxide::socket::Sid;
use serde_json::{Value, json};

use crate::first_ping::FirstPing;
use crate::gateway::Gateway;
use crate::listener::RequestKillSwitch;
use crate::rest::ApiError;

/// Stands in front of engineioxide.
pub(crate) async fn correct(
    State(gateway): State<Gateway>,
    ConnectInfo(switch): ConnectInfo<RequestKillSwitch>,
    request: Request,
    next: Next,
) -> Response {
    let query = Query::of(&request);
    if !gateway.is_path(request.uri().path()) || query.transport.is_none() {
        return next.run(request).await;
    }
    let sid = query.sid;
    if sid.is_none()
        && let Some(reason) = gateway.full()
    {
        return ApiError::unavailable(&reason).into_response();
    }
    let is_websocket = query.transport.as_deref() == Some("websocket");
    if let (Some(sid), true) = (sid, is_websocket) {
        // When a polling client moves to a WebSocket, its packets go to another TCP connection from
        // then on, which is the one to end when it does not keep up.
        gateway.moves_to(sid, &switch);
    }
    let first_ping = match sid {
        Some(sid) => gateway.first_ping(sid).filter(|ping| !ping.is_over()),
        None => Some(FirstPing::default()),
    };
    let response = match (sid, &first_ping) {
        (Some(_), Some(ping)) if !is_websocket && *request.method() == Method::GET => {
            poll(ping, request, next).await
        }
        _ => next.run(request).await,
    };
    if let (Some(sid), false) = (sid, is_websocket) {
        let size = response.body().size_hint().exact();
        gateway.has_polled(sid, size.unwrap_or_default());
    }
    match (response.status(), first_ping) {
        (StatusCode::SWITCHING_PROTOCOLS, Some(ping)) => {
            switch.0.becomes_websocket(ping);
            response
        }
        (StatusCode::BAD_REQUEST, _) => with_numeric_code(response).await,
        _ => response,
    }
}

/// The part of a query that tells Engine.IO requests apart.
struct Query {
    transport: Option<String>,
    sid: Option<Sid>,
}

impl Query {
    fn of(request: &Request) -> Self {
        let fields = request.uri().query().unwrap_or_default().split('&');
        let value = |name: &str| {
            let mut fields = fields.clone();
            fields.find_map(|field| field.strip_prefix(name)?.strip_prefix('='))
        };
        Self {
            transport: value("transport").map(str::to_owned),
            sid: value("sid").and_then(|sid| sid.parse().ok()),
        }
    }
}

/// A long-polling request whose answer may hold the first ping of its session. If it holds nothing
/// else, the client goes on waiting.
async fn poll(ping: &FirstPing, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let again = || Request::from_parts(parts.clone(), Body::empty());
    let response = next
        .clone()
        .run(Request::from_parts(parts.clone(), body))
        .await;
    let (head, body) = response.into_parts();
    // The body is in memory already, and engineioxide has bounded it.
    let Ok(payload) = to_bytes(body, usize::MAX).await else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let Some(rest) = ping.without(&payload) else {
        return Response::from_parts(head, Body::from(payload));
    };
    // It is answered in the client's place. If the session has ended meanwhile, nobody waits for it.
    let pong = Bytes::from_static(b"3");
    let _ = next.clone().run(answer(&parts, pong)).await;
    if rest.is_empty() {
        return next.run(again()).await;
    }
    replaced(head, rest)
}

/// What a client would send in answer to a ping.
fn answer(poll: &Parts, pong: Bytes) -> Request {
    let mut parts = poll.clone();
    parts.method = Method::POST;
    parts.headers.remove(header::CONTENT_LENGTH);
    parts.headers.remove(header::CONTENT_TYPE);
    Request::from_parts(parts, Body::from(pong))
}

/// The answer to a bad Engine.IO request, with its code as a number: engineioxide writes it as a
/// text, or no body at all.
async fn with_numeric_code(response: Response) -> Response {
    let (head, body) = response.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap_or_default();
    let error: Value = serde_json::from_slice(&body).unwrap_or_default();
    let code = error["code"]
        .as_str()
        .and_then(|code| code.parse::<u8>().ok());
    let error = match code {
        Some(code) => json!({ "code": code, "message": error["message"] }),
        None => json!({ "code": 3, "message": "Bad request" }),
    };
    let mut response = replaced(head, error.to_string());
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        header::HeaderValue::from_static("application/json"),
    );
    response
}

fn replaced(mut head: axum::http::response::Parts, body: String) -> Response {
    head.headers.remove(header::CONTENT_LENGTH);
    Response::from_parts(head, Body::from(body))
}
