//! `touchstone account`: an account of a server, by its token.

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use crate::args::AccountArguments;
use crate::error::Failure;
use crate::exit::Exit;
use crate::output;
use crate::profile::{self, Accused};
use crate::target::Server;

use super::watch_source::unusable;

/// Makes the account, or signs in to it, and prints its token.
pub(crate) async fn run(mut arguments: AccountArguments) -> Result<Exit, Failure> {
    let mut urls = Vec::from_iter(arguments.url);
    profile::apply(Accused {
        urls: &mut urls,
        reach: &mut arguments.reach,
        provision: Some(&mut arguments.provision),
        spawn: None,
        durable: None,
    })?;
    let server = Server::of(&urls, &arguments.reach, None)?;
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
