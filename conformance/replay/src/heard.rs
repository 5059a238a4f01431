//! What the server does, as far as it is compared: the same for what was recorded and for what is heard
//! in a replay. How it is compared is none of its business.

use std::collections::{HashMap, HashSet};

use serde_json::Value;
use touchstone_client::{Args, trace::Traced};

use super::{
    names::Names,
    script::{Act, Step},
};

/// The class of answers to CONNECT.
pub(super) const CONNECT: &str = "connect";

/// One thing that a client got.
#[derive(Debug, Clone)]
pub(super) struct Heard {
    pub(super) t_us: u64,
    pub(super) conn: String,
    pub(super) what: What,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum What {
    /// CONNECT was answered, with this.
    Admitted(Value),
    /// CONNECT was refused.
    Refused(Value),
    Event {
        name: String,
        args: Value,
        ack: Option<u64>,
    },
    Ack {
        id: u64,
        args: Value,
    },
    /// The server ended the connection, or let it end.
    Ended(String),
    /// The answer to an HTTP request: its index, and status and body, or nothing.
    Answered(usize, Option<(u16, Value)>),
}

impl Heard {
    /// What came now, as it would stand in the recording: in its names, and before the step that was next.
    pub(super) fn formerly(&self, names: &Names, next_us: u64) -> Self {
        let what = match &self.what {
            What::Event { name, args, ack } => What::Event {
                name: name.clone(),
                args: names.formerly(args),
                ack: *ack,
            },
            other => other.clone(),
        };
        Self {
            t_us: next_us.saturating_sub(1),
            conn: self.conn.clone(),
            what,
        }
    }
}

impl What {
    /// Whether it is an event that the server sends to whoever it concerns.
    pub(super) fn goes_to_many(&self) -> bool {
        matches!(self, Self::Event { name, .. } if name == "update" || name == "ephemeral")
    }

    /// What a packet from the server is, if it is anything that is compared.
    pub(super) fn of(packet: Traced) -> Option<Self> {
        let values = |args: &Args| {
            args.values()
                .map_or_else(|_| Value::String(args.as_str().to_owned()), Value::Array)
        };
        Some(match packet {
            Traced::Connect(data) => Self::Admitted(data),
            Traced::ConnectError(data) => Self::Refused(data),
            Traced::Event {
                name, args, ack, ..
            } => Self::Event {
                args: values(&args),
                name,
                ack,
            },
            Traced::Ack { id, args, .. } => Self::Ack {
                id,
                args: values(&args),
            },
            Traced::Disconnect => Self::Ended("DISCONNECT".into()),
            Traced::Close => Self::Ended("Engine.IO close packet".into()),
            _ => return None,
        })
    }

    /// What counts as the same kind of thing while it is waited for.
    pub(super) fn class(&self) -> String {
        match self {
            Self::Admitted(_) | Self::Refused(_) => CONNECT.into(),
            Self::Event { name, args, .. } => format!("event {name} {}", type_of(name, args)),
            Self::Ack { id, .. } => format!("ack {id}"),
            Self::Ended(_) => "end".into(),
            Self::Answered(index, _) => format!("http {index}"),
        }
    }
}

/// The type of an update or ephemeral, empty for other events.
pub(super) fn type_of<'a>(name: &str, args: &'a Value) -> &'a str {
    let tag = match name {
        "update" => args.pointer("/0/body/t"),
        "ephemeral" => args.pointer("/0/type"),
        _ => None,
    };
    tag.and_then(Value::as_str).unwrap_or_default()
}

/// What was heard, with the two forms of a refusal made one, and without ends that the client asked for.
/// There can be much of it, so that it is not copied.
pub(super) fn without_doubles(steps: &[Step], mut heard: Vec<Heard>) -> Vec<Heard> {
    let closed_by_client: HashSet<&str> = steps
        .iter()
        .filter(|step| matches!(step.act, Act::Send(Traced::Disconnect | Traced::Close)))
        .map(|step| step.conn.as_str())
        .collect();
    let mut of_conn: HashMap<&str, Vec<usize>> = HashMap::new();
    for (at, one) in heard.iter().enumerate() {
        of_conn.entry(&one.conn).or_default().push(at);
    }
    let mut dropped: HashSet<usize> = HashSet::new();
    let mut refusals: HashMap<usize, Value> = HashMap::new();
    for (conn, places) in of_conn {
        let is_end = |at: &usize| matches!(heard[*at].what, What::Ended(_));
        if closed_by_client.contains(conn) {
            dropped.extend(places.iter().copied().filter(is_end));
        }
        for three in places.windows(3) {
            if let (What::Admitted(_), What::Event { name, args, .. }, What::Ended(_)) = (
                &heard[three[0]].what,
                &heard[three[1]].what,
                &heard[three[2]].what,
            ) && name == "error"
            {
                refusals.insert(three[0], args[0].clone());
                dropped.extend(&three[1..]);
            }
        }
    }
    for (at, reason) in refusals {
        heard[at].what = What::Refused(reason);
    }
    let mut places = 0..;
    heard.retain(|_| places.next().is_some_and(|at| !dropped.contains(&at)));
    heard
}
