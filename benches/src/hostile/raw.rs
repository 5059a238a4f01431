//! TCP connections with a small window, HTTP heads and WebSocket frames, written by hand.

use std::net::SocketAddr;

use anyhow::Context as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use touchstone_client::Secret;
use url::Url;

/// The receive buffer of who does not read, so that what it is sent waits at the server.
const WINDOW: u32 = 4_096;

const UPGRADE: &str = "GET /v1/updates/?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\n\
    Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// The address of a server.
///
/// # Errors
/// Its URL has none.
pub fn address(url: &Url) -> anyhow::Result<SocketAddr> {
    let addresses = url.socket_addrs(|| None)?;
    addresses.first().copied().context("a URL without address")
}

/// A connection that takes little at a time.
///
/// # Errors
/// It cannot be opened.
pub async fn dial(address: SocketAddr) -> anyhow::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(WINDOW)?;
    Ok(socket.connect(address).await?)
}

/// A WebSocket that never sends CONNECT.
///
/// # Errors
/// The server does not upgrade.
pub async fn upgraded(address: SocketAddr) -> anyhow::Result<TcpStream> {
    let mut stream = dial(address).await?;
    stream.write_all(UPGRADE.as_bytes()).await?;
    let mut begin = [0; 12];
    stream.read_exact(&mut begin).await?;
    anyhow::ensure!(begin == *b"HTTP/1.1 101", "no upgrade");
    Ok(stream)
}

/// A user's connection, whose answer has come when this returns, and that reads nothing from then on.
///
/// # Errors
/// The server does not let it in.
pub async fn connected(address: SocketAddr, token: &Secret) -> anyhow::Result<TcpStream> {
    let mut stream = upgraded(address).await?;
    let auth = serde_json::json!({ "token": token.expose(), "clientType": "user-scoped" });
    stream.write_all(&frame(&format!("40{auth}"))).await?;
    let mut read = Vec::new();
    while !read.windows(4).any(|part| part == b"40{\"") {
        let mut part = [0; 256];
        let count = stream.read(&mut part).await?;
        anyhow::ensure!(count > 0, "not let in");
        read.extend_from_slice(&part[..count]);
    }
    Ok(stream)
}

/// A text frame of a client, whose mask is zero.
#[must_use]
pub fn frame(text: &str) -> Vec<u8> {
    let mut frame = vec![0x81];
    match u16::try_from(text.len()) {
        Ok(length @ 0..126) => frame.push(0x80 | length.to_be_bytes()[1]),
        Ok(length) => {
            frame.push(0x80 | 126);
            frame.extend(length.to_be_bytes());
        }
        Err(_) => {
            frame.push(0x80 | 127);
            frame.extend((text.len() as u64).to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend(text.as_bytes());
    frame
}

/// The status of the answer on a connection, or nothing where it ends without.
pub async fn status(stream: &mut TcpStream) -> Option<u16> {
    let mut begin = [0; 12];
    stream.read_exact(&mut begin).await.ok()?;
    std::str::from_utf8(&begin[9..]).ok()?.parse().ok()
}
