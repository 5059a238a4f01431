//! What sources produce and the model keeps, and everything that can happen to the screen.
//!
//! Data only. Sources fill an [`Entry`] before it leaves them, lints, links and latency included, so
//! that the screen and the headless output show and filter the very same thing. This module must
//! not decide what an entry means.

use std::fmt;
use std::sync::Arc;

use ratatui::crossterm::event::{KeyEvent, MouseEvent};
use touchstone_fixtures::Level;
use touchstone_history::Violation;

/// One thing that was seen. Cheap to share: texts are `Arc<str>`, which sources reuse for labels.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Counts up from 1 in the order in which the monitor saw things. What is dropped on the way to
    /// the screen leaves a hole.
    pub number: u64,
    /// When, in Unix milliseconds.
    pub at_ms: u64,
    /// When, in microseconds since the monitor (or the recording) began.
    pub t_us: u64,
    /// The account it happened on: a label such as `a1`, never a token. Empty where unknown.
    pub account: Arc<str>,
    /// The connection that saw it first, or on whose behalf it was sent: a label such as `a1/user`.
    /// Empty where there is none, as for a decision of the tap.
    pub conn: Arc<str>,
    /// The scope of that connection.
    pub scope: Scope,
    /// What it is.
    pub kind: Kind,
    /// Which way it went.
    pub direction: Direction,
    /// The event's type: `new-message` (the `t` of an update), `activity` (the `type` of an
    /// ephemeral), `update-state` (a client's event, also for its ack), `POST /v1/sessions`, or a
    /// word such as `connected`, `lost`, `refused` for the monitor's own entries.
    pub event: Arc<str>,
    /// What it is about, where the payload names it.
    pub entity: Option<Entity>,
    /// The `seq` of an update, or of the message inside where the update has none.
    pub seq: Option<u64>,
    /// The `id` of an update.
    pub id: Option<Arc<str>>,
    /// The ack id of a call or an answer on `conn`, which tells which belong together.
    pub ack: Option<u64>,
    /// Size of `raw` in bytes, as it was on the wire (the stored text may be cut).
    pub size: u32,
    /// The payload as it was received, JSON; for the monitor's own entries a sentence.
    pub raw: Arc<str>,
    /// Who got it, as far as that is known.
    pub recipients: Recipients,
    /// How long it took, in microseconds: from call to answer, or from a known cause to arrival.
    pub latency_us: Option<u64>,
    /// Entries with the same number belong together: a call, its request and its answers; a change
    /// and its updates.
    pub link: Option<u64>,
    /// What looks wrong.
    pub lints: Vec<Lint>,
}

impl Entry {
    /// What the entry costs in a ring that is bounded by bytes: itself and what only it owns.
    /// Shared labels are not counted.
    pub fn weight(&self) -> usize {
        let recipients = match &self.recipients {
            Recipients::Unknown => 0,
            Recipients::Ours(receipts) => receipts.capacity() * size_of::<Receipt>(),
            Recipients::Routed(routed) => {
                size_of::<Routed>()
                    + routed.recipients.capacity() * size_of::<Arc<str>>() * 2
                    + routed.receipts.capacity() * size_of::<Receipt>()
            }
        };
        let lints: usize = self.lints.iter().map(|lint| lint.text.len()).sum();
        let id = self.id.as_ref().map_or(0, |id| id.len());
        size_of::<Self>() + self.raw.len() + recipients + lints + id
    }
}

/// What an [`Entry`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// An `update` event: a change that is stored.
    Update,
    /// An `ephemeral` event: presence and usage.
    Ephemeral,
    /// `rpc-call`, `rpc-request`, their answers, and the events of the registry.
    Rpc,
    /// Any other event that a client sent.
    Call,
    /// The answer to a call.
    Ack,
    /// An HTTP exchange.
    Http,
    /// Something about a connection: opened, refused, ended.
    Connection,
    /// A stretch in which things may have been missed, with its length.
    Gap,
    /// A note of a recording or of the monitor.
    Note,
}

impl Kind {
    /// Every kind, in the order of the declaration.
    pub const ALL: [Self; 9] = [
        Self::Update,
        Self::Ephemeral,
        Self::Rpc,
        Self::Call,
        Self::Ack,
        Self::Http,
        Self::Connection,
        Self::Gap,
        Self::Note,
    ];

    /// The word for it in filters, in the list and in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Update => "update",
            Self::Ephemeral => "ephemeral",
            Self::Rpc => "rpc",
            Self::Call => "call",
            Self::Ack => "ack",
            Self::Http => "http",
            Self::Connection => "connection",
            Self::Gap => "gap",
            Self::Note => "note",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Which way something went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From a client to the server.
    Sent,
    /// From the server to a client.
    Received,
    /// Neither: a decision of the router, a note, a gap.
    Inside,
}

/// What a connection is for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Scope {
    /// No connection, or an unknown one.
    None,
    /// All of an account.
    User,
    /// One session, by its id.
    Session(Arc<str>),
    /// One machine, by its id.
    Machine(Arc<str>),
}

impl Scope {
    /// The word for it: `user`, `session`, `machine`, or empty.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::None => "",
            Self::User => "user",
            Self::Session(_) => "session",
            Self::Machine(_) => "machine",
        }
    }
}

/// What an event is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Entity {
    /// A session, by its id.
    Session(Arc<str>),
    /// A machine, by its id.
    Machine(Arc<str>),
    /// An artifact, by its id.
    Artifact(Arc<str>),
    /// An RPC method, by its name.
    Method(Arc<str>),
    /// Anything else that has an id: an account, a feed post.
    Other(Arc<str>),
}

impl Entity {
    /// Its id or name.
    pub fn id(&self) -> &str {
        match self {
            Self::Session(id)
            | Self::Machine(id)
            | Self::Artifact(id)
            | Self::Method(id)
            | Self::Other(id) => id,
        }
    }
}

/// Who got an event.
#[derive(Debug, Clone, PartialEq)]
pub enum Recipients {
    /// Not known, or nobody's question: a call, a note.
    Unknown,
    /// Those of the monitor's own connections that got it, in the order of arrival.
    Ours(Vec<Receipt>),
    /// What the server's router decided, as the control tap tells it.
    Routed(Box<Routed>),
}

impl Recipients {
    /// How many got it; nothing where that is not known.
    pub fn count(&self) -> Option<usize> {
        match self {
            Self::Unknown => None,
            Self::Ours(receipts) => Some(receipts.len()),
            Self::Routed(routed) => Some(routed.recipients.len()),
        }
    }

    /// Those of the monitor's own connections that got it.
    pub fn receipts(&self) -> &[Receipt] {
        match self {
            Self::Unknown => &[],
            Self::Ours(receipts) => receipts,
            Self::Routed(routed) => &routed.receipts,
        }
    }
}

/// One of our connections got a copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// The label of the connection.
    pub conn: Arc<str>,
    /// Its scope.
    pub scope: Scope,
    /// When, in microseconds since the monitor began.
    pub t_us: u64,
}

/// A decision of the server's router.
#[derive(Debug, Clone, PartialEq)]
pub struct Routed {
    /// The recipient filter as JSON, such as `{"type":"user-scoped-only"}`.
    pub filter: Arc<str>,
    /// Labels or socket ids of the connections that were meant and got it.
    pub recipients: Vec<Arc<str>>,
    /// The connection that was left out, if any.
    pub skipped: Option<Arc<str>>,
    /// Those of the monitor's own connections that got it, in the order of arrival, where a source
    /// sees both.
    pub receipts: Vec<Receipt>,
}

/// Something that looks wrong about an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lint {
    /// The requirement that is broken, as `touchstone explain` knows it, or one of [`HINTS`].
    pub rule: &'static str,
    /// How binding the requirement is. Nothing for a hint.
    pub level: Option<Level>,
    /// One line for people, with the path or the ids that matter.
    pub text: String,
}

/// A type that the specification does not list, as newer servers send. Said once for each type.
pub const UNKNOWN_TYPE: &str = "unknown-type";
/// The router used another filter than the contract has for the type.
pub const MISROUTED: &str = "misrouted";
/// A remote call that nobody answered in time.
pub const UNANSWERED: &str = "unanswered";

/// What looks odd and breaks no requirement, or none that this shows.
pub const HINTS: [&str; 3] = [UNKNOWN_TYPE, MISROUTED, UNANSWERED];

impl Lint {
    /// One of [`HINTS`].
    pub(crate) fn hint(rule: &'static str, text: String) -> Self {
        Self {
            rule,
            level: None,
            text,
        }
    }

    /// What stands before the text: the level, where there is one, and the rule.
    pub(crate) fn title(&self) -> String {
        match self.level {
            Some(level) => format!("{level} {}", self.rule),
            None => self.rule.to_owned(),
        }
    }
}

impl From<&Violation> for Lint {
    fn from(violation: &Violation) -> Self {
        Self {
            rule: violation.requirement,
            level: Some(violation.level),
            text: violation.text.clone(),
        }
    }
}

impl fmt::Display for Lint {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.title(), self.text)
    }
}

/// Everything that can happen to the screen. Sources send the first five over a bounded channel, the
/// terminal loop makes the others.
#[derive(Debug, Clone)]
pub enum Input {
    /// Something was seen.
    Entry(Box<Entry>),
    /// One more of our connections got a copy of entry `number`, or something about it was found out
    /// later.
    Amend(Amendment),
    /// A connection of ours, or the whole source, changed its state.
    Source(SourceState),
    /// So many entries were lost between the source and the screen, since the screen was too slow.
    /// They are in the recording, if there is one.
    Dropped(u64),
    /// The recording began, went on or ended.
    Recording(Recording),
    /// A key was pressed.
    Key(KeyEvent),
    /// The mouse did something.
    Mouse(MouseEvent),
    /// Text was pasted.
    Paste(String),
    /// The terminal has another size: columns and rows. Drawing asks for the size by itself.
    Resize(u16, u16),
    /// Time went by. Rates and ages count from here, so that a test can fix the clock.
    Tick(Now),
    /// An effect is done: what to tell, or why it failed.
    Done(Result<String, String>),
    /// A message is held until somebody decides about it.
    Held(Box<Held>),
    /// The held message of this number is held no more.
    Over(u64),
    /// What the clients have done until now, as lines.
    Card(Vec<String>),
    /// The rules of a proxy, in their order.
    Rules(Vec<Rule>),
    /// What was to be a rule is none.
    NoRule {
        /// What was written.
        text: String,
        /// What is wrong with it.
        why: String,
    },
}

/// What a proxy does to which messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// As it can be written: `EXPRESSION --do ACTION`, with options behind it.
    pub text: String,
    /// How many messages it was true for.
    pub matched: u64,
    /// To how many of them something was done.
    pub done: u64,
}

/// A message on its way that is held.
#[derive(Debug, Clone)]
pub struct Held {
    /// What it is. Its number counts the held messages.
    pub entry: Arc<Entry>,
    /// What of it can be changed: a JSON array. Nothing where it cannot be changed.
    pub text: Option<String>,
}

/// What becomes of a held message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It goes on as it is.
    Release,
    /// It does not go on.
    Discard,
    /// It goes on with this text.
    Replace(String),
}

/// What was found out about an entry after it was shown.
#[derive(Debug, Clone, PartialEq)]
pub struct Amendment {
    /// The entry's number.
    pub number: u64,
    /// One more of our connections got it.
    pub receipt: Option<Receipt>,
    /// What the server's router decided about it.
    pub routed: Option<Box<Routed>>,
    /// What caused it, such as an HTTP exchange that was answered later.
    pub cause: Option<Cause>,
    /// More lints: a duplicate, an RPC without an answer.
    pub lints: Vec<Lint>,
}

/// What caused an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cause {
    /// The [`Entry::link`] that both have.
    pub link: u64,
    /// The time from the cause to the event, in microseconds.
    pub latency_us: u64,
}

impl Amendment {
    /// Adds what was found out to the entry.
    pub fn apply(self, entry: &mut Entry) {
        if let Some(mut routed) = self.routed {
            routed.receipts = entry.recipients.receipts().to_vec();
            entry.recipients = Recipients::Routed(routed);
        }
        if let Some(receipt) = self.receipt {
            match &mut entry.recipients {
                Recipients::Unknown => entry.recipients = Recipients::Ours(vec![receipt]),
                Recipients::Ours(receipts) => receipts.push(receipt),
                Recipients::Routed(routed) => routed.receipts.push(receipt),
            }
        }
        if let Some(cause) = self.cause {
            entry.link = Some(cause.link);
            entry.latency_us = Some(cause.latency_us);
        }
        entry.lints.extend(self.lints);
    }
}

/// The time, on both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Now {
    /// Unix milliseconds.
    pub unix_ms: u64,
    /// Microseconds since the monitor began: the clock of [`Entry::t_us`] of a live source.
    pub t_us: u64,
}

/// How a source is.
#[derive(Debug, Clone, PartialEq)]
pub enum SourceState {
    /// A connection is being opened.
    Connecting {
        /// Its label.
        conn: Arc<str>,
        /// Its scope.
        scope: Scope,
    },
    /// A connection is open.
    Connected {
        /// Its label.
        conn: Arc<str>,
        /// Its scope.
        scope: Scope,
    },
    /// A connection is lost, and is tried again after a while.
    Reconnecting {
        /// Its label.
        conn: Arc<str>,
        /// Why it ended, or why the last attempt failed.
        reason: String,
        /// The attempt that is next, from 1.
        attempt: u32,
        /// When it is made, in milliseconds from now.
        in_ms: u64,
    },
    /// A connection is gone for good, such as one that was refused.
    Closed {
        /// Its label.
        conn: Arc<str>,
        /// Why.
        reason: String,
    },
    /// Where a recording stands.
    Playback(Playback),
    /// A recording begins anew: what follows has been seen before, so the screen forgets it.
    Rewound,
    /// The source has come to its end: nothing follows.
    Ended {
        /// Why; empty when that is how it should be, as at the end of a recording.
        reason: String,
    },
}

/// Where a recording stands.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Playback {
    /// Microseconds since its beginning.
    pub position_us: u64,
    /// Its length in microseconds.
    pub length_us: u64,
    /// How many times as fast as it was recorded.
    pub speed: f64,
    /// Whether it goes on.
    pub playing: bool,
}

/// Whether what is seen is written to a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recording {
    /// Not recording.
    Off,
    /// So many records are in the file.
    On {
        /// The file.
        path: String,
        /// Records so far.
        records: u64,
    },
    /// It stopped because of an error.
    Failed {
        /// The file.
        path: String,
        /// Why.
        reason: String,
    },
}

/// What the model asks the terminal loop to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Put this entry as JSON into the clipboard of the terminal (OSC 52).
    Copy(Arc<Entry>),
    /// Write these entries as JSON to a new file of a name that the loop makes from `stem`, and tell
    /// by [`Input::Done`]. One entry is written as itself, a list as an array.
    Save {
        /// The file's name without number and extension.
        stem: &'static str,
        /// What to write.
        entries: Vec<Arc<Entry>>,
    },
    /// Something for a proxy.
    Order(Order),
    /// Something for the source.
    Control(Control),
    /// Leave.
    Quit,
}

/// What a proxy is asked to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// Decide about the held message of this number. [`Input::Over`] follows when that is done.
    Decide(u64, Verdict),
    /// Make a rule of this line. [`Input::Rules`] or [`Input::NoRule`] follows.
    AddRule(String),
    /// Remove the rule at this place. [`Input::Rules`] follows.
    RemoveRule(usize),
}

/// What a source can be told while it runs. A source ignores what it has no use for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Control {
    /// Begin or end recording.
    Record(bool),
    /// Let a recording go on, or hold it.
    Play(bool),
    /// Play it so many times as fast as it was recorded.
    Speed(f64),
    /// Go to this place, in microseconds since its beginning. The source sends the entries up to there
    /// at once; to go back, it first sends [`SourceState::Rewound`] and begins anew.
    Seek(u64),
}
