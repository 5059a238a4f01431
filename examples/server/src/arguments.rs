//! What events and acks carry, in the types that the library asks for.

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;

use serde::de::{Deserialize, Deserializer, SeqAccess, Visitor};
use serde_json::Value;
use socketioxide::SendError;
use socketioxide::adapter::LocalAdapter;
use socketioxide::extract::AckSender;
use socketioxide::handler::{FromMessageParts, Value as Raw};
use socketioxide::socket::Socket;

/// The first of any number of arguments, if there is one. With a type of its own for each event, the
/// library would not even call the handler when a client sends something else.
#[derive(Default)]
pub(crate) struct Arguments(pub(crate) Option<Value>);

impl<'de> Deserialize<'de> for Arguments {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // A tuple is what the library takes for "all arguments"; of no particular length.
        deserializer.deserialize_tuple(0, First)
    }
}

struct First;

impl<'de> Visitor<'de> for First {
    type Value = Arguments;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("arguments")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut arguments: A) -> Result<Arguments, A::Error> {
        let first = arguments.next_element()?;
        while arguments.next_element::<Value>()?.is_some() {}
        Ok(Arguments(first))
    }
}

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
