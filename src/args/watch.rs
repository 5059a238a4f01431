//! The arguments of `touchstone watch`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgGroup, Args, ValueEnum};
use touchstone_client::provision::ProvisionSpec;
use url::Url;

use super::{ReachArguments, parse_base_url, parse_duration};

#[derive(Args, Debug)]
pub(crate) struct WatchArguments {
    #[command(flatten)]
    pub(crate) source: SourceArguments,

    /// Show only what this expression is true for, such as 'type == "new-message" && size > 4096'; a
    /// bare word means what contains it
    #[arg(long, value_name = "EXPR")]
    pub(crate) filter: Option<String>,

    /// Write everything that is seen, whatever the filter, to this file, as a trace
    #[arg(long, value_name = "TRACE")]
    pub(crate) record: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) headless: HeadlessArguments,

    #[command(flatten)]
    pub(crate) screen: ScreenArguments,
}

/// What to watch.
#[derive(Args, Debug)]
#[command(
    next_help_heading = "Source",
    group = ArgGroup::new("accused").args(["url", "profile"]).multiple(true)
)]
pub(crate) struct SourceArguments {
    /// Base URL of the server; without it, the embedded reference server under a load is shown
    #[arg(value_name = "URL", value_parser = parse_base_url)]
    pub(crate) url: Option<Url>,

    #[command(flatten)]
    pub(crate) reach: ReachArguments,

    /// Token of an account to watch; may be repeated (TOUCHSTONE_TOKEN serves when neither this nor
    /// --provision is given)
    #[arg(long, value_name = "TOKEN", requires = "accused")]
    pub(crate) token: Vec<String>,

    /// Where accounts come from when no token is given: `rest`, `file:PATH` or `command:CMD`
    /// [default: rest]
    #[arg(
        long,
        value_name = "HOW",
        requires = "accused",
        conflicts_with = "token"
    )]
    pub(crate) provision: Option<ProvisionSpec>,

    /// Accounts to take from the provisioner
    #[arg(long, value_name = "N", default_value_t = 1, requires = "accused", value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(crate) accounts: u16,

    /// Watch also as a connection of this session; unlike watching as a user, that shows presence to
    /// others; may be repeated
    #[arg(long, value_name = "ID", requires = "accused")]
    pub(crate) session: Vec<String>,

    /// Watch also as a connection of this machine; others see the machine come and go with it; may be
    /// repeated
    #[arg(long, value_name = "ID", requires = "accused")]
    pub(crate) machine: Vec<String>,

    /// Watch also as every session and machine that the REST surface lists; with `--all=sessions` not as
    /// machines, which a watching connection keeps active, so that nobody sees them go
    #[arg(long, value_name = "WHICH", num_args = 0..=1, require_equals = true,
        default_missing_value = "everything", requires = "accused")]
    pub(crate) all: Option<AllName>,

    /// Watch what the server's router decides, of all accounts (the server needs `--control`)
    #[arg(long, requires = "accused", conflicts_with_all = ["token", "session", "machine", "all"])]
    pub(crate) tap: bool,

    /// Open a recording
    #[arg(long, value_name = "TRACE", conflicts_with_all = ["accused", "record"])]
    pub(crate) open: Option<PathBuf>,

    /// How many times as fast as it was recorded [default: 1, or with --headless as fast as possible]
    #[arg(long, value_name = "FACTOR", requires = "open", value_parser = parse_speed)]
    pub(crate) speed: Option<f64>,
}

/// Which connections `--all` adds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum AllName {
    /// Those of sessions and of machines.
    Everything,
    /// Those of sessions.
    Sessions,
}

/// Output for programs, and when to end.
#[derive(Args, Debug)]
#[command(next_help_heading = "Without a screen")]
pub(crate) struct HeadlessArguments {
    /// Print to stdout what the screen would list
    #[arg(long)]
    pub(crate) headless: bool,

    /// How to print it
    #[arg(
        long,
        value_name = "FORMAT",
        requires = "headless",
        default_value = "text"
    )]
    pub(crate) format: Format,

    /// End after so many printed events
    #[arg(long, value_name = "N", requires = "headless")]
    pub(crate) count: Option<u64>,

    /// End after this time
    #[arg(long = "for", value_name = "DURATION", value_parser = parse_duration, requires = "headless")]
    pub(crate) time: Option<Duration>,

    /// End at the first event that this expression is true for, printed or not
    #[arg(long, value_name = "EXPR", requires = "headless")]
    pub(crate) until: Option<String>,
}

/// How `--headless` prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Aligned columns.
    Text,
    /// One JSON object per line.
    Json,
}

/// How the screen looks and what it keeps.
#[derive(Args, Debug)]
#[command(next_help_heading = "Screen")]
pub(crate) struct ScreenArguments {
    /// Colours of the screen
    #[arg(long, value_name = "NAME", default_value = "dark")]
    pub(crate) theme: ThemeName,

    /// How times are told: as UTC, as local time, since the start, or since the row before
    #[arg(long, value_name = "HOW", default_value = "utc")]
    pub(crate) times: TimesName,

    /// Draw with ASCII characters alone
    #[arg(long)]
    pub(crate) ascii: bool,

    /// Keys, as a TOML file; `--print-keys` shows the defaults
    #[arg(long, value_name = "FILE")]
    pub(crate) keys: Option<PathBuf>,

    /// Print the default keys as a commented TOML file and stop
    #[arg(long, conflicts_with = "headless")]
    pub(crate) print_keys: bool,

    /// Events that are kept
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(100..=100_000_000))]
    pub(crate) ring_events: u32,

    /// Memory that is kept for events, in MiB
    #[arg(long, value_name = "MIB", default_value_t = 128, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) ring_mib: u32,
}

/// The themes of the screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ThemeName {
    /// For a dark background.
    Dark,
    /// For a light background.
    Light,
    /// Without colours: bold, dim and reversed text alone.
    Mono,
}

/// How the screen tells times.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum TimesName {
    /// The time of day, UTC.
    Utc,
    /// The time of day of the zone that TZ or the system names.
    Local,
    /// Since the monitor or the recording began.
    Start,
    /// Since the listed event before.
    Before,
}

pub(super) fn parse_speed(text: &str) -> Result<f64, String> {
    let speed: f64 = text
        .parse()
        .map_err(|_| "write it like 2 or 0.5".to_owned())?;
    if speed.is_finite() && (0.01..=1000.0).contains(&speed) {
        Ok(speed)
    } else {
        Err("must be between 0.01 and 1000".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use crate::args::{Arguments, Command};

    #[track_caller]
    fn check(line: &str, refused: Option<&str>) {
        let parsed = Arguments::try_parse_from(line.split_whitespace());
        match (parsed, refused) {
            (Ok(arguments), None) => assert!(matches!(arguments.command, Command::Watch(_))),
            (Err(error), Some(part)) => assert!(error.to_string().contains(part), "{error}"),
            (Ok(_), Some(_)) => panic!("{line} is accepted"),
            (Err(error), None) => panic!("{line}: {error}"),
        }
    }

    #[test]
    fn what_goes_together() {
        check("touchstone watch", None);
        check("touchstone watch localhost:3005 --token x --token y", None);
        check(
            "touchstone watch localhost:3005 --session s --machine m --all",
            None,
        );
        check(
            "touchstone watch localhost:3005 --tap --filter update",
            None,
        );
        check("touchstone watch --open trace.jsonl --speed 0.5", None);
        check(
            "touchstone watch --headless --format json --for 5s --count 3",
            None,
        );
        check("touchstone watch localhost:3005 --all=sessions", None);
        check(
            "touchstone watch localhost:3005 --all=some",
            Some("sessions"),
        );
        check("touchstone watch --token x", Some("URL"));
        check("touchstone watch --tap", Some("URL"));
        check("touchstone watch --accounts 2", Some("URL"));
        check(
            "touchstone watch localhost:1 --tap --session s",
            Some("--session"),
        );
        check("touchstone watch --open a --record b", Some("--record"));
        check("touchstone watch --open a --speed 0", Some("between"));
        check("touchstone watch --open a --speed fast", Some("like 2"));
        check("touchstone watch --count 3", Some("--headless"));
        check("touchstone watch --ring-events 1", Some("100"));
    }
}
