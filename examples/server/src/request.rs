//! What routes take from a request: whose it is, and its body.

use axum::Json;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::{header, request::Parts};
use serde::de::DeserializeOwned;

use crate::account::{Account, App};
use crate::refusal::Refusal;

/// A body of JSON that has all that a route needs.
pub(crate) struct Body<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequest<App> for Body<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, app: &App) -> Result<Self, Refusal> {
        let body = Json::from_request(request, app).await;
        body.map(|Json(body)| Self(body))
            .map_err(|_| Refusal::Invalid("the body is not as it has to be"))
    }
}

/// A bearer token belongs to an account.
impl FromRequestParts<App> for Account {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Refusal> {
        let header = parts.headers.get(header::AUTHORIZATION);
        let header = header.ok_or(Refusal::Unauthorized("Missing authorization header"))?;
        let token = header.to_str().ok().and_then(|text| text.strip_prefix("Bearer "));
        let account = app.signed_in(token.unwrap_or_default()).await?;
        account.ok_or(Refusal::Unauthorized("Invalid token"))
    }
}
