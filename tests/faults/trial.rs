//! One trial: a server with one fault, judged by some cases of the suite.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use touchstone_client::StopSignals;
use touchstone_harness::{
    Level, Plan, Reporter, Requirement, RunError, RunEvent, Selection, Verdict, run,
};
use touchstone_output::text::error_chain;
use touchstone_reference_faults::Faults;

use crate::embedded::quick;
use crate::table::{Findings, Table};
use crate::trials::{self, side_by_side};

/// How many servers are judged at the same time. Most of a trial is waiting for what never comes.
const TRIALS: usize = 12;

/// How many cases run at the same time in one trial. Servers that are kept waiting by their own judges
/// look slow, and are then granted more time for what never comes.
pub(crate) const JOBS: usize = 4;

/// How long a case waits at least for what must come. A server in the same process needs far less, and
/// one that is slowed by a busy machine is granted more.
const PATIENCE: Duration = Duration::from_secs(1);

/// Where the random choices of all cases come from.
const SEED: u64 = 17;

/// What the suite found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// The case could not be judged, by case, with the reason.
    pub(crate) unjudged: BTreeMap<String, String>,
    /// The requirements that each failing case found broken, traits not among them.
    pub(crate) broken: Findings,
    /// The traits in which it differs from a right server, by the case that notes them.
    pub(crate) traits: Findings,
    /// Why the doctor refused to judge the server at all.
    pub(crate) not_ready: Option<String>,
}

/// Tries faults side by side, a few at a time. The order of the outcomes is that of the trials.
pub(crate) async fn try_all(
    table: &Table,
    trials: &[(&'static str, Selection)],
) -> Vec<(&'static str, Outcome)> {
    let trials = trials.iter().cloned().map(|(name, selection)| {
        let fault = table.spelled(name);
        let jobs = if table.is_alone(name) { 1 } else { JOBS };
        async move { (name, judge(Some(&fault), selection, jobs).await) }
    });
    side_by_side(TRIALS, trials.collect::<Vec<_>>()).await
}

/// Judges a server with this fault, as `check` judges the embedded one.
pub(crate) async fn judge(fault: Option<&str>, selection: Selection, jobs: usize) -> Outcome {
    let faults = Faults::parse(fault).expect("the table spells faults");
    let (server, mut target) = trials::server(faults.applied_to(quick())).await;
    target.patience = PATIENCE;
    let mut plan = Plan::new(touchstone_cases::REGISTRY, target, SEED, 0);
    plan.selection = selection;
    plan.confirm = false;
    plan.jobs = jobs;
    let mut outcome = Outcome::default();
    match run(&plan, &mut outcome, &StopSignals::default()).await {
        Ok(_) => {}
        Err(error @ RunError::NotReady(_)) => outcome.not_ready = Some(error_chain(&error)),
        Err(error) => panic!("{fault:?}: {}", error_chain(&error)),
    }
    server.stop().await.expect("the server ends");
    outcome
}

impl Reporter for Outcome {
    fn event(&mut self, event: &RunEvent) -> std::io::Result<()> {
        let RunEvent::Finished(report) = event else {
            return Ok(());
        };
        for case in &report.cases {
            let (traits, broken): (Vec<_>, Vec<_>) = case
                .broken()
                .partition(|(requirement, _)| requirement.level == Level::Info);
            let ids = |found: Vec<(&Requirement, _)>| -> BTreeSet<String> {
                let ids = found
                    .iter()
                    .map(|(requirement, _)| requirement.id.to_owned());
                ids.collect()
            };
            let (traits, broken) = (ids(traits), ids(broken));
            if !traits.is_empty() {
                self.traits.insert(case.id.to_owned(), traits);
            }
            if !broken.is_empty() {
                self.broken.insert(case.id.to_owned(), broken);
            } else if case.verdict == Verdict::Error {
                self.unjudged
                    .insert(case.id.to_owned(), case.reason.clone().unwrap_or_default());
            }
        }
        Ok(())
    }
}
