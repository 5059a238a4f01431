//! The reference server in this process, for benches whose figure is time from end to end.

use std::future::pending;
use std::net::Ipv4Addr;

use anyhow::Context as _;
use tokio::net::TcpListener;
use touchstone_reference_server::{Config, serve};
use url::Url;

/// Starts a server with these settings on a free loopback port, in the calling runtime and for as
/// long as that lives.
///
/// # Errors
/// There is no free port.
pub async fn start(config: Config) -> anyhow::Result<Url> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .await
        .context("no free port on 127.0.0.1 for the server")?;
    let url = Url::parse(&format!("http://{}", listener.local_addr()?))?;
    tokio::spawn(serve(vec![listener], config, pending()));
    Ok(url)
}
