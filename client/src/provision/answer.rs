//! The line that a provisioner answers with. `docs/provisioning.md` has its fields.

use serde::Deserialize;
use serde_json::Value;

/// What a program answers to one request.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Answer {
    pub(crate) id: u64,
    pub(crate) ok: bool,
    pub(crate) error: Option<String>,
    #[serde(default)]
    pub(crate) unsupported: bool,
    pub(crate) token: Option<String>,
    pub(crate) account_id: Option<String>,
    pub(crate) session_id: Option<String>,
    #[serde(default)]
    pub(crate) session: Value,
    pub(crate) machine_id: Option<String>,
    #[serde(default)]
    pub(crate) machine: Value,
}

impl Answer {
    pub(crate) fn parse(line: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(line)
    }
}
