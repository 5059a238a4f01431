//! Exploration without a case of its own: servers with faults are found wrong, and right ones are not.
//!
//! `table.rs` measures how soon each fault is found, and writes `docs/explore.md`.

#[path = "../../src/embedded.rs"]
mod embedded;
mod table;

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use touchstone_client::ConnectOptions;
use touchstone_client::provision::{ProvisionSpec, Provisioner};
use touchstone_explore::{Explored, Extent, Settings, Target, explore};
use touchstone_reference_faults::{Faults, Liberties};
use touchstone_reference_server::Config;

use embedded::{Embedded, quick, stated};

/// Rounds after which a fault of the sample is found at the latest.
const ROUNDS: u64 = 60;

fn runtime() -> tokio::runtime::Runtime {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime")
}

async fn explored(config: Config, extent: Extent, shrink_for: Duration) -> Explored {
    let server = Embedded::start(config).await.expect("a server");
    let options = ConnectOptions::new(server.url().clone());
    let provisioner = Provisioner::open(&ProvisionSpec::Rest, &options).expect("a provisioner");
    let urls = vec![server.url().clone()];
    let target = Target::new(urls, options, provisioner, stated().rpc).expect("a target");
    let settings = Settings {
        seed: 100,
        first: Vec::new(),
        nonce: 0,
        extent,
        jobs: 8,
        shrink_for,
        fail_fast: true,
    };
    let stop = CancellationToken::new();
    let explored = Box::pin(explore(Arc::new(target), &settings, &stop, &|_| {})).await;
    server.stop().await.expect("the server ends");
    explored
}

fn with_fault(name: &str) -> Config {
    let faults = Faults::parse([name]).expect("a fault");
    faults.applied_to(quick())
}

#[test]
fn faults_are_found() {
    let rows = [
        ("dup-update=5", "delivery.no-duplicate"),
        ("lost-update=5", "delivery.no-loss"),
        ("echo-to-sender", "message.skips-sender"),
        ("ack-twice", "handler.acknowledged-once"),
    ];
    for (fault, requirement) in rows {
        let exploring = explored(with_fault(fault), Extent::Rounds(ROUNDS), Duration::ZERO);
        let found = runtime().block_on(Box::pin(exploring)).findings;
        let broken: Vec<_> = found.iter().map(|one| one.violation.requirement).collect();
        assert!(broken.contains(&requirement), "{fault}: {broken:?}");
    }
}

#[test]
fn right_servers_are_not_accused() {
    // What a liberty gives up, tests/liberties/table.toml says too.
    let rows = [
        ("newer-generation", None),
        ("older-generation", Some("narrow")),
        ("seq-interleaved", None),
    ];
    for (liberty, given_up) in rows {
        let liberties = Liberties::parse([liberty]).expect("a liberty");
        let config = liberties.applied_to(quick());
        let exploring = explored(config, Extent::Rounds(3), Duration::ZERO);
        let found = runtime().block_on(Box::pin(exploring)).findings;
        let is_given_up =
            |requirement: &str| given_up.is_some_and(|end| requirement.ends_with(end));
        let texts: Vec<_> = found
            .iter()
            .map(|one| &one.violation)
            .filter(|violation| !is_given_up(violation.requirement))
            .map(|violation| violation.text.as_str())
            .collect();
        assert!(texts.is_empty(), "{liberty}: {texts:#?}");
    }
}
