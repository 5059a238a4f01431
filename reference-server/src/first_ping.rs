//! The first heartbeat of an Engine.IO session, which engineioxide sends at once.
//!
//! Official servers send it after `pingInterval`. A client over long-polling that leaves early has to
//! answer it while it says goodbye, and some then wait for a whole interval. So the first ping is
//! left out of what a session is sent, and engineioxide reads the pong that it waits for. After
//! that, its heartbeats come at the times of official servers.
//!
//! The module must not touch anything else that travels.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, ReadBuf};

/// An Engine.IO ping, as the packet of a polling payload.
const PING: &str = "2";
/// What separates the packets of a polling payload.
const SEPARATOR: char = '\u{1e}';
/// An Engine.IO ping in a WebSocket frame from a server.
const PING_FRAME: [u8; 3] = [0x81, 1, b'2'];
/// An Engine.IO pong in a WebSocket frame from a client; its mask is zero.
const PONG_FRAME: [u8; 7] = [0x81, 0x80 | 1, 0, 0, 0, 0, b'3'];

/// The first ping of one session, whichever transport it would travel on.
#[derive(Clone, Debug, Default)]
pub(crate) struct FirstPing(Arc<AtomicBool>);

impl FirstPing {
    /// Whether it has been left out.
    pub(crate) fn is_over(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }

    /// True for whoever has to leave it out, which is the first to ask.
    fn take(&self) -> bool {
        !self.0.swap(true, Ordering::SeqCst)
    }

    /// A polling payload without the first ping; `None` if there is nothing to leave out.
    pub(crate) fn without(&self, payload: &[u8]) -> Option<String> {
        let payload = std::str::from_utf8(payload).ok()?;
        let mut packets: Vec<_> = payload.split(SEPARATOR).collect();
        let place = packets.iter().position(|packet| *packet == PING)?;
        if !self.take() {
            return None;
        }
        packets.remove(place);
        Some(packets.join(&SEPARATOR.to_string()))
    }
}

/// Leaves the first ping out of a TCP connection that has become a WebSocket.
#[derive(Debug)]
pub(crate) struct PingFilter {
    ping: FirstPing,
    sent: Frames,
    received: Frames,
    /// The ping was left out, and its pong is still to be read.
    owes_pong: bool,
    reader: Option<Waker>,
}

/// What becomes of bytes that are to be written.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outgoing {
    /// So many of them are written as they are.
    Pass(usize),
    /// So many of them are left out.
    LeaveOut(usize),
    /// There is nothing to leave out any more.
    Over,
}

impl PingFilter {
    pub(crate) fn new(ping: FirstPing) -> Self {
        Self {
            ping,
            sent: Frames::after_head(),
            received: Frames::default(),
            owes_pong: false,
            reader: None,
        }
    }

    /// Decides on the next bytes to write.
    pub(crate) fn outgoing(&mut self, bytes: &[u8]) -> Outgoing {
        if self.owes_pong {
            return Outgoing::Pass(bytes.len());
        }
        if self.ping.is_over() {
            return Outgoing::Over;
        }
        let (mut frames, mut end) = (self.sent, 0);
        while end < bytes.len() {
            let rest = &bytes[end..];
            if frames.is_at_start() && rest.starts_with(&PING_FRAME) {
                break;
            }
            end += frames.step(rest);
        }
        if end > 0 {
            return Outgoing::Pass(end);
        }
        if !self.ping.take() {
            return Outgoing::Over;
        }
        self.owes_pong = true;
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
        Outgoing::LeaveOut(PING_FRAME.len())
    }

    /// Takes note of bytes that were written.
    pub(crate) fn written(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            bytes = &bytes[self.sent.step(bytes)..];
        }
    }

    /// Reads from `stream`, and the pong between two frames if it is owed; true once it was read.
    pub(crate) fn poll_read(
        &mut self,
        stream: Pin<&mut impl AsyncRead>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<bool>> {
        // Room for the pong, unless the reader asks for a few bytes only.
        let room = buffer.remaining().saturating_sub(PONG_FRAME.len());
        if self.owes_pong && room > 0 && self.received.is_at_start() {
            buffer.put_slice(&PONG_FRAME);
            return Poll::Ready(Ok(true));
        }
        self.reader = Some(context.waker().clone());
        let limit = if room > 0 { room } else { buffer.remaining() };
        let mut part = ReadBuf::new(buffer.initialize_unfilled_to(limit));
        match stream.poll_read(context, &mut part) {
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            Poll::Pending => return Poll::Pending,
        }
        let count = part.filled().len();
        let space = &mut buffer.initialize_unfilled()[..];
        let mut end = 0;
        while end < count {
            end += self.received.step(&space[end..count]);
            if self.owes_pong && room > 0 && self.received.is_at_start() {
                space.copy_within(end..count, end + PONG_FRAME.len());
                space[end..end + PONG_FRAME.len()].copy_from_slice(&PONG_FRAME);
                buffer.advance(count + PONG_FRAME.len());
                return Poll::Ready(Ok(true));
            }
        }
        buffer.advance(count);
        Poll::Ready(Ok(false))
    }
}

/// Follows where the frames of a WebSocket begin.
#[derive(Clone, Copy, Debug, Default)]
struct Frames {
    /// The HTTP head that announces the WebSocket comes first.
    is_in_head: bool,
    header: [u8; 14],
    /// How much of the header is there.
    known: usize,
    /// How much of the payload is still to come.
    left: u64,
}

impl Frames {
    fn after_head() -> Self {
        Self {
            is_in_head: true,
            ..Self::default()
        }
    }

    fn is_at_start(&self) -> bool {
        !self.is_in_head && self.known == 0 && self.left == 0
    }

    /// Takes bytes until the end of a frame or of the head, and tells how many.
    fn step(&mut self, bytes: &[u8]) -> usize {
        if self.is_in_head {
            // The head is ASCII; the first frame of a server is whole, which its highest bit says.
            let begin = bytes.iter().position(|byte| !byte.is_ascii());
            self.is_in_head = begin.is_none();
            return begin.unwrap_or(bytes.len());
        }
        let mut taken = 0;
        while taken < bytes.len() {
            if self.left == 0 {
                self.header[self.known] = bytes[taken];
                self.known += 1;
                taken += 1;
                if self.known < 2 || self.known < self.header_length() {
                    continue;
                }
                self.left = self.payload_length();
                self.known = 0;
            } else {
                let rest = bytes.len() - taken;
                let part = usize::try_from(self.left).map_or(rest, |left| left.min(rest));
                self.left -= part as u64;
                taken += part;
            }
            if self.left == 0 {
                break;
            }
        }
        taken
    }

    fn header_length(&self) -> usize {
        let mask = if self.header[1] & 0x80 == 0 { 0 } else { 4 };
        mask + match self.header[1] & 0x7f {
            126 => 4,
            127 => 10,
            _ => 2,
        }
    }

    fn payload_length(&self) -> u64 {
        let bytes = match self.header[1] & 0x7f {
            126 => &self.header[2..4],
            127 => &self.header[2..10],
            _ => return u64::from(self.header[1] & 0x7f),
        };
        bytes
            .iter()
            .fold(0, |length, &byte| length << 8 | u64::from(byte))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A frame with a text of this length.
    fn frame(is_masked: bool, length: usize) -> Vec<u8> {
        let mask = if is_masked { 0x80 } else { 0 };
        let mut bytes = vec![0x81];
        match u8::try_from(length) {
            Ok(length) if length < 126 => bytes.push(mask | length),
            _ => match u16::try_from(length) {
                Ok(length) => {
                    bytes.push(mask | 126);
                    bytes.extend(length.to_be_bytes());
                }
                Err(_) => {
                    bytes.push(mask | 127);
                    bytes.extend((length as u64).to_be_bytes());
                }
            },
        }
        bytes.extend(vec![0; if is_masked { 4 } else { 0 }]);
        // The payload looks like a ping, which must not matter.
        bytes.extend(PING_FRAME.iter().cycle().take(length));
        bytes
    }

    /// What comes out of a filter when it is written `bytes`, so many at a time, of which the stream
    /// takes at most so many.
    fn written(filter: &mut PingFilter, bytes: &[u8], piece: usize, taken: usize) -> Vec<u8> {
        let mut out = Vec::new();
        let mut rest = bytes;
        while !rest.is_empty() {
            let next = &rest[..piece.min(rest.len())];
            let used = match filter.outgoing(next) {
                Outgoing::Pass(count) => {
                    let count = count.min(taken);
                    filter.written(&next[..count]);
                    out.extend(&next[..count]);
                    count
                }
                Outgoing::LeaveOut(count) => count,
                Outgoing::Over => {
                    out.extend(next);
                    next.len()
                }
            };
            rest = &rest[used..];
        }
        out
    }

    const HEAD: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\n\r\n";

    #[test]
    fn the_first_ping_is_left_out_and_nothing_else() {
        for length in [0, 1, 125, 126, 65_535, 65_536] {
            let before = [HEAD, &frame(false, length), &frame(false, 3)].concat();
            let after = [&frame(false, length)[..], &PING_FRAME, &PING_FRAME].concat();
            let bytes = [&before[..], &PING_FRAME, &after].concat();
            for taken in [usize::MAX, 1, 7] {
                let mut filter = PingFilter::new(FirstPing::default());
                let out = written(&mut filter, &bytes, usize::MAX, taken);
                assert!(out == [&before[..], &after].concat(), "{length} {taken}");
                assert!(filter.owes_pong);
            }
        }
    }

    #[test]
    fn a_session_whose_ping_was_left_out_elsewhere_keeps_the_next() {
        let ping = FirstPing::default();
        let mut filter = PingFilter::new(ping.clone());
        assert!(ping.take());
        let bytes = [HEAD, &PING_FRAME].concat();
        assert_eq!(written(&mut filter, &bytes, usize::MAX, 99), bytes);
    }

    /// Reads everything from a filter that owes a pong, in pieces of this size.
    async fn read(bytes: &[u8], owed_from: usize, piece: usize) -> Vec<u8> {
        let mut filter = PingFilter::new(FirstPing::default());
        let mut out = Vec::new();
        let mut rest = bytes;
        let mut is_over = false;
        while !rest.is_empty() {
            let begin = bytes.len() - rest.len();
            filter.owes_pong = begin >= owed_from && !is_over;
            let mut space = vec![0; piece];
            let mut buffer = ReadBuf::new(&mut space);
            is_over |= std::future::poll_fn(|context| {
                filter.poll_read(Pin::new(&mut rest), context, &mut buffer)
            })
            .await
            .unwrap();
            out.extend(buffer.filled());
        }
        out
    }

    #[tokio::test]
    async fn the_pong_is_read_between_two_frames() {
        let (first, second) = (frame(true, 200), frame(true, 70_000));
        let bytes = [&first[..], &second, &first].concat();
        let at_start = [&PONG_FRAME[..], &bytes].concat();
        let after_first = [&first[..], &PONG_FRAME, &second, &first].concat();
        for piece in [8, 9, 50, 4_096, 100_000] {
            assert!(read(&bytes, 0, piece).await == at_start, "{piece}");
            if piece < 200 {
                assert!(read(&bytes, 1, piece).await == after_first, "{piece}");
            }
        }
        assert!(read(&bytes, usize::MAX, 50).await == bytes);
    }

    #[track_caller]
    fn check_payload(payload: &str, expected: Option<&str>) {
        let without = FirstPing::default().without(payload.as_bytes());
        assert_eq!(without.as_deref(), expected, "{payload}");
    }

    #[test]
    fn a_payload_loses_its_first_ping_only() {
        check_payload("2", Some(""));
        check_payload("40{}\u{1e}2", Some("40{}"));
        check_payload("2\u{1e}40{}\u{1e}2", Some("40{}\u{1e}2"));
        check_payload("42[\"2\"]\u{1e}6", None);
        check_payload("", None);
        let ping = FirstPing::default();
        assert!(ping.without(b"2").is_some());
        assert!(ping.without(b"2").is_none(), "the second ping stays");
    }
}
