//! `ping`: answers `{}`, whatever came along. It tells a client that its connection works.

use serde_json::json;

use super::{Call, Context, Outcome};
use crate::seams::Reply;

pub(super) fn decide(_: &Context<'_>, _: &Call<'_>) -> Outcome<Reply> {
    Outcome::of(Reply::Ack(json!({})))
}
