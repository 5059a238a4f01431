//! `touchstone proxy`: between clients and a server, on the screen or as lines.

use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, anyhow};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use touchstone_proxy::{Certificate, Plan, serve};
use touchstone_tui_monitor::headless::Ending;
use touchstone_tui_monitor::source::wire::{self, Wire};

use crate::args::{Color, ProxyArguments};
use crate::error::Failure;
use crate::exit::Exit;
use crate::output;
use crate::reports;
use crate::target::Server;

use super::proxy_inspect::Inspection;
use super::proxy_rules::Rules;
use super::proxy_screen::{Aside, WAITING};
use super::serve::stop_signal;
use super::watch_source::{self, Reading, RunningProxy, Watching};
use super::{watch_headless, watch_screen};

/// How recordings name what made them.
const TOOL: &str = concat!("touchstone-proxy ", env!("CARGO_PKG_VERSION"));

/// Passes on until the user leaves or what was asked for is reached.
pub(crate) async fn run(arguments: ProxyArguments, color: Color) -> Result<Exit, Failure> {
    if arguments.screen.print_keys {
        return output::print(touchstone_tui_monitor::keys::SAMPLE);
    }
    let inspection = Arc::<Mutex<Inspection>>::default();
    let filter = arguments.filter.as_deref();
    let record = arguments.record.clone();
    let exit = if arguments.headless.headless {
        let plan = watch_headless::plan(&arguments.headless, filter)?;
        let reading = watch_headless::reading(record);
        // Signals are caught before it says where it listens, so that a script may stop it right after.
        let stopped = stop_signal().context("cannot catch signals")?;
        let rules = Rules::of(&arguments.rules, None)?;
        let watching = start(&arguments, &reading, &inspection, &rules).await?;
        match watch_headless::print(watching, &plan, stopped).await? {
            // A signal is how a proxy ends, and clients may have been refused with good reason.
            None | Some(Ending::Unconnected) => Exit::Passed,
            Some(ending) => watch_headless::exit_of(ending, &arguments.headless, false)?,
        }
    } else {
        let plan = watch_screen::plan(&arguments.screen, filter, color)?;
        let reading = watch_screen::reading(record);
        let (hold, holdings) = mpsc::channel(WAITING);
        let rules = Rules::of(&arguments.rules, Some(hold))?;
        let watching = start(&arguments, &reading, &inspection, &rules).await?;
        let aside = Aside {
            holdings,
            rules,
            inspection: Arc::clone(&inspection),
        };
        match watch_screen::run(plan, watching, Some(aside)).await? {
            Exit::Interrupted => Exit::Passed,
            exit => exit,
        }
    };
    let mut inspection = inspection.lock().unwrap_or_else(PoisonError::into_inner);
    inspection.finish();
    for line in inspection.summary() {
        reports::notice(&line);
    }
    Ok(match inspection.has_failures() && arguments.strict {
        true if exit == Exit::Passed => Exit::Failures,
        _ => exit,
    })
}

/// Listens, and begins to pass on.
async fn start(
    arguments: &ProxyArguments,
    reading: &Reading,
    inspection: &Arc<Mutex<Inspection>>,
    rules: &Rules,
) -> Result<Watching, Failure> {
    let options = watch_source::options(reading)?;
    let mut reach = arguments.reach.reach();
    let server = Server::alone(arguments.url.as_ref(), &mut reach, None)?;
    let server = server.context("neither a URL nor a profile names the server")?;
    let certificate = certificate(arguments)?;
    let scheme = match certificate {
        Some(_) => "https",
        None => "http",
    };
    let listener = TcpListener::bind(&arguments.listen)
        .await
        .map_err(|error| {
            let listen = &arguments.listen;
            let failure = Failure::usage(anyhow!("cannot listen on {listen}: {error}"));
            failure.hint("write LISTEN like 127.0.0.1:3005; port 0 takes a free one")
        })?;
    let address = listener
        .local_addr()
        .context("the listener has no address")?;
    let target = format!("{scheme}://{address} to {}", server.name);
    let shared = Arc::clone(inspection);
    let wire = Wire {
        target: &server.name,
        tool: Some(TOOL),
        rest: None,
        inspect: Some(Box::new(move |record| {
            let mut inspection = shared.lock().unwrap_or_else(PoisonError::into_inner);
            inspection.see(record)
        })),
    };
    let (source, recorder) = wire::start(wire, &options);
    let plan = Plan {
        server: server.options,
        certificate,
        gates: rules.gates(),
    };
    let stop = CancellationToken::new();
    let task = tokio::spawn(serve(listener, plan, recorder, stop.clone()));
    if arguments.headless.headless {
        reports::notice(&format!(
            "listening on {scheme}://{address} for {}",
            server.name
        ));
    }
    Ok(Watching::proxy(
        source,
        target,
        RunningProxy::new(stop, task),
    ))
}

fn certificate(arguments: &ProxyArguments) -> Result<Option<Certificate>, Failure> {
    let (Some(certificate), Some(key)) = (&arguments.reach.tls_cert, &arguments.reach.tls_key)
    else {
        return Ok(None);
    };
    let read = |path: &Path| {
        fs::read(path)
            .with_context(|| format!("cannot read {}", path.display()))
            .map_err(Failure::usage)
    };
    let certificate = Certificate::from_pem(&read(certificate)?, &read(key)?);
    certificate.map(Some).map_err(Failure::usage)
}
