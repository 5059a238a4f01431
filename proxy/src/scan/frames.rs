//! WebSocket frames.

use std::io::Cursor;
use std::mem;

use bytes::{Bytes, BytesMut};
use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Data, OpCode};

use super::{MAX_KEPT, Piece, Seen};

/// The longest header of a frame.
const MAX_HEADER: usize = 14;

/// A frame, as it went by: masked and compressed as it was.
#[derive(Debug, Clone)]
pub(crate) struct Frame {
    pub(crate) header: FrameHeader,
    /// Nothing where it was too large to be kept.
    pub(crate) payload: Option<Bytes>,
}

impl Frame {
    /// Whether it is nobody's message: a control frame, or a heartbeat of Engine.IO.
    pub(crate) fn is_heartbeat(&self) -> bool {
        let header = &self.header;
        match (header.opcode, self.payload.as_deref()) {
            (OpCode::Control(_), _) => true,
            (OpCode::Data(Data::Text), Some(&[byte])) => {
                let key = header.mask.map_or(0, |mask| mask[0]);
                header.is_final && !header.rsv1 && matches!(byte ^ key, b'2' | b'3')
            }
            _ => false,
        }
    }
}

/// The frames of one direction.
#[derive(Debug, Default)]
pub(super) struct Frames {
    /// The beginning of a header.
    partial: BytesMut,
    current: Option<Current>,
}

#[derive(Debug)]
struct Current {
    header: FrameHeader,
    left: u64,
    kept: BytesMut,
    is_cut: bool,
}

impl Frames {
    /// Reads on. False where something is no frame.
    pub(super) fn feed(&mut self, input: &mut Bytes, out: &mut Vec<Piece>) -> bool {
        while !input.is_empty() {
            if let Some(current) = self.current.take() {
                self.current = current.feed(input, Bytes::new(), out);
                continue;
            }
            let before = self.partial.len();
            let room = MAX_HEADER - before;
            self.partial
                .extend_from_slice(&input[..room.min(input.len())]);
            let mut cursor = Cursor::new(&self.partial);
            let (header, left) = match FrameHeader::parse(&mut cursor) {
                Ok(Some(parsed)) => parsed,
                Ok(None) => {
                    let wire = mem::take(input);
                    out.push(Piece::part(wire));
                    return true;
                }
                Err(_) => return false,
            };
            let length = usize::try_from(cursor.position()).unwrap_or(MAX_HEADER);
            let own = input.split_to(length - before);
            self.partial.clear();
            let current = Current {
                header,
                left,
                kept: BytesMut::new(),
                is_cut: left > MAX_KEPT as u64,
            };
            self.current = current.feed(input, own, out);
        }
        true
    }
}

impl Current {
    /// Takes what belongs to the frame; `head` stands before it. Gives the frame back while it lasts.
    fn feed(mut self, input: &mut Bytes, head: Bytes, out: &mut Vec<Piece>) -> Option<Self> {
        if !head.is_empty() {
            out.push(Piece::part(head));
        }
        let length = input
            .len()
            .min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let wire = input.split_to(length);
        self.left -= length as u64;
        let is_over = self.left == 0;
        // Most frames come in one piece, which need not be copied.
        let payload = match is_over && self.kept.is_empty() {
            true => wire.clone(),
            false if self.is_cut => Bytes::new(),
            false => {
                self.kept.extend_from_slice(&wire);
                match is_over {
                    true => mem::take(&mut self.kept).freeze(),
                    false => Bytes::new(),
                }
            }
        };
        if !is_over {
            out.push(Piece::part(wire));
            return Some(self);
        }
        let frame = Frame {
            payload: (!self.is_cut).then_some(payload),
            header: self.header,
        };
        out.push(Piece::last(wire, Seen::Frame(frame)));
        None
    }
}
