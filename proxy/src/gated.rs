//! One direction of a connection whose messages somebody looks at before they go on.
//!
//! Requests and WebSocket messages are held until they are whole. Packets of long-polling go on as part of
//! their requests and answers.

use std::io::{self, Cursor};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncWriteExt as _, ReadHalf, WriteHalf};
use tokio::sync::mpsc;
use tokio::time::sleep;
use touchstone_client::trace::{Exchange, Kind, Record, Recorder, Traced};
use touchstone_client::{Frame as Packet, NetStream};
use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

use crate::gate::{self, Action, Shared};
use crate::observe::{Messages, What, Witness, label_token, target_without_secrets};
use crate::relay::{Stop, read, write};
use crate::scan::{MAX_KEPT, Piece, Scanner, Seen, Side};

/// The code of a close frame that says that an endpoint goes away.
const GOING_AWAY: [u8; 2] = 1001_u16.to_be_bytes();

/// One direction, and the way to write to whoever sends in it.
pub(crate) struct Gated<'a> {
    pub(crate) link: u64,
    pub(crate) side: Side,
    pub(crate) witness: &'a Witness,
    pub(crate) recorder: &'a Recorder,
    pub(crate) gate: Shared,
    pub(crate) scanner: &'a mut Scanner,
    pub(crate) from: &'a mut ReadHalf<NetStream>,
    pub(crate) to: &'a mut WriteHalf<NetStream>,
    /// What is written to the receiver of this direction from the other one.
    pub(crate) inserted: mpsc::Receiver<Bytes>,
    /// What the sender of this direction gets from the proxy itself.
    pub(crate) back: mpsc::Sender<Bytes>,
    pub(crate) messages: Messages,
    /// The bytes of an incomplete message, and what has been seen of it.
    pub(crate) held: BytesMut,
    pub(crate) seen: Vec<Seen>,
    /// A message that goes on behind the next one.
    pub(crate) behind: Option<(Bytes, Vec<Seen>)>,
}

impl Gated<'_> {
    /// Passes on to the end of the direction.
    pub(crate) async fn run(mut self) -> Result<(), Stop> {
        let mut pieces = Vec::new();
        loop {
            let input = tokio::select! {
                biased;
                Some(bytes) = self.inserted.recv() => {
                    self.write(&bytes).await?;
                    continue;
                }
                input = read(self.from) => input.map_err(|error| Stop::Broken(self.side, error))?,
            };
            let is_end = input.is_empty();
            match is_end {
                true => self.scanner.end(&mut pieces),
                false => self.scanner.feed(input, &mut pieces),
            }
            for piece in pieces.drain(..) {
                if !self.piece(piece).await? {
                    return Ok(());
                }
            }
            if is_end {
                self.release().await?;
                self.send_behind().await?;
                self.end().await;
                return Ok(());
            }
        }
    }

    /// False when the direction is over.
    async fn piece(&mut self, piece: Piece) -> Result<bool, Stop> {
        self.held.extend_from_slice(&piece.wire);
        let Some(seen) = piece.seen else {
            // A body without an end, or one that nobody holds, goes on as it comes.
            if self.held.len() > MAX_KEPT || self.scanner.is_streaming() {
                self.release().await?;
            }
            return Ok(true);
        };
        let kind = match &seen {
            Seen::Frame(frame) => {
                let is_control = matches!(frame.header.opcode, OpCode::Control(_));
                let packet = self.messages.feed(self.side, frame.clone());
                match packet {
                    Some(packet) => self.packet(&packet),
                    None if is_control => None,
                    None => {
                        self.seen.push(seen);
                        return Ok(true);
                    }
                }
            }
            Seen::Request(request) => Some(Kind::Http(Exchange {
                method: request.method.clone(),
                url: target_without_secrets(&request.target),
                status: None,
                request: None,
                response: None,
                ms: 0,
                us: None,
            })),
            Seen::Response(_) | Seen::Unreadable(_) => None,
        };
        let account = match &seen {
            Seen::Request(request) => request
                .token
                .as_ref()
                .map(|token| self.recorder.know(token)),
            _ => None,
        };
        self.seen.push(seen);
        let Some(kind) = kind else {
            self.release().await?;
            return Ok(true);
        };
        let record = Record {
            t_us: 0,
            conn: match account {
                Some(account) => format!("http/{account}"),
                None => "link".to_owned(),
            },
            kind,
            recipients: None,
        };
        let kind = record.kind.clone();
        match self.gate.decide(record) {
            Some(action) => self.act(action, &kind).await,
            None => {
                self.release().await?;
                Ok(true)
            }
        }
    }

    /// What a packet is, with a label in place of a token. Nothing where binary packets belong to it.
    fn packet(&self, packet: &Packet) -> Option<Kind> {
        let mut traced = Traced::of(packet);
        match &mut traced {
            Traced::Connect(auth) => label_token(self.recorder, auth),
            Traced::Event {
                attachments: 1.., ..
            }
            | Traced::Ack {
                attachments: 1.., ..
            }
            | Traced::Binary { .. } => return None,
            _ => {}
        }
        Some(Kind::Packet(self.side.direction(), traced))
    }

    /// Does it. False when the direction is over.
    async fn act(&mut self, action: Action, kind: &Kind) -> Result<bool, Stop> {
        let name = gate::name_of(kind);
        let wire = self.held.split().freeze();
        let seen = std::mem::take(&mut self.seen);
        let packet = match kind {
            Kind::Packet(_, packet) => Some(packet),
            _ => None,
        };
        match (&action, packet) {
            (Action::Drop, _) => {}
            (Action::Delay(time), _) => {
                self.mark(&action, &name);
                sleep(*time).await;
                return self.pass(wire, seen).await.map(|()| true);
            }
            (Action::Duplicate, Some(_)) => {
                self.mark(&action, &name);
                let twice = [&wire[..], &wire].concat();
                let again = seen
                    .iter()
                    .filter_map(Seen::frame)
                    .map(Seen::Frame)
                    .collect::<Vec<_>>();
                self.pass(twice.into(), seen).await?;
                if self.side == Side::Client {
                    self.tell(again);
                }
                return Ok(true);
            }
            (Action::Reorder, Some(_)) if self.behind.is_none() => {
                self.mark(&action, &name);
                // The server has sent it now, whenever the client gets it.
                let later = match self.side {
                    Side::Client => seen,
                    Side::Server => {
                        self.tell(seen);
                        Vec::new()
                    }
                };
                self.behind = Some((wire, later));
                return Ok(true);
            }
            (Action::Corrupt, Some(packet)) if let Some(text) = gate::corrupted(packet) => {
                self.mark(&action, &name);
                let wire = frame(OpCode::Data(Data::Text), text.as_bytes(), self.side);
                let seen = match self.side {
                    // The record has what the server got, and what it sent.
                    Side::Client => read_back(&wire),
                    Side::Server => seen,
                };
                return self.pass(wire, seen).await.map(|()| true);
            }
            (Action::Answer(json), Some(Traced::Event { ack: Some(id), .. })) => {
                self.reply(&gate::answer(*id, json)).await;
            }
            (Action::Refuse, Some(Traced::Connect(_))) if self.side == Side::Client => {
                self.reply(&gate::refusal()).await;
            }
            (Action::Http(status), None) => {
                self.scanner.withdraw();
                // Nobody listens any more if this fails.
                let _ = self.back.send(gate::http_answer(*status)).await;
            }
            (Action::Close, _) => {
                self.mark(&action, &name);
                return Err(Stop::Clean);
            }
            (Action::CloseAbruptly, _) => {
                self.mark(&action, &name);
                let reset = io::Error::other("reset by a rule");
                return Err(Stop::Broken(self.side, reset));
            }
            (Action::CloseHalf, _) => {
                self.mark(&action, &name);
                self.end().await;
                return Ok(false);
            }
            (Action::Freeze, _) => {
                self.mark(&action, &name);
                return self.freeze().await;
            }
            // It is no action for this kind of message.
            _ => return self.pass(wire, seen).await.map(|()| true),
        }
        self.mark(&action, &name);
        // What the server sent is in the record, though the client did not get it.
        if self.side == Side::Server {
            self.tell(seen);
        }
        Ok(true)
    }

    /// Reads on, and lets nothing through, until the sender ends.
    async fn freeze(&mut self) -> Result<bool, Stop> {
        loop {
            match read(self.from).await {
                Ok(input) if !input.is_empty() => {}
                Ok(_) => {
                    let end = io::Error::other("ended in a frozen direction");
                    return Err(Stop::Broken(self.side, end));
                }
                Err(error) => return Err(Stop::Broken(self.side, error)),
            }
        }
    }

    /// Sends a packet to whoever sent in this direction.
    async fn reply(&mut self, packet: &str) {
        let other = self.side.other();
        let frame = frame(OpCode::Data(Data::Text), packet.as_bytes(), other);
        // Nobody listens any more if this fails.
        let _ = self.back.send(frame).await;
    }

    /// Passes on what is held.
    async fn release(&mut self) -> Result<(), Stop> {
        let wire = self.held.split().freeze();
        let seen = std::mem::take(&mut self.seen);
        let is_whole = !seen.is_empty();
        self.pass_alone(wire, seen).await?;
        match is_whole {
            true => self.send_behind().await,
            false => Ok(()),
        }
    }

    async fn pass(&mut self, wire: Bytes, seen: Vec<Seen>) -> Result<(), Stop> {
        self.pass_alone(wire, seen).await?;
        self.send_behind().await
    }

    async fn send_behind(&mut self) -> Result<(), Stop> {
        match self.behind.take() {
            Some((wire, seen)) => self.pass_alone(wire, seen).await,
            None => Ok(()),
        }
    }

    async fn pass_alone(&mut self, wire: Bytes, seen: Vec<Seen>) -> Result<(), Stop> {
        self.tell(seen);
        self.write(&wire).await
    }

    async fn write(&mut self, wire: &[u8]) -> Result<(), Stop> {
        write(self.to, wire)
            .await
            .map_err(|error| Stop::Broken(self.side.other(), error))
    }

    async fn end(&mut self) {
        self.witness.tell(self.link, self.side, What::End);
        // Whoever has gone meanwhile needs no end.
        let _ = self.to.shutdown().await;
    }

    fn tell(&self, seen: Vec<Seen>) {
        for seen in seen {
            self.witness.tell(self.link, self.side, What::Seen(seen));
        }
    }

    fn mark(&self, action: &Action, name: &str) {
        let mark = What::Mark(action.mark(name));
        self.witness.tell(self.link, self.side, mark);
    }
}

/// A frame as `side` sends it.
fn frame(opcode: OpCode, payload: &[u8], side: Side) -> Bytes {
    let header = FrameHeader {
        opcode,
        // Clients have to mask; a key of zeros leaves what it is laid over.
        mask: (side == Side::Client).then_some([0; 4]),
        ..FrameHeader::default()
    };
    let mut bytes = Vec::with_capacity(payload.len() + 14);
    // Writing into memory does not fail.
    let _ = header.format(payload.len() as u64, &mut bytes);
    bytes.extend_from_slice(payload);
    bytes.into()
}

/// What an observer sees of a frame that the proxy made.
fn read_back(wire: &Bytes) -> Vec<Seen> {
    let mut cursor = Cursor::new(wire);
    match FrameHeader::parse(&mut cursor) {
        Ok(Some((header, _))) => {
            let start = usize::try_from(cursor.position()).unwrap_or_default();
            let payload = Some(wire.slice(start..));
            vec![Seen::Frame(crate::scan::Frame { header, payload })]
        }
        _ => Vec::new(),
    }
}

/// The close frame that `side` would send.
pub(crate) fn close_frame(side: Side) -> Bytes {
    frame(OpCode::Control(Control::Close), &GOING_AWAY, side)
}
