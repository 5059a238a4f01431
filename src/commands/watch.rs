//! `touchstone watch`: what a server sends, on the screen or as lines.

use touchstone_tui_monitor::keys;
use touchstone_tui_monitor::source::{Overflow, RecordTo};

use crate::args::{Color, WatchArguments};
use crate::error::Failure;
use crate::exit::Exit;
use crate::output;

use super::watch_source::Reading;
use super::{watch_headless, watch_screen, watch_source};

/// Watches until the user leaves, the source ends or what was asked for is reached.
pub(crate) async fn run(arguments: WatchArguments, color: Color) -> Result<Exit, Failure> {
    if arguments.screen.print_keys {
        return output::print(keys::SAMPLE);
    }
    if arguments.headless.headless {
        return watch_headless::run(&arguments).await;
    }
    let plan = watch_screen::plan(&arguments, color)?;
    let record = arguments.record.clone();
    let reading = Reading {
        record: record.map_or(RecordTo::ByTime, RecordTo::File),
        recording: arguments.record.is_some(),
        overflow: Overflow::Drop,
        lists_notes: true,
        speed: Some(1.0),
    };
    let watching = watch_source::open(&arguments.source, reading).await?;
    watch_screen::run(plan, watching).await
}
