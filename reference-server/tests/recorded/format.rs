//! The recordings as data: one step a line, in causal order. `README.md` beside this file says what
//! each step means. Nothing here talks to a server.

use serde::Deserialize;
use serde_json::Value;

use super::Failure;

/// One recording.
pub(crate) struct Recording {
    /// The name of its file, for messages.
    pub(crate) name: &'static str,
    /// The steps with their line numbers, from 1.
    pub(crate) lines: Vec<(usize, Step)>,
}

/// One thing that a recorded client, or the server, did.
#[derive(Debug, Deserialize)]
#[serde(tag = "do", rename_all = "camelCase", deny_unknown_fields)]
pub(crate) enum Step {
    /// What the person with the phone does now.
    Phase { text: String },
    /// An HTTP request. Its answer stands here, or in a `response` with the same `id` where other
    /// things happened in between.
    Request {
        by: String,
        id: Option<String>,
        method: String,
        path: String,
        token: Option<String>,
        body: Option<Value>,
        status: Option<u16>,
        answer: Option<Value>,
    },
    /// The answer to the request `to`.
    Response {
        to: String,
        status: u16,
        answer: Value,
    },
    /// A WebSocket and its CONNECT, until that is answered.
    Connect { on: String, auth: Value },
    /// An event, with an `ack` id where it asks for an ack.
    Emit {
        on: String,
        event: String,
        args: Vec<Value>,
        ack: Option<u64>,
    },
    /// The ack of the event whose id was `to` has come.
    Acked {
        on: String,
        to: u64,
        args: Vec<Value>,
    },
    /// A burst of `rpc-register`, nothing awaited.
    Register {
        on: String,
        prefix: String,
        methods: Vec<String>,
    },
    /// All `rpc-registered` of the last burst have come.
    Registered { on: String },
    /// An update has come to each of these connections.
    Update {
        on: Vec<String>,
        name: String,
        body: Value,
        #[serde(default)]
        may: bool,
    },
    /// Any other event has come.
    Receive {
        on: String,
        event: String,
        args: Vec<Value>,
        ack: Option<u64>,
    },
    /// The client acknowledges the event that asked for it as `to`.
    Answer {
        on: String,
        to: u64,
        args: Vec<Value>,
    },
    /// The client leaves with a DISCONNECT packet.
    Disconnect { on: String },
    /// The transport breaks.
    Drop { on: String },
}

impl Recording {
    /// Reads a recording. A `note` is allowed on every line and is for people only.
    pub(crate) fn parse(name: &'static str, text: &str) -> Result<Self, Failure> {
        let mut lines = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let step = parse_step(line).map_err(|error| Failure {
                place: format!("{name}:{}", index + 1),
                phase: "reading".to_owned(),
                problem: error.to_string(),
            })?;
            lines.push((index + 1, step));
        }
        Ok(Self { name, lines })
    }
}

fn parse_step(line: &str) -> serde_json::Result<Step> {
    let mut step: Value = serde_json::from_str(line)?;
    if let Some(fields) = step.as_object_mut() {
        fields.remove("note");
    }
    serde_json::from_value(step)
}
