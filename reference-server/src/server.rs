//! Wires a server together, runs it on its listeners, and ends it within a second.

use std::future::Future;
use std::io;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use engineioxide::config::EngineIoConfig;
use engineioxide::service::EngineIoService;
use futures_util::FutureExt as _;
use futures_util::future::join_all;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tower_http::cors::CorsLayer;

use crate::accept::Front;
use crate::app::App;
use crate::config::Config;
use crate::engine;
use crate::gateway::Gateway;
use crate::journal;
use crate::listener::KillSwitches;
use crate::presence;
use crate::rest::{self, ApiError};
use crate::seams::{HttpAnswer, HttpRequest};
use crate::slow;

/// How long clients may take to receive what is queued for them when the server ends.
const GRACE: Duration = Duration::from_millis(300);
// It is granted twice: to leave politely, and to notice that the connection was cut.
const _: () = assert!(
    GRACE.as_millis() * 2 < 1_000,
    "the end has to come within a second"
);

/// Runs a new server as [`App::serve`] does.
///
/// # Errors
/// When a listener has no local address, which means that it is unusable.
pub async fn serve(
    listeners: Vec<TcpListener>,
    config: Config,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    App::new(config).serve(listeners, shutdown).await
}

impl App {
    /// Runs the server on these listeners until `shutdown` resolves, then returns within a second.
    ///
    /// All listeners serve the same accounts. Connections are closed at the end, so that clients see
    /// the server go; what was queued for those that read is still sent.
    ///
    /// # Errors
    /// When a listener has no local address, which means that it is unusable.
    pub async fn serve(
        self,
        listeners: Vec<TcpListener>,
        shutdown: impl Future<Output = ()> + Send + 'static,
    ) -> io::Result<()> {
        run(Arc::new(self), listeners, shutdown).await
    }
}

async fn run(
    app: Arc<App>,
    listeners: Vec<TcpListener>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let gateway = Gateway::new(Arc::clone(&app));
    let service = service(&app, &gateway);
    let switches = KillSwitches::default();
    let front = Arc::new(Front::new(service, switches.clone(), &app.config));
    let mut running = Vec::new();
    for listener in listeners {
        tracing::info!(address = %listener.local_addr()?, "listening");
        running.push(Arc::clone(&front).run(listener, app.stop.clone()));
    }
    let sweeper = tokio::spawn(presence::run(Arc::clone(&app)));
    let mut running = tokio::spawn(join_all(running));
    tokio::select! {
        () = shutdown => {}
        // A seam may end the server from within.
        () = app.stop.cancelled() => {}
        _ = &mut running => {}
    }
    tracing::info!("shutting down");
    app.stop.cancel();
    sweeper.abort();
    gateway.close_all();
    let _ = tokio::time::timeout(GRACE, async {
        gateway.emptied().await;
        finished(&mut running).await;
    })
    .await;
    // Whoever is still there reads nothing, or holds an idle HTTP connection open.
    switches.trip_all();
    let _ = tokio::time::timeout(GRACE, finished(&mut running)).await;
    Ok(())
}

/// Waits for a task that may have been waited for before: polling such a one again would panic.
async fn finished<T>(task: &mut JoinHandle<T>) {
    if !task.is_finished() {
        let _ = task.await;
    }
}

/// Everything that the server answers: REST, Socket.IO, and 404.
fn service(app: &Arc<App>, gateway: &Gateway) -> Router {
    let config = &app.config;
    let max_payload = config.max_payload;
    let max_frame = usize::try_from(max_payload).unwrap_or(usize::MAX);
    let settings = EngineIoConfig {
        req_path: config.path.trim_end_matches('/').to_owned().into(),
        ping_interval: config.ping_interval,
        ping_timeout: config.ping_timeout,
        max_buffer_size: config.send_queue,
        max_payload,
        // `max_payload` alone would bound polling bodies only.
        ws_max_message_size: max_frame,
        ws_max_frame_size: max_frame,
        ws_read_buffer_size: 4_096,
        ..EngineIoConfig::default()
    };
    let not_found = Router::new().fallback(rest::not_found);
    let socket_io =
        EngineIoService::with_config_inner(not_found, Arc::new(gateway.clone()), settings);
    rest::routes(app)
        .with_state(Arc::clone(app))
        .fallback_service(socket_io)
        .layer(middleware::from_fn_with_state(
            gateway.clone(),
            engine::correct,
        ))
        .layer(middleware::from_fn(survive_panics))
        .layer(middleware::from_fn_with_state(Arc::clone(app), http_seam))
        .layer(middleware::map_request_with_state(
            config.body_timeout,
            async |State(time): State<Duration>, request: Request| slow::bounded(request, time),
        ))
        .layer(middleware::from_fn(journal::requests))
        .layer(CorsLayer::very_permissive())
}

/// Lets the seams see every request, and what is answered.
async fn http_seam(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let Some(seams) = app.seams() else {
        return next.run(request).await;
    };
    let (mut head, body) = request.into_parts();
    let copy = head.clone();
    let asked = HttpRequest::new(&app.config, &copy);
    let _turn = match seams.before_request(&*app, &asked) {
        Some(wait) => Some(wait.await),
        None => None,
    };
    if let Some(answer) = seams.request(&*app, &asked) {
        return answer.into_response();
    }
    if let Some(uri) = seams.redirect(&asked) {
        head.uri = uri;
    }
    let request = Request::from_parts(head, body);
    let (mut parts, mut body) = next.run(request).await.into_parts();
    let kind = parts.headers.get(CONTENT_TYPE);
    let mut json = None;
    if kind.is_some_and(|kind| kind == "application/json") && !asked.is_socket {
        let bytes = axum::body::to_bytes(body, usize::MAX)
            .await
            .unwrap_or_default();
        json = serde_json::from_slice(&bytes).ok();
        body = bytes.into();
    }
    let before = HttpAnswer {
        status: parts.status,
        body: json,
    };
    let mut after = before.clone();
    seams.response(&*app, &asked, &mut after);
    parts.status = after.status;
    if let Some(json) = after.body.filter(|json| before.body.as_ref() != Some(json)) {
        parts.headers.remove(CONTENT_LENGTH);
        body = json.to_string().into();
    }
    Response::from_parts(parts, body)
}

/// A route that panics is answered with 500; the process and the connection live on.
async fn survive_panics(request: Request, next: Next) -> Response {
    let path = request.uri().path().to_owned();
    match AssertUnwindSafe(next.run(request)).catch_unwind().await {
        Ok(response) => response,
        Err(_) => {
            tracing::error!(path, "a route panicked");
            let message = "An unexpected error occurred";
            ApiError::stated(StatusCode::INTERNAL_SERVER_ERROR, message).into_response()
        }
    }
}
