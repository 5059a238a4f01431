//! The arguments of `touchstone account` and `touchstone emit`.

use std::time::Duration;

use anyhow::anyhow;
use clap::{ArgGroup, Args};
use serde_json::Value;
use touchstone_client::provision::ProvisionSpec;
use url::Url;

use super::{ReachArguments, parse_base_url, parse_duration};

#[derive(Args, Debug)]
#[command(group = ArgGroup::new("accused").args(["url", "profile"]).multiple(true).required(true))]
pub(crate) struct AccountArguments {
    /// Base URL of the server
    #[arg(value_name = "URL", value_parser = parse_base_url)]
    pub(crate) url: Option<Url>,

    #[command(flatten)]
    pub(crate) reach: ReachArguments,

    /// How the account is made: `rest`, `file:PATH` or `command:CMD` [default: rest]
    #[arg(long, value_name = "HOW")]
    pub(crate) provision: Option<ProvisionSpec>,

    /// Sign in to the account of this number, which is the same account each time on the same server
    /// (default: a new account)
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,
}

#[derive(Args, Debug)]
#[command(group = ArgGroup::new("accused").args(["what", "profile"]).multiple(true))]
pub(crate) struct EmitArguments {
    /// Base URL of the server, which is left out with --profile; the event, such as session-alive; and
    /// its data, such as '{"sid":"…","time":1800000000000}'
    #[arg(value_names = ["URL", "EVENT", "JSON"], num_args = 1..=3, required = true)]
    pub(crate) what: Vec<String>,

    #[command(flatten)]
    pub(crate) reach: ReachArguments,

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

impl EmitArguments {
    /// The URL, unless the profile has it, the event and its data.
    ///
    /// # Errors
    /// They are not that.
    pub(crate) fn parsed(&self) -> anyhow::Result<(Option<Url>, String, Option<Value>)> {
        let names_server = |word: &String| self.reach.profile.is_none() || word.contains("://");
        let (url, words) = match self.what.split_first() {
            Some((url, words)) if names_server(url) => {
                let parsed = parse_base_url(url).map_err(|problem| anyhow!("{url:?} {problem}"))?;
                (Some(parsed), words)
            }
            _ => (None, self.what.as_slice()),
        };
        let (event, data) = match words {
            [event] => (event, None),
            [event, data] => (event, Some(data)),
            [] => anyhow::bail!("no event is given, such as session-alive"),
            _ => anyhow::bail!("more is given than a URL, an event and its data"),
        };
        let data = data.map(|data| {
            serde_json::from_str(data).map_err(|error| {
                anyhow!("{data:?} is not JSON ({error}); write it like '{{\"sid\":\"…\"}}'")
            })
        });
        Ok((url, event.clone(), data.transpose()?))
    }
}
