//! The suite as the judge of what the server keeps: the cases of a restart, against this server on a
//! database of its own, in a process that can be killed. With `reference-server/tests/judge.rs` it decides
//! whether a mutant of the server is found out (docs/mutation.md).

use std::{env, future::pending, io, time::Duration};

use tokio::net::TcpListener;
use touchstone_client::{
    ConnectOptions, SpawnCommand, StopSignals,
    provision::{ProvisionSpec, Provisioner},
};
use touchstone_harness::{Plan, Reporter, RunEvent, Target, run};
use touchstone_reference_server::{Config, Server};
use touchstone_reference_storage::{Database, Location};
use url::Url;

/// Where the server listens and keeps its rows, for the process that is one.
const PLACE: &str = "TOUCHSTONE_JUDGED_SERVER";

const PRESENCE_TIMEOUT: Duration = Duration::from_secs(3);

/// An address for a server that is told where to listen. Its host is one of the loopback network that this
/// process has for itself, so that nobody else takes the port meanwhile.
fn free_address() -> String {
    let [_, a, b, c] = std::process::id().to_be_bytes();
    format!("127.{}.{b}.{c}:9000", a | 0x40)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_loses_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let address = free_address();
    let place = format!("{address} {}", folder.path().join("rows.db").display());
    let program = env::current_exe().expect("this program");
    let command = format!(
        "env '{PLACE}={place}' '{}' --ignored --exact serves",
        program.display()
    );
    let url: Url = format!("http://{address}").parse().expect("a URL");
    let provisioner =
        Provisioner::open(&ProvisionSpec::Rest, &ConnectOptions::new(url.clone())).expect("REST");
    let mut target = Target::new(vec![url], provisioner);
    target.durable = true;
    target.timeouts.presence = Some(PRESENCE_TIMEOUT);
    let mut plan = Plan::new(touchstone_cases::REGISTRY, target, 1, 1);
    plan.spawn = Some(SpawnCommand::parse(&command).expect("a command"));
    plan.selection.only("restart.*").expect("cases");
    let mut told = Told::default();
    let summary = run(&plan, &mut told, &StopSignals::default()).await;
    let summary = summary.expect("a verdict");
    assert!(summary.total > 0, "no case was selected");
    assert_eq!(summary.pass, summary.total, "{}", told.0.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "the server that the test beside it starts and kills"]
#[expect(
    clippy::disallowed_methods,
    reason = "a test program takes no arguments of its own"
)]
async fn serves() {
    // Whoever runs all ignored tests has no server to start.
    let Ok(place) = env::var(PLACE) else { return };
    let (address, path) = place.split_once(' ').expect("an address and a path");
    let listener = TcpListener::bind(address).await.expect("the address");
    let location = Location::parse(&format!("sqlite://{path}")).expect("a location");
    let mut database = Database::open(&location).await.expect("a database");
    let server = Server::new(Config {
        storage: Some(database.storage()),
        presence_timeout: PRESENCE_TIMEOUT,
        ..Config::default()
    });
    let read = database.read(|record| server.restore(record), |_| {});
    read.await.expect("what was kept");
    let _writer = database.write();
    let served = server.serve(vec![listener], pending()).await;
    served.expect("a server that goes on");
}

/// What was said of each case that did not pass.
#[derive(Default)]
struct Told(Vec<String>);

impl Reporter for Told {
    fn event(&mut self, event: &RunEvent) -> io::Result<()> {
        if let RunEvent::CaseFinished(case) = event {
            self.0.push(case.to_string());
        }
        Ok(())
    }
}
