//! `pingHandler`: tells a client that its connection works.

use serde_json::{Value, json};

use super::{Answer, Call};
use crate::faults::Fault;

/// `ping`: answers `{}`, whatever came along.
pub(super) fn ping(call: &Call<'_>) -> Answer {
    if call.raw.is_some() && call.faults().on(Fault::PingDataless) {
        return Answer::Never;
    }
    Answer::Now(if call.faults().on(Fault::PingData) {
        Value::Null
    } else {
        json!({})
    })
}
