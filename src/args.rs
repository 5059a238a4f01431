//! What a person can say on the command line, as parsed by clap and grouped by concern. Nothing is
//! opened or checked against the world here: each command turns its arguments into a plan.

mod act;
mod explore;
mod load;
mod proxy;
mod reach;
mod replay;
mod watch;

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgGroup, Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use touchstone_client::SpawnCommand;
use touchstone_client::provision::ProvisionSpec;
use url::Url;

pub(crate) use act::{AccountArguments, EmitArguments};
pub(crate) use explore::ExploreArguments;
pub(crate) use load::{
    LoadArguments, LoadCommand, LoadMergeArguments, LoadPlanArguments, LoadRunArguments,
    Recipients, ScheduleArguments,
};
pub(crate) use proxy::{ProxyArguments, RuleArguments};
pub(crate) use reach::{NetworkArguments, ReachArguments, parse_address};
pub(crate) use replay::ReplayArguments;
pub(crate) use watch::{
    AllName, Format, HeadlessArguments, ScreenArguments, SourceArguments, ThemeName, TimesName,
    WatchArguments,
};

/// The Socket.IO path of servers of this family.
pub(crate) const DEFAULT_PATH: &str = "/v1/updates";

/// Conformance and load harness for the Socket.IO API and event router of a happy-server.
#[derive(Debug, Parser)]
#[command(
    name = "touchstone",
    version,
    max_term_width = 100,
    arg_required_else_help = true
)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) output: Output,

    #[command(subcommand)]
    pub(crate) command: Command,
}

/// How to speak to the terminal.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct Output {
    /// When to use colours; `auto` asks the terminal, TERM and NO_COLOR
    #[arg(
        long,
        global = true,
        value_name = "WHEN",
        default_value = "auto",
        hide_default_value = true
    )]
    pub(crate) color: Color,

    /// Write no progress to stderr; results, warnings and errors stay
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,

    /// Log more to stderr; repeat for even more (TOUCHSTONE_LOG takes a filter)
    #[arg(long, short, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
}

/// When to use colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    /// On a terminal that is not dumb, unless NO_COLOR is set.
    Auto,
    /// Also into files and pipes.
    Always,
    /// Not at all.
    Never,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Judge a server; without a URL, the embedded reference server
    Check(Box<CheckArguments>),
    /// Load a server and account for every delivery; without a URL, the embedded reference server
    Load(Box<LoadArguments>),
    /// Put JSON reports side by side: what newly fails, what no longer does, what differs
    Compare(CompareArguments),
    /// Generate histories of a server, judge them, and shrink what breaks a rule; without a URL, the
    /// embedded reference server
    Explore(Box<ExploreArguments>),
    /// Tell what a case sends, what it accepts and why
    Explain(ExplainArguments),
    /// Print the protocol as a document
    Protocol(ProtocolArguments),
    /// Send the client side of a recording again, and tell what the server does otherwise
    Replay(Box<ReplayArguments>),
    /// Judge recordings, whoever made them
    Judge(JudgeArguments),
    /// Run the reference server, in memory or with a database
    Serve(Box<ServeArguments>),
    /// See what a server sends, as it happens; without a URL, a demonstration
    Watch(Box<WatchArguments>),
    /// Stand between clients and a server: see, judge and record what they say to each other
    Proxy(Box<ProxyArguments>),
    /// Make an account, or sign in to one, and print its token
    Account(AccountArguments),
    /// Send one event, and show the answer and what comes
    Emit(EmitArguments),
    /// Print a completion script for a shell
    Completions {
        /// The shell to complete for
        shell: Shell,
    },
    /// Write the manual pages of all commands into a folder
    Man {
        /// The folder, which has to exist
        folder: PathBuf,
    },
}

#[derive(Args, Debug)]
#[command(group = ArgGroup::new("accused").args(["urls", "profile"]).multiple(true))]
pub(crate) struct CheckArguments {
    #[command(flatten)]
    pub(crate) target: TargetArguments,

    #[command(flatten)]
    pub(crate) selection: SelectionArguments,

    /// Cases that run at the same time
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) jobs: Option<u16>,

    /// Wait this long, in milliseconds, where no sentinel can prove that an event was not sent
    /// (default: a multiple of the slowest delivery seen in the run)
    #[arg(long, value_name = "MS")]
    pub(crate) settle: Option<u64>,

    /// Seed of everything that the cases choose at random (default: a new one, which the report names)
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,

    /// Run only the cases that failed, or could not be judged, in this JSON report
    #[arg(long, value_name = "FILE")]
    pub(crate) rerun: Option<PathBuf>,

    /// End the run at the first failure that shows again when its case is repeated alone
    #[arg(long)]
    pub(crate) fail_fast: bool,

    /// Show every failure in full, also those that another one explains, and name every case that could not
    /// be judged
    #[arg(long)]
    pub(crate) full: bool,

    /// Show the dialect card: in which of the permitted ways the server does things
    #[arg(long)]
    pub(crate) dialect: bool,

    /// Write a report: json, junit, markdown, html or github, `FORMAT=PATH` for a file and `FORMAT=-`
    /// for stdout; `pretty` is what stdout gets otherwise; may be repeated
    #[arg(long, value_name = "FORMAT=PATH")]
    pub(crate) report: Vec<String>,

    /// Known failures, which are reported and do not fail the run; entries that no longer fail, or
    /// match nothing, do; may be repeated
    #[arg(long, value_name = "FILE")]
    pub(crate) baseline: Vec<PathBuf>,

    /// Write a baseline of what fails now; what the other baselines still know keeps its reasons
    #[arg(long, value_name = "FILE")]
    pub(crate) write_baseline: Option<String>,

    /// Write the wire trace of each case that ran to this folder, as CASE.jsonl
    #[arg(long, value_name = "DIR")]
    pub(crate) trace: Option<PathBuf>,

    /// Run each selected case this many times; the worst verdict counts
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(crate) repeat: u16,

    /// List the selected cases and stop; with `--report json=-`, as JSON
    #[arg(long)]
    pub(crate) list: bool,

    /// Deliberate faults of the embedded server, to see how the suite answers them
    #[arg(long, value_name = "NAME[=ARG]", conflicts_with_all = ["urls", "spawn", "profile"])]
    pub(crate) fault: Vec<String>,

    /// Legitimate differences of the embedded server, none of which the suite may blame
    #[arg(long, value_name = "NAME[=ARG]", conflicts_with_all = ["urls", "spawn", "profile"])]
    pub(crate) liberty: Vec<String>,
}

/// Which server, and how accounts, sessions and machines come to exist on it.
#[derive(Args, Debug)]
#[command(next_help_heading = "Target")]
pub(crate) struct TargetArguments {
    /// Base URLs of the server under test; several are nodes of one cluster; a path goes before all
    /// paths of the server
    #[arg(value_name = "URL", value_parser = parse_base_url)]
    pub(crate) urls: Vec<Url>,

    #[command(flatten)]
    pub(crate) reach: ReachArguments,

    #[command(flatten)]
    pub(crate) network: NetworkArguments,

    /// How accounts, sessions and machines are made: `rest`, `file:PATH` or `command:CMD`
    /// [default: rest]
    #[arg(long, value_name = "HOW")]
    pub(crate) provision: Option<ProvisionSpec>,

    /// Start the server with this command, and end it afterwards
    #[arg(long, value_name = "CMD", requires = "accused", value_parser = SpawnCommand::parse)]
    pub(crate) spawn: Option<SpawnCommand>,

    /// The server promises to keep what it acknowledged: what is gone after it was killed breaks a requirement
    #[arg(long, requires = "accused")]
    pub(crate) durable: bool,

    /// How long the server lets the callee of an RPC be silent [default: 30s]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, requires = "accused")]
    pub(crate) rpc_timeout: Option<Duration>,

    /// How long the server waits for CONNECT [default: 20s]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, requires = "accused")]
    pub(crate) connect_timeout: Option<Duration>,

    /// After what time without heartbeats the server takes a session or machine for inactive; without
    /// this flag, no case waits for that
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, requires = "accused")]
    pub(crate) presence_timeout: Option<Duration>,
}

/// Which cases.
#[derive(Args, Debug)]
#[command(next_help_heading = "Selection")]
pub(crate) struct SelectionArguments {
    /// Run only cases that match this glob, such as 'rpc.*'; may be repeated
    #[arg(long, value_name = "GLOB")]
    pub(crate) only: Vec<String>,

    /// Leave out cases that match this glob; may be repeated
    #[arg(long, value_name = "GLOB")]
    pub(crate) skip: Vec<String>,

    /// Leave out cases that judge nothing of this level or above [default: info]
    #[arg(long, value_name = "LEVEL")]
    pub(crate) level: Option<Level>,

    /// Leave out the cases that have ended the process of real servers
    #[arg(long)]
    pub(crate) no_hazards: bool,

    /// Leave out the cases that wait for a time-out of the server, 30 to 60 seconds with most
    #[arg(long)]
    pub(crate) no_slow: bool,
}

/// How much a requirement binds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Level {
    /// The specification says so.
    Must,
    /// Real clients rely on it.
    Should,
    /// A trait that is recorded and never judged.
    Info,
}

#[derive(Args, Debug)]
pub(crate) struct ExplainArguments {
    /// Id of a case or a requirement, or a glob
    #[arg(value_name = "CASE")]
    pub(crate) case: String,
}

#[derive(Args, Debug)]
pub(crate) struct JudgeArguments {
    /// Traces, as `check`, `load` and `watch` write them, or folders of traces
    #[arg(value_name = "TRACE", required = true)]
    pub(crate) traces: Vec<PathBuf>,

    /// The traces show everybody who acts on their accounts, from the beginning: all rules hold
    #[arg(long, conflicts_with = "partial")]
    pub(crate) complete: bool,

    /// Others may act on the accounts unseen (the default, except for traces of `check`, `explore` and `load`)
    #[arg(long)]
    pub(crate) partial: bool,

    /// Also write a report: `FORMAT=PATH`, where FORMAT is json, markdown, html or junit, and PATH may
    /// be `-`
    #[arg(long, value_name = "FORMAT=PATH")]
    pub(crate) report: Vec<String>,
}

#[derive(Args, Debug)]
pub(crate) struct ProtocolArguments {
    /// A page for people, or an AsyncAPI 3 document for tools
    #[arg(long, value_name = "FORMAT", default_value = "markdown")]
    pub(crate) format: ProtocolFormat,
}

/// Forms of the protocol's document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ProtocolFormat {
    /// `docs/protocol.md`.
    Markdown,
    /// `docs/asyncapi.json`.
    Asyncapi,
}

#[derive(Args, Debug)]
pub(crate) struct CompareArguments {
    /// JSON reports of `touchstone check`, or of `touchstone load`; the others are held against the
    /// first
    #[arg(value_name = "REPORT", num_args = 2.., required = true)]
    pub(crate) files: Vec<PathBuf>,

    /// Write the comparison also as one HTML page: `html=PATH`
    #[arg(long, value_name = "FORMAT=PATH")]
    pub(crate) report: Option<String>,
}

#[derive(Args, Debug)]
pub(crate) struct ServeArguments {
    /// Address and port to listen on; port 0 takes a free one; may be repeated
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:3005")]
    pub(crate) listen: Vec<String>,

    /// Socket.IO path
    #[arg(long, value_name = "PATH", default_value = DEFAULT_PATH)]
    pub(crate) path: String,

    /// Keep rows in a database instead of memory, and go on with those that are there:
    /// `sqlite://PATH` or `postgres://USER@HOST/DATABASE`
    #[arg(long, value_name = "URL")]
    pub(crate) database: Option<String>,

    /// Offer /control/emit and /control/tap (docs/control.md); never on a public address
    #[arg(long)]
    pub(crate) control: bool,

    /// Switch on a deliberate fault; may be repeated
    #[arg(long, value_name = "NAME[=ARG]")]
    pub(crate) fault: Vec<String>,

    /// List the faults and stop
    #[arg(long)]
    pub(crate) list_faults: bool,

    /// Be right in another way than usual; may be repeated
    #[arg(long, value_name = "NAME[=ARG]")]
    pub(crate) liberty: Vec<String>,

    /// List the liberties and stop
    #[arg(long)]
    pub(crate) list_liberties: bool,

    #[command(flatten)]
    pub(crate) limits: LimitArguments,
}

/// Times and sizes of the protocol. Durations are written like `15s` or `250ms`.
#[derive(Args, Debug)]
#[command(next_help_heading = "Limits")]
pub(crate) struct LimitArguments {
    /// Time between two Engine.IO pings [default: 15s]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub(crate) ping_interval: Option<Duration>,

    /// How long an Engine.IO ping may stay unanswered [default: 45s]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub(crate) ping_timeout: Option<Duration>,

    /// How long a connection may take to send CONNECT [default: 20s]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub(crate) connect_timeout: Option<Duration>,

    /// How long the callee of an RPC may take to answer [default: 30s]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub(crate) rpc_timeout: Option<Duration>,

    /// How long a session or machine without heartbeats counts as active [default: 10m]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub(crate) presence_timeout: Option<Duration>,

    /// How often presence is swept for those that went silent [default: 1m]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub(crate) sweep_interval: Option<Duration>,

    /// Largest packet that is accepted, in bytes [default: 1000000]
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u64).range(1_000..=1_000_000_000))]
    pub(crate) max_payload: Option<u64>,

    /// TCP connections and Socket.IO sessions that may be open, each; others get a 503 [default: 65536]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) max_connections: Option<u32>,

    /// Accounts that may exist; a key that would make another one gets a 503 [default: 1000000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) max_accounts: Option<u32>,

    /// Bytes that may wait for a client that does not keep up, which is disconnected then
    /// [default: 16777216]
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u64).range(100_000..=1_000_000_000_000))]
    pub(crate) max_queued: Option<u64>,

    /// Largest head of an HTTP request, in bytes; a larger one gets a 431 [default: 65536]
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u32).range(1_000..=400_000))]
    pub(crate) max_header: Option<u32>,

    /// How long the head of an HTTP request may take to come before it gets a 408 [default: 20s]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub(crate) header_timeout: Option<Duration>,

    /// How long its body may take [default: 2m]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub(crate) body_timeout: Option<Duration>,
}

pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(duration) if duration.is_zero() => Err("must be longer than zero".to_owned()),
        Ok(duration) => Ok(duration),
        Err(error) => Err(format!("{error}; write it like 15s or 250ms")),
    }
}

/// People write `localhost:3005` and mean HTTP; an URL parser would take `localhost` for a scheme.
pub(crate) fn parse_base_url(text: &str) -> Result<Url, String> {
    let url = if text.contains("://") {
        Url::parse(text)
    } else {
        Url::parse(&format!("http://{text}"))
    }
    .map_err(|error| format!("{error}; write it like http://127.0.0.1:3005"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(format!(
            "{} is not a scheme of a server; use http or https",
            url.scheme()
        ));
    }
    if url.host().is_none() {
        return Err("names no host; write it like http://127.0.0.1:3005".to_owned());
    }
    // What would not be sent is refused: a server behind it may be another one.
    let unused = [
        (url.query().is_some(), "a query"),
        (url.fragment().is_some(), "a fragment"),
        (
            !url.username().is_empty() || url.password().is_some(),
            "a user name or password",
        ),
    ];
    if let Some((_, what)) = unused.into_iter().find(|(has, _)| *has) {
        return Err(format!(
            "has {what}, which no request would carry; leave it out (a path is kept, as a prefix)"
        ));
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_url(text: &str, expected: Result<&str, &str>) {
        match (parse_base_url(text), expected) {
            (Ok(url), Ok(expected)) => assert_eq!(url.as_str(), expected, "{text}"),
            (Err(error), Err(part)) => assert!(error.contains(part), "{text}: {error}"),
            (got, expected) => panic!("{text}: got {got:?}, expected {expected:?}"),
        }
    }

    #[test]
    fn base_urls() {
        check_url("http://127.0.0.1:3005", Ok("http://127.0.0.1:3005/"));
        check_url("localhost:3005", Ok("http://localhost:3005/"));
        check_url("https://example.org/sub", Ok("https://example.org/sub"));
        check_url("127.0.0.1", Ok("http://127.0.0.1/"));
        check_url("https://example.org/sub/?x=1", Err("a query"));
        check_url("https://example.org/?", Err("a query"));
        check_url("https://example.org/sub#part", Err("a fragment"));
        check_url("https://me:secret@example.org", Err("a user name"));
        check_url("ftp://example.org", Err("use http or https"));
        check_url("http://", Err("http://127.0.0.1:3005"));
        check_url("http://host:99999", Err("invalid port"));
        check_url("", Err("http://127.0.0.1:3005"));
    }

    #[track_caller]
    fn check_duration(text: &str, expected: Option<Duration>) {
        assert_eq!(parse_duration(text).ok(), expected, "{text}");
    }

    #[test]
    fn durations() {
        check_duration("15s", Some(Duration::from_secs(15)));
        check_duration("250ms", Some(Duration::from_millis(250)));
        check_duration("10m", Some(Duration::from_secs(600)));
        check_duration("15", None);
        check_duration("0s", None);
        check_duration("-1s", None);
    }

    #[test]
    fn the_definition_is_consistent() {
        use clap::CommandFactory as _;
        Arguments::command().debug_assert();
    }
}
