//! Metrics for Prometheus over HTTP, while a run lasts.

use std::net::SocketAddr;

use anyhow::Context as _;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use touchstone_loadgen::progress::Snapshot;
use touchstone_loadgen::prometheus::{CONTENT_TYPE, Metrics};

use crate::error::Failure;
use crate::reports;

/// A server of metrics.
pub(super) struct Exporter {
    metrics: Metrics,
    stop: CancellationToken,
    task: JoinHandle<std::io::Result<()>>,
}

impl Exporter {
    /// Starts it on an address, if there is one, and tells where on stderr, since the port may be 0.
    pub(super) async fn bind(address: Option<SocketAddr>) -> Result<Option<Self>, Failure> {
        let Some(address) = address else {
            return Ok(None);
        };
        let listener = TcpListener::bind(address)
            .await
            .with_context(|| format!("cannot serve metrics on {address}"))
            .map_err(Failure::usage)?;
        let bound = listener
            .local_addr()
            .context("the listener has no address")?;
        reports::notice(&format!("metrics on http://{bound}/metrics"));
        let metrics = Metrics::default();
        let shown = metrics.clone();
        let app = axum::Router::new().route("/metrics", get(async move || page(&shown)));
        let stop = CancellationToken::new();
        let ended = stop.clone().cancelled_owned();
        let task = tokio::spawn(async move {
            axum::serve(listener, app)
                .with_graceful_shutdown(ended)
                .await
        });
        Ok(Some(Self {
            metrics,
            stop,
            task,
        }))
    }

    /// Shows the progress of a run until its sender is gone.
    pub(super) fn follow(&self, mut seen: watch::Receiver<Snapshot>) {
        let metrics = self.metrics.clone();
        tokio::spawn(async move {
            while seen.changed().await.is_ok() {
                metrics.observe(&seen.borrow_and_update());
            }
        });
    }

    /// Ends the server. A scrape that hangs does not keep the program.
    pub(super) async fn close(self) {
        self.stop.cancel();
        self.task.abort();
        // What a task that was told to end says about it matters to nobody.
        self.task.await.ok();
    }
}

fn page(metrics: &Metrics) -> Response {
    match metrics.text() {
        Ok(text) => ([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
