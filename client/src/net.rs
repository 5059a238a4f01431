//! TCP and TLS: opening the byte stream under a WebSocket.

use std::{
    io,
    net::{IpAddr, Shutdown, SocketAddr},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use rustls::pki_types::ServerName;
use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpSocket, TcpStream, lookup_host},
};
use tokio_rustls::{TlsConnector, TlsStream};

use crate::{
    error::{ConnectError, DialFailure},
    options::ConnectOptions,
    tls::{TlsError, TlsOptions},
};

/// A TCP connection, with or without TLS.
#[derive(Debug)]
pub enum NetStream {
    /// Without.
    Plain(TcpStream),
    /// With, on either side.
    Tls(Box<TlsStream<TcpStream>>),
}

impl NetStream {
    /// Opens a connection to the server of `options`.
    ///
    /// # Errors
    /// Nobody listens there, or TLS fails.
    pub async fn open(options: &ConnectOptions) -> Result<Self, ConnectError> {
        let tcp = dial(options).await?;
        secure(options, tcp).await
    }

    /// Makes the coming drop send a reset instead of an orderly end.
    pub fn reset_on_drop(&self) {
        // A socket that cannot be told so is closed all the same, only more politely.
        let _ = SockRef::from(self.tcp()).set_linger(Some(Duration::ZERO));
    }

    /// Ends this side's direction, beneath TLS and without its goodbye.
    pub(crate) fn half_close(&self) {
        // A stream that has ended already cannot be ended once more.
        let _ = SockRef::from(self.tcp()).shutdown(Shutdown::Write);
    }

    fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(tcp) => tcp,
            Self::Tls(tls) => tls.get_ref().0,
        }
    }
}

/// Host and port of the options' URL, for dialing and for messages.
pub(crate) fn address_of(options: &ConnectOptions) -> Result<(String, u16), ConnectError> {
    let unusable = |reason: &str| ConnectError::Unusable {
        url: options.url.to_string(),
        reason: reason.to_owned(),
    };
    if !matches!(options.url.scheme(), "http" | "https" | "ws" | "wss") {
        return Err(unusable("the scheme is not http, https, ws or wss"));
    }
    let host = options
        .url
        .host_str()
        .ok_or_else(|| unusable("it names no host"))?;
    let port = options
        .url
        .port_or_known_default()
        .ok_or_else(|| unusable("it names no port"))?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    Ok((host.to_owned(), port))
}

/// Opens a TCP connection to the first address of the host that accepts.
pub(crate) async fn dial(options: &ConnectOptions) -> Result<TcpStream, ConnectError> {
    let (host, port) = options.dialled()?;
    let failed = |attempts| ConnectError::Dial {
        address: format!("{host}:{port}"),
        source: DialFailure { attempts },
    };
    let addresses = match lookup_host((host.as_str(), port)).await {
        Ok(addresses) => addresses,
        Err(error) => return Err(failed(vec![(None, error)])),
    };
    let mut attempts = Vec::new();
    for address in addresses {
        match dial_one(address, options.local_address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => attempts.push((Some(address), error)),
        }
    }
    if attempts.is_empty() {
        attempts.push((None, io::Error::other("the name has no address")));
    }
    Err(failed(attempts))
}

async fn dial_one(address: SocketAddr, local: Option<IpAddr>) -> io::Result<TcpStream> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    if let Some(local) = local {
        socket.bind(SocketAddr::new(local, 0))?;
    }
    let stream = socket.connect(address).await?;
    // Packets are written in batches already, so waiting for more only adds latency.
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Adds TLS where the URL asks for it.
pub(crate) async fn secure(
    options: &ConnectOptions,
    tcp: TcpStream,
) -> Result<NetStream, ConnectError> {
    if !options.is_tls() {
        return Ok(NetStream::Plain(tcp));
    }
    let (host, port) = address_of(options)?;
    let failed = |source| ConnectError::Tls {
        address: format!("{host}:{port}"),
        source,
    };
    let tls = match &options.tls {
        Some(tls) => tls.clone(),
        None => TlsOptions::system().map_err(failed)?,
    };
    let name = ServerName::try_from(host.clone())
        .map_err(|_| failed(TlsError::ServerName(host.clone())))?;
    let stream = TlsConnector::from(tls.config())
        .connect(name, tcp)
        .await
        .map_err(|error| failed(TlsError::Handshake(error)))?;
    Ok(NetStream::Tls(Box::new(stream.into())))
}

impl AsyncRead for NetStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_read(cx, buf),
            Self::Tls(tls) => Pin::new(tls).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for NetStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_write(cx, buf),
            Self::Tls(tls) => Pin::new(tls).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_flush(cx),
            Self::Tls(tls) => Pin::new(tls).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Self::Tls(tls) => Pin::new(tls).poll_shutdown(cx),
        }
    }
}
