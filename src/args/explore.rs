//! The arguments of `touchstone explore`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgGroup, Args};
use touchstone_client::SpawnCommand;
use touchstone_client::provision::ProvisionSpec;
use url::Url;

use super::{NetworkArguments, ReachArguments, parse_base_url, parse_duration};

#[derive(Args, Debug)]
#[command(group = ArgGroup::new("accused").args(["urls", "profile"]).multiple(true))]
pub(crate) struct ExploreArguments {
    /// Base URLs of the server under test; several are nodes of one cluster, over which connections are
    /// spread
    #[arg(value_name = "URL", value_parser = parse_base_url)]
    pub(crate) urls: Vec<Url>,

    #[command(flatten)]
    pub(crate) reach: ReachArguments,

    #[command(flatten)]
    pub(crate) network: NetworkArguments,

    /// How accounts, sessions and machines are made: `rest`, `file:PATH` or `command:CMD`
    /// [default: rest]
    #[arg(long, value_name = "HOW", help_heading = "Target")]
    pub(crate) provision: Option<ProvisionSpec>,

    /// Start the server with this command, and end it afterwards
    #[arg(long, value_name = "CMD", requires = "accused", value_parser = SpawnCommand::parse, help_heading = "Target")]
    pub(crate) spawn: Option<SpawnCommand>,

    /// How long the server lets the callee of an RPC be silent [default: 30s]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, requires = "accused", help_heading = "Target")]
    pub(crate) rpc_timeout: Option<Duration>,

    /// Kill the server in each round (SIGKILL), start it again, and say what it keeps; rounds run one by one
    #[arg(long, requires = "spawn")]
    pub(crate) crash: bool,

    /// The server promises to keep what it acknowledged: what is gone after a crash breaks a requirement
    #[arg(long, requires = "crash")]
    pub(crate) durable: bool,

    /// Explore for this long [default: 60s]
    #[arg(long = "for", value_name = "DURATION", value_parser = parse_duration, conflicts_with = "rounds")]
    pub(crate) time: Option<Duration>,

    /// Run this many rounds
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) rounds: Option<u64>,

    /// Seed of the first round; each further round has the next one (default: a new one, which the report
    /// names)
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,

    /// Before all others, run the rounds of the seeds in this file, one a line; what follows a `#` is a
    /// comment
    #[arg(long, value_name = "FILE")]
    pub(crate) seeds: Option<PathBuf>,

    /// Rounds that run at the same time
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(crate) jobs: u16,

    /// Look for a smaller history that shows the same violation for at most this long
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = humantime::parse_duration)]
    pub(crate) shrink_for: Duration,

    /// End at the first violation
    #[arg(long)]
    pub(crate) fail_fast: bool,

    /// Write the smallest history of each violation to this folder, as a trace
    #[arg(long, value_name = "DIR")]
    pub(crate) trace: Option<PathBuf>,

    /// Also write a report: `FORMAT=PATH`, where FORMAT is json, junit, markdown or html, and PATH may be
    /// `-`
    #[arg(long, value_name = "FORMAT=PATH")]
    pub(crate) report: Vec<String>,

    /// Deliberate faults of the embedded server
    #[arg(long, value_name = "NAME[=ARG]", conflicts_with_all = ["urls", "spawn", "profile"])]
    pub(crate) fault: Vec<String>,

    /// Legitimate differences of the embedded server, none of which may be taken for a violation
    #[arg(long, value_name = "NAME[=ARG]", conflicts_with_all = ["urls", "spawn", "profile"])]
    pub(crate) liberty: Vec<String>,
}
