//! Why something was not done, and how that is said over the socket and over HTTP.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

pub(crate) enum Refusal {
    Invalid(&'static str),
    Unauthorized(&'static str),
    NotFound(&'static str),
    Conflict(&'static str),
    Database,
}

/// What an event or a request is answered.
pub(crate) type Outcome = Result<Value, Refusal>;

impl From<sqlx::Error> for Refusal {
    fn from(error: sqlx::Error) -> Self {
        eprintln!("database: {error}");
        Self::Database
    }
}

/// A field that has to be a text.
pub(crate) fn text<'a>(data: &'a Value, key: &str, or: &'static str) -> Result<&'a str, Refusal> {
    data[key].as_str().ok_or(Refusal::Invalid(or))
}

/// The same, which may not be empty.
pub(crate) fn filled<'a>(data: &'a Value, key: &str, or: &'static str) -> Result<&'a str, Refusal> {
    match text(data, key, or)? {
        "" => Err(Refusal::Invalid(or)),
        text => Ok(text),
    }
}

impl Refusal {
    fn parts(&self) -> (StatusCode, &'static str) {
        match *self {
            Self::Invalid(text) => (StatusCode::BAD_REQUEST, text),
            Self::Unauthorized(text) => (StatusCode::UNAUTHORIZED, text),
            Self::NotFound(text) => (StatusCode::NOT_FOUND, text),
            Self::Conflict(text) => (StatusCode::CONFLICT, text),
            Self::Database => (StatusCode::INTERNAL_SERVER_ERROR, "Internal error"),
        }
    }

    /// Each family of events has its own shape for it.
    pub(crate) fn answer(&self, event: &str) -> Value {
        let (_, text) = self.parts();
        match event {
            "update-metadata" | "update-state" => json!({"result": "error"}),
            "rpc-call" | "access-key-get" => json!({"ok": false, "error": text}),
            "usage-report" => json!({"success": false, "error": text}),
            _ => json!({"result": "error", "message": text}),
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (status, text) = self.parts();
        let body = match &self {
            Self::Invalid(_) => json!({"error": "Bad Request", "message": text, "statusCode": 400}),
            _ => json!({"error": text}),
        };
        (status, Json(body)).into_response()
    }
}
