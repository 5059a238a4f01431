//! Reading and writing one direction of a connection.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::ready;

use bytes::Bytes;
use tokio::io::{AsyncRead as _, AsyncWriteExt as _, ReadBuf, ReadHalf, WriteHalf, split};
use touchstone_client::NetStream;

use crate::scan::{Piece, Rewrite, Scanner, Side};

/// How much one read takes at most.
const READ: usize = 64 << 10;

/// Why a connection is over before both directions have ended.
#[derive(Debug)]
pub(crate) enum Stop {
    /// This side broke.
    Broken(Side, io::Error),
    /// Both sides are to be told.
    Clean,
}

/// One direction of a connection: where bytes come from, what they mean, and where they go.
pub(crate) struct Direction {
    /// Who sends in it.
    pub(crate) side: Side,
    pub(crate) scanner: Scanner,
    pub(crate) from: ReadHalf<NetStream>,
    pub(crate) to: WriteHalf<NetStream>,
}

impl Direction {
    /// The client's direction and the server's.
    pub(crate) fn both(client: NetStream, server: NetStream, rewrite: Rewrite) -> [Self; 2] {
        let (requests, answers) = Scanner::pair(&Arc::new(rewrite));
        let (from_client, to_client) = split(client);
        let (from_server, to_server) = split(server);
        let of = |side, scanner, from, to| Self {
            side,
            scanner,
            from,
            to,
        };
        [
            of(Side::Client, requests, from_client, to_server),
            of(Side::Server, answers, from_server, to_client),
        ]
    }

    /// Waits for bytes; none at the end.
    pub(crate) async fn read(&mut self) -> Result<Bytes, Stop> {
        let input = read(&mut self.from).await;
        input.map_err(|error| Stop::Broken(self.side, error))
    }

    /// What bytes that were read mean, and what goes on of them. No bytes are the end.
    pub(crate) fn scan(&mut self, input: Bytes) -> Vec<Piece> {
        let mut pieces = Vec::new();
        match input.is_empty() {
            true => self.scanner.end(&mut pieces),
            false => self.scanner.feed(input, &mut pieces),
        }
        pieces
    }

    /// Writes all of it, and lets nothing of it wait.
    pub(crate) async fn write(&mut self, wire: &[u8]) -> Result<(), Stop> {
        let written = async {
            self.to.write_all(wire).await?;
            self.to.flush().await
        };
        let written = written.await;
        written.map_err(|error| Stop::Broken(self.side.other(), error))
    }

    /// Ends it at its receiver.
    pub(crate) async fn end(&mut self) {
        // Whoever has gone meanwhile needs no end.
        let _ = self.to.shutdown().await;
    }
}

thread_local! {
    /// Where reads go first, so that a connection without traffic has no buffer.
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ].into());
}

/// Waits for bytes; none at the end.
async fn read(from: &mut ReadHalf<NetStream>) -> io::Result<Bytes> {
    poll_fn(|cx| {
        BUFFER.with_borrow_mut(|buffer| {
            let mut buffer = ReadBuf::new(buffer);
            ready!(Pin::new(&mut *from).poll_read(cx, &mut buffer))?;
            Ok(Bytes::copy_from_slice(buffer.filled())).into()
        })
    })
    .await
}
