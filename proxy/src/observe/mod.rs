//! Finds out what went by, beside the traffic, and gives it to a recorder.
//!
//! Whoever passes bytes on never waits for this: what there is no room for is left out, counted, and
//! told as lost.

mod content;
mod exchange;
mod messages;
mod secrets;
mod session;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use touchstone_client::Direction;
use touchstone_client::trace::{CONTRIVED, DROPPED, Recorder};

pub(crate) use self::content::text as text_of;
use self::exchange::{Answer, Exchanges, Meaning};
pub(crate) use self::messages::Messages;
pub(crate) use self::secrets::{hidden_in_target as target_without_secrets, label_token};
use self::session::Sessions;
use crate::scan::{Seen, Side};

/// How many observations may wait.
const WAITING: usize = 32_768;
/// How many bytes of them.
const WAITING_BYTES: usize = 64 << 20;

/// The request of the control extension after which the server sends what nothing causes.
const EMIT: &str = "/control/emit";

/// Something that a connection tells.
#[derive(Debug)]
pub(crate) enum What {
    /// The client is connected with the server.
    Opened,
    Seen(Seen),
    /// This side has ended its direction.
    End,
    Closed(Ended),
    /// The server cannot be reached, for this reason.
    Unreachable(String),
    Problem(String),
    /// Something was done to what goes by.
    Mark(String),
}

/// How a connection ended.
#[derive(Debug)]
pub(crate) enum Ended {
    /// Both sides ended.
    Orderly,
    /// This side broke, for this reason.
    Broken(Side, String),
}

struct Item {
    at: Instant,
    link: u64,
    side: Side,
    what: What,
}

impl Item {
    fn weight(&self) -> usize {
        match &self.what {
            What::Seen(seen) => seen.weight(),
            _ => 256,
        }
    }
}

/// How connections tell what they see.
#[derive(Clone)]
pub(crate) struct Witness {
    items: mpsc::Sender<Item>,
    backlog: Arc<Backlog>,
}

#[derive(Default)]
struct Backlog {
    bytes: AtomicUsize,
    lost: AtomicU64,
}

impl Witness {
    /// Tells it, or counts it as lost. Never waits.
    pub(crate) fn tell(&self, link: u64, side: Side, what: What) {
        let item = Item {
            at: Instant::now(),
            link,
            side,
            what,
        };
        let weight = item.weight();
        let has_room = self.backlog.bytes.fetch_add(weight, Ordering::Relaxed) < WAITING_BYTES;
        if !has_room || self.items.try_send(item).is_err() {
            self.backlog.bytes.fetch_sub(weight, Ordering::Relaxed);
            self.backlog.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Starts to find out, on a thread of its own.
pub(crate) fn start(recorder: Recorder) -> (Witness, JoinHandle<()>) {
    let (items, mut received) = mpsc::channel(WAITING);
    let backlog = Arc::<Backlog>::default();
    let witness = Witness {
        items,
        backlog: Arc::clone(&backlog),
    };
    let mut observer = Observer::new(recorder);
    let running = tokio::task::spawn_blocking(move || {
        while let Some(item) = received.blocking_recv() {
            backlog.bytes.fetch_sub(item.weight(), Ordering::Relaxed);
            let lost = backlog.lost.swap(0, Ordering::Relaxed);
            if lost > 0 {
                observer.lost(item.at, lost);
            }
            observer.see(item);
        }
        observer.finish();
    });
    (witness, running)
}

struct Observer {
    recorder: Recorder,
    links: HashMap<u64, Link>,
    sessions: Sessions,
    /// Whether it was told that the server cannot be reached.
    is_unreachable: bool,
}

/// What is known of a connection.
#[derive(Default)]
struct Link {
    exchanges: Exchanges,
    socket: Option<Socket>,
    /// Which side ended first.
    ended: Option<Side>,
}

/// A connection that became a WebSocket.
struct Socket {
    messages: Messages,
    /// The Engine.IO session, as soon as it is known.
    sid: Option<String>,
}

impl Observer {
    fn new(recorder: Recorder) -> Self {
        Self {
            sessions: Sessions::new(recorder.clone()),
            recorder,
            links: HashMap::new(),
            is_unreachable: false,
        }
    }

    /// So many observations are missing: nobody knows of which connections.
    fn lost(&mut self, at: Instant, count: u64) {
        self.recorder
            .mark_at(at, "-", format!("{DROPPED}: {count}"));
        for link in self.links.values_mut() {
            if let Some(socket) = &mut link.socket {
                socket.messages.lose();
            }
        }
    }

    fn see(&mut self, item: Item) {
        let Item {
            at,
            link,
            side,
            what,
        } = item;
        self.sessions.expire(at);
        match what {
            What::Opened => {
                self.is_unreachable = false;
                self.links.insert(link, Link::default());
            }
            What::Seen(seen) => self.seen(at, link, side, seen),
            What::End => {
                if let Some(link) = self.links.get_mut(&link) {
                    link.ended.get_or_insert(side);
                }
            }
            What::Closed(ended) => self.closed(at, link, &ended),
            What::Unreachable(why) => {
                if !std::mem::replace(&mut self.is_unreachable, true) {
                    self.recorder.mark_at(at, "-", format!("failed: {why}"));
                }
            }
            What::Problem(text) => self.recorder.mark_at(at, "-", text),
            What::Mark(text) => self.recorder.mark_at(at, self.name(link), text),
        }
    }

    fn seen(&mut self, at: Instant, number: u64, side: Side, seen: Seen) {
        let Some(link) = self.links.get_mut(&number) else {
            return;
        };
        match seen {
            Seen::Request(request) => {
                if let Meaning::Posted(sid, frames) = link.exchanges.ask(at, *request) {
                    self.sessions.frames(at, &sid, Direction::Sent, &frames);
                }
            }
            Seen::Response(response) => match link.exchanges.answer(at, &response) {
                Answer::Nothing => {}
                Answer::Polled(sid, frames) => {
                    let sid = match sid {
                        Some(sid) => Some(sid),
                        None => self.sessions.open(&frames),
                    };
                    if let Some(sid) = sid {
                        self.sessions.frames(at, &sid, Direction::Received, &frames);
                    }
                }
                Answer::Switched(sid, extensions) => {
                    if let Some(sid) = &sid {
                        self.sessions.attach(sid, number);
                    }
                    link.socket = Some(Socket {
                        messages: Messages::new(extensions.as_deref()),
                        sid,
                    });
                }
                Answer::Exchange(token, exchange) => {
                    let is_done = exchange
                        .status
                        .is_some_and(|status| (200..300).contains(&status));
                    if is_done && exchange.url.ends_with(EMIT) {
                        self.recorder.mark_at(at, "-", CONTRIVED);
                    }
                    self.recorder.http_at(at, token.as_ref(), exchange);
                }
            },
            Seen::Frame(frame) => {
                let Some(socket) = &mut link.socket else {
                    return;
                };
                let Some(frame) = socket.messages.feed(side, frame) else {
                    return;
                };
                let frames = [frame];
                if socket.sid.is_none()
                    && side == Side::Server
                    && let Some(sid) = self.sessions.open(&frames)
                {
                    self.sessions.attach(&sid, number);
                    socket.sid = Some(sid);
                }
                if let Some(sid) = &socket.sid {
                    self.sessions.frames(at, sid, side.direction(), &frames);
                }
            }
            Seen::Unreadable(why) => {
                let sender = match side {
                    Side::Client => "client",
                    Side::Server => "server",
                };
                let text = format!("what the {sender} sends cannot be read from here on: {why}");
                self.recorder.mark_at(at, self.name(number), text);
            }
        }
    }

    /// What the session of a connection that became a WebSocket is called.
    fn name(&self, link: u64) -> &str {
        let link = self.links.get(&link);
        let sid = link.and_then(|link| link.socket.as_ref()?.sid.as_deref());
        sid.and_then(|sid| self.sessions.name(sid)).unwrap_or("-")
    }

    fn closed(&mut self, at: Instant, number: u64, ended: &Ended) {
        let Some(link) = self.links.remove(&number) else {
            return;
        };
        self.leave_open(at, link.exchanges);
        if let Some(socket) = link.socket
            && let Some(sid) = &socket.sid
        {
            let end = socket.messages.end(link.ended, ended);
            self.sessions.detach(at, sid, number, &end);
        }
    }

    /// Records requests without an answer.
    fn leave_open(&self, at: Instant, exchanges: Exchanges) {
        for (token, exchange) in exchanges.unanswered(at) {
            self.recorder.http_at(at, token.as_ref(), exchange);
        }
    }

    /// The proxy ends, and cuts what is left.
    fn finish(mut self) {
        let now = Instant::now();
        let links = std::mem::take(&mut self.links);
        for link in links.into_values() {
            self.leave_open(now, link.exchanges);
        }
        self.sessions.finish(now);
    }
}
