//! `touchstone emit`: one event to a server, and what it answers and sends then.

use std::time::Duration;

use anyhow::{Context as _, anyhow};
use serde_json::json;
use tokio::time::{Instant, sleep_until};
use touchstone_client::{Args, ConnectError, Event, Events, connect};
use touchstone_fixtures::{CLIENT_EVENTS, ack_variants};
use touchstone_output::text::{error_chain, one_line};

use crate::args::EmitArguments;
use crate::error::Failure;
use crate::exit::Exit;
use crate::output;
use crate::reports;
use crate::target::{Server, unserved};
use touchstone_output::suggest::closest;

use super::watch_source::token_of_environment;

/// What to do where the server does not want this client.
const TOKEN: &str = "is the token one that this server knows? `touchstone account URL` prints one";

/// How long an answer is awaited.
const PATIENCE: Duration = Duration::from_secs(10);

/// Connects, sends the event and shows what comes.
pub(crate) async fn run(mut arguments: EmitArguments) -> Result<Exit, Failure> {
    let (url, event, data) = arguments.parsed().map_err(Failure::usage)?;
    let server = Server::alone(url.as_ref(), &mut arguments.reach, None)?;
    let server = server.context("neither a URL nor a profile names the server")?;
    let token = arguments.token.clone().or_else(token_of_environment);
    let Some(token) = token else {
        let error = anyhow!("no token is given, by --token or TOUCHSTONE_TOKEN");
        let hint = format!("`touchstone account {}` prints one", server.urls[0]);
        return Err(Failure::usage(error).hint(hint));
    };
    let mut auth = json!({"token": token, "clientType": "user-scoped"});
    if let Some(id) = &arguments.session {
        auth["clientType"] = json!("session-scoped");
        auth["sessionId"] = json!(id);
    } else if let Some(id) = &arguments.machine {
        auth["clientType"] = json!("machine-scoped");
        auth["machineId"] = json!(id);
    }
    let options = server.options.auth(auth);
    let (socket, mut events) = connect(&options).await.map_err(|error| match error {
        ConnectError::Refused { .. } => Failure::expected(Exit::Unreachable, error).hint(TOKEN),
        error => unserved(&options, error),
    })?;
    let event = event.as_str();
    let data = data.map_or_else(|| Args::raw(""), Args::from);
    // The specification's own events tell whether there is an answer; of others nobody knows.
    let is_answered = !ack_variants(event).is_empty();
    let is_known = CLIENT_EVENTS.contains(&event);
    let sent_at = Instant::now();
    let mut answer = match is_known && !is_answered {
        true => {
            if let Err(end) = socket.emit(event, data).await {
                return Err(ended(&mut events, &end).await);
            }
            None
        }
        false => match socket.request(event, data).await {
            Ok(answer) => Some(Box::pin(answer)),
            Err(end) => return Err(ended(&mut events, &end).await),
        },
    };
    let (mut until, longest) = (sent_at + arguments.time, sent_at + PATIENCE);
    if is_answered {
        until = until.max(longest);
    }
    let mut is_silent = true;
    loop {
        let waits = answer.is_some();
        let reply = async {
            match &mut answer {
                Some(answer) => answer.await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            event = events.recv() => match event {
                Ok(event) => {
                    is_silent = false;
                    output::print(&came(&event))?;
                }
                Err(end) => return Err(ended(&mut events, &end).await),
            },
            reply = reply, if waits => {
                let reply = match reply {
                    Ok(reply) => reply,
                    Err(end) => return Err(ended(&mut events, &end).await),
                };
                let text = reply.args.first_raw().unwrap_or("nothing");
                output::print(&format!("answer    {}\n", one_line(text)))?;
                is_silent = false;
                answer = None;
                until = sent_at + arguments.time;
            },
            () = sleep_until(until) => break,
        }
    }
    socket.disconnect().await;
    if is_answered && answer.is_some() {
        let error = anyhow!("no answer to {event} within {} s", PATIENCE.as_secs());
        return Err(Failure::expected(Exit::Incomplete, error));
    }
    if is_silent {
        let time = humantime::format_duration(arguments.time);
        reports::notice(&format!("nothing came within {time}"));
        if !is_known {
            reports::notice(&format!(
                "{} is no event of this protocol{}",
                one_line(event),
                meant(event)
            ));
        }
    }
    Ok(Exit::Passed)
}

/// Which event was probably meant.
fn meant(event: &str) -> String {
    match closest(event, CLIENT_EVENTS.iter().copied()) {
        Some(name) => format!("; did you mean {name}?"),
        None => String::new(),
    }
}

/// The end of the connection, after what the server said before it: that may be why.
async fn ended(events: &mut Events, end: &dyn std::error::Error) -> Failure {
    while let Ok(event) = events.recv().await {
        if let Err(failure) = output::print(&came(&event)) {
            return failure;
        }
    }
    let error = anyhow!("the server ended the connection: {}", error_chain(end));
    Failure::expected(Exit::Unreachable, error).hint(TOKEN)
}

/// What the server sent, on one line.
fn came(event: &Event) -> String {
    let data = event.args.first_raw().unwrap_or_default();
    format!("received  {} {}\n", one_line(event.name()), one_line(data))
}
