//! TCP connections that can be ended from outside.
//!
//! A client that reads nothing leaves its writer waiting inside the library, where no close request
//! reaches it. So every accepted stream carries a switch: once it is tripped, reads and writes fail,
//! and whoever waits for them wakes up. The module knows nothing of what travels in the stream.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use futures_util::task::AtomicWaker;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};

use crate::first_ping::{FirstPing, Outgoing, PingFilter};

/// Ends one TCP connection.
#[derive(Debug, Default)]
pub(crate) struct KillSwitch {
    is_tripped: AtomicBool,
    is_unread: AtomicBool,
    reader: AtomicWaker,
    writer: AtomicWaker,
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

    fn add(&self) -> (u64, Arc<KillSwitch>) {
        let id = self.last.fetch_add(1, Ordering::Relaxed);
        let switch = Arc::new(KillSwitch::default());
        self.lock().insert(id, Arc::clone(&switch));
        (id, switch)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<u64, Arc<KillSwitch>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Accepts TCP connections and gives each its switch.
pub(crate) struct DropListener {
    listener: TcpListener,
    switches: KillSwitches,
    /// How long sent data may stay unacknowledged, or a peer's window closed.
    user_timeout: Duration,
}

impl DropListener {
    pub(crate) fn new(
        listener: TcpListener,
        switches: KillSwitches,
        user_timeout: Duration,
    ) -> Self {
        Self {
            listener,
            switches,
            user_timeout,
        }
    }
}

impl Listener for DropListener {
    type Io = SwitchedStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        let (stream, address) = Listener::accept(&mut self.listener).await;
        // Small packets are the rule, and each is flushed once it is whole.
        let options = stream
            .set_nodelay(true)
            .and_then(|()| SockRef::from(&stream).set_tcp_user_timeout(Some(self.user_timeout)));
        if let Err(error) = options {
            tracing::debug!(%error, "a socket option was refused");
        }
        let (id, switch) = self.switches.add();
        (
            SwitchedStream {
                stream,
                switch,
                id,
                switches: self.switches.clone(),
                pings: Pings::Untouched,
            },
            address,
        )
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.listener.local_addr()
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
        this.begin_filter();
        let Pings::Filtered(filter) = &mut this.pings else {
            return Pin::new(&mut this.stream).poll_read(cx, buffer);
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
                return Poll::Ready(Ok(count));
            }
            Some(Outgoing::Over) => this.pings = Pings::Over,
            None => {}
        }
        Pin::new(&mut this.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.switch.check(&this.switch.writer, cx)?;
        Pin::new(&mut this.stream).poll_write_vectored(cx, slices)
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

impl Connected<IncomingStream<'_, DropListener>> for RequestKillSwitch {
    fn connect_info(stream: IncomingStream<'_, DropListener>) -> Self {
        Self(Arc::clone(&stream.io().switch))
    }
}
