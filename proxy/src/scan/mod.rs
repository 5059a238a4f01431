//! Finds messages in one direction of a connection: heads and bodies of HTTP/1.1, and after an upgrade
//! WebSocket frames.
//!
//! What comes in goes out again, in the same order and piece by piece; a message that is complete is
//! told with its last piece. What cannot be read ends the reading and not the traffic.

mod body;
mod frames;
mod head;
mod seen;

use std::collections::VecDeque;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};
use touchstone_client::Secret;

use self::body::Body;
pub(crate) use self::frames::Frame;
use self::frames::Frames;
use self::head::Parsed;
pub(crate) use self::head::with_body;
pub(crate) use self::seen::{Content, Piece, Request, Response, Seen, Side};
use crate::engine::Engine;

/// The longest head that is read, as servers have it.
const MAX_HEAD: usize = 64 << 10;
/// The largest body or payload that is kept to be looked at.
pub(crate) const MAX_KEPT: usize = 16 << 20;
/// How many requests may wait for their answers before nothing more is understood.
const MAX_WAITING: usize = 1_024;

/// What of a request's head is another at the server than at the proxy.
#[derive(Debug)]
pub(crate) struct Rewrite {
    /// The server's `Host`.
    pub(crate) authority: String,
    /// What stands before every path of the server, without a slash at its end.
    pub(crate) prefix: String,
    /// What stands before it asks for these.
    pub(crate) headers: Vec<(String, Secret)>,
    /// Whether `Sec-WebSocket-Extensions` is left out, so that messages can be changed.
    pub(crate) is_plain: bool,
}

/// What both directions of a connection know of its requests.
#[derive(Debug, Default)]
pub(crate) struct Pairing {
    waiting: VecDeque<Asked>,
    /// Whether the server has let the last upgrade happen; nothing while that is open.
    switched: Option<bool>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Asked {
    number: u64,
    is_head: bool,
    is_upgrade: bool,
    /// Whether packets are its answer.
    is_poll: bool,
}

/// One direction of a connection.
#[derive(Debug)]
pub(crate) struct Scanner {
    side: Side,
    state: State,
    pairing: Arc<Mutex<Pairing>>,
    rewrite: Arc<Rewrite>,
    count: u64,
}

#[derive(Debug)]
enum State {
    Head(BytesMut),
    Body(Box<Body>),
    /// An upgrade was asked for. What the client sends meanwhile goes on as it is.
    Undecided(BytesMut),
    Frames(Frames),
    Unreadable,
}

impl Scanner {
    /// The scanners of the client's and the server's direction of a new connection.
    pub(crate) fn pair(rewrite: &Arc<Rewrite>) -> (Self, Self) {
        let pairing = Arc::<Mutex<Pairing>>::default();
        let of = |side| Self {
            side,
            state: State::Head(BytesMut::new()),
            pairing: Arc::clone(&pairing),
            rewrite: Arc::clone(rewrite),
            count: 0,
        };
        (of(Side::Client), of(Side::Server))
    }

    /// Takes what came and gives what goes on. Only an incomplete head of a request is held back, until
    /// the rest of it comes or the client ends.
    pub(crate) fn feed(&mut self, mut input: Bytes, out: &mut Vec<Piece>) {
        while !input.is_empty() {
            let state = mem::replace(&mut self.state, State::Unreadable);
            self.state = match state {
                State::Head(head) => self.head(head, &mut input, out),
                State::Body(body) => self.body(body, &mut input, out),
                State::Undecided(early) => {
                    let switched = self.pairing().switched;
                    self.undecided(early, switched, &mut input, out)
                }
                State::Frames(mut frames) => match frames.feed(&mut input, out) {
                    true => State::Frames(frames),
                    false => give_up("no WebSocket frame", out),
                },
                State::Unreadable => {
                    out.push(Piece::passing(mem::take(&mut input)));
                    State::Unreadable
                }
            };
        }
    }

    /// The direction has ended: what was held back goes on, and a body that has no other end is complete.
    pub(crate) fn end(&mut self, out: &mut Vec<Piece>) {
        match mem::replace(&mut self.state, State::Unreadable) {
            State::Head(head) if self.side == Side::Client => {
                out.push(Piece::passing(head.freeze()));
            }
            State::Body(body) => {
                out.extend(body.end().map(|seen| Piece::last(Bytes::new(), seen)));
            }
            _ => {}
        }
    }

    /// Whether what comes now are frames.
    pub(crate) fn is_websocket(&self) -> bool {
        matches!(self.state, State::Frames(_))
    }

    /// The request of this number does not go on: the server will not answer it.
    pub(crate) fn withdraw(&self, number: u64) {
        let mut pairing = self.pairing();
        let at = pairing
            .waiting
            .iter()
            .position(|asked| asked.number == number);
        if let Some(asked) = at.and_then(|at| pairing.waiting.remove(at))
            && asked.is_upgrade
        {
            pairing.switched = Some(false);
        }
    }

    fn head(&mut self, mut head: BytesMut, input: &mut Bytes, out: &mut Vec<Piece>) -> State {
        let before = head.len();
        head.extend_from_slice(input);
        let is_client = self.side == Side::Client;
        let parsed = match self.side {
            Side::Client => head::request(&head, &self.rewrite),
            Side::Server => head::response(&head),
        };
        match parsed {
            Parsed::Complete(length, found) => {
                let own = input.split_to(length - before);
                let wire = found.rewritten.clone().unwrap_or(own);
                self.begin(found, wire, out)
            }
            Parsed::Partial if head.len() < MAX_HEAD => {
                let wire = mem::take(input);
                if !is_client {
                    let is_poll = self
                        .pairing()
                        .waiting
                        .front()
                        .is_some_and(|asked| asked.is_poll);
                    out.push(match is_poll {
                        true => Piece::part(wire),
                        false => Piece::passing(wire),
                    });
                }
                State::Head(head)
            }
            Parsed::Partial | Parsed::Broken => {
                let wire = mem::take(input);
                let wire = if is_client { head.freeze() } else { wire };
                out.push(Piece::passing(wire));
                give_up("no HTTP head", out)
            }
        }
    }

    /// A head is complete.
    fn begin(&mut self, found: head::Found, wire: Bytes, out: &mut Vec<Piece>) -> State {
        let asked = match self.side {
            Side::Client => {
                self.count += 1;
                let asked = Asked {
                    number: self.count,
                    is_head: found.method == "HEAD",
                    is_upgrade: found.is_upgrade,
                    is_poll: found.method == "GET"
                        && Engine::of(&found.target).is_some_and(|engine| engine.is_polling),
                };
                let mut pairing = self.pairing();
                pairing.waiting.push_back(asked);
                if asked.is_upgrade {
                    pairing.switched = None;
                }
                if pairing.waiting.len() > MAX_WAITING {
                    drop(pairing);
                    out.push(Piece::passing(wire));
                    return give_up("too many requests without an answer", out);
                }
                asked
            }
            // An interim answer: the final one follows.
            Side::Server if (100..200).contains(&found.status) && found.status != 101 => {
                out.push(Piece::passing(wire));
                return State::Head(BytesMut::new());
            }
            Side::Server => {
                let mut pairing = self.pairing();
                // A server may complain of what is not yet a request.
                let asked = pairing.waiting.pop_front().unwrap_or_default();
                if asked.is_upgrade {
                    pairing.switched = Some(found.status == 101);
                }
                asked
            }
        };
        let may_wait = self.side == Side::Client || asked.is_poll;
        let mut body = Box::new(Body::new(self.side, asked.number, asked.is_head, found));
        body.may_wait = may_wait;
        self.go_on(body, wire, out)
    }

    fn body(&mut self, mut body: Box<Body>, input: &mut Bytes, out: &mut Vec<Piece>) -> State {
        let Ok(length) = body.feed(input) else {
            return give_up("no body as its head has it", out);
        };
        let wire = input.split_to(length);
        self.go_on(body, wire, out)
    }

    /// Passes on a piece of a message, and tells the message if that was the last of it.
    fn go_on(&self, body: Box<Body>, wire: Bytes, out: &mut Vec<Piece>) -> State {
        if body.is_over() {
            let next = self.after(&body);
            out.push(Piece::last(wire, body.into_seen()));
            next
        } else {
            out.push(match body.may_wait {
                true => Piece::part(wire),
                false => Piece::passing(wire),
            });
            State::Body(body)
        }
    }

    /// What follows a message.
    fn after(&self, body: &Body) -> State {
        match self.side {
            Side::Client if body.is_upgrade() => State::Undecided(BytesMut::new()),
            Side::Server if body.is_switch() => State::Frames(Frames::default()),
            _ => State::Head(BytesMut::new()),
        }
    }

    fn undecided(
        &mut self,
        mut early: BytesMut,
        switched: Option<bool>,
        input: &mut Bytes,
        out: &mut Vec<Piece>,
    ) -> State {
        let Some(switched) = switched else {
            let wire = mem::take(input);
            early.extend_from_slice(&wire);
            out.push(Piece::passing(wire));
            return match early.len() {
                0..MAX_HEAD => State::Undecided(early),
                _ => give_up("too much before the answer to an upgrade", out),
            };
        };
        self.state = match switched {
            true => State::Frames(Frames::default()),
            false => State::Head(BytesMut::new()),
        };
        // What came early has gone on already.
        let mut again = Vec::new();
        self.feed(early.freeze(), &mut again);
        out.extend(
            again
                .into_iter()
                .filter(|piece| piece.seen.is_some())
                .map(|piece| Piece {
                    wire: Bytes::new(),
                    ..piece
                }),
        );
        mem::replace(&mut self.state, State::Unreadable)
    }

    fn pairing(&self) -> MutexGuard<'_, Pairing> {
        self.pairing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn give_up(why: &'static str, out: &mut Vec<Piece>) -> State {
    out.push(Piece::last(Bytes::new(), Seen::Unreadable(why)));
    State::Unreadable
}
