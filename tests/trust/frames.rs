//! As much of WebSocket framing as it takes to alter what a server sends: its frames carry no mask.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt as _};

/// Opcode of a frame with text.
pub(crate) const TEXT: u8 = 1;
/// Opcode of a frame with bytes.
pub(crate) const BINARY: u8 = 2;

/// Reads one frame of a server, and gives its opcode and payload.
pub(crate) async fn read(from: &mut (impl AsyncRead + Unpin)) -> io::Result<(u8, Vec<u8>)> {
    let first = from.read_u8().await?;
    let length = match from.read_u8().await? {
        126 => from.read_u16().await?.into(),
        127 => from.read_u64().await?,
        short => short.into(),
    };
    let mut payload = vec![0; usize::try_from(length).map_err(io::Error::other)?];
    from.read_exact(&mut payload).await?;
    Ok((first & 0x0f, payload))
}

/// A whole frame of a server.
pub(crate) fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = header(opcode, payload.len() as u64);
    frame.extend_from_slice(payload);
    frame
}

/// The beginning of a frame of a server: `length` bytes have to follow.
pub(crate) fn header(opcode: u8, length: u64) -> Vec<u8> {
    let mut header = vec![0x80 | opcode];
    if let Ok(short @ ..126) = u8::try_from(length) {
        header.push(short);
    } else if let Ok(medium) = u16::try_from(length) {
        header.push(126);
        header.extend(medium.to_be_bytes());
    } else {
        header.push(127);
        header.extend(length.to_be_bytes());
    }
    header
}

#[tokio::test]
async fn frames_are_read_as_they_are_written() {
    for length in [0, 125, 126, 65_535, 65_536] {
        let payload = vec![b'x'; length];
        let bytes = frame(TEXT, &payload);
        let read = read(&mut bytes.as_slice()).await.expect("a whole frame");
        assert_eq!(read, (TEXT, payload));
    }
}
