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

impl Refusal {
    fn text(&self) -> &str {
        match self {
            Self::Invalid(text)
            | Self::Unauthorized(text)
            | Self::NotFound(text)
            | Self::Conflict(text) => text,
            Self::Database => "Internal error",
        }
    }

    /// Each family of events has its own shape for it.
    pub(crate) fn answer(&self, event: &str) -> Value {
        let text = self.text();
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
        let text = self.text();
        let status = match &self {
            Self::Invalid(_) => StatusCode::BAD_REQUEST,
            Self::Unauthorized(_) => StatusCode::UNAUTHORIZED,
            Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::Conflict(_) => StatusCode::CONFLICT,
            Self::Database => StatusCode::INTERNAL_SERVER_ERROR,
        };
        let body = match &self {
            Self::Invalid(_) => json!({"error": "Bad Request", "message": text, "statusCode": 400}),
            _ => json!({"error": text}),
        };
        (status, Json(body)).into_response()
    }
}
