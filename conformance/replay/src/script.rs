//! A recording as a script: what clients did, in order, and what the server did then. It is read by
//! `read`; who sends what to whom, and under which names, is decided elsewhere.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    path::{Path, PathBuf},
};

use serde_json::Value;
use touchstone_client::{
    Conduct,
    trace::{Exchange, Header, Traced},
};

use super::{found::Found, heard::Heard};
use touchstone_harness::Verdict;
use touchstone_history::Knowledge;

/// A trace that was read for replay.
#[derive(Debug)]
pub struct Recording {
    pub(crate) path: PathBuf,
    pub(crate) header: Header,
    /// What clients did, in the order in which they began to.
    pub(super) steps: Vec<Step>,
    /// What the server did, in the order of arrival.
    pub(super) heard: Vec<Heard>,
    /// The case and its verdict, where a conformance run wrote the trace.
    pub(crate) case: Option<RecordedCase>,
    /// Accounts that the trace makes by signing in, by the name of their token.
    pub(super) signed_in: Vec<String>,
    /// Connections that answered no ping.
    pub(super) mute: HashSet<String>,
    /// The account of each connection that sent CONNECT, by the name of its token.
    pub(super) accounts: HashMap<String, String>,
    /// What came on connections that were open before the recording began, or whose account was there: what
    /// they did before is not known, so that they cannot be replayed.
    pub(super) midway: Vec<Heard>,
    /// From when on the state of the server is not known.
    pub(super) unknown: Option<Unknown>,
    /// How much of what happened it shows, and what of it no right server does.
    pub(super) knowledge: Knowledge,
    pub(super) violations: Vec<Found>,
    /// When the records came that show these.
    pub(super) broken_us: HashSet<u64>,
    /// How many routing decisions of a tap it holds. No client receives them, so they are not replayed.
    pub(super) decisions: usize,
}

/// Why, and from when on, nobody knows what the server of a recording holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unknown {
    /// What comes from here on in the recording says nothing.
    pub(super) then_us: u64,
    /// What was sent from here on may have been answered where nobody recorded it.
    pub(super) unanswered_us: u64,
    pub(super) why: &'static str,
}

/// The case that a trace is the evidence of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedCase {
    /// Its id.
    pub id: String,
    /// Its verdict, in the words of reports.
    pub verdict: String,
}

/// One thing that a client did.
#[derive(Debug, Clone)]
pub(super) struct Step {
    /// When it began, in microseconds of the recording.
    pub(super) t_us: u64,
    pub(super) conn: String,
    pub(super) act: Act,
}

#[derive(Debug, Clone)]
pub(super) enum Act {
    /// The transport is opened.
    Open,
    /// A packet is sent.
    Send(Traced),
    /// A packet was sent that the trace does not hold as a whole.
    Lost(Traced, &'static str),
    /// Something is done to the connection that no packet shows.
    Do(Conduct),
    /// The connection is closed.
    Close,
    /// An HTTP request; its answer is the expectation of the same index.
    Http(usize, Exchange),
    /// The recorder left a note that a judge reads.
    Note(String),
}

impl Act {
    /// What it is, for people.
    pub(super) fn described(&self) -> String {
        match self {
            Self::Open => "opening the connection".into(),
            Self::Close => "closing the connection".into(),
            Self::Do(conduct) => format!("the client {conduct}"),
            Self::Http(_, exchange) => format!("{} {}", exchange.method, exchange.url),
            Self::Note(text) => text.clone(),
            Self::Send(packet) | Self::Lost(packet, _) => match packet {
                Traced::Event { name, .. } => name.clone(),
                Traced::Ack { id, .. } => format!("answer to #{id}"),
                Traced::Connect(_) => "CONNECT".into(),
                Traced::Binary { .. } => "an attachment".into(),
                _ => "a packet".into(),
            },
        }
    }
}

/// A request over HTTP.
#[derive(Debug, Clone)]
pub(super) struct Exchanged {
    /// The place of its step.
    pub(super) step: usize,
    pub(super) method: String,
    pub(super) url: String,
}

impl Recording {
    /// The accounts in which others did what connections were told of: nothing was sent in them but
    /// CONNECT. The trace of a case holds all that was sent.
    pub(super) fn watched_only(&self) -> BTreeSet<String> {
        if self.case.is_some() {
            return BTreeSet::new();
        }
        let is_cause = |step: &&Step| match &step.act {
            Act::Send(packet) => !matches!(packet, Traced::Connect(_) | Traced::Disconnect),
            Act::Lost(..) | Act::Http(..) => true,
            Act::Open | Act::Close | Act::Do(_) | Act::Note(_) => false,
        };
        let of = |step: &Step| self.account_of(&step.conn);
        let mut accounts: BTreeSet<String> = self.steps.iter().filter_map(of).collect();
        for cause in self.steps.iter().filter(is_cause) {
            if let Some(account) = of(cause) {
                accounts.remove(&account);
            }
        }
        accounts
    }

    /// What was requested over HTTP, by the index of its answer.
    pub(super) fn requests(&self) -> HashMap<usize, Exchanged> {
        let requests = self.steps.iter().enumerate();
        requests
            .filter_map(|(step, one)| match &one.act {
                Act::Http(index, exchange) => {
                    let exchanged = Exchanged {
                        step,
                        method: exchange.method.clone(),
                        url: exchange.url.clone(),
                    };
                    Some((*index, exchanged))
                }
                _ => None,
            })
            .collect()
    }

    /// The account that a connection or an exchange belongs to, by the name of its token.
    pub(super) fn account_of(&self, conn: &str) -> Option<String> {
        if let Some(account) = conn.strip_prefix("http/") {
            return Some(account.to_owned());
        }
        self.accounts.get(conn).cloned()
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The case whose failure this is the trace of, if it is one.
    pub fn failed_case(&self) -> Option<&str> {
        let bad = [
            Verdict::Fail,
            Verdict::Warn,
            Verdict::Error,
            Verdict::Blocked,
        ];
        let case = self.case.as_ref()?;
        bad.iter()
            .any(|verdict| verdict.as_str() == case.verdict)
            .then_some(case.id.as_str())
    }
}

/// Whether the exchange made an account, or found it again.
pub(super) fn is_sign_in(exchange: &Exchange) -> bool {
    exchange.method == "POST" && exchange.url == "/v1/auth" && exchange.status == Some(200)
}

/// The name that stands for the token in an answer or in an auth: `a1` for `a1…`.
pub(super) fn token_name(data: Option<&Value>) -> Option<String> {
    let shown = data?.get("token")?.as_str()?;
    shown.strip_suffix('…').map(str::to_owned)
}
