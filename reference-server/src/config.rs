//! What a person or a test can choose about the server. The defaults are those of the specification's
//! decisions, section 1.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::Clock;
use crate::ids::Ids;
use crate::outbox::Storage;
use crate::policy::Policy;
use crate::seams::Seams;

/// The settings of one server.
#[derive(Clone, Debug)]
pub struct Config {
    /// Socket.IO path. Clients ask for it with a slash at the end; both forms are served.
    pub path: String,
    /// How long after an answered ping the next one is sent.
    pub ping_interval: Duration,
    /// How long a client may take to answer a ping before it is disconnected.
    pub ping_timeout: Duration,
    /// How long a transport may stay open without a CONNECT that was accepted.
    pub connect_timeout: Duration,
    /// The largest packet or polling body that a client may send, in bytes.
    pub max_payload: u64,
    /// The largest HTTP body of the REST surface, in bytes; above it the answer is 413.
    pub max_body: usize,
    /// How long the called socket may take to answer an RPC.
    pub rpc_timeout: Duration,
    /// How old a heartbeat may be, and how long a session or machine stays active without one.
    pub presence_timeout: Duration,
    /// How often presence is swept for those that went silent.
    pub sweep_interval: Duration,
    /// Packets that may wait for one connection. A connection that falls further behind is
    /// disconnected: a lost update would be worse than a reconnect.
    pub send_queue: usize,
    /// Bytes that may wait for one connection, with the same end for whoever falls further behind.
    pub max_queued: u64,
    /// TCP connections that may be open, and Engine.IO sessions. Whoever comes beyond it gets a 503.
    pub max_connections: usize,
    /// Accounts that may exist. A key that would make another one gets a 503.
    pub max_accounts: usize,
    /// The largest head of an HTTP request, in bytes; above it the answer is 431.
    pub max_header: usize,
    /// How long the head of an HTTP request may take to come, the first one from the beginning of its
    /// connection on; then the answer is 408.
    pub header_timeout: Duration,
    /// How long the body of an HTTP request may take to come.
    pub body_timeout: Duration,
    /// Whether `/control/*` exists (docs/control.md). Never turn it on where strangers can connect.
    pub control: bool,
    /// Which way decisions take where several are right.
    pub policy: Policy,
    /// What keeps rows longer than the memory does; nothing by default.
    pub storage: Option<Arc<dyn Storage>>,
    /// What takes part in the server's work from outside; nothing by default.
    pub seams: Option<Arc<dyn Seams>>,
    /// Dates rows and judges heartbeats.
    pub clock: Clock,
    /// Makes ids and tokens.
    pub ids: Ids,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            path: "/v1/updates".to_owned(),
            ping_interval: Duration::from_secs(15),
            ping_timeout: Duration::from_secs(45),
            connect_timeout: Duration::from_secs(20),
            max_payload: 1_000_000,
            max_body: 32 * 1024 * 1024,
            rpc_timeout: Duration::from_secs(30),
            presence_timeout: Duration::from_secs(10 * 60),
            sweep_interval: Duration::from_secs(60),
            send_queue: 16_384,
            max_queued: 16 * 1024 * 1024,
            max_connections: 65_536,
            max_accounts: 1_000_000,
            max_header: 64 * 1024,
            header_timeout: Duration::from_secs(20),
            body_timeout: Duration::from_secs(120),
            control: false,
            policy: Policy::default(),
            storage: None,
            seams: None,
            clock: Clock::system(),
            ids: Ids::random(),
        }
    }
}
