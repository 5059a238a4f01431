//! The suite as the judge of this server: all of it, in one process, with the control extension on.
//!
//! Nothing but "pass" is good enough here, since this is the server that every other one is measured
//! by. It is also what decides whether a mutant of the server is found out (docs/mutation.md).

use std::io;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use touchstone_client::ConnectOptions;
use touchstone_client::StopSignals;
use touchstone_client::provision::{ProvisionSpec, Provisioner};
use touchstone_harness::{Plan, Reporter, RunEvent, Target, Timeouts, Verdict, run};
use touchstone_reference_server::{Config, serve};
use url::Url;

/// After so many cases that did not pass, the others would say no more; and each of them would wait, on
/// a server that answers nothing.
const ENOUGH: usize = 3;

/// How long a case waits for what must come: mutants that lose it are found out sooner.
const PATIENCE: Duration = Duration::from_secs(3);

/// Times that the suite waits for, short enough for a test and long enough for a busy machine.
const TIMES: Timeouts = Timeouts {
    rpc: Duration::from_secs(2),
    connect: Duration::from_secs(2),
    presence: None,
};

#[tokio::test(flavor = "multi_thread")]
async fn the_suite_passes_on_this_server() {
    let config = Config {
        rpc_timeout: TIMES.rpc,
        connect_timeout: TIMES.connect,
        ping_interval: Duration::from_millis(300),
        ping_timeout: Duration::from_secs(2),
        sweep_interval: Duration::from_millis(250),
        control: true,
        ..Config::default()
    };
    let timeouts = Timeouts {
        presence: Some(config.presence_timeout),
        ..TIMES
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url: Url = format!("http://{}", listener.local_addr().unwrap())
        .parse()
        .unwrap();
    let stop_server = CancellationToken::new();
    let stopped = stop_server.clone().cancelled_owned();
    let server = tokio::spawn(serve(vec![listener], config, stopped));

    let provisioner =
        Provisioner::open(&ProvisionSpec::Rest, &ConnectOptions::new(url.clone())).unwrap();
    let mut target = Target::new(vec![url], provisioner);
    target.timeouts = timeouts;
    target.patience = PATIENCE;
    let mut plan = Plan::new(touchstone_cases::REGISTRY, target, 1, 1);
    // A server in this process cannot be killed.
    plan.selection.skip("restart.*").unwrap();
    // What passes alone and not beside others is a failure here too.
    plan.confirm = false;
    let mut verdicts = Verdicts::default();
    let stop = verdicts.stop.clone();
    let outcome = run(&plan, &mut verdicts, &stop).await;
    stop_server.cancel();
    server.await.unwrap().unwrap();

    assert!(verdicts.others.is_empty(), "{}", verdicts.others.join("\n"));
    let summary = outcome.expect("a verdict");
    assert!(summary.total > 0, "no case was selected");
    assert_eq!(summary.pass, summary.total, "{summary:?}");
}

/// Keeps what did not pass, and ends the run when it is enough.
#[derive(Default)]
struct Verdicts {
    others: Vec<String>,
    stop: StopSignals,
}

impl Reporter for Verdicts {
    fn event(&mut self, event: &RunEvent) -> io::Result<()> {
        if let RunEvent::CaseFinished(case) = event
            && case.verdict != Verdict::Pass
            && !self.stop.abort.is_cancelled()
        {
            self.others.push(case.to_string());
            if self.others.len() == ENOUGH {
                self.stop.abort.cancel();
            }
        }
        Ok(())
    }
}
