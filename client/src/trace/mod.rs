//! `touchstone-trace`, version 1: what went over the wire, as JSON lines.
//!
//! `docs/trace.md` has the format, for those who write a reader. Tokens are redacted when written: strings
//! under keys that [`is_secret_key`](crate::is_secret_key) names, in `data`, `request` and `response`. A [`Recorder`] has put `a1…`,
//! `a2…` in their place before, so that accounts can be told apart.
//!
//! This module must not decide what a trace means.

mod line;
mod reader;
mod record;
mod recorder;
mod writer;

use serde::{Deserialize, Serialize};

pub use self::{
    line::without_tokens,
    reader::{Reader, TraceError},
    record::{
        CONTRIVED, DROPPED, Exchange, HIDDEN, Kind, QUIET, RESTARTED, RESTARTED_DURABLE, Record,
        Traced,
    },
    recorder::{Bounds, Recorder},
    writer::Writer,
};

/// The format's name.
pub const FORMAT: &str = "touchstone-trace";
/// The version that is written, and the newest that is read.
pub const VERSION: u32 = 1;

/// The first line of a trace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Header {
    /// [`FORMAT`].
    pub format: String,
    /// At most [`VERSION`].
    pub version: u32,
    /// What wrote it, with its version.
    pub tool: String,
    /// The server's URL, or what else was recorded.
    pub target: String,
    /// When `tUs` was 0, in Unix milliseconds.
    pub started_at: u64,
}

impl Header {
    /// A header of the current version.
    pub fn new(tool: impl Into<String>, target: impl Into<String>, started_at: u64) -> Self {
        Self {
            format: FORMAT.to_owned(),
            version: VERSION,
            tool: tool.into(),
            target: target.into(),
            started_at,
        }
    }
}
