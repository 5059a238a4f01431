//! Reading and writing one direction of a connection.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::ready;

use bytes::Bytes;
use tokio::io::{AsyncRead as _, AsyncWriteExt as _, ReadBuf, ReadHalf, WriteHalf};
use touchstone_client::NetStream;

use crate::scan::Side;

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

/// Writes all of it, and lets nothing of it wait.
pub(crate) async fn write(to: &mut WriteHalf<NetStream>, wire: &[u8]) -> io::Result<()> {
    to.write_all(wire).await?;
    to.flush().await
}

thread_local! {
    /// Where reads go first, so that a connection without traffic has no buffer.
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ].into());
}

/// Waits for bytes; none at the end.
pub(crate) async fn read(from: &mut ReadHalf<NetStream>) -> io::Result<Bytes> {
    poll_fn(|cx| {
        BUFFER.with_borrow_mut(|buffer| {
            let mut buffer = ReadBuf::new(buffer);
            ready!(Pin::new(&mut *from).poll_read(cx, &mut buffer))?;
            Ok(Bytes::copy_from_slice(buffer.filled())).into()
        })
    })
    .await
}
