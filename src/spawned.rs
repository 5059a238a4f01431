//! A server that this program starts for `--spawn`, for every command that has that flag.

use touchstone_client::{LaunchError, SpawnCommand, Spawned, StopSignals};

use crate::error::Failure;
use crate::exit::Exit;
use crate::target::Server;

/// Starts the server that is to answer where `server` is.
pub(crate) async fn launch(
    command: SpawnCommand,
    server: &Server,
    stop: StopSignals,
) -> Result<Spawned, Failure> {
    let (urls, reached) = (server.urls.clone(), server.options.clone());
    let launched = Spawned::launch(command, urls, reached, stop).await;
    launched.map_err(failure)
}

/// How the program ends when the server does not come to an answer.
pub(crate) fn failure(error: LaunchError) -> Failure {
    match error {
        LaunchError::Interrupted { .. } => Failure::expected(Exit::Interrupted, error),
        LaunchError::Start(_) => Failure::usage(error),
        LaunchError::Taken { .. } => {
            Failure::usage(error).hint("stop that server, or leave out --spawn")
        }
        error => Failure::expected(Exit::Unreachable, error),
    }
}
