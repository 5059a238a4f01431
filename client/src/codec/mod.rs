//! Engine.IO 4 and Socket.IO 5 packets as pure functions: text in, parts out, and back.
//!
//! Nothing here does IO, keeps state or decides what a packet means for a connection. The codec
//! is ours on purpose: one shared with the server under test would hide the bugs they share.
//! JSON arguments are checked for syntax and otherwise left raw ([`Args`]) until someone asks.

mod args;
pub mod engine;
pub mod packet;
pub mod payload;
#[cfg(test)]
mod tests;

pub use args::Args;
pub(crate) use args::{range_in, whole};
pub use tungstenite::Utf8Bytes as Text;

use bytes::Bytes;

/// One Engine.IO packet in the form in which a WebSocket message carries it.
///
/// [`Text`] is a cheaply cloned piece of UTF-8: `Frame::Text("2".into())`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// A text packet, its type digit first.
    Text(Text),
    /// A binary attachment.
    Binary(Bytes),
}

impl Frame {
    /// A text frame.
    pub fn text(text: impl Into<Text>) -> Self {
        Self::Text(text.into())
    }

    /// The number of payload bytes.
    pub fn len(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Binary(bytes) => bytes.len(),
        }
    }

    /// Whether there is no payload at all, which no Engine.IO text packet is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What is wrong with a packet, and at which byte of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem} at byte {at}")]
pub struct DecodeError {
    /// Offset in bytes from the beginning of the text that was given to the decoder.
    pub at: usize,
    /// What is wrong.
    pub problem: Problem,
}

impl DecodeError {
    pub(crate) fn new(at: usize, problem: Problem) -> Self {
        Self { at, problem }
    }

    /// The same error for a text that `by` bytes precede.
    pub(crate) fn shifted(self, by: usize) -> Self {
        Self {
            at: self.at + by,
            ..self
        }
    }
}

/// The kinds of decode errors.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// A text without any byte.
    #[error("empty packet")]
    Empty,
    /// A first character that is no Engine.IO packet type.
    #[error("unknown Engine.IO packet type {0:?}")]
    EngineType(char),
    /// A first character that is no Socket.IO packet type.
    #[error("unknown Socket.IO packet type {0:?}")]
    SocketType(char),
    /// Something where the packet should be over.
    #[error("unexpected data")]
    Unexpected,
    /// A binary packet without its number of attachments.
    #[error("missing number of attachments")]
    Attachments,
    /// A number of attachments or an ack id that does not fit into 64 bits.
    #[error("number is too large")]
    Number,
    /// An ACK without the id of the event it answers.
    #[error("missing ack id")]
    AckId,
    /// A payload that is not the JSON that the packet type asks for.
    #[error("expected {expected}: {reason}")]
    Json {
        /// What the packet type asks for.
        expected: &'static str,
        /// What the JSON parser says.
        reason: String,
    },
    /// A polling payload's binary part that is no base64.
    #[error("invalid base64")]
    Base64,
    /// Bytes that are no UTF-8.
    #[error("invalid UTF-8")]
    Utf8,
    /// A binary frame that no binary packet announced, or a text frame before all attachments
    /// of one have come.
    #[error("{0}")]
    OutOfTurn(&'static str),
}
