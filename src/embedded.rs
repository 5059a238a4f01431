//! The reference server inside this process, for commands that were given no URL.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::Context as _;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use touchstone_harness::Timeouts;
use touchstone_reference_server::{Config, serve};
use url::Url;

/// The settings of an embedded server: with the short times that [`stated`] tells, so that nobody waits
/// half a minute for a time-out of his own process. They are long enough for a machine whose cores are
/// all busy with something else: sixteen processes that wanted two cores were seen to keep each other
/// waiting for more than two seconds.
pub(crate) fn quick() -> Config {
    let Timeouts { rpc, connect, .. } = stated();
    Config {
        rpc_timeout: rpc,
        connect_timeout: connect,
        ping_interval: Duration::from_millis(300),
        ping_timeout: Duration::from_secs(6),
        sweep_interval: Duration::from_millis(250),
        control: true,
        ..Config::default()
    }
}

/// The times of an embedded server that no handshake tells.
pub(crate) fn stated() -> Timeouts {
    Timeouts {
        rpc: Duration::from_secs(3),
        connect: Duration::from_secs(4),
        presence: Some(Config::default().presence_timeout),
    }
}

/// A reference server on a free loopback port.
#[derive(Debug)]
pub(crate) struct Embedded {
    url: Url,
    stop: CancellationToken,
    task: JoinHandle<std::io::Result<()>>,
}

impl Embedded {
    /// Starts it; it answers as soon as this returns.
    pub(crate) async fn start(config: Config) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .context("no free port on 127.0.0.1 for the embedded server")?;
        let address = listener
            .local_addr()
            .context("the embedded server has no address")?;
        let url = Url::parse(&format!("http://{address}")).context("an address is no URL")?;
        let stop = CancellationToken::new();
        let task = tokio::spawn(serve(
            vec![listener],
            config,
            stop.clone().cancelled_owned(),
        ));
        Ok(Self { url, stop, task })
    }

    /// Where it listens.
    pub(crate) fn url(&self) -> &Url {
        &self.url
    }

    /// Stops it and waits until it has.
    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        self.stop.cancel();
        self.task
            .await
            .context("the embedded server panicked")?
            .context("the embedded server failed")
    }
}
