//! From WebSocket frames to Engine.IO packets: without masks, whole, and not compressed.

use bytes::{Bytes, BytesMut};
use flate2::{Decompress, FlushDecompress, Status};
use touchstone_client::{End, Frame as Packet, Text};
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

use super::Ended;
use crate::scan::{Frame, MAX_KEPT, Side};

/// What stands behind every compressed message on neither side of the wire (RFC 7692, section 7.2.2).
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

/// The messages of a WebSocket.
#[derive(Debug)]
pub(crate) struct Messages {
    client: Stream,
    server: Stream,
    /// The first close frame: who sent it, its code and its reason.
    close: Option<(Side, Option<u16>, String)>,
}

/// The messages of one direction.
#[derive(Debug, Default)]
struct Stream {
    partial: Option<Partial>,
    inflate: Option<Inflate>,
}

#[derive(Debug)]
struct Partial {
    is_text: bool,
    is_compressed: bool,
    bytes: BytesMut,
    /// A part of it is too large to be kept.
    is_cut: bool,
}

#[derive(Debug)]
struct Inflate {
    /// Made with the first compressed message.
    state: Option<Box<Decompress>>,
    /// Whether each message stands for itself.
    forgets: bool,
    /// A message is missing that others refer to.
    is_broken: bool,
}

impl Messages {
    /// Of a WebSocket with these extensions, as the server's answer has them.
    pub(crate) fn new(extensions: Option<&str>) -> Self {
        let deflate = extensions
            .into_iter()
            .flat_map(|extensions| extensions.split(','))
            .find(|one| one.trim().starts_with("permessage-deflate"));
        let stream = |parameter: &str| Stream {
            partial: None,
            inflate: deflate.map(|deflate| Inflate {
                state: None,
                forgets: deflate.contains(parameter),
                is_broken: false,
            }),
        };
        Self {
            client: stream("client_no_context_takeover"),
            server: stream("server_no_context_takeover"),
            close: None,
        }
    }

    /// Frames are missing.
    pub(super) fn lose(&mut self) {
        for stream in [&mut self.client, &mut self.server] {
            stream.partial = None;
            if let Some(inflate) = &mut stream.inflate {
                inflate.is_broken = !inflate.forgets;
            }
        }
    }

    /// Takes a frame; gives the message that it completes.
    pub(crate) fn feed(&mut self, side: Side, frame: Frame) -> Option<Packet> {
        let payload = frame
            .payload
            .map(|payload| unmasked(payload, frame.header.mask));
        let kind = match frame.header.opcode {
            OpCode::Data(kind) => kind,
            OpCode::Control(Control::Close) => {
                self.close.get_or_insert_with(|| {
                    let payload = payload.unwrap_or_default();
                    let code = payload.first_chunk().map(|code| u16::from_be_bytes(*code));
                    let reason = payload.get(2..).unwrap_or_default();
                    (side, code, String::from_utf8_lossy(reason).into_owned())
                });
                return None;
            }
            OpCode::Control(_) => return None,
        };
        let stream = match side {
            Side::Client => &mut self.client,
            Side::Server => &mut self.server,
        };
        stream.feed(kind, frame.header.is_final, frame.header.rsv1, payload)
    }

    /// How the connection ended, as its client saw it.
    pub(super) fn end(self, first: Option<Side>, ended: &Ended) -> End {
        match (self.close, ended) {
            (Some((Side::Client, ..)), _) => End::ClientClosed,
            (Some((Side::Server, code, reason)), _) => End::TransportClose {
                code,
                reason: match reason.is_empty() {
                    true => "no reason".to_owned(),
                    false => reason,
                },
            },
            (None, Ended::Broken(side, reason)) => End::TransportError {
                reason: match side {
                    Side::Client => format!("by the client: {reason}"),
                    Side::Server => format!("by the server: {reason}"),
                },
            },
            (None, Ended::Orderly) => match first {
                Some(Side::Server) => End::TransportClose {
                    code: None,
                    reason: "end of the stream".to_owned(),
                },
                _ => End::ClientClosed,
            },
        }
    }
}

impl Stream {
    fn feed(
        &mut self,
        kind: Data,
        is_final: bool,
        is_compressed: bool,
        payload: Option<Bytes>,
    ) -> Option<Packet> {
        let partial = match kind {
            Data::Text | Data::Binary => self.partial.insert(Partial {
                is_text: kind == Data::Text,
                is_compressed,
                bytes: BytesMut::new(),
                is_cut: false,
            }),
            _ => self.partial.as_mut()?,
        };
        match payload {
            Some(payload) if partial.bytes.len() + payload.len() <= MAX_KEPT => {
                partial.bytes.extend_from_slice(&payload);
            }
            _ => {
                partial.is_cut = true;
                partial.bytes = BytesMut::new();
            }
        }
        if !is_final {
            return None;
        }
        let whole = self.partial.take()?;
        if whole.is_cut {
            if let Some(inflate) = self.inflate.as_mut().filter(|_| whole.is_compressed) {
                inflate.is_broken = !inflate.forgets;
            }
            let text = "a message that is too large to be looked at";
            return Some(Packet::text(text));
        }
        let bytes = match whole.is_compressed {
            true => self.inflate.as_mut()?.inflate(&whole.bytes)?,
            false => whole.bytes.freeze(),
        };
        match whole.is_text {
            true => Text::try_from(bytes).ok().map(Packet::Text),
            false => Some(Packet::Binary(bytes)),
        }
    }
}

impl Inflate {
    fn inflate(&mut self, bytes: &[u8]) -> Option<Bytes> {
        if self.is_broken {
            return None;
        }
        let state = self
            .state
            .get_or_insert_with(|| Box::new(Decompress::new(false)));
        if self.forgets {
            state.reset(false);
        }
        let whole = inflated(state, bytes);
        if whole.is_none() {
            self.is_broken = !self.forgets;
        }
        whole
    }
}

fn inflated(state: &mut Decompress, bytes: &[u8]) -> Option<Bytes> {
    let input = [bytes, &TAIL].concat();
    let mut out = Vec::with_capacity(input.len() * 4 + 64);
    let begin = state.total_in();
    loop {
        let done = usize::try_from(state.total_in() - begin).ok()?;
        let status = state
            .decompress_vec(&input[done..], &mut out, FlushDecompress::Sync)
            .ok()?;
        let done = usize::try_from(state.total_in() - begin).ok()?;
        if status == Status::StreamEnd || (done == input.len() && out.len() < out.capacity()) {
            return Some(out.into());
        }
        if out.len() >= MAX_KEPT {
            return None;
        }
        out.reserve(out.capacity());
    }
}

fn unmasked(payload: Bytes, mask: Option<[u8; 4]>) -> Bytes {
    let Some(mask) = mask else {
        return payload;
    };
    let mut bytes = BytesMut::from(payload);
    for (byte, key) in bytes.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= key;
    }
    bytes.freeze()
}

#[cfg(test)]
mod tests {
    use flate2::{Compress, Compression, FlushCompress};
    use tungstenite::protocol::frame::FrameHeader;

    use super::*;

    fn frame(opcode: OpCode, is_final: bool, rsv1: bool, payload: &[u8]) -> Frame {
        let mask = [1, 2, 3, 4];
        Frame {
            header: FrameHeader {
                is_final,
                rsv1,
                opcode,
                mask: Some(mask),
                ..FrameHeader::default()
            },
            payload: Some(unmasked(Bytes::copy_from_slice(payload), Some(mask))),
        }
    }

    #[test]
    fn parts_make_a_message_and_control_frames_stand_between_them() {
        let mut messages = Messages::new(None);
        let mut feed = |opcode, is_final, payload: &str| {
            messages.feed(
                Side::Client,
                frame(opcode, is_final, false, payload.as_bytes()),
            )
        };
        assert_eq!(feed(OpCode::Data(Data::Text), false, "42[\"pi"), None);
        assert_eq!(feed(OpCode::Control(Control::Ping), true, "x"), None);
        assert_eq!(feed(OpCode::Data(Data::Continue), false, "ng"), None);
        let whole = feed(OpCode::Data(Data::Continue), true, "\"]");
        assert_eq!(whole, Some(Packet::text("42[\"ping\"]")));
        let bytes = feed(OpCode::Data(Data::Binary), true, "abc");
        assert_eq!(bytes, Some(Packet::Binary(Bytes::from_static(b"abc"))));
    }

    /// As a WebSocket library sends them: one stream, without the tail of each message.
    fn compressed(state: &mut Compress, text: &str) -> Vec<u8> {
        let mut out = Vec::with_capacity(text.len() + 64);
        state
            .compress_vec(text.as_bytes(), &mut out, FlushCompress::Sync)
            .expect("compression");
        assert!(out.ends_with(&TAIL));
        out.truncate(out.len() - TAIL.len());
        out
    }

    #[test]
    fn compressed_messages_refer_to_those_before() {
        let mut messages = Messages::new(Some("permessage-deflate; client_max_window_bits=15"));
        let mut state = Compress::new(Compression::default(), false);
        let long = format!("42[\"{}\"]", "long ".repeat(40_000));
        for text in [
            "42[\"a\",\"some text\"]",
            "42[\"b\",\"some text\"]",
            &long,
            "2",
        ] {
            let bytes = compressed(&mut state, text);
            let whole = messages.feed(
                Side::Client,
                frame(OpCode::Data(Data::Text), true, true, &bytes),
            );
            assert_eq!(whole, Some(Packet::text(text.to_owned())));
        }
        messages.lose();
        let bytes = compressed(&mut state, "42[\"c\"]");
        let lost = messages.feed(
            Side::Client,
            frame(OpCode::Data(Data::Text), true, true, &bytes),
        );
        assert_eq!(lost, None);
        let plain = messages.feed(
            Side::Client,
            frame(OpCode::Data(Data::Text), true, false, b"2"),
        );
        assert_eq!(plain, Some(Packet::text("2")));
    }
}
