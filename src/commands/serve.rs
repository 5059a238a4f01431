//! `touchstone serve`: the reference server by itself.

use std::future::Future;

use anyhow::{Context as _, anyhow};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use touchstone_reference_faults::{Faults, Liberties, LibertyInfo, faults, liberties};
use touchstone_reference_server::{Config, serve};
use touchstone_reference_storage::Location;

use crate::args::{LimitArguments, ServeArguments};
use crate::commands::serve_durable;
use crate::error::Failure;
use crate::exit::Exit;
use crate::output;
use touchstone_output::suggest;

/// Serves until Ctrl-C or SIGTERM.
pub(crate) async fn run(arguments: ServeArguments, quiet: bool) -> Result<Exit, Failure> {
    if arguments.list_faults {
        let all = faults().iter();
        return output::print(&list(
            all.map(|one| (one.name, one.argument, one.description)),
        ));
    }
    if arguments.list_liberties {
        let all = liberties().iter();
        let argument = |one: &LibertyInfo| one.argument.map(|(name, _)| name);
        let rows = all.map(|one| (one.name, argument(one), one.description));
        return output::print(&list(rows));
    }
    let config = config(&arguments)?;
    let database = arguments.database.as_deref().map(serve_durable::location);
    let database = database.transpose()?;
    // Signals are caught before the ready line, so that a supervisor may stop us right after it.
    let stopped = stop_signal().context("cannot catch signals")?;
    let listeners = listen(&arguments.listen).await?;
    let line = ready_line(&listeners, &arguments, database.as_ref())?;
    let ready = || output::print(&line);
    if let Some(database) = database {
        return serve_durable::run(&database, config, listeners, stopped, quiet, ready).await;
    }
    ready()?;
    serve(listeners, config, stopped)
        .await
        .context("the server failed")?;
    Ok(Exit::Passed)
}

fn config(arguments: &ServeArguments) -> Result<Config, Failure> {
    let mut config = Config::default();
    config.path.clone_from(&arguments.path);
    config.control = arguments.control;
    arguments.limits.apply(&mut config);
    differing(config, &arguments.fault, &arguments.liberty)
}

/// The settings of a server with the faults and the liberties that names on the command line stand for.
pub(crate) fn differing(
    config: Config,
    fault: &[String],
    liberty: &[String],
) -> Result<Config, Failure> {
    let faults = Faults::parse(fault.iter().map(String::as_str)).map_err(|error| {
        let known = faults().iter().map(|fault| fault.name);
        Failure::usage(error).hint(meant(fault, known, "--list-faults"))
    })?;
    let liberties = Liberties::parse(liberty.iter().map(String::as_str)).map_err(|error| {
        let known = liberties().iter().map(|liberty| liberty.name);
        Failure::usage(error).hint(meant(liberty, known, "--list-liberties"))
    })?;
    // What a fault sends to the wrong ones, a liberty delivers late.
    Ok(liberties.applied_to(faults.applied_to(config)))
}

/// What helps who has asked for names, not all of which are known.
fn meant<'k>(asked: &[String], known: impl Iterator<Item = &'k str>, list: &str) -> String {
    let known: Vec<_> = known.collect();
    let names = asked
        .iter()
        .map(|name| name.split('=').next().unwrap_or(name));
    let mut unknown = names.filter(|name| !known.contains(name));
    match unknown.find_map(|name| suggest::closest(name, known.iter().copied())) {
        Some(name) => format!("did you mean {name}? {list} of touchstone serve shows all"),
        None => format!("touchstone serve {list} shows them all"),
    }
}

impl LimitArguments {
    fn apply(&self, config: &mut Config) {
        fn set<T: Copy>(field: &mut T, asked: Option<T>) {
            *field = asked.unwrap_or(*field);
        }
        set(&mut config.ping_interval, self.ping_interval);
        set(&mut config.ping_timeout, self.ping_timeout);
        set(&mut config.connect_timeout, self.connect_timeout);
        set(&mut config.rpc_timeout, self.rpc_timeout);
        set(&mut config.presence_timeout, self.presence_timeout);
        set(&mut config.sweep_interval, self.sweep_interval);
        set(&mut config.max_payload, self.max_payload);
        let number = |asked: Option<u32>| asked.and_then(|asked| usize::try_from(asked).ok());
        set(&mut config.max_connections, number(self.max_connections));
        set(&mut config.max_accounts, number(self.max_accounts));
        set(&mut config.max_queued, self.max_queued);
        set(&mut config.max_header, number(self.max_header));
        set(&mut config.header_timeout, self.header_timeout);
        set(&mut config.body_timeout, self.body_timeout);
    }
}

async fn listen(addresses: &[String]) -> Result<Vec<TcpListener>, Failure> {
    let mut listeners = Vec::new();
    for address in addresses {
        let listener = TcpListener::bind(address).await.map_err(|error| {
            let in_use = error.kind() == std::io::ErrorKind::AddrInUse;
            let failure = Failure::usage(anyhow!("cannot listen on {address}: {error}"));
            failure.hint(if in_use {
                "choose another port with --listen; port 0 takes a free one"
            } else {
                "write --listen like 127.0.0.1:3005, with an address of this machine"
            })
        })?;
        listeners.push(listener);
    }
    Ok(listeners)
}

/// Where it listens and keeps its rows, and how it differs on purpose if it does.
fn ready_line(
    listeners: &[TcpListener],
    arguments: &ServeArguments,
    database: Option<&Location>,
) -> anyhow::Result<String> {
    let urls = listeners
        .iter()
        .map(|listener| Ok(format!("http://{}", listener.local_addr()?)))
        .collect::<std::io::Result<Vec<_>>>()
        .context("a listener has no address")?;
    let differences = [
        ("the faults", &arguments.fault),
        ("the liberties", &arguments.liberty),
    ];
    let rows = database.map_or("memory".to_owned(), ToString::to_string);
    let differences = differences
        .iter()
        .filter(|(_, names)| !names.is_empty())
        .map(|(kind, names)| format!("{kind} {}", names.join(", ")));
    let with: Vec<_> = [format!("rows in {rows}")]
        .into_iter()
        .chain(differences)
        .collect();
    Ok(format!(
        "listening on {} with {}\n",
        urls.join(" "),
        with.join(" and ")
    ))
}

/// Resolves at the first Ctrl-C or SIGTERM.
pub(crate) fn stop_signal() -> std::io::Result<impl Future<Output = ()> + Send + 'static> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

/// Names with their arguments and what they mean, a line each.
fn list<'a>(rows: impl Iterator<Item = (&'a str, Option<&'a str>, &'a str)>) -> String {
    let rows: Vec<(String, &str)> = rows
        .map(|(name, argument, description)| {
            let argument = argument.map(|name| format!("[={name}]"));
            (
                format!("{name}{}", argument.unwrap_or_default()),
                description,
            )
        })
        .collect();
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    rows.iter()
        .map(|(name, description)| format!("{name:width$}  {description}\n"))
        .collect()
}
