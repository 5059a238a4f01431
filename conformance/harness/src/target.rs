//! The server under test, as a user describes it.

use std::{fmt, time::Duration};

use touchstone_client::{ConnectOptions, provision::Provisioner};
use touchstone_output::text::display_url;
use url::Url;

use crate::pace::PATIENCE;

/// A server under test: one or more nodes that share their data, and the way in which accounts,
/// sessions and machines come to exist on it.
#[derive(Debug, Clone)]
pub struct Target {
    /// What reports call it.
    pub name: String,
    /// Base addresses, at least one. Several are nodes of one cluster: connections are spread over them,
    /// so that routing between nodes is tested.
    pub urls: Vec<Url>,
    /// How each of them is reached: with which Socket.IO path, headers, roots and address.
    pub server: ConnectOptions,
    /// Makes accounts, sessions, machines and access keys exist.
    pub provisioner: Provisioner,
    /// The least time that is waited for something that must come; more where the server was seen to be
    /// slow. Less than the five seconds of [`Target::new`] only makes failures come sooner.
    pub patience: Duration,
    /// How long silence must last where no sentinel can prove it; `None` for a multiple of the slowest
    /// delivery that the run has seen.
    pub settle: Option<Duration>,
    /// The server's own times that no handshake tells.
    pub timeouts: Timeouts,
    /// Whether it promises to keep over a restart what it acknowledged.
    pub durable: bool,
}

/// Times of a server that cases have to wait for, as its operator states them. Those of heartbeats are
/// not among them: each server announces them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// How long the callee of an RPC may stay silent; 30 s with real servers.
    pub rpc: Duration,
    /// How long a transport may stay open without CONNECT; 20 s with real servers.
    pub connect: Duration,
    /// How long a session or machine without heartbeats counts as active, where that is short enough to
    /// be waited for. `None` for the ten minutes of real servers, which no case waits for.
    pub presence: Option<Duration>,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            rpc: Duration::from_secs(30),
            connect: Duration::from_secs(20),
            presence: None,
        }
    }
}

impl Target {
    /// A target of the given nodes reached in the usual way.
    ///
    /// # Panics
    /// Without any URL.
    pub fn new(urls: Vec<Url>, provisioner: Provisioner) -> Self {
        let first = urls.first().expect("a target has at least one URL");
        Self {
            name: urls.iter().map(display_url).collect::<Vec<_>>().join(", "),
            server: ConnectOptions::new(first.clone()),
            urls,
            provisioner,
            patience: PATIENCE,
            settle: None,
            timeouts: Timeouts::default(),
            durable: false,
        }
    }

    /// The addresses, without credentials.
    pub fn addresses(&self) -> Vec<String> {
        self.urls.iter().map(display_url).collect()
    }
}

/// Something that a target may lack. Cases that need it are skipped then, with the reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Capability {
    /// The REST surface for sessions and machines, beyond what a provisioner of another kind offers.
    Rest,
    /// Sessions can be deleted.
    DeleteSession,
    /// Access keys can be made.
    AccessKeys,
    /// Account settings can be changed.
    Settings,
    /// The key-value store.
    KeyValue,
    /// Friends, and the feed that tells of them.
    Friends,
    /// Artifacts over REST.
    Artifacts,
    /// Pairing of a new terminal.
    Pairing,
    /// Lists of sessions in pages.
    SessionPages,
    /// The latest messages of a session over REST.
    Messages,
    /// Messages over REST with cursors, and posting them.
    MessagePosts,
    /// Sessions can be archived.
    Archive,
    /// Payloads can be handed to the router (docs/control.md).
    Control,
    /// It can be killed and started again.
    Restart,
}

impl Capability {
    /// Those that a target is asked for, in the order in which a report names what is missing.
    pub const ALL: [Self; 13] = [
        Self::Rest,
        Self::AccessKeys,
        Self::Settings,
        Self::KeyValue,
        Self::Friends,
        Self::Artifacts,
        Self::Pairing,
        Self::SessionPages,
        Self::Messages,
        Self::MessagePosts,
        Self::Archive,
        Self::Control,
        Self::DeleteSession,
    ];
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rest => "REST surface",
            Self::DeleteSession => "deletion of sessions",
            Self::AccessKeys => "access keys",
            Self::Settings => "account settings",
            Self::KeyValue => "key-value store",
            Self::Friends => "friends",
            Self::Artifacts => "artifacts over REST",
            Self::Pairing => "pairing",
            Self::SessionPages => "pages of sessions",
            Self::Messages => "messages over REST",
            Self::MessagePosts => "posting of messages over REST",
            Self::Archive => "archiving of sessions",
            Self::Control => "control extension",
            Self::Restart => "restart",
        })
    }
}
