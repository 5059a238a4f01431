//! Whether the server under test lives: asked when something went wrong that a dead server would explain.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::Instant;
use touchstone_client::{CallError, ConnectError, End, Socket, answers, connect};

use crate::{scope::Scope, shared::Shared};

/// Whether every node still answers.
pub(crate) async fn is_alive(shared: &Shared) -> bool {
    answers(&shared.target.urls, &shared.target.server).await
}

/// Whether every node still handles events, where it did at first: a ping of a new connection is answered. One
/// that refuses the connection may do so, and says nothing here.
pub(crate) async fn handles_events(shared: &Shared) -> bool {
    let Some(token) = &shared.probe else {
        return true;
    };
    let patience = shared.pace.patience();
    let nodes = shared.target.urls.iter().map(async |url| {
        // Again with more time, where the machine may be busy.
        for within in [patience, patience * 3] {
            let server = shared.target.server.at(url.clone());
            let auth = Scope::User.auth(token.expose());
            match connect(&server.auth(auth).timeout(within)).await {
                Ok((socket, events)) => {
                    drop(events);
                    if !matches!(ping(&socket, within).await, Ok(None)) {
                        return true;
                    }
                }
                Err(ConnectError::Timeout { .. }) => {}
                Err(_) => return true,
            }
        }
        false
    });
    join_all(nodes).await.into_iter().all(|handled| handled)
}

/// How long the answer to a ping takes; nothing where none comes. Several are sent: a server that loses what
/// comes right after CONNECT is judged for that by a case.
pub(crate) async fn ping(socket: &Socket, patience: Duration) -> Result<Option<Duration>, End> {
    let started = Instant::now();
    let mut within = patience / 16;
    while started.elapsed() < patience {
        match socket.call("ping", (), within).await {
            Ok(_) => return Ok(Some(started.elapsed())),
            Err(CallError::Timeout { .. }) => within *= 2,
            Err(CallError::Ended { source, .. }) => return Err(source),
        }
    }
    Ok(None)
}
