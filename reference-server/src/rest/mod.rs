//! The REST surface through which accounts, sessions and machines come to exist, and which reads
//! back what the socket events changed (the specification's decisions, section 7). One module per
//! resource; this one has what they share: errors, the signed-in caller, JSON bodies, and the table
//! of routes.

use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use axum::{Extension, Json, Router};
use bytes::Bytes;
use serde_json::{Value, json};

use crate::app::App;
use crate::journal::HttpReason;
use crate::seams::HttpRequest;
use crate::slow;
use crate::store::Account;

mod access_keys;
mod account;
mod artifacts;
mod auth;
mod check;
mod control;
mod friends;
mod kv;
mod machines;
mod messages;
mod misc;
mod sessions;
mod usage;

/// An answer other than success.
#[derive(Debug)]
pub(crate) struct ApiError {
    status: StatusCode,
    body: Value,
}

impl ApiError {
    pub(crate) fn new(status: StatusCode, body: Value) -> Self {
        Self { status, body }
    }

    /// 400 with the body that schema failures have.
    pub(crate) fn invalid(message: &str) -> Self {
        let body = json!({ "error": "Error", "message": message, "statusCode": 400 });
        Self::new(StatusCode::BAD_REQUEST, body)
    }

    pub(crate) fn not_found(error: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, json!({ "error": error }))
    }

    pub(crate) fn conflict(error: &str) -> Self {
        Self::new(StatusCode::CONFLICT, json!({ "error": error }))
    }

    /// 503: what the server holds is at a limit.
    pub(crate) fn unavailable(message: &str) -> Self {
        Self::stated(StatusCode::SERVICE_UNAVAILABLE, message)
    }

    /// An answer of HTTP itself rather than of a route.
    pub(crate) fn stated(status: StatusCode, message: &str) -> Self {
        Self::new(status, body_of(status, message))
    }

    pub(crate) fn unauthorized(error: &str) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, json!({ "error": error }))
    }
}

/// What an answer of HTTP itself says.
pub(crate) fn body_of(status: StatusCode, message: &str) -> Value {
    let error = status.canonical_reason().unwrap_or("Error");
    json!({ "error": error, "message": message, "statusCode": status.as_u16() })
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let texts = ["message", "error"].map(|field| self.body[field].as_str());
        let reason = texts.into_iter().flatten().next().unwrap_or("no reason");
        let reason = HttpReason(reason.to_owned());
        (self.status, Extension(reason), Json(self.body)).into_response()
    }
}

/// What a route answers.
type Answer = Result<Json<Value>, ApiError>;

/// The account of the bearer token that a request carries.
pub(crate) struct Caller {
    pub(crate) app: Arc<App>,
    pub(crate) account: Arc<Account>,
}

impl FromRequestParts<Arc<App>> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, ApiError> {
        let request = HttpRequest::new(&app.config, parts);
        let token = request.token;
        let mut account = token.and_then(|token| app.store.account_of_token(token));
        if let Some(seams) = app.seams() {
            account = seams.caller(&**app, &request, account);
        }
        let account = account.ok_or_else(|| {
            ApiError::unauthorized(match token {
                None => "Missing authorization header",
                Some(_) => "Invalid token",
            })
        })?;
        Ok(Self {
            app: Arc::clone(app),
            account,
        })
    }
}

/// A JSON body of any content type; null if there is none.
pub(crate) struct Body(pub(crate) Value);

impl FromRequest<Arc<App>> for Body {
    type Rejection = Response;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, Response> {
        let (head, body) = request.into_parts();
        let copy = app.seams().map(|seams| (seams, head.clone()));
        let request = Request::from_parts(head, body);
        let mut body = Self::read(request, app)
            .await
            .map_err(IntoResponse::into_response)?;
        if let Some((seams, head)) = copy
            && let Some(answer) =
                seams.body(&**app, &HttpRequest::new(&app.config, &head), &mut body.0)
        {
            return Err(answer.into_response());
        }
        Ok(body)
    }
}

impl Body {
    async fn read(request: Request, app: &Arc<App>) -> Result<Self, ApiError> {
        let bytes = Bytes::from_request(request, app)
            .await
            .map_err(|rejection| match slow::is_cause_of(&rejection) {
                true => {
                    let message = slow::message(app.config.body_timeout);
                    ApiError::stated(StatusCode::REQUEST_TIMEOUT, &message)
                }
                false => ApiError::stated(rejection.status(), &rejection.body_text()),
            })?;
        if bytes.is_empty() {
            return Ok(Self(Value::Null));
        }
        serde_json::from_slice(&bytes).map(Self).map_err(|error| {
            let body =
                json!({ "error": "SyntaxError", "message": error.to_string(), "statusCode": 400 });
            ApiError::new(StatusCode::BAD_REQUEST, body)
        })
    }
}

/// All routes but the Socket.IO path.
pub(crate) fn routes(app: &Arc<App>) -> Router<Arc<App>> {
    let key = "/v1/access-keys/{session}/{machine}";
    let mut router = Router::new()
        .route("/", get(misc::root))
        .route("/health", get(misc::health))
        .route("/v1/version", post(misc::version))
        .route("/v1/auth", post(auth::sign_in))
        .route("/v1/auth/request", post(auth::request))
        .route("/v1/auth/request/status", get(auth::status))
        .route("/v1/auth/response", post(auth::respond))
        .route("/v1/sessions", get(sessions::list).post(sessions::create))
        .route("/v1/sessions/{id}", delete(sessions::delete))
        .route("/v1/sessions/{id}/archive", post(sessions::archive))
        .route("/v1/sessions/{id}/messages", get(messages::latest))
        .route("/v1/sessions/{id}/push-event", post(misc::push_event))
        .route("/v2/sessions", get(sessions::page))
        .route("/v2/sessions/active", get(sessions::active))
        .route(
            "/v3/sessions/{id}/messages",
            get(messages::page).post(messages::post),
        )
        .route("/v1/machines", get(machines::list).post(machines::create))
        .route("/v1/machines/{id}", get(machines::read))
        .route(
            key,
            get(access_keys::read)
                .post(access_keys::create)
                .put(access_keys::update),
        )
        .route(
            "/v1/artifacts",
            get(artifacts::list).post(artifacts::create),
        )
        .route(
            "/v1/artifacts/{id}",
            get(artifacts::read)
                .post(artifacts::update)
                .delete(artifacts::delete),
        )
        .route("/v1/kv", get(kv::list).post(kv::mutate))
        .route("/v1/kv/bulk", post(kv::bulk))
        .route("/v1/kv/{key}", get(kv::read))
        .route("/v1/account/profile", get(account::profile))
        .route(
            "/v1/account/settings",
            get(account::settings).post(account::set_settings),
        )
        .route("/v1/friends", get(friends::list))
        .route("/v1/friends/add", post(friends::add))
        .route("/v1/friends/remove", post(friends::remove))
        .route("/v1/feed", get(friends::feed))
        .route("/v1/user/{id}", get(friends::user))
        .route(
            "/v1/push-tokens",
            get(misc::push_tokens).post(misc::add_push_token),
        )
        .route("/v1/push-tokens/{token}", delete(misc::remove_push_token))
        .route("/v1/usage", get(usage::read))
        .route("/v1/usage/query", post(usage::query));
    if app.config.control {
        router = router
            .route("/control/emit", post(control::emit))
            .route("/control/tap", get(control::tap));
    }
    router
        .method_not_allowed_fallback(not_found)
        .layer(DefaultBodyLimit::max(app.config.max_body))
}

/// The answer to a path, or to a method on a path, that does not exist.
pub(crate) async fn not_found(method: Method, uri: Uri) -> ApiError {
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let body = json!({ "error": "Not found", "path": path, "method": method.as_str() });
    ApiError::new(StatusCode::NOT_FOUND, body)
}

/// Rows by a time, latest first; of two equal ones, the one with the greater id.
fn newest_first<T>(rows: &mut [T], key: impl Fn(&T) -> (i64, &str)) {
    rows.sort_by(|one, other| key(other).cmp(&key(one)));
}
