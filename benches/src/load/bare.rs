//! A server that does one thing: it writes each message to every user-scoped connection.
//!
//! It stands where a real server would be the limit, so that a generator can be driven to its own.
//! Frames are made once for all receivers and written by the task that has read the message; what
//! came in one read goes out in one write, as with servers that batch. Nothing is validated, stored
//! or kept in order among senders, and CONNECT lets everyone in.

use std::fmt::Write as _;
use std::io::{self, Cursor};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, bail, ensure};
use serde::Deserialize;
use tokio::io::Interest;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tungstenite::handshake::derive_accept_key;
use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Data, OpCode};

/// The target file for `touchstone load --provision file:…`: all that exists here.
pub const TARGET: &str = "[[accounts]]\ntoken = \"bare\"\nsessions = [\"session\"]\n";

/// The Engine.IO handshake. Nobody is pinged while a measurement lasts.
const HANDSHAKE: &str = r#"0{"sid":"bare","upgrades":[],"pingInterval":600000,"pingTimeout":600000,"maxPayload":1000000}"#;
const CONNECTED: &str = r#"40{"sid":"bare"}"#;
/// The most that may wait for one receiver before it is dropped.
const BACKLOG: usize = 16 << 20;
/// The most that is read at once.
const READ: usize = 64 << 10;

/// Serves for ever.
///
/// # Errors
/// Nothing can be accepted any more.
pub async fn serve(listener: TcpListener) -> anyhow::Result<()> {
    let hub = Arc::new(Hub::default());
    loop {
        let (stream, _) = listener.accept().await.context("cannot accept")?;
        stream.set_nodelay(true)?;
        let hub = Arc::clone(&hub);
        tokio::spawn(async move {
            let peer = Arc::new(Peer::new(stream));
            // However a connection ends: the generator reports what it misses.
            let _ = converse(&hub, &peer).await;
            hub.receivers().retain(|other| !Arc::ptr_eq(other, &peer));
        });
    }
}

/// Who receives.
#[derive(Default)]
struct Hub {
    receivers: Mutex<Vec<Arc<Peer>>>,
}

impl Hub {
    fn receivers(&self) -> MutexGuard<'_, Vec<Arc<Peer>>> {
        self.receivers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection, and what could not be written to it at once.
struct Peer {
    stream: TcpStream,
    backlog: Mutex<Vec<u8>>,
    has_backlog: Notify,
}

impl Peer {
    fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            backlog: Mutex::default(),
            has_backlog: Notify::new(),
        }
    }

    fn backlog(&self) -> MutexGuard<'_, Vec<u8>> {
        self.backlog.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes what the receiver takes at once, and keeps the rest for its own task.
    fn write(&self, bytes: &[u8]) {
        let mut backlog = self.backlog();
        // A broken stream is noticed by whoever reads it.
        let written = if backlog.is_empty() {
            self.stream.try_write(bytes).unwrap_or_default()
        } else {
            0
        };
        if written < bytes.len() {
            backlog.extend_from_slice(&bytes[written..]);
            self.has_backlog.notify_one();
        }
    }

    /// Writes of the backlog what is taken now.
    fn flush(&self) -> anyhow::Result<()> {
        let mut backlog = self.backlog();
        ensure!(backlog.len() <= BACKLOG, "the receiver is too slow");
        let written = would_block(self.stream.try_write(&backlog))?;
        backlog.drain(..written.unwrap_or_default());
        Ok(())
    }

    /// Waits until something can be read, and writes the backlog meanwhile.
    async fn readable(&self) -> anyhow::Result<()> {
        loop {
            let interest = if self.backlog().is_empty() {
                Interest::READABLE
            } else {
                Interest::READABLE | Interest::WRITABLE
            };
            tokio::select! {
                ready = self.stream.ready(interest) => {
                    let ready = ready?;
                    if ready.is_writable() {
                        self.flush()?;
                    }
                    if ready.is_readable() {
                        return Ok(());
                    }
                }
                () = self.has_backlog.notified() => {}
            }
        }
    }

    /// Reads more behind what `buffer` holds.
    async fn read(&self, buffer: &mut Vec<u8>) -> anyhow::Result<()> {
        loop {
            self.readable().await?;
            let have = buffer.len();
            buffer.resize(have + READ, 0);
            let read = would_block(self.stream.try_read(&mut buffer[have..]));
            buffer.truncate(have + read.as_ref().ok().copied().flatten().unwrap_or_default());
            match read? {
                Some(0) => bail!("closed"),
                Some(_) => return Ok(()),
                None => {}
            }
        }
    }
}

/// Nothing where it would have to wait.
fn would_block(done: io::Result<usize>) -> io::Result<Option<usize>> {
    match done {
        Ok(size) => Ok(Some(size)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}

async fn converse(hub: &Hub, peer: &Arc<Peer>) -> anyhow::Result<()> {
    let mut buffer = Vec::new();
    let key = loop {
        peer.read(&mut buffer).await?;
        if let Some(key) = websocket_key(&mut buffer)? {
            break key;
        }
    };
    let accept = derive_accept_key(key.as_bytes());
    peer.write(
        format!(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Accept: {accept}\r\n\r\n"
        )
        .as_bytes(),
    );
    peer.write(&framed(HANDSHAKE));
    let mut sequence = 0;
    loop {
        peer.read(&mut buffer).await?;
        let (mut updates, mut answers) = (Vec::new(), Vec::new());
        while let Some(text) = take_frame(&mut buffer)? {
            if text.starts_with("40") {
                if text.contains("\"user-scoped\"") {
                    hub.receivers().push(Arc::clone(peer));
                }
                peer.write(&framed(CONNECTED));
            } else if let Some(event) = text.strip_prefix("42") {
                let args = event.trim_start_matches(|c: char| c.is_ascii_digit());
                let ack = &event[..event.len() - args.len()];
                if ack.is_empty() {
                    sequence += 1;
                    updates.extend(framed(&update(args, sequence)?));
                } else {
                    // Only `ping` asks for an answer, to learn that nothing more comes before it.
                    answers.extend(framed(&format!("43{ack}[{{}}]")));
                }
            }
        }
        if !updates.is_empty() {
            for receiver in &*hub.receivers() {
                receiver.write(&updates);
            }
        }
        if !answers.is_empty() {
            peer.write(&answers);
        }
    }
}

/// Takes an upgrade request from the buffer, when it is complete, and returns its key.
fn websocket_key(buffer: &mut Vec<u8>) -> anyhow::Result<Option<String>> {
    let Some(end) = buffer.windows(4).position(|four| four == b"\r\n\r\n") else {
        return Ok(None);
    };
    let head: Vec<u8> = buffer.drain(..end + 4).collect();
    let head = String::from_utf8(head).context("a request that is no text")?;
    let key = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("sec-websocket-key")
            .then(|| value.trim().to_owned())
    });
    key.map(Some).context("a request for something else")
}

/// Takes a client's frame from the buffer, when it is complete.
fn take_frame(buffer: &mut Vec<u8>) -> anyhow::Result<Option<String>> {
    let mut cursor = Cursor::new(&*buffer);
    let Some((header, length)) = FrameHeader::parse(&mut cursor)? else {
        return Ok(None);
    };
    let begin = usize::try_from(cursor.position())?;
    let end = begin + usize::try_from(length)?;
    if buffer.len() < end {
        return Ok(None);
    }
    ensure!(
        header.opcode == OpCode::Data(Data::Text),
        "the end, or no text"
    );
    let mask = header.mask.context("a frame without a mask")?;
    let mut payload = buffer[begin..end].to_vec();
    for (byte, mask) in payload.iter_mut().zip(mask.into_iter().cycle()) {
        *byte ^= mask;
    }
    buffer.drain(..end);
    Ok(Some(String::from_utf8(payload)?))
}

/// A text frame as servers send it.
fn framed(text: &str) -> Vec<u8> {
    let header = FrameHeader {
        opcode: OpCode::Data(Data::Text),
        ..FrameHeader::default()
    };
    let mut frame = Vec::with_capacity(text.len() + 10);
    header
        .format(text.len() as u64, &mut frame)
        .expect("writing to memory does not fail");
    frame.extend_from_slice(text.as_bytes());
    frame
}

#[derive(Deserialize)]
struct Sent<'a> {
    sid: &'a str,
    message: &'a str,
}

/// The update that a message causes, with all that the contract has in it.
fn update(args: &str, sequence: u64) -> anyhow::Result<String> {
    let (_, Sent { sid, message }): (&str, Sent<'_>) =
        serde_json::from_str(args).context("an event that is no message")?;
    let mut text = String::with_capacity(message.len() + 400);
    write!(
        text,
        r#"42["update",{{"id":"update-{sequence:016}","seq":{sequence},"body":{{"t":"new-message","sid":"{sid}","message":{{"id":"message-{sequence:016}","seq":{sequence},"content":{{"t":"encrypted","c":"{message}"}},"localId":null,"createdAt":1700000000000,"updatedAt":1700000000000}}}},"createdAt":1700000000000}}]"#
    )?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::{net::Ipv4Addr, time::Duration};

    use serde_json::{Value, json};
    use touchstone_client::{ConnectOptions, connect};
    use url::Url;

    use super::*;

    #[tokio::test]
    async fn each_message_reaches_every_user_in_order() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(serve(listener));
        let open = async |client_type: &str| {
            let auth = json!({ "token": "bare", "clientType": client_type });
            let options = ConnectOptions::new(Url::parse(&url).unwrap()).auth(auth);
            connect(&options).await.unwrap()
        };
        let (_one, mut one) = open("user-scoped").await;
        let (_two, mut two) = open("user-scoped").await;
        let (session, _) = open("session-scoped").await;
        // Larger than what is read at once, and smaller.
        let texts = ["a".repeat(100_000), "b".to_owned()];
        for text in &texts {
            let message = json!({ "sid": "session", "message": text });
            session.emit("message", message).await.unwrap();
        }
        for events in [&mut one, &mut two] {
            for text in &texts {
                let update: Value = events.recv().await.unwrap().args.first().unwrap();
                assert_eq!(update["body"]["message"]["content"]["c"], text.as_str());
            }
        }
        // As a generator does at the end of a run.
        let within = Duration::from_secs(20);
        let reply = session.call("ping", (), within).await.unwrap();
        assert_eq!(reply.data().unwrap(), json!({}));
    }
}
