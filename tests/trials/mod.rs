//! What the trials of faults and of liberties have in common: servers in this process that are judged side
//! by side, and choices that are the same in every run.

use futures_util::stream::{StreamExt as _, iter};
use tokio::runtime::{Builder, Runtime};
use touchstone_client::ConnectOptions;
use touchstone_client::provision::{ProvisionSpec, Provisioner};
use touchstone_harness::Target;
use touchstone_reference_server::Config;

use crate::embedded::{Embedded, stated};

/// Where trials run.
pub(crate) fn runtime() -> Runtime {
    Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime")
}

/// A server with these settings, and it as a target.
pub(crate) async fn server(config: Config) -> (Embedded, Target) {
    let server = Embedded::start(config).await.expect("a server");
    let provision: ProvisionSpec = "rest".parse().expect("a kind of provisioner");
    let provisioner = Provisioner::open(&provision, &ConnectOptions::new(server.url().clone()));
    let mut target = Target::new(
        vec![server.url().clone()],
        provisioner.expect("a provisioner"),
    );
    target.timeouts = stated();
    (server, target)
}

/// Carries out trials side by side, so many at a time. The order of the outcomes is that of the trials.
pub(crate) async fn side_by_side<T: Send + 'static>(
    places: usize,
    trials: impl IntoIterator<Item = impl Future<Output = T> + Send + 'static>,
) -> Vec<T> {
    let numbered = iter(trials).map(tokio::spawn).enumerate();
    let trials = numbered.map(|(number, trial)| async move {
        (number, trial.await.expect("a trial comes to its end"))
    });
    // A slow trial must not keep the places of those behind it, as it would in `buffered`.
    let mut outcomes: Vec<_> = trials.buffer_unordered(places).collect().await;
    outcomes.sort_unstable_by_key(|(number, _)| *number);
    outcomes.into_iter().map(|(_, outcome)| outcome).collect()
}

/// A number that looks random and is the same everywhere (FNV-1a).
pub(crate) fn mixed(name: &str, id: &str) -> u64 {
    name.bytes()
        .chain(id.bytes())
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        })
}
