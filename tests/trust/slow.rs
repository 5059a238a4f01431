//! Servers behind a slow network get the verdicts that they would get without it.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::task::JoinSet;
use touchstone_client::provision::{ProvisionSpec, Provisioner};
use touchstone_client::{ConnectOptions, Network, StopSignals};
use touchstone_harness::{
    Capability, Case, CaseReport, Mismatch, Plan, Reporter, RunEvent, Selection, Target, Timeouts,
    Verdict, run,
};
use touchstone_reference_faults::Faults;
use touchstone_reference_server::Config;
use url::Url;

use crate::embedded::{Embedded, quick, stated};

/// How long everything is on its way, in each direction.
const DELAY: Duration = Duration::from_millis(200);

/// When the server gives up connections and callees that say nothing. Dozens of servers, clients and
/// networks share the machine here, and none of them may be taken for one that has left.
const PATIENCE: Duration = Duration::from_secs(8);

type Verdicts = BTreeMap<&'static str, (Verdict, String)>;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_network_changes_no_verdict() {
    // Without a delay all pass; tests/cli shows that.
    let all = Selection::of(touchstone_cases::REGISTRY)
        .cases()
        .into_iter()
        // A server in this process cannot be killed.
        .filter(|case| !case.needs.contains(&Capability::Restart));
    let (hazardous, others): (Vec<_>, Vec<_>) = all.partition(|case| case.hazardous);
    let mut runs = JoinSet::new();
    // Hazardous cases run one by one, so that each has a server of its own here.
    for case in hazardous {
        runs.spawn(verdicts(None, DELAY, only(&[case])));
    }
    runs.spawn(verdicts(None, DELAY, only(&others)));
    let mut verdicts: Verdicts = runs.join_all().await.into_iter().flatten().collect();
    assert!(!verdicts.is_empty());
    verdicts.retain(|_, (verdict, _)| *verdict != Verdict::Pass);
    assert_eq!(verdicts, Verdicts::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_network_hides_no_fault() {
    let all = Selection::of(touchstone_cases::REGISTRY)
        .cases()
        .into_iter();
    let recipients: Vec<_> = all.filter(|case| case.id == "message.recipients").collect();
    let selection = only(&recipients);
    let near = verdicts(Some("echo-to-sender"), Duration::ZERO, selection.clone()).await;
    let far = verdicts(Some("echo-to-sender"), DELAY, selection).await;
    assert_eq!(near["message.recipients"].0, Verdict::Fail);
    assert_eq!(near, far);
}

/// These cases and no other.
fn only(cases: &[&'static Case]) -> Selection {
    let mut selection = Selection::of(touchstone_cases::REGISTRY);
    for case in cases {
        selection.only(case.id).expect("a glob");
    }
    selection
}

/// Judges a server of its own over a network that takes `delay` each way.
async fn verdicts(fault: Option<&str>, delay: Duration, selection: Selection) -> Verdicts {
    let faults = Faults::parse(fault).expect("a fault");
    let timeouts = Timeouts {
        connect: PATIENCE,
        rpc: PATIENCE,
        ..stated()
    };
    let config = Config {
        connect_timeout: PATIENCE,
        ping_timeout: PATIENCE,
        rpc_timeout: PATIENCE,
        ..quick()
    };
    let server = Embedded::start(faults.applied_to(config))
        .await
        .expect("a server");
    let port = server.url().port().expect("a port");
    let network = Network {
        delay,
        ..Network::default()
    };
    let way = network.way_to("127.0.0.1".to_owned(), port, 17);
    let way = way.await.expect("a free port");
    let proxy = Url::parse(&format!("http://{}", way.address())).expect("a URL");
    let provision: ProvisionSpec = "rest".parse().expect("a kind of provisioner");
    let provisioner = Provisioner::open(&provision, &ConnectOptions::new(proxy.clone()));
    let mut target = Target::new(vec![proxy], provisioner.expect("a provisioner"));
    target.timeouts = timeouts;
    let mut plan = Plan::new(touchstone_cases::REGISTRY, target, 17, 0);
    plan.selection = selection;
    // Waiting costs nothing, so that all may wait at the same time.
    plan.jobs = 64;
    let mut seen = Seen::default();
    run(&plan, &mut seen, &StopSignals::default())
        .await
        .expect("a run");
    server.stop().await.expect("the server ends");
    seen.0
}

/// The verdict of each case, with what was broken, or why it was not judged.
#[derive(Default)]
struct Seen(Verdicts);

fn told(case: &CaseReport) -> String {
    let broken = case.findings.iter().filter_map(|finding| {
        let found = finding.broken.as_ref()?;
        let Mismatch { expected, actual } = found;
        Some(format!("{}: {expected} / {actual}", finding.requirement.id))
    });
    let reason = case.reason.clone();
    broken.chain(reason).collect::<Vec<_>>().join("; ")
}

impl Reporter for Seen {
    fn event(&mut self, event: &RunEvent) -> std::io::Result<()> {
        if let RunEvent::Finished(report) = event {
            let verdicts = report.cases.iter();
            self.0 = verdicts
                .map(|case| (case.id, (case.verdict, told(case))))
                .collect();
        }
        Ok(())
    }
}
