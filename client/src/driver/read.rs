//! What a connection reads, and what comes of each packet.

use std::task::{Context, Poll};

use serde::Deserialize;
use serde_json::Value;
use tokio::time::Instant;

use super::{BUDGET, Driver, incoming::Message};
use crate::{
    codec::{
        Args, DecodeError, Frame, Problem, Text, engine,
        packet::{self, Body, Packet},
    },
    error::{End, excerpt},
    link::Switch,
    received::name_of,
};

impl Driver {
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        for _ in 0..BUDGET {
            if !self.may_read() {
                // Silence that we asked for is not the server's.
                self.heard = Instant::now();
                return match &self.write_failure {
                    Some(end) if self.held.is_none() => Poll::Ready(end.clone()),
                    _ => Poll::Pending,
                };
            }
            match self.wire.poll_next(cx) {
                Poll::Ready(Ok((at, frame))) => {
                    self.heard = at;
                    if let Err(end) = self.handle(at, frame) {
                        return Poll::Ready(end);
                    }
                }
                Poll::Ready(Err(end)) => return Poll::Ready(self.why(end)),
                Poll::Pending => {
                    return match &self.write_failure {
                        Some(end) => Poll::Ready(end.clone()),
                        None => Poll::Pending,
                    };
                }
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Both directions of a broken connection fail; what the server said counts more than that
    /// it could not be written to.
    fn why(&mut self, read: End) -> End {
        match (self.write_failure.take(), read) {
            (Some(write), End::TransportError { .. }) => write,
            (_, read) => read,
        }
    }

    /// Finds a place for the event in hand, and tells whether there is room for another.
    fn may_read(&mut self) -> bool {
        if let Some(held) = self.held.take() {
            self.held = self.link.queue().push(held).err();
        }
        self.held.is_none() && !self.link.is_set(Switch::StopReading)
    }

    fn handle(&mut self, at: Instant, frame: Frame) -> Result<(), End> {
        if self.raw {
            if let Frame::Text(text) = &frame
                && let Ok(engine::Packet::Ping(data)) = engine::decode(text)
            {
                self.answer_ping(data);
            }
            return Ok(());
        }
        let text = match frame {
            Frame::Binary(bytes) => {
                let message = self.incoming.attach(bytes)?;
                self.deliver(message);
                return Ok(());
            }
            Frame::Text(text) => text,
        };
        let broken = |source| parse_error(&text, source);
        match engine::decode(&text).map_err(broken)? {
            engine::Packet::Ping(data) => {
                self.answer_ping(data);
                Ok(())
            }
            engine::Packet::Message(message) => {
                if self.incoming.is_incomplete() {
                    let problem = Problem::OutOfTurn("text frame where an attachment is due");
                    return Err(broken(DecodeError::new(0, problem)));
                }
                if let Some(listener) = &mut self.listener
                    && message.starts_with(['2', '3'])
                {
                    listener.packet(at, message);
                    return Ok(());
                }
                // One byte, the Engine.IO type, comes before the packet.
                let packet = packet::decode(message).map_err(|e| broken(e.shifted(1)))?;
                self.receive(at, &text, packet)
            }
            engine::Packet::Close => Err(End::TransportClose {
                code: None,
                reason: "Engine.IO close packet".to_owned(),
            }),
            engine::Packet::Open(_) => {
                let problem = Problem::OutOfTurn("a second handshake");
                Err(broken(DecodeError::new(0, problem)))
            }
            engine::Packet::Pong(_) | engine::Packet::Upgrade | engine::Packet::Noop => Ok(()),
        }
    }

    fn answer_ping(&mut self, data: &str) {
        // One answer is enough for pings that came while none could be written.
        if !self.link.is_set(Switch::IgnorePings) && self.urgent.len() < BUDGET {
            let pong = engine::encode(engine::Packet::Pong(data));
            self.urgent.push(Frame::text(pong));
        }
    }

    fn receive(&mut self, at: Instant, text: &Text, packet: Packet<'_>) -> Result<(), End> {
        // Nothing was connected there, so nothing can be meant for us.
        if packet.namespace != "/" {
            return Ok(());
        }
        match packet.body {
            Body::Connect(payload) => self.connected(at, text, payload),
            Body::ConnectError(payload) => {
                let refusal: Refusal = serde_json::from_str(payload).unwrap_or_default();
                Err(End::Refused {
                    message: refusal.message,
                    data: refusal.data,
                })
            }
            Body::Disconnect => Err(End::ServerDisconnect),
            Body::Event {
                name,
                args,
                ack,
                attachments,
            } => {
                let (name, args) = (name_of(text, name), Args::slice(text, args));
                let message = self.incoming.event(at, name, args, ack, attachments);
                self.deliver(message);
                Ok(())
            }
            Body::Ack {
                id,
                args,
                attachments,
            } => {
                let args = Args::slice(text, args);
                let message = self.incoming.ack(at, id, args, attachments);
                self.deliver(message);
                Ok(())
            }
        }
    }

    fn connected(&mut self, at: Instant, text: &Text, payload: &str) -> Result<(), End> {
        let answer: Connected = serde_json::from_str(payload).map_err(|error| {
            let expected = "an object with the Socket.IO id as sid";
            // Two bytes, the types, come before the payload in the default namespace.
            let error = packet::json_error(payload, expected, &error).shifted(2);
            parse_error(text, error)
        })?;
        self.link.connected(answer.sid);
        if let Some(listener) = &mut self.listener {
            listener.connected(at);
        }
        Ok(())
    }

    /// Gives a message that is complete to whoever waits for it.
    fn deliver(&mut self, message: Option<Message>) {
        match message {
            None => {}
            Some(Message::Ack(id, reply)) => self.link.resolve_ack(id, reply),
            Some(Message::Event(event)) => self.held = self.link.queue().push(event).err(),
        }
    }
}

fn parse_error(text: &Text, source: DecodeError) -> End {
    End::ParseError {
        packet: excerpt(text, 120),
        source,
    }
}

#[derive(Deserialize)]
struct Connected {
    sid: String,
}

#[derive(Default, Deserialize)]
struct Refusal {
    #[serde(default)]
    message: String,
    data: Option<Value>,
}
