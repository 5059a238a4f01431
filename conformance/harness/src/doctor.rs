//! The doctor: is this target ready to be judged, and what does it lack?
//!
//! One message that names the step which failed is worth more than a hundred identical failures. Each
//! step has its own time limit. The doctor judges nothing: a server that passes may still be wrong in
//! everything.

use std::{collections::HashMap, sync::Arc, time::Duration};
use touchstone_output::text::display_url;
use touchstone_output::text::error_chain;

use futures_util::future::join_all;
use tokio::{
    net::{TcpStream, lookup_host},
    time::timeout,
};
use touchstone_client::{Clock, ConnectError, Engine, Events, connect, provision::Provisioner};
use url::Url;

use crate::{
    alive::ping,
    case::Stop,
    ctx::{Ctx, Scope},
    event::{DoctorReport, SHORT, TargetSummary},
    peer::reason_in,
    shared::Shared,
    target::Target,
};

/// How long one step may take.
const STEP: Duration = Duration::from_secs(5);

/// How long a guess at another path may take.
const GUESS: Duration = Duration::from_secs(2);

/// Paths under which servers of this family, and Socket.IO servers in general, are found.
const KNOWN_PATHS: [&str; 5] = [
    "/v1/updates",
    "/socket.io",
    "/v1/updates/v1/updates",
    "/",
    "/ws",
];

/// Why a target is not ready.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DoctorError {
    /// The host name does not resolve.
    #[error("cannot resolve the host of {url}: {reason}")]
    Resolve {
        /// The target's address.
        url: String,
        /// What the resolver says.
        reason: String,
    },
    /// Nobody listens there.
    #[error("cannot connect to {url}: {reason}")]
    Dial {
        /// The target's address.
        url: String,
        /// What the system says.
        reason: String,
    },
    /// It accepts connections and then says nothing.
    #[error("{url} accepts connections but says nothing for {} s", after.as_secs())]
    Silent {
        /// The target's address.
        url: String,
        /// How long it was waited.
        after: Duration,
    },
    /// It speaks HTTP, but no Socket.IO at this path.
    #[error("{url} speaks no Socket.IO at {path}: {reason}")]
    NoSocketIo {
        /// The target's address.
        url: String,
        /// The path that was tried.
        path: String,
        /// What it answered instead.
        reason: String,
        /// Whether it ended the connection without any answer, as servers do that expect TLS.
        hung_up: bool,
        /// Whether it answered that somebody has no access.
        forbidden: bool,
        /// Other paths that do answer.
        answering: Vec<String>,
        /// The address without the path of the URL, if that answers.
        without_prefix: Option<Box<str>>,
    },
    /// No TLS connection comes about.
    #[error("cannot speak TLS with {url}: {reason}")]
    Tls {
        /// The target's address.
        url: String,
        /// Why.
        reason: String,
    },
    /// No account, session or machine could be made.
    #[error("cannot make an account: {reason}")]
    Provision {
        /// Why.
        reason: String,
        /// Whether the server lacks the way in which it was tried.
        unsupported: bool,
        /// The address without the path of the URL, if that answers.
        without_prefix: Option<Box<str>>,
    },
    /// A connection with a good token does not come about.
    #[error("cannot connect to {url} with a new account: {reason}")]
    Connect {
        /// The target's address.
        url: String,
        /// Why.
        reason: String,
    },
    /// A connection with a good token comes about, and ends before `ping` is answered.
    #[error("{url} admits a connection, and then it ends: {reason}")]
    Dropped {
        /// The target's address.
        url: String,
        /// How it ended.
        reason: String,
    },
}

impl DoctorError {
    /// What the user may do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Resolve { .. } => Some("check the host name for a typing error".into()),
            Self::Dial { .. } => {
                Some("is the server running, and is the port right? --spawn CMD starts it".into())
            }
            Self::Silent { .. } => Some(
                "something else may be listening on that port, or the server expects TLS: \
                 try https://"
                    .into(),
            ),
            Self::NoSocketIo {
                without_prefix: Some(url),
                ..
            }
            | Self::Provision {
                without_prefix: Some(url),
                ..
            } => Some(format!(
                "a server answers without the path of the URL, which goes before all others: try {url}"
            )),
            Self::NoSocketIo {
                url,
                hung_up,
                forbidden,
                answering,
                ..
            } if answering.is_empty() => {
                let mut hint = String::from("if the server has another path, name it with --path");
                if *forbidden {
                    hint.push_str(
                        "; if what stands before it asks for a header, give it with --header",
                    );
                }
                if *hung_up && url.starts_with("http:") {
                    hint.push_str("; if it expects TLS, use https://");
                }
                Some(hint)
            }
            Self::NoSocketIo { answering, .. } => Some(format!(
                "it does at {}: use --path",
                answering.join(" and ")
            )),
            Self::Tls { .. } => Some(
                "if its certificate is of a CA of your own, name that with --cacert; if the \
                 server speaks plain HTTP, use http://"
                    .into(),
            ),
            Self::Provision {
                unsupported: true, ..
            } => Some(
                "if the server has no such route, use --provision file:PATH or command:CMD".into(),
            ),
            Self::Provision { .. } => None,
            Self::Connect { .. } => {
                Some("is the token of the provisioner one that this server knows?".into())
            }
            Self::Dropped { .. } => Some("the server's own log may tell why".into()),
        }
    }
}

/// Goes through all steps, for each node of the target.
pub(crate) async fn examine(
    target: &Arc<Target>,
    seed: u64,
    salt: u64,
) -> Result<DoctorReport, DoctorError> {
    for url in &target.urls {
        reach(target, url).await?;
        speak(target, url).await?;
    }
    let unlimited = HashMap::new();
    let shared = Arc::new(Shared::new(
        Arc::clone(target),
        Clock::System,
        seed,
        salt,
        unlimited,
    ));
    let mut cx = Ctx::new(Arc::clone(&shared), "doctor", 0);
    let account = timeout(STEP * 2, cx.account()).await;
    let account = match account {
        Ok(Ok(account)) => account,
        Ok(Err(stop)) => return Err(provision_error(target, stop).await),
        Err(_) => {
            let reason = format!("no answer within {} s", (STEP * 2).as_secs());
            return Err(provision_error(target, Stop::Trouble(reason)).await);
        }
    };
    let mut ping = Some(Duration::ZERO);
    let mut heartbeat = Duration::ZERO;
    for url in &target.urls {
        let (took, silence) = admit(target, url, account.token()).await?;
        ping = ping.zip(took).map(|(slowest, took)| slowest.max(took));
        heartbeat = heartbeat.max(silence);
    }
    let missing = match cx.missing_capabilities(&account).await {
        Ok(missing) => missing,
        Err(stop) => return Err(provision_error(target, stop).await),
    };
    Ok(DoctorReport {
        target: TargetSummary {
            name: target.name.clone(),
            urls: target.addresses(),
            path: target.server.path.clone(),
            provision: crate::provide::kind(&target.provisioner).into(),
            missing: missing.iter().map(|(_, reason)| reason.clone()).collect(),
        },
        missing,
        ping,
        heartbeat,
        token: account.secret().clone(),
    })
}

async fn provision_error(target: &Target, stop: Stop) -> DoctorError {
    let (reason, unsupported) = match stop {
        Stop::Skip(reason) | Stop::Unprovided(reason) => (reason, true),
        Stop::Blocked { reason, .. } | Stop::Trouble(reason) | Stop::Dropped(reason) => {
            (reason, false)
        }
        Stop::Short => {
            let told = match &target.provisioner {
                Provisioner::File(file) => file.shortage(),
                _ => None,
            };
            (told.unwrap_or_else(|| SHORT.into()), false)
        }
        Stop::Judged => ("it was refused".into(), false),
    };
    DoctorError::Provision {
        reason,
        unsupported,
        without_prefix: answering_without_prefix(target, &target.urls[0]).await,
    }
}

/// Resolves the name and opens a TCP connection, so that these two are told apart from all the rest.
async fn reach(target: &Target, url: &Url) -> Result<(), DoctorError> {
    let resolve = |reason: String| DoctorError::Resolve {
        url: display_url(url),
        reason,
    };
    let address = target.server.at(url.clone()).dialled();
    let address = address.map_err(|error| resolve(error_chain(&error)))?;
    let addresses: Vec<_> = timeout(STEP, lookup_host(address))
        .await
        .map_err(|_| resolve(format!("no answer within {} s", STEP.as_secs())))?
        .map_err(|error| resolve(error.to_string()))?
        .collect();
    let mut reason = String::from("the name has no address");
    for address in addresses {
        match timeout(STEP, TcpStream::connect(address)).await {
            Ok(Ok(_)) => return Ok(()),
            Ok(Err(error)) => reason = format!("{address}: {error}"),
            Err(_) => reason = format!("{address}: no answer within {} s", STEP.as_secs()),
        }
    }
    Err(DoctorError::Dial {
        url: display_url(url),
        reason,
    })
}

/// Opens the Engine.IO layer, and looks around when the path is a wrong one.
async fn speak(target: &Target, url: &Url) -> Result<(), DoctorError> {
    let options = target.server.at(url.clone()).timeout(STEP);
    let error = match Engine::open(&options).await {
        Ok(_) => return Ok(()),
        Err(error) => error,
    };
    match error {
        ConnectError::Timeout { after, .. } => Err(DoctorError::Silent {
            url: display_url(url),
            after,
        }),
        ConnectError::Dial { .. } => Err(DoctorError::Dial {
            url: display_url(url),
            reason: error_chain(&error),
        }),
        ConnectError::Tls { source, .. } => Err(DoctorError::Tls {
            url: display_url(url),
            reason: error_chain(&source),
        }),
        error => {
            let (answering, without_prefix) = tokio::join!(
                answering_paths(target, url),
                answering_without_prefix(target, url)
            );
            Err(DoctorError::NoSocketIo {
                url: display_url(url),
                path: target.server.path.clone(),
                reason: without_address(&error),
                hung_up: matches!(error, ConnectError::Broken { .. }),
                forbidden: matches!(
                    error,
                    ConnectError::Http {
                        status: 401 | 403 | 407,
                        ..
                    }
                ),
                answering,
                without_prefix,
            })
        }
    }
}

/// What was answered, where the message around it names the address already.
fn without_address(error: &ConnectError) -> String {
    match error {
        ConnectError::Http { status, .. } => format!("it answers HTTP {status}"),
        ConnectError::NotEngineIo { reason, .. } => reason.clone(),
        ConnectError::Broken { stage, reason, .. } => format!("{reason}, while {stage}"),
        other => error_chain(other),
    }
}

async fn answering_paths(target: &Target, url: &Url) -> Vec<String> {
    let guesses = KNOWN_PATHS
        .iter()
        .filter(|path| **path != target.server.path)
        .map(|path| async {
            let options = target.server.at(url.clone()).path(*path).timeout(GUESS);
            Engine::open(&options)
                .await
                .is_ok()
                .then(|| (*path).to_owned())
        });
    join_all(guesses).await.into_iter().flatten().collect()
}

/// The address without the URL's path, where that was the mistake.
async fn answering_without_prefix(target: &Target, url: &Url) -> Option<Box<str>> {
    let mut bare = url.clone();
    bare.set_path("");
    if bare == *url {
        return None;
    }
    let options = target.server.at(bare.clone()).timeout(GUESS);
    let answers = Engine::open(&options).await.is_ok();
    answers.then(|| display_url(&bare).into())
}

/// Connects as a user and pings. Gives how long the answer took; nothing where none came.
async fn admit(
    target: &Target,
    url: &Url,
    token: &str,
) -> Result<(Option<Duration>, Duration), DoctorError> {
    let options = target
        .server
        .at(url.clone())
        .auth(Scope::User.auth(token))
        .timeout(STEP);
    let (socket, events) = connect(&options)
        .await
        .map_err(|error| DoctorError::Connect {
            url: display_url(url),
            reason: error_chain(&error),
        })?;
    // Those of a server that floods must not stand before the answer, and one may say why it ends.
    let listener = tokio::spawn(last_reason(events));
    let handshake = socket.handshake();
    let heartbeat = handshake.ping_interval + handshake.ping_timeout;
    match ping(&socket, STEP).await {
        Ok(took) => {
            listener.abort();
            Ok((took, heartbeat))
        }
        Err(end) => Err(DoctorError::Dropped {
            url: display_url(url),
            reason: match listener.await.ok().flatten() {
                Some(said) => format!("{said} ({})", error_chain(&end)),
                None => error_chain(&end),
            },
        }),
    }
}

/// What a server says with its last event `error` before a connection ends.
async fn last_reason(mut events: Events) -> Option<String> {
    let mut said = None;
    while let Ok(event) = events.recv().await {
        if event.name() == "error" {
            said = Some(reason_in(&event.data().unwrap_or_default()));
        }
    }
    said
}
