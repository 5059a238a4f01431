//! Request bodies that do not come in time.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use futures_util::{StreamExt as _, stream};
use tokio::time::Instant;

/// A body did not come in time.
#[derive(Debug)]
struct Slow(Duration);

impl fmt::Display for Slow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&message(self.0))
    }
}

impl Error for Slow {}

/// What a client is told of it.
pub(crate) fn message(time: Duration) -> String {
    format!(
        "the body of the request did not come within {} s",
        time.as_secs_f64()
    )
}

/// The request, whose body fails when it is not there after this time.
pub(crate) fn bounded(request: Request, time: Duration) -> Request {
    use axum::body::HttpBody as _;
    if request.body().is_end_stream() {
        return request;
    }
    let end = Instant::now() + time;
    request.map(|body| {
        let parts = stream::unfold(Some(body.into_data_stream()), move |body| async move {
            let mut body = body?;
            match tokio::time::timeout_at(end, body.next()).await {
                Ok(part) => Some((part?.map_err(axum::BoxError::from), Some(body))),
                Err(_) => Some((Err(Slow(time).into()), None)),
            }
        });
        Body::from_stream(parts)
    })
}

/// Whether an error says that a body did not come in time.
pub(crate) fn is_cause_of(error: &(dyn Error + 'static)) -> bool {
    error.is::<Slow>() || error.source().is_some_and(is_cause_of)
}
