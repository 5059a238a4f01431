//! `touchstone account`: an account of a server, by its token.

use anyhow::Context as _;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use crate::args::AccountArguments;
use crate::error::Failure;
use crate::exit::Exit;
use crate::output;
use crate::target::Server;

use super::watch_source::unusable;

/// Makes the account, or signs in to it, and prints its token.
pub(crate) async fn run(mut arguments: AccountArguments) -> Result<Exit, Failure> {
    let (reach, provision) = (&mut arguments.reach, &mut arguments.provision);
    let server = Server::alone(arguments.url.as_ref(), reach, Some(provision))?;
    let server = server.context("neither a URL nor a profile names the server")?;
    let provisioner = server.provisioner(&arguments.provision.unwrap_or_default())?;
    let seed = match arguments.seed {
        Some(number) => StdRng::seed_from_u64(number).random(),
        None => rand::rng().random(),
    };
    let account = provisioner.account(seed).await;
    provisioner.close().await;
    let account = account.map_err(|error| unusable(error, &server.options))?;
    output::print(&format!("{}\n", account.token.expose()))
}
