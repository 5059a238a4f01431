//! The runner: one task owns the truth and the order, cases run in tasks of their own.
//!
//! It owns no formatting: everything it has to say is a [`RunEvent`]. It judges nothing either, except
//! for who was running when the server went away.

mod alone;
mod blame;
mod company;
mod confirm;
mod execute;
mod tally;

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};
use touchstone_client::{LaunchError, Spawned, StopSignals};

use tokio::time::Instant;
use touchstone_client::provision::Provisioner;

use self::{company::Company, execute::Outcome};
use crate::{
    case::Case,
    ctx::PING,
    doctor::{self, DoctorError},
    event::{
        CaseReport, Dialect, DoctorReport, FAILED_FAST, GONE_BEFORE, INTERRUPTED, Reporter,
        RunEvent, RunReport, SHORT, Summary,
    },
    plan::Plan,
    verdict::Verdict,
};
use crate::{shared::Shared, steps::SLOW_DEATH, target::Capability};

/// Why there is no verdict on the server at all.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The selection matches no case.
    #[error("no case is selected")]
    NothingSelected,
    /// The server could not be started, or did not answer then.
    #[error(transparent)]
    Launch(#[from] LaunchError),
    /// The server is not ready to be judged.
    #[error("the server under test is not ready")]
    NotReady(#[from] DoctorError),
    /// A report could not be written.
    #[error("cannot write the report")]
    Report(#[from] std::io::Error),
    /// The user ended the run before the first case.
    #[error("interrupted before the first case")]
    Interrupted,
}

/// Judges the target of `plan`, and tells `reporter` everything. A run that is interrupted, or whose
/// server goes away, still ends with a report and a summary.
///
/// # Errors
/// Nothing could be judged: see [`RunError`].
pub async fn run(
    plan: &Plan,
    reporter: &mut dyn Reporter,
    stop: &StopSignals,
) -> Result<Summary, RunError> {
    let selected = plan.selection.cases();
    if selected.is_empty() {
        return Err(RunError::NothingSelected);
    }
    let started = Instant::now();
    let started_at = plan.clock.unix_ms();
    let (server, report) = prepare(plan, reporter, stop).await?;
    let shared = Arc::new(shared(plan, &report, server.as_ref()));
    let target = report.target.clone();
    let times = plan.target.timeouts;
    let slow = [times.rpc, times.connect, report.heartbeat];
    let slow = selected
        .iter()
        .any(|case| case.slow)
        .then(|| slow.into_iter().max());
    reporter.event(&RunEvent::Started {
        doctor: report,
        selected: selected.len(),
        slow: slow.flatten().unwrap_or_default(),
    })?;
    let mut run = Run {
        plan,
        shared,
        reporter,
        stop,
        server,
        company: Company::default(),
        reports: HashMap::new(),
        judged_alone: HashSet::new(),
        lives: 0,
        linger: SLOW_DEATH,
        suspect: None,
        confirming: Duration::ZERO,
        dialect: Dialect::default(),
        state: State::Running,
    };
    let outcome = run.all(&selected).await;
    if let Some(server) = run.server.take() {
        server.stop().await;
    }
    outcome?;
    let mut cases: Vec<CaseReport> = selected
        .iter()
        .filter_map(|case| run.reports.remove(case.id))
        .collect();
    tell_shortage(plan, &mut cases);
    blame::attribute(&mut cases);
    let stale = plan.baseline.apply(&mut cases, plan.selection.registry());
    let summary = Summary::of(&cases, stale.len(), run.state == State::Interrupted);
    let finished = RunReport {
        target,
        started_at,
        duration: started.elapsed(),
        seed: plan.seed,
        summary,
        requirements: tally::requirements(plan.selection.registry(), &cases),
        cases,
        dialect: run.dialect,
        suspect: run.suspect,
        stale,
    };
    run.reporter
        .event(&RunEvent::Finished(Box::new(finished)))?;
    Ok(summary)
}

/// Starts the server, where the plan has a command for that, and looks at it.
async fn prepare(
    plan: &Plan,
    reporter: &mut dyn Reporter,
    stop: &StopSignals,
) -> Result<(Option<Spawned>, DoctorReport), RunError> {
    let mut server = None;
    if let Some(command) = &plan.spawn {
        let (urls, reached) = (plan.target.urls.clone(), plan.target.server.clone());
        let launched = Spawned::launch(command.clone(), urls, reached, stop.clone());
        server = Some(launched.await?);
        reporter.event(&RunEvent::Spawned {
            command: command.to_string(),
        })?;
    }
    let examined = tokio::select! {
        biased;
        () = stop.asked() => Err(RunError::Interrupted),
        examined = doctor::examine(&plan.target, plan.seed, plan.salt) => {
            examined.map_err(RunError::from)
        }
    };
    match examined {
        Ok(report) => Ok((server, report)),
        Err(error) => {
            if let Some(server) = server {
                server.stop().await;
            }
            Err(error)
        }
    }
}

/// What all cases share, as the doctor has found it.
fn shared(plan: &Plan, report: &DoctorReport, server: Option<&Spawned>) -> Shared {
    let mut missing: HashMap<_, _> = report.missing.iter().cloned().collect();
    if server.is_none() {
        let reason = "it was not started by --spawn, so that it cannot be killed and started again";
        missing.insert(Capability::Restart, reason.to_owned());
    }
    let target = Arc::clone(&plan.target);
    let mut shared = Shared::new(target, plan.clock, plan.seed, plan.salt, missing);
    shared.traces = plan.traces.clone();
    shared.heartbeat = Some(report.heartbeat);
    shared.server = server.cloned();
    match report.ping {
        Some(took) => {
            shared.pace.came(PING, took);
            shared.probe = Some(report.token.clone());
        }
        None => shared.pace.missed(PING),
    }
    shared
}

/// Says in all cases that lacked accounts how many the whole run needs.
fn tell_shortage(plan: &Plan, cases: &mut [CaseReport]) {
    if let Provisioner::File(file) = &plan.target.provisioner
        && let Some(shortage) = file.shortage()
    {
        let short = |case: &&mut CaseReport| case.reason.as_deref() == Some(SHORT);
        for case in cases.iter_mut().filter(short) {
            case.reason = Some(shortage.clone());
        }
    }
}

/// Whether further cases are started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Running,
    Interrupted,
    /// The server is gone and nobody starts it again.
    Dead,
    /// A case has failed, and the user wanted no more than that.
    Failed,
}

struct Run<'a> {
    plan: &'a Plan,
    shared: Arc<Shared>,
    reporter: &'a mut dyn Reporter,
    stop: &'a StopSignals,
    server: Option<Spawned>,
    /// The cases that run side by side.
    company: Company,
    reports: HashMap<&'static str, CaseReport>,
    /// Cases whose report is from a run with the server for themselves.
    judged_alone: HashSet<&'static str>,
    /// How many times the server was started again.
    lives: u32,
    /// How long the server has to live after a case that is not to be suspected of its death.
    linger: Duration,
    /// What was sent last when the server died for good.
    suspect: Option<String>,
    /// How long failures have been repeated so far.
    confirming: Duration,
    dialect: Dialect,
    state: State,
}

impl Run<'_> {
    async fn all(&mut self, selected: &[&'static Case]) -> Result<(), RunError> {
        let (hazardous, others): (Vec<_>, Vec<_>) =
            selected.iter().copied().partition(|case| case.hazardous);
        // Slow cases only wait while failures are repeated.
        let mut suspects = self.together(&others).await?;
        self.one_by_one(&suspects, 1).await?;
        if self.plan.confirm {
            self.confirm(&others).await?;
        }
        suspects = self.await_slow().await?;
        self.one_by_one(&suspects, 1).await?;
        if self.plan.confirm {
            self.confirm(&others).await?;
        }
        self.fail_fast(&others).await?;
        self.one_by_one(&hazardous, 0).await?;
        self.account_for_the_rest(selected)
    }

    fn start(&mut self, case: &'static Case, alone: bool) -> std::io::Result<()> {
        self.reporter
            .event(&RunEvent::CaseStarted { id: case.id, alone })
    }

    fn reproduce(&self, case: &Case) -> String {
        format!(
            "{} --only '{}' --seed {}",
            self.plan.reproduce, case.id, self.plan.seed
        )
    }

    fn record(&mut self, outcome: Outcome) -> Result<(), RunError> {
        let Outcome {
            mut report,
            dialect,
            ..
        } = outcome;
        self.dialect.merge(dialect);
        if let Some(earlier) = self.reports.remove(report.id) {
            report = tally::worse(earlier, report);
        }
        self.reporter
            .event(&RunEvent::CaseFinished(Box::new(report.clone())))?;
        self.reports.insert(report.id, report);
        Ok(())
    }

    fn panicked(
        &mut self,
        case: &'static Case,
        error: tokio::task::JoinError,
    ) -> Result<(), RunError> {
        let reason = match error.try_into_panic() {
            Ok(panic) => {
                let text = panic
                    .downcast_ref::<String>()
                    .cloned()
                    .or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
                format!(
                    "a fault of the suite: {}",
                    text.unwrap_or_else(|| "a panic".into())
                )
            }
            Err(error) => error.to_string(),
        };
        let report = self.unjudged(case, Verdict::Error, reason);
        self.record(Outcome {
            report,
            dialect: Dialect::default(),
            dead: false,
        })
    }

    fn unjudged(&self, case: &Case, verdict: Verdict, reason: String) -> CaseReport {
        CaseReport {
            id: case.id,
            level: case.level(),
            verdict,
            requirements: case.requirements.to_vec(),
            findings: Vec::new(),
            reason: Some(reason),
            notes: Vec::new(),
            duration: Duration::ZERO,
            stalled: Duration::ZERO,
            flaky: false,
            known: None,
            reproduce: self.reproduce(case),
            trace: Vec::new(),
            recording: None,
            typical_cause: case.cause(),
            blocked_by: None,
            trace_file: None,
            nodes: Vec::new(),
        }
    }

    /// The server stopped answering: tells so, and starts it again if it is ours. False when the run
    /// cannot go on.
    async fn revive(&mut self, during: &[&'static Case]) -> Result<bool, RunError> {
        let output = match &self.server {
            Some(server) => server.last_output().await,
            None => Vec::new(),
        };
        let restarting = self.plan.spawn.is_some();
        let during = during.iter().map(|case| case.id).collect();
        let last = self.shared.inputs.last();
        let suspect = last.map(|input| format!("{}, sent by {}", input.text, input.case));
        self.reporter.event(&RunEvent::ServerDied {
            during,
            suspect: suspect.clone(),
            output,
            restarting,
        })?;
        self.lives += 1;
        let Some(server) = &self.server else {
            self.suspect = suspect;
            self.state = State::Dead;
            return Ok(false);
        };
        server.stop().await;
        match server.revive().await {
            Ok(()) => Ok(true),
            Err(LaunchError::Interrupted { .. }) => {
                self.state = State::Interrupted;
                Ok(false)
            }
            // It does not come back: the run ends as if it were not ours.
            Err(LaunchError::Ended { .. } | LaunchError::Silent { .. }) => {
                self.state = State::Dead;
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Every selected case has a report: those that never ran, or did not end, say why.
    fn account_for_the_rest(&mut self, selected: &[&'static Case]) -> Result<(), RunError> {
        let reason = match self.state {
            State::Running => return Ok(()),
            State::Interrupted => INTERRUPTED,
            State::Dead => GONE_BEFORE,
            State::Failed => FAILED_FAST,
        };
        for &case in selected {
            if !self.reports.contains_key(case.id) {
                let report = self.unjudged(case, Verdict::Blocked, reason.into());
                self.record(Outcome {
                    report,
                    dialect: Dialect::default(),
                    dead: false,
                })?;
            }
        }
        Ok(())
    }
}
