//! The arguments of `touchstone load`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::SystemTime;

use clap::{ArgGroup, Args, Subcommand, ValueEnum};
use touchstone_client::SpawnCommand;
use touchstone_client::provision::ProvisionSpec;
use touchstone_loadgen::scenario::{Scale, Span};
use touchstone_loadgen::schedule::Shard;
use url::Url;

use super::{NetworkArguments, ReachArguments, parse_base_url};

/// The scenario of the first command that a newcomer runs: small, and everything happens in it.
const DEFAULT_SCENARIO: &str = "interactive";

#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct LoadArguments {
    #[command(subcommand)]
    pub(crate) command: Option<LoadCommand>,

    #[command(flatten)]
    pub(crate) run: LoadRunArguments,
}

#[derive(Debug, Subcommand)]
pub(crate) enum LoadCommand {
    /// Show what a scenario comes to, without connecting to anything
    Plan(LoadPlanArguments),
    /// Add the JSON reports of all shards of a run to the report of the whole
    Merge(LoadMergeArguments),
}

#[derive(Args, Debug)]
#[command(group = ArgGroup::new("accused").args(["urls", "profile"]).multiple(true))]
pub(crate) struct LoadRunArguments {
    /// Base URLs of the server under load; several are nodes of one cluster
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

    #[command(flatten)]
    pub(crate) schedule: ScheduleArguments,

    /// Begin at this moment, such as 2026-01-31T12:00:00Z, with all other shards
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub(crate) start_at: Option<SystemTime>,

    /// Who may receive events beyond those who need them: nobody, or all of the account; `auto` measures
    /// before the run which events go to all
    #[arg(long, value_name = "WHO", default_value = "auto")]
    pub(crate) recipients: Recipients,

    /// An objective, in CEL over the fields of the JSON report, such as
    /// 'audit.lost == 0 && latencyUs.fanout.p99 < 80000'; may be repeated
    #[arg(long, value_name = "EXPR")]
    pub(crate) slo: Vec<String>,

    /// Run so many times, for noise bands in `touchstone compare`
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=100), conflicts_with_all = ["shard", "start_at"])]
    pub(crate) repeat: u16,

    /// Threads that drive connections [default: one per core, and one less where the server shares them]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) workers: Option<u16>,

    #[command(flatten)]
    pub(crate) output: LoadOutputArguments,

    /// Write what connections send and receive to a trace, which `touchstone watch --open` shows and
    /// `touchstone replay` sends again
    #[arg(long, value_name = "FILE")]
    pub(crate) trace: Option<PathBuf>,

    /// Of how many accounts, the first ones, the trace has the connections
    #[arg(long, value_name = "N", default_value_t = 1, requires = "trace", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) trace_accounts: u32,

    /// Serve metrics for Prometheus on this address while the run lasts, such as 127.0.0.1:9464
    #[arg(long, value_name = "ADDR", value_parser = parse_address)]
    pub(crate) prometheus: Option<SocketAddr>,

    /// Write lines of progress instead of drawing on the terminal
    #[arg(long)]
    pub(crate) plain: bool,

    /// Draw with ASCII characters alone
    #[arg(long, conflicts_with = "plain")]
    pub(crate) ascii: bool,

    /// List the built-in scenarios and stop
    #[arg(long)]
    pub(crate) list: bool,
}

/// What makes a schedule.
#[derive(Args, Debug)]
#[command(next_help_heading = "Schedule")]
pub(crate) struct ScheduleArguments {
    /// A built-in scenario (--list shows them), or a TOML file
    #[arg(long, value_name = "NAME|FILE", default_value = DEFAULT_SCENARIO)]
    pub(crate) scenario: String,

    /// Multiply the population of the scenario, with 4 or 0.25 for instance
    #[arg(long, value_name = "K", default_value = "1", allow_negative_numbers = true, value_parser = parse_scale)]
    pub(crate) scale: Scale,

    /// How long all phases together last, by changing the last one that counts, such as 30s
    /// [default: as the scenario says]
    #[arg(long, value_name = "D", value_parser = parse_span)]
    pub(crate) duration: Option<Span>,

    /// Seed of everything that the schedule chooses at random
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,

    /// Run one part of the schedule, such as 3/10; the parts together are exactly the whole
    #[arg(long, value_name = "I/N", value_parser = parse_shard)]
    pub(crate) shard: Option<Shard>,
}

/// Where reports go.
#[derive(Args, Debug)]
pub(crate) struct LoadOutputArguments {
    /// Write a report: json, html, markdown, csv, svg, hgrm or hlog, `FORMAT=PATH` for a file and
    /// `FORMAT=-` for stdout; `pretty` is what stdout gets otherwise; may be repeated
    #[arg(long, value_name = "FORMAT=PATH")]
    pub(crate) report: Vec<String>,
}

#[derive(Args, Debug)]
pub(crate) struct LoadPlanArguments {
    #[command(flatten)]
    pub(crate) schedule: ScheduleArguments,

    /// Print the plan as JSON
    #[arg(long)]
    pub(crate) json: bool,

    /// Print a scenario that has the connections, rates and sizes of this recording, such as one of
    /// `touchstone proxy`
    #[arg(long, value_name = "TRACE", conflicts_with_all = ["scenario", "scale", "duration", "seed", "shard", "json"])]
    pub(crate) from: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(crate) struct LoadMergeArguments {
    /// JSON reports, one of each shard
    #[arg(value_name = "REPORT", required = true)]
    pub(crate) files: Vec<PathBuf>,

    #[command(flatten)]
    pub(crate) output: LoadOutputArguments,
}

/// Who may receive events beyond those who need them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Recipients {
    /// What is measured before the run, for each type of event.
    Auto,
    /// Nobody: what reaches anyone else is misrouted.
    Narrow,
    /// All connections of the account, as older servers do.
    Wide,
}

fn parse_time(text: &str) -> Result<SystemTime, String> {
    humantime::parse_rfc3339_weak(text)
        .map_err(|error| format!("{error}; write it like 2026-01-31T12:00:00Z"))
}

fn parse_scale(text: &str) -> Result<Scale, String> {
    text.parse().map_err(|error| format!("{error}"))
}

fn parse_shard(text: &str) -> Result<Shard, String> {
    text.parse().map_err(|error| format!("{error}"))
}

fn parse_address(text: &str) -> Result<SocketAddr, String> {
    text.parse()
        .map_err(|error| format!("{error}; write it like 127.0.0.1:9464"))
}

fn parse_span(text: &str) -> Result<Span, String> {
    match text.parse::<Span>()? {
        Span::ZERO => Err("must be longer than zero".to_owned()),
        span => Ok(span),
    }
}
