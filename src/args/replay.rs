//! The arguments of `touchstone replay`.

use std::path::PathBuf;

use clap::{ArgGroup, Args};
use touchstone_client::provision::ProvisionSpec;
use url::Url;

use super::{ReachArguments, parse_base_url, watch::parse_speed};

#[derive(Args, Debug)]
#[command(group = ArgGroup::new("accused").args(["against", "profile"]).multiple(true))]
pub(crate) struct ReplayArguments {
    /// Traces, as `check --trace` and `watch --record` write them, or folders of traces
    #[arg(value_name = "TRACE", required = true)]
    pub(crate) traces: Vec<PathBuf>,

    /// Base URL of the server to send it to; without it, the embedded reference server; several are
    /// nodes of one cluster
    #[arg(long, value_name = "URL", value_parser = parse_base_url)]
    pub(crate) against: Vec<Url>,

    #[command(flatten)]
    pub(crate) reach: ReachArguments,

    /// How accounts, sessions and machines are made: `rest`, `file:PATH` or `command:CMD`
    /// [default: rest]
    #[arg(long, value_name = "HOW")]
    pub(crate) provision: Option<ProvisionSpec>,

    /// How many times as fast as it was recorded
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0, value_parser = parse_speed)]
    pub(crate) speed: f64,

    /// As fast as the server allows: a step waits only for what preceded it in the recording
    #[arg(long, conflicts_with = "speed")]
    pub(crate) as_fast: bool,

    /// Traces that are replayed at the same time
    #[arg(long, value_name = "N", default_value_t = 1,
        value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) jobs: u16,

    /// Seed of the names and accounts that are made (default: a new one)
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,

    /// Wait this long, in milliseconds, at the end for what was not recorded (default: a multiple of
    /// the slowest delivery seen)
    #[arg(long, value_name = "MS")]
    pub(crate) settle: Option<u64>,

    /// Write a report: json, markdown or html; `-` is stdout, and `pretty` is what stdout gets anyway
    #[arg(long, value_name = "FORMAT=PATH")]
    pub(crate) report: Vec<String>,

    /// Deliberate faults of the embedded server
    #[arg(long, value_name = "NAME[=ARG]", conflicts_with = "accused")]
    pub(crate) fault: Vec<String>,

    /// Legitimate differences of the embedded server
    #[arg(long, value_name = "NAME[=ARG]", conflicts_with = "against")]
    pub(crate) liberty: Vec<String>,
}
