//! Clients that are not ours, against the reference server: whoever writes a client for this
//! protocol uses one of these libraries, so the server that we call right has to satisfy them.
//!
//! All tests sit behind the feature `interop`, since they need OpenSSL headers, Node and Python.
//! `interop/run` installs what is missing and runs them. This crate must not contain anything that
//! other crates use.
#![cfg(feature = "interop")]

use std::future::Future;

use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use touchstone_reference_server::{Config, serve};

/// A reference server on a port of its own.
#[derive(Debug)]
pub struct Server {
    address: String,
    stop: oneshot::Sender<()>,
    task: JoinHandle<std::io::Result<()>>,
}

impl Server {
    /// Starts a server on a free port.
    pub async fn start(config: Config) -> Self {
        Self::start_at("127.0.0.1:0", config).await
    }

    async fn start_at(address: &str, config: Config) -> Self {
        let listener = TcpListener::bind(address).await.expect("a free port");
        let address = listener.local_addr().expect("an address").to_string();
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(serve(vec![listener], config, async move {
            stopped.await.ok();
        }));
        Self {
            address,
            stop,
            task,
        }
    }

    /// Its base URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Ends it.
    ///
    /// # Panics
    /// When it fails, since a test can do nothing about it.
    pub async fn stop(self) {
        drop(self.stop);
        self.task
            .await
            .expect("the server's task")
            .expect("a clean stop");
    }

    /// Ends it, as a process that is asked to, and starts another on the same port.
    pub async fn restart(self, config: Config) -> Self {
        let address = self.address.clone();
        self.stop().await;
        Self::start_at(&address, config).await
    }
}

/// Runs `client` with the base URL of a fresh reference server, and stops the server afterwards.
pub async fn with_server<F: Future>(client: impl FnOnce(String) -> F) -> F::Output {
    let server = Server::start(Config::default()).await;
    let output = client(server.url()).await;
    server.stop().await;
    output
}
