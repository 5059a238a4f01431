//! Logs of the libraries, on stderr, quiet unless asked for.

use std::io::{self, IsTerminal as _, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use anstream::{AutoStream, ColorChoice};
use anyhow::Context as _;
use tracing_subscriber::EnvFilter;

use crate::args::Output;
use crate::error::Failure;

const VARIABLE: &str = "TOUCHSTONE_LOG";

/// Whether logs are kept away from stderr.
static HUSHED: AtomicBool = AtomicBool::new(false);

/// Keeps logs and notices away from a terminal that is a screen, or lets them through again. What
/// goes to a file (`2>watch.log`) is not concerned. When this returns, nothing is being written any more.
pub(crate) fn hush(hushed: bool) {
    let stderr = io::stderr().lock();
    HUSHED.store(hushed && stderr.is_terminal(), Ordering::Relaxed);
}

/// Whether nothing may be written to stderr now, since it is the screen that is drawn on. The answer
/// holds for as long as the caller has locked stderr.
pub(crate) fn is_hushed() -> bool {
    HUSHED.load(Ordering::Relaxed)
}

/// Stderr, which takes nothing while it is hushed.
struct Stderr;

impl Write for Stderr {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut stderr = io::stderr().lock();
        if is_hushed() {
            return Ok(bytes.len());
        }
        stderr.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
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
    let ansi = AutoStream::choice(&io::stderr()) != ColorChoice::Never;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(|| Stderr)
        .with_ansi(ansi)
        .init();
    Ok(())
}
