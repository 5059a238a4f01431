//! `touchstone serve`: the reference server by itself.

use std::future::Future;

use anyhow::{Context as _, anyhow};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use touchstone_reference_faults::{Faults, faults};
use touchstone_reference_server::{Config, serve};

use crate::args::{LimitArguments, ServeArguments};
use crate::error::Failure;
use crate::exit::Exit;
use crate::output;
use crate::suggest;

/// Serves until Ctrl-C or SIGTERM.
pub(crate) async fn run(arguments: ServeArguments) -> Result<Exit, Failure> {
    if arguments.list_faults {
        return output::print(&fault_list());
    }
    let config = config(&arguments)?;
    // Signals are caught before the ready line, so that a supervisor may stop us right after it.
    let stopped = stop_signal().context("cannot catch signals")?;
    let listeners = listen(&arguments.listen).await?;
    output::print(&ready_line(&listeners, &arguments.fault)?)?;
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
    Ok(parse_faults(&arguments.fault)?.applied_to(config))
}

/// The faults that the names on the command line stand for.
pub(crate) fn parse_faults(names: &[String]) -> Result<Faults, Failure> {
    Faults::parse(names.iter().map(String::as_str)).map_err(|error| {
        let known = || faults().iter().map(|fault| fault.name);
        let asked = names
            .iter()
            .map(|name| name.split('=').next().unwrap_or(name));
        let mut unknown = asked.filter(|asked| !known().any(|name| name == *asked));
        let meant = unknown.find_map(|asked| suggest::closest(asked, known()));
        Failure::usage(error).hint(match meant {
            Some(name) => {
                format!("did you mean {name}? --list-faults of touchstone serve shows all")
            }
            None => "touchstone serve --list-faults shows them all".to_owned(),
        })
    })
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

/// Where it listens, and that it is wrong on purpose if it is.
fn ready_line(listeners: &[TcpListener], faults: &[String]) -> anyhow::Result<String> {
    let urls = listeners
        .iter()
        .map(|listener| Ok(format!("http://{}", listener.local_addr()?)))
        .collect::<std::io::Result<Vec<_>>>()
        .context("a listener has no address")?;
    let faults = match faults {
        [] => String::new(),
        faults => format!(" with the faults {}", faults.join(", ")),
    };
    Ok(format!("listening on {}{faults}\n", urls.join(" ")))
}

/// Resolves at the first Ctrl-C or SIGTERM.
fn stop_signal() -> std::io::Result<impl Future<Output = ()> + Send + 'static> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

fn fault_list() -> String {
    let names: Vec<(String, &str)> = faults()
        .iter()
        .map(|fault| {
            let argument = fault
                .argument
                .map(|name| format!("[={name}]"))
                .unwrap_or_default();
            (format!("{}{argument}", fault.name), fault.description)
        })
        .collect();
    let width = names.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    names
        .iter()
        .map(|(name, description)| format!("{name:width$}  {description}\n"))
        .collect()
}
