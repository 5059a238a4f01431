//! The arguments of `touchstone account` and `touchstone emit`.

use std::time::Duration;

use clap::Args;
use touchstone_client::provision::ProvisionSpec;
use url::Url;

use super::{DEFAULT_PATH, DEFAULT_PROVISION, parse_base_url, parse_duration};

#[derive(Args, Debug)]
pub(crate) struct AccountArguments {
    /// Base URL of the server
    #[arg(value_name = "URL", value_parser = parse_base_url)]
    pub(crate) url: Url,

    /// How the account is made: `rest`, `file:PATH` or `command:CMD`
    #[arg(long, value_name = "HOW", default_value = DEFAULT_PROVISION)]
    pub(crate) provision: ProvisionSpec,

    /// Sign in to the account of this number, which is the same account each time on the same server
    /// (default: a new account)
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,
}

#[derive(Args, Debug)]
pub(crate) struct EmitArguments {
    /// Base URL of the server
    #[arg(value_name = "URL", value_parser = parse_base_url)]
    pub(crate) url: Url,

    /// The event, such as session-alive
    #[arg(value_name = "EVENT")]
    pub(crate) event: String,

    /// Its data, such as '{"sid":"…","time":1800000000000}'
    #[arg(value_name = "JSON", value_parser = parse_json)]
    pub(crate) data: Option<serde_json::Value>,

    /// Socket.IO path of the server
    #[arg(long, value_name = "PATH", default_value = DEFAULT_PATH)]
    pub(crate) path: String,

    /// Token of the account (TOUCHSTONE_TOKEN serves when this is not given)
    #[arg(long, value_name = "TOKEN")]
    pub(crate) token: Option<String>,

    /// Send it as a connection of this session
    #[arg(long, value_name = "ID", conflicts_with = "machine")]
    pub(crate) session: Option<String>,

    /// Send it as a connection of this machine
    #[arg(long, value_name = "ID")]
    pub(crate) machine: Option<String>,

    /// How long to show what comes; an answer is awaited for ten seconds if need be
    #[arg(long = "for", value_name = "DURATION", default_value = "1s", value_parser = parse_duration)]
    pub(crate) time: Duration,
}

fn parse_json(text: &str) -> Result<serde_json::Value, String> {
    serde_json::from_str(text)
        .map_err(|error| format!("is not JSON ({error}); write it like '{{\"sid\":\"…\"}}'"))
}
