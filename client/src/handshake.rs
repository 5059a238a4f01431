//! What the server announces when a transport opens.

use std::time::Duration;

use serde::Deserialize;

/// What the server announces when a transport opens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handshake {
    /// The Engine.IO session id.
    pub sid: String,
    /// Transports that the client may upgrade to.
    pub upgrades: Vec<String>,
    /// How often the server pings.
    pub ping_interval: Duration,
    /// How long the server waits for the answer.
    pub ping_timeout: Duration,
    /// The largest message or polling body that the server accepts, in bytes, if it says so.
    pub max_payload: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawHandshake {
    sid: String,
    upgrades: Vec<String>,
    ping_interval: u64,
    ping_timeout: u64,
    max_payload: Option<u64>,
}

impl Handshake {
    /// Parses the JSON of an Engine.IO open packet.
    pub(crate) fn parse(json: &str) -> Result<Self, String> {
        let raw: RawHandshake = serde_json::from_str(json).map_err(|error| error.to_string())?;
        Ok(Self {
            sid: raw.sid,
            upgrades: raw.upgrades,
            ping_interval: Duration::from_millis(raw.ping_interval),
            ping_timeout: Duration::from_millis(raw.ping_timeout),
            max_payload: raw.max_payload,
        })
    }
}
