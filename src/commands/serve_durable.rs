//! `touchstone serve --database`: a server that goes on with the rows of a database and keeps its own
//! there.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use tokio::net::TcpListener;
use tokio::time::Instant;
use touchstone_reference_server::{Config, Server};
use touchstone_reference_storage::{Database, Location, LocationError, OpenError, Progress};

use crate::error::Failure;
use crate::exit::Exit;
use crate::reports::notice;

/// How often somebody who waits is told how far the reading is.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// Where a database is, as it was asked for.
pub(crate) fn location(text: &str) -> Result<Location, Failure> {
    Location::parse(text).map_err(|error| {
        let hint = match error {
            LocationError::Scheme(_) | LocationError::NoPath => {
                "write --database like sqlite:///var/lib/rows.db or postgres://user@host/database; \
                 without it, rows are kept in memory"
            }
            LocationError::Url(_) => "write it like postgres://user@host/database",
        };
        Failure::usage(error).hint(hint)
    })
}

/// Serves until `stopped`, or until nothing can be kept any more. `ready` is called when all is read.
pub(crate) async fn run(
    location: &Location,
    mut config: Config,
    listeners: Vec<TcpListener>,
    stopped: impl Future<Output = ()> + Send + 'static,
    quiet: bool,
    ready: impl FnOnce() -> Result<Exit, Failure>,
) -> Result<Exit, Failure> {
    let mut stopped = Box::pin(stopped);
    let mut database = Database::open(location).await.map_err(unusable)?;
    config.storage = Some(database.storage());
    let server = Server::new(config);
    {
        let mut told = Instant::now();
        let read = pin!(database.read(
            |record| server.restore(record),
            |progress| {
                if !quiet {
                    tell(progress, &mut told);
                }
            }
        ));
        tokio::select! {
            read = read => read.map_err(|error| Failure::usage(anyhow!(error)))?,
            () = &mut stopped => return Ok(Exit::Passed),
        }
    }
    ready()?;
    let mut writer = database.write();
    tokio::select! {
        ended = server.serve(listeners, stopped) => ended.context("the server failed")?,
        reason = writer.failed() => return Err(unwritten(location, &reason)),
    }
    match writer.close().await {
        Ok(()) => Ok(Exit::Passed),
        Err(reason) => Err(unwritten(location, &reason)),
    }
}

fn tell(Progress { read, all }: Progress, told: &mut Instant) {
    if told.elapsed() >= TELL_EVERY {
        *told = Instant::now();
        notice(&format!("{read} of {all} messages are read back"));
    }
}

fn unusable(error: OpenError) -> Failure {
    let hint = match &error {
        OpenError::File(..) => "the folder has to be there, and writable",
        OpenError::InUse(_) => "a database belongs to one server; end that one, or name another",
        OpenError::Unreachable(..) => "is it running, and are user, password and database right?",
        OpenError::Newer { .. } => "use the touchstone that wrote it, or a later one",
        OpenError::Unusable(..) => "name a database of touchstone serve, or one that is empty",
    };
    let exit = match error.is_unreachable() {
        true => Exit::Unreachable,
        false => Exit::Usage,
    };
    Failure::expected(exit, error).hint(hint)
}

fn unwritten(location: &Location, reason: &str) -> Failure {
    let error = anyhow!("cannot write to {location}: {reason}");
    Failure::expected(Exit::Incomplete, error)
        .hint("what was answered is stored; what was not stored was not answered")
}
