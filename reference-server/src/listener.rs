//! TCP connections that can be ended from outside, and that end by themselves when the head of a request
//! does not come.
//!
//! A client that reads nothing leaves its writer waiting inside the library, where no close request
//! reaches it. So every accepted stream carries a switch: once it is tripped, reads and writes fail,
//! and whoever waits for them wakes up. The module knows of what travels in the stream only where an
//! HTTP answer begins.

use std::collections::HashMap;
use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::http::StatusCode;
use futures_util::task::AtomicWaker;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;

use crate::first_ping::{FirstPing, Outgoing, PingFilter};
use crate::rest::body_of;

/// Ends one TCP connection.
#[derive(Debug, Default)]
pub(crate) struct KillSwitch {
    is_tripped: AtomicBool,
    is_unread: AtomicBool,
    reader: AtomicWaker,
    writer: AtomicWaker,
    /// The head of a request has been read, and is not answered yet.
    has_head: AtomicBool,
    /// Bytes that the operating system has taken.
    written: AtomicU64,
    /// Set once the connection is a WebSocket.
    first_ping: OnceLock<FirstPing>,
}

impl KillSwitch {
    /// Ends the connection, also if its peer reads nothing.
    pub(crate) fn trip(&self) {
        self.is_tripped.store(true, Ordering::SeqCst);
        self.reader.wake();
        self.writer.wake();
    }

    /// Lets all further reads fail. Whoever serves the connection takes it for broken, but can still
    /// write.
    pub(crate) fn stop_reading(&self) {
        self.is_unread.store(true, Ordering::SeqCst);
        self.reader.wake();
    }

    /// The connection is a WebSocket from now on, whose session has this first ping.
    pub(crate) fn becomes_websocket(&self, first_ping: FirstPing) {
        // An HTTP connection becomes a WebSocket once.
        let _ = self.first_ping.set(first_ping);
    }

    /// The head of a request has been read.
    pub(crate) fn head_arrived(&self) {
        self.has_head.store(true, Ordering::SeqCst);
    }

    /// How many bytes have been written so far.
    pub(crate) fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// Fails if the switch was tripped; otherwise `waker` is woken when it is.
    fn check(&self, waker: &AtomicWaker, context: &Context<'_>) -> io::Result<()> {
        waker.register(context.waker());
        if self.is_tripped.load(Ordering::SeqCst) {
            return Err(io::Error::from(io::ErrorKind::ConnectionAborted));
        }
        Ok(())
    }
}

/// The switches of all TCP connections that are open.
#[derive(Clone, Debug, Default)]
pub(crate) struct KillSwitches {
    open: Arc<Mutex<HashMap<u64, Arc<KillSwitch>>>>,
    last: Arc<AtomicU64>,
}

impl KillSwitches {
    /// Ends all connections.
    pub(crate) fn trip_all(&self) {
        let open: Vec<_> = self.lock().values().cloned().collect();
        for switch in open {
            switch.trip();
        }
    }

    /// A switch for one more connection, unless there are so many.
    pub(crate) fn add(&self, most: usize) -> Option<(u64, Arc<KillSwitch>)> {
        let mut open = self.lock();
        if open.len() >= most {
            return None;
        }
        let id = self.last.fetch_add(1, Ordering::Relaxed);
        let switch = Arc::new(KillSwitch::default());
        open.insert(id, Arc::clone(&switch));
        Some((id, switch))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<u64, Arc<KillSwitch>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A TCP stream with a switch.
#[derive(Debug)]
pub(crate) struct SwitchedStream {
    stream: TcpStream,
    switch: Arc<KillSwitch>,
    id: u64,
    switches: KillSwitches,
    pings: Pings,
    head: Head,
    header_timeout: Duration,
}

/// Which part of a request comes next.
#[derive(Debug)]
enum Head {
    /// A head, or the rest of one, in time.
    Awaited(Pin<Box<Sleep>>),
    /// A body, if any; or nothing before something is answered.
    Arrived,
    /// A head, whenever the client has something to ask again.
    Answered,
    /// No head any more: it is a WebSocket.
    Over,
}

/// Whether the first ping of the connection has to be left out.
#[derive(Debug)]
enum Pings {
    /// Not while it speaks HTTP.
    Untouched,
    Filtered(Box<PingFilter>),
    Over,
}

impl SwitchedStream {
    pub(crate) fn new(
        stream: TcpStream,
        (id, switch): (u64, Arc<KillSwitch>),
        switches: KillSwitches,
        header_timeout: Duration,
    ) -> Self {
        Self {
            stream,
            switch,
            id,
            switches,
            pings: Pings::Untouched,
            head: Head::Awaited(Box::pin(tokio::time::sleep(header_timeout))),
            header_timeout,
        }
    }

    pub(crate) fn switch(&self) -> &Arc<KillSwitch> {
        &self.switch
    }

    /// Fails when the head of a request has not come in time, and says so to the client.
    fn check_head(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        let Head::Awaited(sleep) = &mut self.head else {
            return Ok(());
        };
        if self.switch.has_head.load(Ordering::SeqCst) {
            self.head = Head::Arrived;
            return Ok(());
        }
        if sleep.as_mut().poll(context).is_pending() {
            return Ok(());
        }
        let reason = format!(
            "the head of the request did not come within {} s",
            self.header_timeout.as_secs_f64()
        );
        // Nothing else is on its way to a client that has asked for nothing.
        let _ = self
            .stream
            .try_write(refusal(StatusCode::REQUEST_TIMEOUT, &reason).as_bytes());
        Err(io::Error::from(io::ErrorKind::TimedOut))
    }

    /// Something was read.
    fn has_read(&mut self) {
        if matches!(self.head, Head::Answered) {
            self.head = Head::Awaited(Box::pin(tokio::time::sleep(self.header_timeout)));
        }
    }

    /// Something was written, of which this is the beginning.
    fn has_written(&mut self, bytes: &[u8], count: usize) {
        self.switch
            .written
            .fetch_add(count as u64, Ordering::Relaxed);
        if matches!(self.head, Head::Over) || !bytes.starts_with(b"HTTP/1.1 ") {
            return;
        }
        // Other interim answers leave the request as it is.
        if bytes.starts_with(b"HTTP/1.1 101") {
            self.head = Head::Over;
        } else if !bytes.starts_with(b"HTTP/1.1 1")
            && self.switch.has_head.swap(false, Ordering::SeqCst)
        {
            self.head = Head::Answered;
        }
    }

    fn begin_filter(&mut self) {
        if let (Pings::Untouched, Some(ping)) = (&self.pings, self.switch.first_ping.get()) {
            self.pings = Pings::Filtered(Box::new(PingFilter::new(ping.clone())));
        }
    }

    fn filter(&mut self) -> Option<&mut PingFilter> {
        self.begin_filter();
        match &mut self.pings {
            Pings::Filtered(filter) => Some(filter),
            Pings::Untouched | Pings::Over => None,
        }
    }
}

impl Drop for SwitchedStream {
    fn drop(&mut self) {
        self.switches.lock().remove(&self.id);
    }
}

impl AsyncRead for SwitchedStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.switch.check(&this.switch.reader, cx)?;
        if this.switch.is_unread.load(Ordering::SeqCst) {
            return Poll::Ready(Err(io::Error::from(io::ErrorKind::ConnectionAborted)));
        }
        this.check_head(cx)?;
        this.begin_filter();
        let Pings::Filtered(filter) = &mut this.pings else {
            let before = buffer.filled().len();
            ready!(Pin::new(&mut this.stream).poll_read(cx, buffer))?;
            if buffer.filled().len() > before {
                this.has_read();
            }
            return Poll::Ready(Ok(()));
        };
        let has_read_pong = ready!(filter.poll_read(Pin::new(&mut this.stream), cx, buffer))?;
        if has_read_pong {
            this.pings = Pings::Over;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for SwitchedStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.switch.check(&this.switch.writer, cx)?;
        match this.filter().map(|filter| filter.outgoing(bytes)) {
            Some(Outgoing::LeaveOut(count)) => return Poll::Ready(Ok(count)),
            Some(Outgoing::Pass(count)) => {
                let count = ready!(Pin::new(&mut this.stream).poll_write(cx, &bytes[..count]))?;
                if let Some(filter) = this.filter() {
                    filter.written(&bytes[..count]);
                }
                this.has_written(bytes, count);
                return Poll::Ready(Ok(count));
            }
            Some(Outgoing::Over) => this.pings = Pings::Over,
            None => {}
        }
        let count = ready!(Pin::new(&mut this.stream).poll_write(cx, bytes))?;
        this.has_written(bytes, count);
        Poll::Ready(Ok(count))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.switch.check(&this.switch.writer, cx)?;
        let count = ready!(Pin::new(&mut this.stream).poll_write_vectored(cx, slices))?;
        this.has_written(slices.first().map_or(&[], |first| first), count);
        Poll::Ready(Ok(count))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.switch.check(&this.switch.writer, cx)?;
        Pin::new(&mut this.stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

/// The switch of the TCP connection that a request came on.
#[derive(Clone, Debug)]
pub(crate) struct RequestKillSwitch(pub(crate) Arc<KillSwitch>);

/// The answer to a connection that is over a limit, for which no request has to be read.
pub(crate) fn refusal(status: StatusCode, reason: &str) -> String {
    let body = body_of(status, reason).to_string();
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{body}",
        body.len()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever the frames of a WebSocket look like, no head is awaited behind them.
    #[tokio::test]
    async fn a_websocket_has_no_further_head() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        let switches = KillSwitches::default();
        let added = switches.add(1).unwrap();
        assert!(switches.add(1).is_none());
        let mut stream =
            SwitchedStream::new(stream, added, switches.clone(), Duration::from_secs(9));
        let mut check = |written: &[u8], is_awaited: bool| {
            stream.switch.head_arrived();
            stream.has_written(written, written.len());
            stream.has_read();
            assert_eq!(matches!(stream.head, Head::Awaited(_)), is_awaited);
        };
        check(b"HTTP/1.1 200 OK\r\n", true);
        check(b"HTTP/1.1 101 Switching Protocols\r\n", false);
        check(b"HTTP/1.1 200 OK\r\n", false);
        drop(stream);
        assert!(switches.add(1).is_some());
    }
}
