//! A server that this program starts for `--spawn`, for every command that has that flag.

use touchstone_client::LaunchError;

use crate::error::Failure;
use crate::exit::Exit;

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
