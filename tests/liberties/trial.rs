//! One trial: a server that takes some liberties, judged by some cases of the suite.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use touchstone_client::StopSignals;
use touchstone_harness::{Plan, Reporter, RunEvent, Selection, Verdict, run};
use touchstone_output::text::error_chain;
use touchstone_reference_faults::{Faults, Liberties};
use touchstone_reference_server::Config;

use crate::embedded::quick;
use crate::trials::{self, side_by_side};

/// How many servers are judged at the same time. Most of a trial is waiting.
const TRIALS: usize = 6;

/// Longer than any pause of a busy machine, where a client that does not answer in time is ended.
const PING_TIMEOUT: Duration = Duration::from_secs(15);

/// Where the random choices of all cases come from.
const SEED: u64 = 23;

/// What the suite has against a right server: requirements or what could not be judged, by case.
pub(crate) type Blamed = BTreeMap<String, BTreeSet<String>>;

/// Tries servers side by side, a few at a time, in the order of the trials.
pub(crate) async fn try_all(trials: Vec<(Vec<&'static str>, Selection)>) -> Vec<Blamed> {
    let trials = trials.into_iter();
    side_by_side(
        TRIALS,
        trials.map(|(names, selection)| async move { judge(None, &names, selection).await }),
    )
    .await
}

/// What the suite has against a server with these liberties, and a fault perhaps.
pub(crate) async fn judge(
    fault: Option<&str>,
    names: &[&'static str],
    selection: Selection,
) -> Blamed {
    let faults = Faults::parse(fault).expect("a fault of the table");
    let liberties = Liberties::parse(names.iter().copied()).expect("names of the table");
    let config = liberties.applied_to(faults.applied_to(Config {
        ping_timeout: PING_TIMEOUT,
        ..quick()
    }));
    let (server, target) = trials::server(config).await;
    let mut plan = Plan::new(touchstone_cases::REGISTRY, target, SEED, 0);
    plan.selection = selection;
    let mut found = Found::default();
    if let Err(error) = run(&plan, &mut found, &StopSignals::default()).await {
        let reason = BTreeSet::from([error_chain(&error)]);
        found.0.insert("the run".to_owned(), reason);
    }
    server.stop().await.expect("the server ends");
    found.0
}

#[derive(Debug, Default)]
struct Found(Blamed);

impl Reporter for Found {
    fn event(&mut self, event: &RunEvent) -> std::io::Result<()> {
        let RunEvent::Finished(report) = event else {
            return Ok(());
        };
        for case in &report.cases {
            let mut blamed = match case.verdict {
                Verdict::Pass | Verdict::Info | Verdict::Skip => continue,
                Verdict::Error | Verdict::Blocked => {
                    BTreeSet::from([case.reason.clone().unwrap_or_default()])
                }
                Verdict::Fail | Verdict::Warn => BTreeSet::new(),
            };
            blamed.extend(
                case.broken()
                    .map(|(requirement, _)| requirement.id.to_owned()),
            );
            self.0.insert(case.id.to_owned(), blamed);
        }
        Ok(())
    }
}
