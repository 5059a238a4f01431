//! `touchstone account`: an account of a server, by its token.

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use touchstone_client::ConnectOptions;
use touchstone_client::provision::Provisioner;

use crate::args::AccountArguments;
use crate::error::Failure;
use crate::exit::Exit;
use crate::output;

use super::watch_source::unusable;

/// Makes the account, or signs in to it, and prints its token.
pub(crate) async fn run(arguments: AccountArguments) -> Result<Exit, Failure> {
    let server = ConnectOptions::new(arguments.url);
    let provisioner = Provisioner::open(&arguments.provision, &server).map_err(Failure::usage)?;
    let seed = match arguments.seed {
        Some(number) => StdRng::seed_from_u64(number).random(),
        None => rand::rng().random(),
    };
    let account = provisioner.account(seed).await;
    provisioner.close().await;
    let account = account.map_err(unusable)?;
    output::print(&format!("{}\n", account.token.expose()))
}
