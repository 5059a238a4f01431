//! Clients that are not ours, against the reference server: whoever writes a client for this
//! protocol uses one of these libraries, so the server that we call right has to satisfy them.
//!
//! All tests sit behind the feature `interop`, since they need OpenSSL headers and Node. `interop/run`
//! installs what is missing and runs them. This crate must not contain anything that other crates use.
#![cfg(feature = "interop")]

use std::future::Future;

use tokio::net::TcpListener;
use tokio::sync::oneshot;
use touchstone_reference_server::{Config, serve};

/// Runs `client` with the base URL of a fresh reference server, and stops the server afterwards.
///
/// # Panics
/// When no port is free or the server fails, since a test can do nothing about it.
pub async fn with_server<F: Future>(client: impl FnOnce(String) -> F) -> F::Output {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let (stop, stopped) = oneshot::channel::<()>();
    let server = tokio::spawn(serve(vec![listener], Config::default(), async move {
        stopped.await.ok();
    }));
    let output = client(url).await;
    drop(stop);
    server
        .await
        .expect("the server's task")
        .expect("a clean stop");
    output
}
