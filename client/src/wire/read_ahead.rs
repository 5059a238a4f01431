//! Reading in large pieces on behalf of a reader that has little room of its own.
//!
//! The WebSocket library keeps its read buffer for as long as a connection lives, so the buffer has to
//! be small where there are connections by the ten thousands; a burst read through a small buffer
//! would take many system calls. What is read here and not taken at once is kept only until it is.

use std::{
    io,
    mem::MaybeUninit,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, ReadBuf};

/// The most that is read at once. It is on the stack while reading.
const PIECE: usize = 16 << 10;

/// What was read from a stream and not taken yet. It is empty, and without memory, while nothing
/// comes.
#[derive(Default)]
pub(super) struct ReadAhead(Bytes);

impl ReadAhead {
    /// Reads into `room`, from the stream in pieces of up to [`PIECE`] bytes however little room
    /// there is. Ready with 0 at the end of the stream.
    pub(super) fn poll_read(
        &mut self,
        stream: &mut (impl AsyncRead + Unpin),
        cx: &mut Context<'_>,
        room: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        if !self.0.is_empty() {
            let size = self.0.len().min(room.len());
            self.0.copy_to_slice(&mut room[..size]);
            if self.0.is_empty() {
                self.0 = Bytes::new();
            }
            return Poll::Ready(Ok(size));
        }
        let mut piece = [MaybeUninit::uninit(); PIECE];
        let mut piece = ReadBuf::uninit(&mut piece);
        ready!(Pin::new(stream).poll_read(cx, &mut piece))?;
        let read = piece.filled();
        let (now, later) = read.split_at(read.len().min(room.len()));
        room[..now.len()].copy_from_slice(now);
        self.0 = Bytes::copy_from_slice(later);
        Poll::Ready(Ok(now.len()))
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::{AsyncWriteExt, duplex};

    use super::*;

    #[track_caller]
    fn check(taken: &[u8], sent: &[u8], asked: usize) {
        assert!(taken == sent, "{} bytes, {asked} at a time", sent.len());
    }

    #[tokio::test]
    async fn everything_comes_once_and_in_order_whatever_room_there_is() {
        for size in [0, 1, PIECE - 1, PIECE, PIECE + 1, 5 * PIECE + 7] {
            let sent: Vec<u8> = (0..=250).cycle().take(size).collect();
            for asked in [1, 100, PIECE, 2 * PIECE] {
                let (mut near, mut far) = duplex(3 * PIECE);
                let mut ahead = ReadAhead::default();
                let mut taken = Vec::new();
                let mut room = vec![0; asked];
                let take = async {
                    loop {
                        let read = poll_fn(|cx| ahead.poll_read(&mut near, cx, &mut room)).await;
                        match read.unwrap() {
                            0 => break,
                            read => taken.extend_from_slice(&room[..read]),
                        }
                    }
                };
                let send = async {
                    far.write_all(&sent).await.unwrap();
                    drop(far);
                };
                tokio::join!(take, send);
                check(&taken, &sent, asked);
            }
        }
    }

    #[tokio::test]
    async fn a_piece_is_read_at_once_and_forgotten_when_it_is_taken() {
        let (mut near, mut far) = duplex(PIECE);
        far.write_all(b"abcdef").await.unwrap();
        let mut ahead = ReadAhead::default();
        let mut room = [0; 4];
        for (expected, left) in [("abcd", "ef"), ("ef", "")] {
            let read = poll_fn(|cx| ahead.poll_read(&mut near, cx, &mut room)).await;
            assert_eq!(&room[..read.unwrap()], expected.as_bytes());
            assert_eq!(ahead.0, left);
        }
    }
}
