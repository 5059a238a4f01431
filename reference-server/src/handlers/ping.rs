//! `pingHandler`: tells a client that its connection works.

use serde_json::json;

use super::{Answer, Call};

/// `ping`: answers `{}`, whatever came along.
pub(super) fn ping(_: &Call<'_>) -> Answer {
    Answer::Now(json!({}))
}
