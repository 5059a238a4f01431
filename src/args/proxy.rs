//! The arguments of `touchstone proxy`.

use std::path::PathBuf;

use clap::Args;
use touchstone_client::Secret;
use url::Url;

use super::{HeadlessArguments, ReachArguments, ScreenArguments, parse_address, parse_base_url};

#[derive(Args, Debug)]
pub(crate) struct ProxyArguments {
    /// Address and port that clients are given instead of the server's; port 0 takes a free one
    #[arg(value_name = "LISTEN")]
    pub(crate) listen: String,

    /// Base URL of the server
    #[arg(value_name = "URL", value_parser = parse_base_url, required_unless_present = "profile")]
    pub(crate) url: Option<Url>,

    /// Show only what this expression is true for, as `watch` has it
    #[arg(long, value_name = "EXPR")]
    pub(crate) filter: Option<String>,

    /// Write everything that goes by, whatever the filter, to this file, as a trace without secrets
    #[arg(long, value_name = "TRACE")]
    pub(crate) record: Option<PathBuf>,

    /// End with code 10 when the server broke a requirement of level MUST
    #[arg(long)]
    pub(crate) strict: bool,

    #[command(flatten)]
    pub(crate) reach: UpstreamArguments,

    #[command(flatten)]
    pub(crate) rules: RuleArguments,

    #[command(flatten)]
    pub(crate) headless: HeadlessArguments,

    #[command(flatten)]
    pub(crate) screen: ScreenArguments,
}

/// How the server is reached, and how clients come.
#[derive(Args, Debug)]
#[command(next_help_heading = "Target")]
pub(crate) struct UpstreamArguments {
    /// Take what is not said here from this profile of the nearest touchstone.toml
    #[arg(long, value_name = "NAME")]
    pub(crate) profile: Option<String>,

    /// Trust the certificates of this PEM file as well as those of the system
    #[arg(long, value_name = "FILE")]
    pub(crate) cacert: Option<PathBuf>,

    /// Trust every certificate; whatever is shown says so
    #[arg(long, conflicts_with = "cacert")]
    pub(crate) insecure: bool,

    /// Send this header with every request and upgrade, instead of what a client sends under that name;
    /// its value is shown nowhere; may be repeated
    #[arg(long, value_name = "NAME: VALUE")]
    pub(crate) header: Vec<Secret>,

    /// Connect to this address instead of the one of the URL, whose name certificates and the Host
    /// header keep
    #[arg(long, value_name = "HOST:PORT", value_parser = parse_address)]
    pub(crate) connect_to: Option<(String, u16)>,

    /// Offer TLS to clients, with the certificate of this PEM file
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub(crate) tls_cert: Option<PathBuf>,

    /// The key of that certificate
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub(crate) tls_key: Option<PathBuf>,
}

/// What is done to which messages.
#[derive(Args, Debug)]
#[command(next_help_heading = "Disturbing")]
pub(crate) struct RuleArguments {
    /// Do something to messages and requests that this expression is true for, as the next --do says;
    /// may be repeated, and the first that is true counts
    #[arg(long, value_name = "EXPR", requires = "action")]
    pub(crate) when: Vec<String>,

    /// drop, delay=2s, duplicate, reorder, corrupt, answer=JSON, refuse, close, close=abrupt, close=half,
    /// freeze, http=502, or hold, which waits until somebody decides on the screen
    #[arg(long = "do", id = "action", value_name = "ACTION", requires = "when")]
    pub(crate) action: Vec<String>,

    /// Only to each N-th of them
    #[arg(long, value_name = "N", requires = "when", default_value_t = 1)]
    pub(crate) every: u64,

    /// Only to this part of them, by chance
    #[arg(long, value_name = "P", requires = "when", default_value_t = 1.0)]
    pub(crate) probability: f64,

    /// Only so many times
    #[arg(long, value_name = "N", requires = "when")]
    pub(crate) at_most: Option<u64>,

    /// Seed of that chance
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,

    /// Rules of a TOML file, behind those of the command line
    #[arg(long, value_name = "FILE")]
    pub(crate) rules: Option<PathBuf>,
}

impl UpstreamArguments {
    /// As the other commands have it.
    pub(crate) fn reach(&self) -> ReachArguments {
        ReachArguments {
            profile: self.profile.clone(),
            header: self.header.clone(),
            cacert: self.cacert.clone(),
            insecure: self.insecure,
            connect_to: self.connect_to.clone(),
            ..ReachArguments::default()
        }
    }
}
