//! The arguments that every command has which reaches a server.

use std::path::PathBuf;

use clap::Args;
use touchstone_client::{Network, Secret};

/// How the server is reached. A command that has these has a group `accused` of what names the server.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Target")]
pub(crate) struct ReachArguments {
    /// Take what is not said here from this profile of the nearest touchstone.toml
    #[arg(long, value_name = "NAME")]
    pub(crate) profile: Option<String>,

    /// Socket.IO path of the server [default: /v1/updates]
    #[arg(long, value_name = "PATH")]
    pub(crate) path: Option<String>,

    /// Trust the certificates of this PEM file as well as those of the system
    #[arg(long, value_name = "FILE", requires = "accused")]
    pub(crate) cacert: Option<PathBuf>,

    /// Trust every certificate; whatever is reported says so
    #[arg(long, requires = "accused", conflicts_with = "cacert")]
    pub(crate) insecure: bool,

    /// Send this header with every request, upgrade and poll; its value is shown nowhere; may be repeated
    #[arg(long, value_name = "NAME: VALUE", requires = "accused")]
    pub(crate) header: Vec<Secret>,

    /// Connect to this address instead of the one of the URL, whose name certificates and the Host
    /// header keep
    #[arg(long, value_name = "HOST:PORT", requires = "accused", value_parser = parse_address)]
    pub(crate) connect_to: Option<(String, u16)>,
}

/// What lies between this program and the server.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Target")]
pub(crate) struct NetworkArguments {
    /// Reach the server through a network like this one: `slow`, `far`, `flaky`, `mobile`, or values such
    /// as `delay=100ms,jitter=50ms,rate=250k,freeze=1s/10s,cut=30s`; docs/network.md says what they are
    #[arg(long, value_name = "NETWORK")]
    pub(crate) network: Option<Network>,
}

pub(crate) fn parse_address(text: &str) -> Result<(String, u16), String> {
    let parsed = text.rsplit_once(':').and_then(|(host, port)| {
        let host = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'))
            .or((!host.contains(':')).then_some(host))?;
        let port = port.parse().ok().filter(|&port| port > 0)?;
        (!host.is_empty()).then(|| (host.to_owned(), port))
    });
    parsed.ok_or_else(|| "write it like 127.0.0.1:8443 or [::1]:8443".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        #[track_caller]
        fn check(text: &str, expected: Option<(&str, u16)>) {
            let expected = expected.map(|(host, port)| (host.to_owned(), port));
            assert_eq!(parse_address(text).ok(), expected, "{text}");
        }
        check("127.0.0.1:8443", Some(("127.0.0.1", 8443)));
        check("staging.local:80", Some(("staging.local", 80)));
        check("[::1]:443", Some(("::1", 443)));
        check("::1:443", None);
        check("localhost", None);
        check("localhost:0", None);
        check("localhost:99999", None);
        check(":80", None);
    }
}
