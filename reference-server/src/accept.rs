//! Takes TCP connections in, as many as may be open at the same time, and serves HTTP on each.
//!
//! What is over a limit is told so where it can be: by an HTTP answer that no request was needed for. The
//! module knows no route.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{Request, Response, StatusCode};
use axum::serve::Listener;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use socket2::SockRef;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::Config;
use crate::listener::{KillSwitch, KillSwitches, RequestKillSwitch, SwitchedStream, refusal};

/// Connections that are told at the same time that there are too many; others are just closed.
const REFUSALS: usize = 64;

/// How long one of them may take to read that.
const REFUSAL_TIME: Duration = Duration::from_secs(1);

/// What all connections are served with.
pub(crate) struct Front {
    service: Router,
    switches: KillSwitches,
    max_connections: usize,
    max_header: usize,
    header_timeout: Duration,
    /// How long sent data may stay unacknowledged, or a peer's window closed.
    user_timeout: Duration,
    refusals: Arc<Semaphore>,
}

impl Front {
    pub(crate) fn new(service: Router, switches: KillSwitches, config: &Config) -> Self {
        Self {
            service,
            switches,
            max_connections: config.max_connections,
            max_header: config.max_header,
            header_timeout: config.header_timeout,
            user_timeout: config.ping_interval + config.ping_timeout,
            refusals: Arc::new(Semaphore::new(REFUSALS)),
        }
    }

    /// Serves everybody who comes until `stop`, and then until they have left.
    pub(crate) async fn run(self: Arc<Self>, mut listener: TcpListener, stop: CancellationToken) {
        let open = TaskTracker::new();
        loop {
            let stream = tokio::select! {
                (stream, _) = Listener::accept(&mut listener) => stream,
                () = stop.cancelled() => break,
            };
            self.prepare(&stream);
            match self.switches.add(self.max_connections) {
                Some((id, switch)) => {
                    let switches = self.switches.clone();
                    let stream =
                        SwitchedStream::new(stream, (id, switch), switches, self.header_timeout);
                    open.spawn(serve(Arc::clone(&self), stream, stop.clone()));
                }
                None => self.refuse(stream),
            }
        }
        open.close();
        open.wait().await;
    }

    /// Small packets are the rule, and each is flushed once it is whole.
    fn prepare(&self, stream: &TcpStream) {
        let options = stream
            .set_nodelay(true)
            .and_then(|()| SockRef::from(stream).set_tcp_user_timeout(Some(self.user_timeout)));
        if let Err(error) = options {
            tracing::debug!(%error, "a socket option was refused");
        }
    }

    /// Says why there is no place, to whoever reads it soon.
    fn refuse(&self, mut stream: TcpStream) {
        let most = self.max_connections;
        tracing::debug!(most, "a connection was refused, since too many are open");
        let Ok(place) = Arc::clone(&self.refusals).try_acquire_owned() else {
            return;
        };
        tokio::spawn(async move {
            let _ = tokio::time::timeout(REFUSAL_TIME, async {
                let reason = format!("no more connections are taken in: the limit is {most}");
                let refusal = refusal(StatusCode::SERVICE_UNAVAILABLE, &reason);
                stream.write_all(refusal.as_bytes()).await?;
                stream.shutdown().await?;
                // What is unread when a socket is closed takes the answer with it.
                let mut unread = [0; 1_024];
                while stream.read(&mut unread).await? > 0 {}
                std::io::Result::Ok(())
            })
            .await;
            drop(place);
        });
    }
}

async fn serve(front: Arc<Front>, stream: SwitchedStream, stop: CancellationToken) {
    let service = OfConnection {
        switch: Arc::clone(stream.switch()),
        service: TowerToHyperService::new(front.service.clone()),
    };
    let connection = http1::Builder::new()
        .max_header_size(front.max_header)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    let served = tokio::select! {
        served = connection.as_mut() => served,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = served {
        tracing::trace!(%error, "an HTTP connection ended");
    }
}

/// The routes, as one connection reaches them.
struct OfConnection {
    switch: Arc<KillSwitch>,
    service: TowerToHyperService<Router>,
}

impl Service<Request<Incoming>> for OfConnection {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = <TowerToHyperService<Router> as Service<Request<Body>>>::Future;

    /// The head of a request has been read.
    fn call(&self, request: Request<Incoming>) -> Self::Future {
        self.switch.head_arrived();
        let mut request = request.map(Body::new);
        let switch = RequestKillSwitch(Arc::clone(&self.switch));
        request.extensions_mut().insert(ConnectInfo(switch));
        self.service.call(request)
    }
}
