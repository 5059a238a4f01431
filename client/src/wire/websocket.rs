//! The WebSocket transport.

use std::{
    collections::VecDeque,
    pin::Pin,
    task::{Context, Poll, ready},
};

use futures_util::{Sink, Stream};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        self, Message,
        error::CapacityError,
        protocol::{Role, WebSocketConfig},
    },
};

use super::{StageCell, http_upgrade};
use crate::{
    codec::Frame,
    error::{ConnectError, End, Stage},
    net::{self, NetStream},
    options::ConnectOptions,
};

/// The library allocates its read buffer at once; with 4 KiB an idle connection costs about
/// 8 KB in all, with the default of 128 KiB it costs 136 KB.
const READ_BUFFER: usize = 4096;
/// Packets are collected up to this size and then written at once.
const WRITE_BUFFER: usize = 16 << 10;

pub(super) struct WebSocket {
    stream: WebSocketStream<NetStream>,
    /// Something was written by the upgrade itself, which nobody else will flush.
    owes_flush: bool,
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
    let stream =
        WebSocketStream::from_partially_read(stream, early, Role::Client, Some(config)).await;
    stage.enter(Stage::EngineHandshake);
    Ok(WebSocket {
        stream,
        owes_flush: false,
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
            let message = ready!(Pin::new(&mut self.stream).poll_next(cx));
            return Poll::Ready(match message {
                Some(Ok(Message::Text(text))) => Ok(Frame::Text(text)),
                Some(Ok(Message::Binary(bytes))) => Ok(Frame::Binary(bytes)),
                // WebSocket pings are answered by the library; they are not Engine.IO's.
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => continue,
                Some(Ok(Message::Close(frame))) => {
                    let (code, reason) = match frame {
                        Some(frame) => (Some(frame.code.into()), frame.reason.to_string()),
                        None => (None, "close frame without code".to_owned()),
                    };
                    Err(End::TransportClose { code, reason })
                }
                Some(Err(error)) => Err(end_of(error)),
                None => Err(eof()),
            });
        }
    }

    pub(super) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), End>> {
        Pin::new(&mut self.stream).poll_ready(cx).map_err(end_of)
    }

    pub(super) fn start_send(&mut self, frame: Frame) -> Result<(), End> {
        let message = match frame {
            Frame::Text(text) => Message::Text(text),
            Frame::Binary(bytes) => Message::Binary(bytes),
        };
        Pin::new(&mut self.stream)
            .start_send(message)
            .map_err(end_of)
    }

    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), End>> {
        Pin::new(&mut self.stream).poll_flush(cx).map_err(end_of)
    }

    /// A failure to say goodbye is no news: the connection is over either way.
    pub(super) fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.stream).poll_close(cx).map(|_| ())
    }

    pub(super) fn half_close(&self) {
        self.stream.get_ref().half_close();
    }

    pub(super) fn abort(self) {
        self.stream.get_ref().reset_on_drop();
    }
}

fn eof() -> End {
    End::TransportClose {
        code: None,
        reason: "end of stream".to_owned(),
    }
}

fn end_of(error: tungstenite::Error) -> End {
    use tungstenite::error::{Error, ProtocolError};
    match error {
        Error::ConnectionClosed
        | Error::AlreadyClosed
        | Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => eof(),
        Error::Capacity(CapacityError::MessageTooLong { size, max_size }) => End::TooLarge {
            size,
            limit: max_size,
        },
        Error::Io(error) => End::TransportError {
            reason: error.to_string(),
        },
        error => End::TransportError {
            reason: error.to_string(),
        },
    }
}
