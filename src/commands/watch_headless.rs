//! `touchstone watch --headless`: the events as lines, for scripts.

use std::io::BufWriter;

use anyhow::{Context as _, anyhow};
use tokio::signal::unix::{SignalKind, signal};
use touchstone_tui_monitor::filter::Filter;
use touchstone_tui_monitor::headless::{self, Ending, Plan};
use touchstone_tui_monitor::source::{Overflow, RecordTo};

use crate::args::{Format, WatchArguments};
use crate::error::Failure;
use crate::exit::Exit;
use crate::reports;

use super::watch_source::{self, Reading};

/// Prints until there is a reason to end, and makes an exit code of it.
pub(crate) async fn run(arguments: &WatchArguments) -> Result<Exit, Failure> {
    let plan = plan(arguments)?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot catch signals")?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot catch signals")?;
    let reading = Reading {
        record: arguments
            .record
            .clone()
            .map_or(RecordTo::Nowhere, RecordTo::File),
        recording: arguments.record.is_some(),
        overflow: Overflow::Wait,
        lists_notes: false,
        speed: None,
    };
    let mut watching = watch_source::open(&arguments.source, reading).await?;
    for note in &watching.notes {
        reports::notice(note);
    }
    let mut out = BufWriter::new(std::io::stdout());
    let ending = tokio::select! {
        ending = headless::run(&mut watching.source, &plan, &mut out) => Some(ending),
        _ = interrupt.recv() => None,
        _ = terminate.recv() => None,
    };
    let closed = watching.close().await;
    let Some(ending) = ending else {
        return closed.map(|()| Exit::Interrupted);
    };
    let ending = ending.map_err(|error| {
        let error = anyhow::Error::from(error).context("cannot write to stdout");
        Failure::expected(Exit::Incomplete, error)
    })?;
    let exit = exit_of(ending, arguments)?;
    closed.map(|()| exit)
}

fn plan(arguments: &WatchArguments) -> Result<Plan, Failure> {
    Ok(Plan {
        format: match arguments.headless.format {
            Format::Text => headless::Format::Text,
            Format::Json => headless::Format::Json,
        },
        filter: filter("--filter", arguments.filter.as_deref().unwrap_or_default())?,
        count: arguments.headless.count,
        time: arguments.headless.time,
        until: arguments
            .headless
            .until
            .as_deref()
            .map(|text| filter("--until", text))
            .transpose()?,
    })
}

/// A filter of the command line.
pub(crate) fn filter(flag: &str, text: &str) -> Result<Filter, Failure> {
    Filter::parse(text).map_err(|error| {
        let failure = Failure::usage(anyhow!("{flag} {text:?}: {error}"));
        failure.hint("write it like 'type == \"new-message\" && size > 4096', or a bare word")
    })
}

fn exit_of(ending: Ending, arguments: &WatchArguments) -> Result<Exit, Failure> {
    let never = |when: &str| {
        let until = arguments.headless.until.as_deref().unwrap_or_default();
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
            Err(match arguments.source.tap {
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
