//! What the measuring programs begin and end with.

#![expect(
    clippy::print_stderr,
    reason = "where a program tells why it failed; its figures go to stdout"
)]

use std::process::ExitCode;

use tokio::runtime;

/// Does the whole work of a program on the calling thread, so that whatever pins the thread to a core
/// pins all of it.
pub fn on_this_thread(work: impl Future<Output = anyhow::Result<()>>) -> ExitCode {
    let runtime = runtime::Builder::new_current_thread().enable_all().build();
    ended(match runtime {
        Ok(runtime) => runtime.block_on(work),
        Err(error) => Err(error.into()),
    })
}

/// How a program ends: an error is told with all its causes.
#[must_use]
pub fn ended(result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
