//! `touchstone watch --headless`: the events as lines, for scripts.

use std::io::BufWriter;
use std::path::PathBuf;

use anyhow::{Context as _, anyhow};
use touchstone_tui_monitor::headless::{self, Ending, Plan};
use touchstone_tui_monitor::source::{Overflow, RecordTo};

use crate::args::{Format, HeadlessArguments, WatchArguments};
use crate::error::Failure;
use crate::exit::Exit;
use crate::reports;

use super::serve::stop_signal;
use super::watch_source::{self, Reading, Watching, filter};

/// Prints until there is a reason to end, and makes an exit code of it.
pub(crate) async fn run(arguments: &WatchArguments) -> Result<Exit, Failure> {
    let plan = plan(&arguments.headless, arguments.filter.as_deref())?;
    let stopped = stop_signal().context("cannot catch signals")?;
    let reading = reading(arguments.record.clone());
    let watching = watch_source::open(&arguments.source, reading).await?;
    let Some(ending) = print(watching, &plan, stopped).await? else {
        return Ok(Exit::Interrupted);
    };
    exit_of(ending, &arguments.headless, arguments.source.tap)
}

/// What lines need of their source, with a recording from the beginning if one is named.
pub(crate) fn reading(record: Option<PathBuf>) -> Reading {
    Reading {
        recording: record.is_some(),
        record: record.map_or(RecordTo::Nowhere, RecordTo::File),
        overflow: Overflow::Wait,
        lists_notes: false,
        speed: None,
    }
}

/// Prints what is watched. Nothing when `stopped` was the end.
pub(crate) async fn print(
    mut watching: Watching,
    plan: &Plan,
    stopped: impl Future<Output = ()>,
) -> Result<Option<Ending>, Failure> {
    for note in &watching.notes {
        reports::notice(note);
    }
    let mut out = BufWriter::new(std::io::stdout());
    let ending = tokio::select! {
        ending = headless::run(&mut watching.source, plan, &mut out) => ending.map(Some),
        () = stopped => {
            watching.end().await;
            let rest = headless::run(&mut watching.source, plan, &mut out).await;
            rest.map(|_| None)
        }
    };
    let closed = watching.close().await;
    let ending = ending.map_err(|error| {
        let error = anyhow::Error::from(error).context("cannot write to stdout");
        Failure::expected(Exit::Incomplete, error)
    })?;
    closed.map(|()| ending)
}

/// What to print and when to end, by the arguments.
pub(crate) fn plan(arguments: &HeadlessArguments, shown: Option<&str>) -> Result<Plan, Failure> {
    Ok(Plan {
        format: match arguments.format {
            Format::Text => headless::Format::Text,
            Format::Json => headless::Format::Json,
        },
        filter: filter("--filter", shown.unwrap_or_default())?,
        count: arguments.count,
        time: arguments.time,
        until: arguments
            .until
            .as_deref()
            .map(|text| filter("--until", text))
            .transpose()?,
    })
}

pub(crate) fn exit_of(
    ending: Ending,
    arguments: &HeadlessArguments,
    is_tap: bool,
) -> Result<Exit, Failure> {
    let never = |when: &str| {
        let until = arguments.until.as_deref().unwrap_or_default();
        let error = anyhow!("{when} before {until:?} was true");
        Failure::expected(Exit::Incomplete, error)
    };
    match ending {
        Ending::Count | Ending::Until | Ending::OutputClosed | Ending::Time { awaited: false } => {
            Ok(Exit::Passed)
        }
        Ending::Unconnected => {
            let error = anyhow!("cannot watch: the server did not admit a connection in this time");
            let failure = Failure::expected(Exit::Unreachable, error);
            Err(failure.hint("give it longer with --for, or see what touchstone check says of it"))
        }
        Ending::Time { awaited: true } => Err(never("the time was over")),
        Ending::Source { reason, awaited } if reason.is_empty() => match awaited {
            true => Err(never("the recording ended")),
            false => Ok(Exit::Passed),
        },
        Ending::Source { reason, .. } => {
            let failure = Failure::expected(Exit::Unreachable, anyhow!("cannot watch: {reason}"));
            Err(match is_tap {
                true => failure.hint("the server has to offer the control extension"),
                false => failure,
            })
        }
        Ending::Recording { path, reason } => {
            let error = anyhow!("cannot record to {path}: {reason}");
            Err(Failure::expected(Exit::Incomplete, error))
        }
    }
}
