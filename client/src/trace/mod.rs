//! `touchstone-trace`, version 1: what went over the wire, as JSON lines.
//!
//! The first line is the header: `{"format":"touchstone-trace","version":1,"tool":…,"target":…,
//! "startedAt":<unix ms>}`. Every further line is one thing that happened:
//!
//! | key | when | meaning |
//! |---|---|---|
//! | `tUs` | always | microseconds since the start |
//! | `conn` | always | the connection's name, `-` where there is none; `http` for an HTTP exchange, `http/a1` for one of the account whose token is shown as `a1…` |
//! | `dir` | always | `c2s`, `s2c`, `http` or `mark` |
//! | `packet` | `c2s`, `s2c` | `open close ping pong upgrade noop` (Engine.IO), `connect connect-error disconnect event ack` (Socket.IO), `binary` (an attachment), `raw` (neither can be decoded) |
//! | `event`, `args` | event, ack | the name, and the arguments as an array |
//! | `ackId` | event, ack | the id, where one is asked for or answered |
//! | `attachments` | event, ack | how many binary packets follow, where there are any |
//! | `data` | open, connect, connect-error | the packet's JSON object |
//! | `text` | ping, pong, raw, mark | the text |
//! | `bytes`, `base64` | binary | the size, and the bytes where they were kept |
//! | `method`, `url`, `status`, `request`, `response`, `ms`, `us` | `http` | an HTTP exchange that ended at `tUs`; no `status` means that there was no answer; `us` is `ms` in microseconds, where it was measured |
//! | `recipients` | where known | the connections that an emission was routed to |
//!
//! Readers ignore keys that they do not know and reject a newer version. Tokens are redacted
//! when written: strings under `token` or `authorization` in `data`, `request` and `response`. A
//! [`Recorder`] has put `a1…`, `a2…` in their place before, so that accounts can be told apart.
//! Where a connection ended, its recorder leaves the mark `ended: …`, and where a client did something
//! to it that no packet shows the mark `client half-closes`, `client stops reading`, `client reads
//! again`, `client ignores pings`, `client answers pings again` or `client drops the connection`.
//! This module must not decide what a trace means.

mod line;
mod reader;
mod record;
mod recorder;
mod writer;

use serde::{Deserialize, Serialize};

pub use self::{
    reader::{Reader, TraceError},
    record::{Exchange, HIDDEN, Kind, Record, Traced},
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
