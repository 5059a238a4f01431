//! One direction of a connection whose messages somebody looks at before they go on.
//!
//! Requests, WebSocket messages with their binary attachments, and the answers to polls are held until they
//! are whole. Everything else goes on as it comes.

mod bodies;
mod fate;
mod frames;
mod link;
mod sessions;

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use tokio::sync::mpsc;
use touchstone_client::trace::{Exchange, Kind, Recorder, Traced};
use tungstenite::protocol::frame::coding::OpCode;

use self::fate::{Carrier, Fate};
pub(crate) use self::frames::close;
pub(crate) use self::link::LinkState;
pub(crate) use self::sessions::Sessions;
use crate::gate::Gates;
use crate::observe::{Messages, What, Witness, target_without_secrets};
use crate::scan::{Frame, MAX_KEPT, Piece, Request, Seen, Side};
use crate::stream::{Direction, Stop};

/// One direction, and the way to write to whoever sends in it.
pub(crate) struct Gated<'a> {
    pub(crate) link: u64,
    pub(crate) witness: &'a Witness,
    pub(crate) recorder: &'a Recorder,
    pub(crate) gates: &'a Gates,
    pub(crate) sessions: &'a Sessions,
    pub(crate) link_state: &'a LinkState,
    pub(crate) direction: &'a mut Direction,
    /// What is written to the receiver of this direction from the other one.
    pub(crate) inserted: mpsc::Receiver<Bytes>,
    /// What the sender of this direction gets from the proxy itself.
    pub(crate) back: mpsc::Sender<Bytes>,
    pub(crate) state: State,
}

/// How far a direction is.
pub(crate) struct State {
    messages: Messages,
    /// What was read and not looked at yet.
    queue: VecDeque<Piece>,
    /// Whether the sender has ended.
    is_ended: bool,
    /// The bytes of an incomplete message.
    held: BytesMut,
    /// How many of them are complete frames.
    whole: usize,
    /// What has been seen of it.
    seen: Vec<Seen>,
    /// A part of the incomplete message has gone on already, since it is large.
    is_cut: bool,
    /// A message whose binary attachments are still to come, and how many.
    incomplete: Option<(Traced, usize)>,
    /// A message that goes on behind the next one.
    behind: Option<(Bytes, Vec<Seen>)>,
}

impl Default for State {
    fn default() -> Self {
        Self {
            messages: Messages::new(None),
            queue: VecDeque::new(),
            is_ended: false,
            held: BytesMut::new(),
            whole: 0,
            seen: Vec::new(),
            is_cut: false,
            incomplete: None,
            behind: None,
        }
    }
}

impl Gated<'_> {
    /// Passes on to the end of the direction.
    pub(crate) async fn run(mut self) -> Result<(), Stop> {
        loop {
            while let Some(piece) = self.state.queue.pop_front() {
                if !self.piece(piece).await? {
                    return Ok(());
                }
            }
            if self.state.is_ended {
                self.release().await?;
                self.send_behind().await?;
                self.end().await;
                return Ok(());
            }
            tokio::select! {
                biased;
                Some(bytes) = self.inserted.recv() => self.direction.write(&bytes).await?,
                input = self.direction.read() => self.take_in(input?),
            }
        }
    }

    fn take_in(&mut self, input: Bytes) {
        self.state.is_ended = input.is_empty();
        self.state.queue.extend(self.direction.scan(input));
    }

    /// False when the direction is over.
    async fn piece(&mut self, piece: Piece) -> Result<bool, Stop> {
        self.state.held.extend_from_slice(&piece.wire);
        let Some(seen) = piece.seen else {
            if !piece.may_wait || self.state.held.len() > MAX_KEPT {
                self.state.is_cut = piece.may_wait;
                let wire = self.take_held();
                self.direction.write(&wire).await?;
            }
            return Ok(true);
        };
        match seen {
            Seen::Frame(frame) => self.frame(frame).await,
            Seen::Request(request) => {
                let is_cut = std::mem::take(&mut self.state.is_cut);
                self.request(request, is_cut).await
            }
            Seen::Response(response) => {
                let is_cut = std::mem::take(&mut self.state.is_cut);
                self.answered(response, is_cut).await
            }
            Seen::Unreadable(_) => {
                self.state.seen.push(seen);
                self.release().await.map(|()| true)
            }
        }
    }

    async fn frame(&mut self, frame: Frame) -> Result<bool, Stop> {
        let is_control = matches!(frame.header.opcode, OpCode::Control(_));
        if is_control || self.state.whole > 0 && frame.is_heartbeat() {
            // It stands between the parts of a message, and does not wait for the rest.
            let own = self.state.held.split_off(self.state.whole).freeze();
            self.pass_alone(own, vec![Seen::Frame(frame)]).await?;
            return Ok(true);
        }
        let is_final = frame.header.is_final;
        let packet = self.state.messages.feed(self.direction.side, frame.clone());
        self.state.seen.push(Seen::Frame(frame));
        self.state.whole = self.state.held.len();
        let Some(packet) = packet.filter(|_| is_final) else {
            if is_final {
                self.release().await?;
            }
            return Ok(true);
        };
        if std::mem::take(&mut self.state.is_cut) {
            self.state.incomplete = None;
            return self.release().await.map(|()| true);
        }
        let message = match (self.state.incomplete.take(), Traced::of(&packet)) {
            (Some((message, 1)), Traced::Binary { .. }) => Some(message),
            (Some((message, left)), Traced::Binary { .. }) => {
                self.state.incomplete = Some((message, left - 1));
                return Ok(true);
            }
            (None, Traced::Binary { .. }) => None,
            (None, message) => match attachments(&message) {
                0 => Some(message),
                count => {
                    self.state.incomplete = Some((message, count));
                    return Ok(true);
                }
            },
            // Attachments are missing: what there is goes on as it is.
            (Some(_), _) => None,
        };
        match message {
            Some(message) => self.message(message).await,
            None => self.release().await.map(|()| true),
        }
    }

    /// Passes on the WebSocket message that is held, or not. False when the direction is over.
    async fn message(&mut self, message: Traced) -> Result<bool, Stop> {
        let wire = self.take_held();
        let seen = std::mem::take(&mut self.state.seen);
        let gate = self.link_state.gate();
        let has_behind = self.state.behind.is_some();
        let fate = self
            .fate_of_packet(&gate, message, Carrier::Socket, has_behind)
            .await?;
        match (fate, self.direction.side) {
            (Fate::Pass, _) => self.pass(wire, seen).await?,
            (Fate::Over, _) => return Ok(false),
            (Fate::Drop, Side::Client) => {}
            // What the server sent is in the record, though the client did not get it.
            (Fate::Drop, Side::Server) => self.tell(seen),
            (Fate::Twice, side) => {
                let twice = [&wire[..], &wire].concat();
                let again: Vec<_> = seen.iter().filter_map(Seen::frame).collect();
                self.pass(twice.into(), seen).await?;
                if side == Side::Client {
                    self.tell(again.into_iter().map(Seen::Frame).collect());
                }
            }
            (Fate::Behind, Side::Client) => self.state.behind = Some((wire, seen)),
            // The server has sent it now, whenever the client gets it.
            (Fate::Behind, Side::Server) => {
                self.tell(seen);
                self.state.behind = Some((wire, Vec::new()));
            }
            (Fate::Replace(text), side) => {
                let wire = frames::text(&text, side);
                let seen = match side {
                    // The record has what the server got, and what it sent.
                    Side::Client => frames::read_back(&wire),
                    Side::Server => seen,
                };
                self.pass(wire, seen).await?;
            }
        }
        Ok(true)
    }

    async fn request(&mut self, request: Box<Request>, is_cut: bool) -> Result<bool, Stop> {
        if is_cut {
            self.state.seen.push(Seen::Request(request));
            return self.release().await.map(|()| true);
        }
        let account = request.token.as_ref();
        let account = account.map(|token| self.recorder.know(token));
        let conn = account.map_or_else(|| "link".to_owned(), |account| format!("http/{account}"));
        let kind = Kind::Http(Exchange {
            method: request.method.clone(),
            url: target_without_secrets(&request.target),
            status: None,
            request: None,
            response: None,
            ms: 0,
            us: None,
        });
        let gate = self.link_state.gate();
        match self.fate(&gate, conn, kind, Carrier::Itself, true).await? {
            Fate::Over => Ok(false),
            Fate::Drop => {
                self.direction.scanner.withdraw(request.number);
                self.take_held();
                Ok(true)
            }
            _ => self.requested(request).await,
        }
    }

    fn take_held(&mut self) -> Bytes {
        self.state.whole = 0;
        self.state.held.split().freeze()
    }

    /// Passes on what is held.
    async fn release(&mut self) -> Result<(), Stop> {
        let wire = self.take_held();
        let seen = std::mem::take(&mut self.state.seen);
        self.pass(wire, seen).await
    }

    async fn pass(&mut self, wire: Bytes, seen: Vec<Seen>) -> Result<(), Stop> {
        self.pass_alone(wire, seen).await?;
        self.send_behind().await
    }

    async fn send_behind(&mut self) -> Result<(), Stop> {
        match self.state.behind.take() {
            Some((wire, seen)) => self.pass_alone(wire, seen).await,
            None => Ok(()),
        }
    }

    async fn pass_alone(&mut self, wire: Bytes, seen: Vec<Seen>) -> Result<(), Stop> {
        self.tell(seen);
        self.direction.write(&wire).await
    }

    async fn end(&mut self) {
        self.witness.tell(self.link, self.direction.side, What::End);
        self.direction.end().await;
    }

    fn tell(&self, seen: Vec<Seen>) {
        for seen in seen {
            self.witness
                .tell(self.link, self.direction.side, What::Seen(seen));
        }
    }

    fn mark(&self, text: &str) {
        let mark = What::Mark(text.to_owned());
        self.witness.tell(self.link, self.direction.side, mark);
    }
}

/// How many binary packets belong to this one.
fn attachments(packet: &Traced) -> usize {
    match packet {
        Traced::Event { attachments, .. } | Traced::Ack { attachments, .. } => *attachments,
        _ => 0,
    }
}
