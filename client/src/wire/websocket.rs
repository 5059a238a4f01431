//! The WebSocket transport.

use std::{
    collections::VecDeque,
    io::{self, Read, Write},
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::AsyncWrite;
use tungstenite::{
    Message,
    error::{CapacityError, Error, ProtocolError},
    protocol::{Role, WebSocketConfig, WebSocketContext},
};

use super::{StageCell, http_upgrade, read_ahead::ReadAhead};
use crate::{
    codec::Frame,
    error::{ConnectError, End, Stage},
    net::{self, NetStream},
    options::ConnectOptions,
};

/// The library allocates its read buffer at once, keeps it, and lets it grow to the largest message.
/// It need not be large, since [`ReadAhead`] spares the system calls.
const READ_BUFFER: usize = 512;
/// Packets are collected up to this size and then written at once.
const WRITE_BUFFER: usize = 16 << 10;

pub(super) struct WebSocket {
    stream: NetStream,
    ahead: ReadAhead,
    protocol: WebSocketContext,
    /// More was given to be written than is collected.
    is_full: bool,
    /// Something was written by the upgrade itself, which nobody else will flush.
    owes_flush: bool,
    /// Nothing more can be read.
    has_ended: bool,
    /// The goodbye was said, and has to be flushed.
    is_closing: bool,
}

/// Opens a WebSocket; with `sid`, one that is to take over the polling session of that id.
pub(super) async fn open(
    options: &ConnectOptions,
    sid: Option<&str>,
    stage: &StageCell,
) -> Result<WebSocket, ConnectError> {
    stage.enter(Stage::Dialing);
    let tcp = net::dial(options).await?;
    stage.enter(Stage::Tls);
    let mut stream = net::secure(options, tcp).await?;
    stage.enter(Stage::Upgrading);
    let query = match sid {
        Some(sid) => format!("EIO=4&transport=websocket&sid={sid}"),
        None => "EIO=4&transport=websocket".to_owned(),
    };
    let early = http_upgrade::upgrade(&mut stream, options, &query).await?;
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(WRITE_BUFFER)
        .max_message_size(Some(options.max_message))
        .max_frame_size(Some(options.max_message));
    stage.enter(Stage::EngineHandshake);
    Ok(WebSocket {
        stream,
        ahead: ReadAhead::default(),
        protocol: WebSocketContext::from_partially_read(early, Role::Client, Some(config)),
        is_full: false,
        owes_flush: false,
        has_ended: false,
        is_closing: false,
    })
}

impl WebSocket {
    /// Takes a polling session over, with the frames that it had not sent.
    pub(super) fn hand_over(&mut self, unsent: VecDeque<Frame>) -> Result<(), End> {
        self.owes_flush = true;
        self.start_send(Frame::text("5"))?;
        unsent
            .into_iter()
            .try_for_each(|frame| self.start_send(frame))
    }

    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Frame, End>> {
        if self.owes_flush && self.poll_flush(cx)?.is_ready() {
            self.owes_flush = false;
        }
        loop {
            if self.has_ended {
                return Poll::Ready(Err(eof()));
            }
            let (protocol, mut io) = self.in_poll(Some(cx));
            return Poll::Ready(match protocol.read(&mut io) {
                Ok(Message::Text(text)) => Ok(Frame::Text(text)),
                Ok(Message::Binary(bytes)) => Ok(Frame::Binary(bytes)),
                // WebSocket pings are answered by the library; they are not Engine.IO's.
                Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_)) => continue,
                Ok(Message::Close(frame)) => {
                    let (code, reason) = match frame {
                        Some(frame) => (Some(frame.code.into()), frame.reason.to_string()),
                        None => (None, "close frame without code".to_owned()),
                    };
                    Err(End::TransportClose { code, reason })
                }
                Err(error) if would_block(&error) => return Poll::Pending,
                Err(error) => {
                    self.has_ended = true;
                    Err(end_of(error))
                }
            });
        }
    }

    pub(super) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), End>> {
        if self.is_full {
            self.poll_flush(cx)
        } else {
            Poll::Ready(Ok(()))
        }
    }

    pub(super) fn start_send(&mut self, frame: Frame) -> Result<(), End> {
        let message = match frame {
            Frame::Text(text) => Message::Text(text),
            Frame::Binary(bytes) => Message::Binary(bytes),
        };
        // What does not fit is kept all the same, until the next poll can write.
        let (protocol, mut io) = self.in_poll(None);
        match protocol.write(&mut io, message) {
            Err(error) if would_block(&error) => self.is_full = true,
            written => written.map_err(end_of)?,
        }
        Ok(())
    }

    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), End>> {
        let (protocol, mut io) = self.in_poll(Some(cx));
        let flushed = match protocol.flush(&mut io) {
            Err(error) if would_block(&error) => return Poll::Pending,
            // The server has said goodbye and is gone: nothing is owed to it.
            Err(Error::ConnectionClosed) => Ok(()),
            flushed => flushed.map_err(end_of),
        };
        self.is_full = false;
        Poll::Ready(flushed)
    }

    /// A failure to say goodbye is no news: the connection is over either way.
    pub(super) fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let is_closing = std::mem::replace(&mut self.is_closing, true);
        let (protocol, mut io) = self.in_poll(Some(cx));
        let closed = if is_closing {
            protocol.flush(&mut io)
        } else {
            protocol.close(&mut io, None)
        };
        match closed {
            Err(error) if would_block(&error) => Poll::Pending,
            _ => Poll::Ready(()),
        }
    }

    pub(super) fn half_close(&self) {
        self.stream.half_close();
    }

    pub(super) fn abort(self) {
        self.stream.reset_on_drop();
    }

    /// The protocol, and the stream as it wants one; without a context, one that takes nothing.
    fn in_poll<'a, 'cx>(
        &'a mut self,
        cx: Option<&'a mut Context<'cx>>,
    ) -> (&'a mut WebSocketContext, InPoll<'a, 'cx>) {
        let Self {
            stream,
            ahead,
            protocol,
            ..
        } = self;
        (protocol, InPoll { stream, ahead, cx })
    }
}

/// A stream for the time of one poll, in which whatever would have to wait is an error. The library
/// keeps what it could not write.
struct InPoll<'a, 'cx> {
    stream: &'a mut NetStream,
    ahead: &'a mut ReadAhead,
    cx: Option<&'a mut Context<'cx>>,
}

impl InPoll<'_, '_> {
    fn with<T>(
        &mut self,
        poll: impl FnOnce(&mut NetStream, &mut ReadAhead, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> io::Result<T> {
        let polled = match &mut self.cx {
            Some(cx) => poll(self.stream, self.ahead, cx),
            None => Poll::Pending,
        };
        match polled {
            Poll::Ready(done) => done,
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}

impl Read for InPoll<'_, '_> {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        self.with(|stream, ahead, cx| ahead.poll_read(stream, cx, room))
    }
}

impl Write for InPoll<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.with(|stream, _, cx| Pin::new(stream).poll_write(cx, bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.with(|stream, _, cx| Pin::new(stream).poll_flush(cx))
    }
}

fn would_block(error: &Error) -> bool {
    matches!(error, Error::Io(error) if error.kind() == io::ErrorKind::WouldBlock)
}

fn eof() -> End {
    End::TransportClose {
        code: None,
        reason: "end of stream".to_owned(),
    }
}

fn end_of(error: Error) -> End {
    match error {
        Error::ConnectionClosed
        | Error::AlreadyClosed
        | Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => eof(),
        Error::Capacity(CapacityError::MessageTooLong { size, max_size }) => End::TooLarge {
            size,
            limit: max_size,
        },
        // What still comes on a connection that is being closed is nobody's fault.
        Error::Protocol(ProtocolError::ReceivedAfterClosing | ProtocolError::SendAfterClosing) => {
            eof()
        }
        Error::Protocol(_) | Error::Utf8(_) => End::BrokenFrame {
            reason: error.to_string(),
        },
        error => End::TransportError {
            reason: error.to_string(),
        },
    }
}
