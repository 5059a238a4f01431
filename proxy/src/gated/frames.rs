//! WebSocket frames that the proxy makes.

use std::io::Cursor;

use bytes::Bytes;
use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

use crate::scan::{Frame, Seen, Side};

/// The code of a close frame that says that an endpoint goes away.
const GOING_AWAY: [u8; 2] = 1001_u16.to_be_bytes();

/// The frame of a packet as `side` sends it.
pub(super) fn text(packet: &str, side: Side) -> Bytes {
    frame(OpCode::Data(Data::Text), packet.as_bytes(), side)
}

/// The close frame that `side` would send.
pub(crate) fn close(side: Side) -> Bytes {
    frame(OpCode::Control(Control::Close), &GOING_AWAY, side)
}

fn frame(opcode: OpCode, payload: &[u8], side: Side) -> Bytes {
    let header = FrameHeader {
        opcode,
        // Clients have to mask; a key of zeros leaves what it is laid over.
        mask: (side == Side::Client).then_some([0; 4]),
        ..FrameHeader::default()
    };
    let mut bytes = Vec::with_capacity(payload.len() + 14);
    // Writing into memory does not fail.
    let _ = header.format(payload.len() as u64, &mut bytes);
    bytes.extend_from_slice(payload);
    bytes.into()
}

/// What an observer sees of a frame that the proxy made.
pub(super) fn read_back(wire: &Bytes) -> Vec<Seen> {
    let mut cursor = Cursor::new(wire);
    match FrameHeader::parse(&mut cursor) {
        Ok(Some((header, _))) => {
            let start = usize::try_from(cursor.position()).unwrap_or_default();
            let payload = Some(wire.slice(start..));
            vec![Seen::Frame(Frame { header, payload })]
        }
        _ => Vec::new(),
    }
}
