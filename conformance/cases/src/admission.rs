//! What comes of an attempt to connect: the ways in which real servers admit, refuse and drop.

use serde_json::Value;
use touchstone_client::{ConnectError, ConnectOptions, End, connect};
use touchstone_harness::{
    case::{Flow, Stop},
    ctx::Ctx,
    peer::Peer,
    words,
};

/// What came of an attempt to connect.
#[derive(Debug)]
pub(super) enum Admission {
    /// A ping was answered, or the connection stands on a server that answers no ping at all.
    Admitted(Peer),
    /// CONNECT_ERROR.
    ConnectError { message: String },
    /// Connected, then the event `error`, then the end.
    ErrorEvent { message: String, peer: Peer },
    /// The connection ended without a word.
    Dropped,
    /// The connection stands, but is neither served nor ended.
    Undecided,
}

impl Admission {
    /// Whether the connection ended, in whatever way.
    pub(super) fn is_refusal(&self) -> bool {
        !matches!(self, Self::Admitted(_) | Self::Undecided)
    }

    /// The reason that came with a refusal.
    pub(super) fn message(&self) -> Option<&str> {
        match self {
            Self::ConnectError { message } | Self::ErrorEvent { message, .. } => Some(message),
            _ => None,
        }
    }

    /// What came of the attempt, for a reader of the report.
    pub(super) fn told(&self) -> String {
        match self {
            Self::Admitted(_) => "it was admitted".into(),
            Self::ConnectError { message } => format!("CONNECT_ERROR {}", words::quoted(message)),
            Self::ErrorEvent { message, .. } => {
                format!("an error event {} and the end", words::quoted(message))
            }
            Self::Dropped => "the connection ended without a word".into(),
            Self::Undecided => "neither a refusal nor an answer to a ping".into(),
        }
    }
}

/// Connects with `auth`, and tells what came of it.
pub(super) async fn attempt(cx: &Ctx, name: &str, auth: Option<Value>) -> Flow<Admission> {
    attempt_with(cx, name, &cx.options(name, auth)).await
}

/// As [`attempt`], with options of the case's own.
pub(super) async fn attempt_with(
    cx: &Ctx,
    name: &str,
    options: &ConnectOptions,
) -> Flow<Admission> {
    let peer = match connect(options).await {
        Ok((socket, events)) => Peer::new(name, socket, events),
        Err(ConnectError::Refused { message, .. }) => {
            return Ok(Admission::ConnectError { message });
        }
        Err(ConnectError::Ended(
            End::ServerDisconnect | End::TransportClose { .. } | End::TransportError { .. },
        )) => return Ok(Admission::Dropped),
        Err(ConnectError::Timeout { .. }) => return Ok(Admission::Undecided),
        Err(error) => {
            return Err(Stop::Trouble(format!(
                "{name} cannot connect: {}",
                touchstone_output::text::error_chain(&error)
            )));
        }
    };
    match cx.is_served(&peer).await {
        Ok(true) => Ok(Admission::Admitted(peer)),
        // Where no connection's ping is answered, one that stands is as good as admitted.
        Ok(false) if !cx.answers_pings() => Ok(Admission::Admitted(peer)),
        Ok(false) => Ok(Admission::Undecided),
        Err(_) => Ok(ended(cx, peer).await.unwrap_or(Admission::Dropped)),
    }
}

/// Waits until a connection has ended, and tells how it was refused.
pub(super) async fn ended(cx: &Ctx, peer: Peer) -> Result<Admission, Peer> {
    if peer.wait_end(cx.deadline()).await.is_none() {
        return Err(peer);
    }
    let errors = peer.all(|arrival| arrival.name == "error");
    Ok(match errors.first() {
        Some(error) => {
            let message = error.data["message"]
                .as_str()
                .unwrap_or_default()
                .to_owned();
            Admission::ErrorEvent { message, peer }
        }
        None => Admission::Dropped,
    })
}
