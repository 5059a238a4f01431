//! Where events are answered.

use std::convert::Infallible;
use std::sync::Arc;

use serde_json::Value;
use socketioxide::SendError;
use socketioxide::adapter::LocalAdapter;
use socketioxide::extract::AckSender;
use socketioxide::handler::{FromMessageParts, Value as Raw};
use socketioxide::socket::Socket;

/// Where an event is answered. An `AckSender` is gone after one attempt, and an attempt fails while the
/// library's queue is full, so this makes one for each attempt.
pub(crate) struct Answer(Arc<Socket>, Option<i64>);

impl FromMessageParts<LocalAdapter> for Answer {
    type Error = Infallible;

    fn from_message_parts(
        socket: &Arc<Socket>,
        _: &mut Raw,
        ack_id: &Option<i64>,
    ) -> Result<Self, Infallible> {
        Ok(Self(Arc::clone(socket), *ack_id))
    }
}

impl Answer {
    pub(crate) fn send(&self, data: &Value) -> Result<(), SendError> {
        let mut unused = Raw::Str(Default::default(), None);
        let Ok(sender) = AckSender::from_message_parts(&self.0, &mut unused, &self.1);
        sender.send(data)
    }
}
