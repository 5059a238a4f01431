//! The server that a command reaches, put together from its arguments.

use std::fs;
use touchstone_output::text::display_url;

use anyhow::{Context as _, anyhow};
use touchstone_client::provision::{ProvisionSpec, Provisioner};
use touchstone_client::{ConnectOptions, Network, Secret, TlsOptions, Way};
use touchstone_harness::Target;
use touchstone_reference_server::Config;
use url::{Host, Url};

use crate::args::{DEFAULT_PATH, ReachArguments};
use crate::embedded::{self, Embedded};
use crate::error::Failure;
use crate::exit::Exit;
use crate::profile::{self, Accused};
use crate::reports;

/// What the protocol itself says in each request.
const TAKEN: [&str; 7] = [
    "authorization",
    "connection",
    "content-length",
    "content-type",
    "host",
    "transfer-encoding",
    "upgrade",
];

/// One server, with one or more nodes.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    /// What reports call it.
    pub(crate) name: String,
    /// Its nodes, at least one.
    pub(crate) urls: Vec<Url>,
    /// How the first of them is reached, and with another URL the others.
    pub(crate) options: ConnectOptions,
}

impl Server {
    /// The server of these URLs, or the embedded one.
    pub(crate) fn of(
        urls: &[Url],
        reach: &ReachArguments,
        embedded: Option<&Embedded>,
    ) -> Result<Self, Failure> {
        let (mut name, urls) = match embedded {
            Some(embedded) => (
                "the embedded reference server".to_owned(),
                vec![embedded.url().clone()],
            ),
            None => (
                urls.iter().map(display_url).collect::<Vec<_>>().join(", "),
                urls.to_vec(),
            ),
        };
        let mut options = ConnectOptions::new(urls[0].clone());
        if let Some(path) = &reach.path {
            options.path.clone_from(path);
        }
        options.tls = roots(reach)?;
        if reach.insecure {
            name.push_str(" (certificates not verified)");
            // Not every command has a line of its results that names the server.
            reports::notice("certificates are not verified (--insecure)");
        }
        for (nth, header) in (1..).zip(&reach.header) {
            let (header, value) = header_of(header)
                .with_context(|| format!("--header number {nth}"))
                .map_err(Failure::usage)?;
            options = options.header(header, value);
        }
        if reach.connect_to.is_some() {
            let unnamed = |url: &&Url| !matches!(url.host(), Some(Host::Domain(_)));
            if let Some(url) = urls.iter().find(unnamed) {
                let error = anyhow!(
                    "--connect-to keeps the name of the URL, and {} has none",
                    display_url(url)
                );
                return Err(Failure::usage(error).hint("put the address into the URL instead"));
            }
            options.connect_to.clone_from(&reach.connect_to);
        }
        Ok(Self {
            name,
            urls,
            options,
        })
    }

    /// The server of at most one URL and of the profile that is named, if either names one.
    pub(crate) fn alone(
        url: Option<&Url>,
        reach: &mut ReachArguments,
        provision: Option<&mut Option<ProvisionSpec>>,
    ) -> Result<Option<Self>, Failure> {
        let mut urls = Vec::from_iter(url.cloned());
        profile::apply(Accused {
            urls: &mut urls,
            reach,
            provision,
            spawn: None,
            durable: None,
        })?;
        let first = urls.get(..1);
        first.map(|urls| Self::of(urls, reach, None)).transpose()
    }

    /// The same server behind a network, which is there as long as the ways to it are kept.
    async fn through(
        mut self,
        network: Option<Network>,
        seed: u64,
    ) -> Result<(Self, Vec<Way>), Failure> {
        let (Some(network), mut ways) = (network, Vec::new()) else {
            return Ok((self, Vec::new()));
        };
        let is_one = self.urls.len() == 1;
        for url in &mut self.urls {
            let (host, port) = self
                .options
                .at(url.clone())
                .dialled()
                .map_err(Failure::usage)?;
            let way = network.way_to(host, port, seed).await;
            let way = way.context("no free port on 127.0.0.1 for the network")?;
            let begins = way.address();
            match url.host() {
                // Certificates and the Host header keep the name.
                Some(Host::Domain(_)) if is_one => {
                    self.options.connect_to = Some((begins.ip().to_string(), begins.port()));
                }
                Some(Host::Ipv4(address))
                    if matches!(url.scheme(), "http" | "ws") || address == begins.ip() =>
                {
                    let moved = url
                        .set_ip_host(begins.ip())
                        .and(url.set_port(Some(begins.port())));
                    moved.map_err(|()| anyhow!("{} has no port", display_url(url)))?;
                }
                _ => {
                    let error = anyhow!("--network cannot stand before {}", display_url(url));
                    return Err(Failure::usage(error).hint(
                        "it needs one URL, or an address like 127.0.0.1 in each of several",
                    ));
                }
            }
            ways.push(way);
        }
        self.options = self.options.at(self.urls[0].clone());
        self.name = format!("{} through --network {network}", self.name);
        Ok((self, ways))
    }

    /// As the suite knows it.
    pub(crate) fn into_target(self, provisioner: Provisioner) -> Target {
        let mut target = Target::new(self.urls, provisioner);
        target.name = self.name;
        target.server = self.options;
        target
    }

    /// What makes accounts, sessions and machines exist on it.
    pub(crate) fn provisioner(&self, spec: &ProvisionSpec) -> Result<Provisioner, Failure> {
        Provisioner::open(spec, &self.options).map_err(Failure::usage)
    }
}

/// The embedded server, where no URL names another one.
pub(crate) async fn embedded(urls: &[Url], config: Config) -> anyhow::Result<Option<Embedded>> {
    match urls {
        [] => Embedded::start(config).await.map(Some),
        _ => Ok(None),
    }
}

/// A server, and what makes accounts on it.
#[derive(Debug)]
pub(crate) struct Reached {
    pub(crate) server: Server,
    pub(crate) provisioner: Provisioner,
    pub(crate) is_embedded: bool,
    /// The ways through a network, which have to be kept as long as connections go through them.
    pub(crate) ways: Vec<Way>,
}

impl Reached {
    /// What the arguments name: the server of these URLs or the embedded one, perhaps behind a network.
    pub(crate) async fn of(
        (urls, embedded): (&[Url], Option<&Embedded>),
        reach: &ReachArguments,
        provision: Option<&ProvisionSpec>,
        (network, seed): (Option<Network>, u64),
    ) -> Result<Self, Failure> {
        let server = Server::of(urls, reach, embedded)?;
        let (server, ways) = server.through(network, seed).await?;
        let provisioner = server.provisioner(&provision.cloned().unwrap_or_default())?;
        Ok(Self {
            server,
            provisioner,
            is_embedded: embedded.is_some(),
            ways,
        })
    }

    /// As the suite knows it, and the ways to it.
    pub(crate) fn into_target(self) -> (Target, Vec<Way>) {
        let mut target = self.server.into_target(self.provisioner);
        if self.is_embedded {
            target.timeouts = embedded::stated();
        }
        (target, self.ways)
    }
}

/// The failure of a command that the server at `options` does not serve as it must.
pub(crate) fn unserved(options: &ConnectOptions, error: impl Into<anyhow::Error>) -> Failure {
    let error = error.into();
    // Commands meet the same refusal in errors of several types, all of which say it in these words.
    let text = format!("{error:#}");
    let is_forbidden = ["401", "403", "407"]
        .iter()
        .any(|status| text.contains(&format!("HTTP {status}")));
    let hint = if text.contains("invalid peer certificate") {
        "if its certificate is of a CA of your own, name that with --cacert".to_owned()
    } else if is_forbidden {
        "if what stands before it asks for a header, give it with --header".to_owned()
    } else if text.contains("is not supported") {
        match options.url.path() {
            "/" => "if the server has no such route, use --provision file:PATH or command:CMD",
            _ => "is the path of the URL right? It goes before every path of the server",
        }
        .to_owned()
    } else {
        let target = match options.path.as_str() {
            DEFAULT_PATH => display_url(&options.url),
            path => format!("{} --path {path}", display_url(&options.url)),
        };
        format!(
            "is the server running, and is the URL right? touchstone check {target} says in detail what it answers"
        )
    };
    Failure::expected(Exit::Unreachable, error).hint(hint)
}

fn roots(reach: &ReachArguments) -> Result<Option<TlsOptions>, Failure> {
    let roots = match &reach.cacert {
        _ if reach.insecure => TlsOptions::unverified().context("--insecure"),
        None => return Ok(None),
        Some(path) => fs::read(path)
            .context("cannot be read")
            .and_then(|pem| Ok(TlsOptions::with_extra_roots(&pem)?))
            .with_context(|| format!("--cacert {}", path.display())),
    };
    roots.map(Some).map_err(Failure::usage)
}

/// Name and value of a header. No error shows the value, nor what may be one.
fn header_of(text: &Secret) -> anyhow::Result<(String, Secret)> {
    let (name, value) = text
        .expose()
        .split_once(':')
        .context("has no colon; write it like 'X-Key: value'")?;
    let name = name.trim();
    let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    anyhow::ensure!(
        !name.is_empty() && name.chars().all(is_token),
        "has no name before its colon; write it like 'X-Key: value'"
    );
    let lower = name.to_ascii_lowercase();
    anyhow::ensure!(
        !TAKEN.contains(&lower.as_str()) && !lower.starts_with("sec-websocket-"),
        "{name} is a header that the protocol itself has"
    );
    let value = value.trim();
    anyhow::ensure!(
        value.chars().all(|c| c == '\t' || (' '..='~').contains(&c)),
        "the value of {name} has characters that no header may have"
    );
    Ok((name.to_owned(), Secret::new(value)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers() {
        let header = |text: &str| header_of(&Secret::new(text));
        let (name, value) = header("X-Key:  a: b ").expect("a header");
        assert_eq!((name.as_str(), value.expose()), ("X-Key", "a: b"));
        for (text, expected) in [
            ("hidden", "has no colon; write it like 'X-Key: value'"),
            (
                ": hidden",
                "has no name before its colon; write it like 'X-Key: value'",
            ),
            (
                "X Key: hidden",
                "has no name before its colon; write it like 'X-Key: value'",
            ),
            (
                "Host: hidden",
                "Host is a header that the protocol itself has",
            ),
            (
                "authorization: hidden",
                "authorization is a header that the protocol itself has",
            ),
            (
                "Sec-WebSocket-Key: hidden",
                "Sec-WebSocket-Key is a header that the protocol itself has",
            ),
            (
                "X-Key: hid\nden",
                "the value of X-Key has characters that no header may have",
            ),
        ] {
            let error = header(text).expect_err(text).to_string();
            assert_eq!(error, expected);
            assert!(!error.contains("hid"), "{error}");
        }
    }
}
