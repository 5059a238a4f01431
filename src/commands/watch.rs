//! `touchstone watch`: what a server sends, on the screen or as lines.

use touchstone_tui_monitor::keys;

use crate::args::{Color, WatchArguments};
use crate::error::Failure;
use crate::exit::Exit;
use crate::output;

use super::{watch_headless, watch_screen, watch_source};

/// Watches until the user leaves, the source ends or what was asked for is reached.
pub(crate) async fn run(arguments: WatchArguments, color: Color) -> Result<Exit, Failure> {
    if arguments.screen.print_keys {
        return output::print(keys::SAMPLE);
    }
    if arguments.headless.headless {
        return watch_headless::run(&arguments).await;
    }
    let plan = watch_screen::plan(&arguments.screen, arguments.filter.as_deref(), color)?;
    let reading = watch_screen::reading(arguments.record.clone());
    let watching = watch_source::open(&arguments.source, reading).await?;
    watch_screen::run(plan, watching, None).await
}
