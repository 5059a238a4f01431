//! Logs of the libraries, on stderr, quiet unless asked for.

use std::sync::atomic::{AtomicBool, Ordering};

use anstream::{AutoStream, ColorChoice};
use anyhow::Context as _;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::writer::OptionalWriter;

use crate::args::Output;
use crate::error::Failure;

const VARIABLE: &str = "TOUCHSTONE_LOG";

/// Whether logs are kept away from stderr.
static HUSHED: AtomicBool = AtomicBool::new(false);

/// Keeps logs and notices away from a terminal that is a screen, or lets them through again. What
/// goes to a file (`2>watch.log`) is not concerned.
pub(crate) fn hush(hushed: bool) {
    use std::io::IsTerminal as _;
    HUSHED.store(hushed && std::io::stderr().is_terminal(), Ordering::Relaxed);
}

/// Whether nothing may be written to stderr now, since it is the screen that is drawn on.
pub(crate) fn is_hushed() -> bool {
    HUSHED.load(Ordering::Relaxed)
}

/// Starts logging. The variable wins over `-v`, since it can say more.
///
/// # Errors
/// When the variable holds no filter that can be understood.
pub(crate) fn start(output: Output) -> Result<(), Failure> {
    #[expect(
        clippy::disallowed_methods,
        reason = "the binary is the place that reads the environment"
    )]
    let asked = std::env::var(VARIABLE).ok().filter(|text| !text.is_empty());
    let filter = match (&asked, output.verbose) {
        (Some(text), _) => text.as_str(),
        (None, 0) => "warn",
        (None, 1) => "info",
        (None, 2) => "debug",
        (None, _) => "trace",
    };
    let filter = EnvFilter::try_new(filter)
        .with_context(|| format!("cannot use {VARIABLE}={filter}"))
        .map_err(|error| Failure::usage(error).hint("write it like info or touchstone=debug"))?;
    // The global choice (`--color`, else NO_COLOR and the terminal) holds for logs, too.
    let ansi = AutoStream::choice(&std::io::stderr()) != ColorChoice::Never;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(|| match is_hushed() {
            true => OptionalWriter::none(),
            false => OptionalWriter::some(std::io::stderr()),
        })
        .with_ansi(ansi)
        .init();
    Ok(())
}
