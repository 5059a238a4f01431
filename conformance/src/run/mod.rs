//! The runner: one task owns the truth and the order, cases run in tasks of their own.
//!
//! It owns no formatting: everything it has to say is a [`RunEvent`]. It judges nothing either, except
//! for who was running when the server went away.

mod execute;
pub(crate) mod shared;
mod tally;

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use tokio::{
    task::{Id, JoinSet},
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;
use touchstone_client::provision::Provisioner;

use self::{
    execute::{Outcome, execute},
    shared::Shared,
};
use crate::{
    case::Case,
    cases::connection,
    doctor::{self, DoctorError},
    event::{
        CaseReport, Dialect, GONE_BEFORE, INTERRUPTED, Reporter, RunEvent, RunReport, SHORT,
        Summary,
    },
    launch::{self, LaunchError},
    ledger::Requirement,
    plan::Plan,
    spawn::Server,
    verdict::{Finding, Mismatch, Verdict},
};

/// How long failures are repeated alone before the rest of them stands as it is. So many failures are
/// no accident of timing.
const RERUN_BUDGET: Duration = Duration::from_secs(60);

/// How long cases that run may go on after the user has asked to finish.
const FINISH_WITHIN: Duration = Duration::from_secs(5);

/// The two ways in which a user ends a run early.
#[derive(Debug, Clone, Default)]
pub struct StopSignals {
    /// No further case is started; those that run have a few seconds to end.
    pub finish: CancellationToken,
    /// Everything ends at once.
    pub abort: CancellationToken,
}

impl StopSignals {
    /// Resolves when the user has asked for either.
    pub(crate) async fn asked(&self) {
        tokio::select! {
            () = self.finish.cancelled() => {}
            () = self.abort.cancelled() => {}
        }
    }
}

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
    let prepare = async {
        let mut server = None;
        if let Some(command) = &plan.spawn {
            let (urls, path) = (&plan.target.urls, &plan.target.path);
            server = Some(launch::launch(command, urls, path, stop).await?);
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
    };
    let (server, report) = prepare.await?;
    let missing = report.missing.iter().cloned().collect();
    let target = Arc::clone(&plan.target);
    let mut shared = Shared::new(target, plan.clock, plan.seed, plan.salt, missing);
    shared.record = plan.record;
    let shared = Arc::new(shared);
    let target = report.target.clone();
    reporter.event(&RunEvent::Started {
        doctor: report,
        selected: selected.len(),
    })?;
    let mut run = Run {
        plan,
        shared,
        reporter,
        stop,
        server,
        reports: HashMap::new(),
        judged_alone: HashSet::new(),
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
    if let Provisioner::File(file) = &plan.target.provisioner
        && let Some(shortage) = file.shortage()
    {
        let short = |case: &&mut CaseReport| case.reason.as_deref() == Some(SHORT);
        for case in cases.iter_mut().filter(short) {
            case.reason = Some(shortage.clone());
        }
    }
    let stale = plan.baseline.apply(&mut cases);
    let summary = Summary::of(&cases, stale.len(), run.state == State::Interrupted);
    let finished = RunReport {
        target,
        started_at,
        duration: started.elapsed(),
        seed: plan.seed,
        summary,
        requirements: tally::requirements(&cases),
        cases,
        dialect: run.dialect,
        stale,
    };
    run.reporter
        .event(&RunEvent::Finished(Box::new(finished)))?;
    Ok(summary)
}

/// Whether further cases are started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Running,
    Interrupted,
    /// The server is gone and nobody starts it again.
    Dead,
}

struct Run<'a> {
    plan: &'a Plan,
    shared: Arc<Shared>,
    reporter: &'a mut dyn Reporter,
    stop: &'a StopSignals,
    server: Option<Server>,
    reports: HashMap<&'static str, CaseReport>,
    /// Cases whose report is from a run with the server for themselves.
    judged_alone: HashSet<&'static str>,
    dialect: Dialect,
    state: State,
}

impl Run<'_> {
    async fn all(&mut self, selected: &[&'static Case]) -> Result<(), RunError> {
        let (hazardous, others): (Vec<_>, Vec<_>) =
            selected.iter().copied().partition(|case| case.hazardous);
        let suspects = self.together(&others).await?;
        self.one_by_one(&suspects, 1).await?;
        if self.plan.confirm {
            self.repeat_failures(&others).await?;
        }
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

    /// Runs cases side by side. Gives those that were running when the server died, where it was
    /// started again.
    async fn together(&mut self, cases: &[&'static Case]) -> Result<Vec<&'static Case>, RunError> {
        let rounds = 0..self.plan.repeat.max(1);
        // Repetitions have names of their own, apart from those of solo runs.
        let all = rounds.flat_map(|round| cases.iter().map(move |case| (*case, round * 100)));
        // Slow cases wait most of the time, so that the run is bound by the slowest of them.
        let (mut queue, others): (VecDeque<(&'static Case, u32)>, VecDeque<_>) =
            all.partition(|(case, _)| case.slow);
        queue.extend(others);
        // Without company, the case that was running is the one to blame.
        let solo = queue.len() == 1 || self.plan.jobs <= 1;
        let mut last_call: Option<Instant> = None;
        let mut tasks = JoinSet::new();
        let mut running: HashMap<Id, &'static Case> = HashMap::new();
        let mut victims: Vec<&'static Case> = Vec::new();
        loop {
            while self.state == State::Running
                && victims.is_empty()
                && let Some(&(case, attempt)) = queue.front()
                && self.has_room(case, running.values())
            {
                queue.pop_front();
                self.start(case, false)?;
                let reproduce = self.reproduce(case);
                let shared = Arc::clone(&self.shared);
                let task = tasks.spawn(execute(shared, case, attempt, reproduce));
                running.insert(task.id(), case);
            }
            if running.is_empty() {
                if victims.is_empty() {
                    return Ok(Vec::new());
                }
                let mut suspects = std::mem::take(&mut victims);
                if !self.revive(&suspects).await? {
                    return Ok(Vec::new());
                }
                // The rest goes on without those that may have killed it.
                let suspected: Vec<_> = suspects.iter().map(|case| case.id).collect();
                queue.retain(|(case, _)| !suspected.contains(&case.id));
                let rest: Vec<_> = queue.iter().map(|(case, _)| *case).collect();
                let more = Box::pin(self.together(&rest)).await?;
                suspects.retain(|case| !self.judged_alone.contains(case.id));
                return Ok([suspects, more].concat());
            }
            let joined = tokio::select! {
                biased;
                () = self.stop.abort.cancelled() => {
                    self.state = State::Interrupted;
                    return Ok(Vec::new());
                }
                () = self.stop.finish.cancelled(), if self.state == State::Running => {
                    self.state = State::Interrupted;
                    last_call = Some(Instant::now() + FINISH_WITHIN);
                    continue;
                }
                () = sleep_until(last_call.unwrap_or_else(Instant::now)), if last_call.is_some() => {
                    return Ok(Vec::new());
                }
                joined = tasks.join_next_with_id() => joined,
            };
            match joined {
                Some(Ok((id, mut outcome))) => {
                    let case = running.remove(&id);
                    if outcome.dead {
                        victims.extend(case);
                        if solo {
                            killed(&mut outcome.report);
                            self.judged_alone.insert(outcome.report.id);
                        }
                    }
                    self.record(outcome)?;
                }
                Some(Err(error)) => {
                    if let Some(case) = running.remove(&error.id()) {
                        self.panicked(case, error)?;
                    }
                }
                None => running.clear(),
            }
        }
    }

    /// Whether `case` may start beside those that run. Slow ones take no places, except where each case
    /// is to have the server for itself.
    fn has_room<'c>(&self, case: &Case, running: impl Iterator<Item = &'c &'static Case>) -> bool {
        let places = self.plan.jobs.max(1);
        if places == 1 {
            return running.count() == 0;
        }
        case.slow || running.filter(|case| !case.slow).count() < places
    }

    /// Runs cases with the server for themselves. Whoever kills it here has the verdict.
    async fn one_by_one(&mut self, cases: &[&'static Case], attempt: u32) -> Result<(), RunError> {
        for &case in cases {
            let Some(mut outcome) = self.alone(case, attempt).await? else {
                return Ok(());
            };
            let dead = outcome.dead;
            if dead {
                killed(&mut outcome.report);
            }
            self.judged_alone.insert(case.id);
            self.reports.remove(case.id);
            self.record(outcome)?;
            if dead && !self.revive(&[case]).await? {
                return Ok(());
            }
        }
        Ok(())
    }

    async fn alone(
        &mut self,
        case: &'static Case,
        attempt: u32,
    ) -> Result<Option<Outcome>, RunError> {
        if self.stop.finish.is_cancelled() && self.state == State::Running {
            self.state = State::Interrupted;
        }
        if self.state != State::Running {
            return Ok(None);
        }
        self.start(case, true)?;
        let case_run = execute(
            Arc::clone(&self.shared),
            case,
            attempt,
            self.reproduce(case),
        );
        tokio::select! {
            biased;
            () = self.stop.abort.cancelled() => {
                self.state = State::Interrupted;
                Ok(None)
            }
            outcome = case_run => Ok(Some(outcome)),
        }
    }

    /// Repeats alone what failed beside others, or could not be judged there. A failure that does not
    /// repeat stays visible.
    async fn repeat_failures(&mut self, cases: &[&'static Case]) -> Result<(), RunError> {
        let began = Instant::now();
        // What was seen alone once needs no further confirmation from other cases.
        let mut confirmed: HashSet<&'static str> = HashSet::new();
        for &case in cases {
            if self.judged_alone.contains(case.id) {
                continue;
            }
            let Some(first) = self.reports.get(case.id) else {
                continue;
            };
            if !matches!(
                first.verdict,
                Verdict::Fail | Verdict::Warn | Verdict::Error
            ) {
                continue;
            }
            let known = |(requirement, _): (&Requirement, _)| confirmed.contains(requirement.id);
            if first.verdict != Verdict::Error && first.broken().all(known) {
                continue;
            }
            let first = first.clone();
            if began.elapsed() > RERUN_BUDGET {
                if let Some(report) = self.reports.get_mut(case.id) {
                    report
                        .notes
                        .push("not repeated alone: too much failed for that".into());
                }
                continue;
            }
            let Some(Outcome {
                report: again,
                dialect,
                dead,
            }) = self.alone(case, 1).await?
            else {
                return Ok(());
            };
            self.dialect.merge(dialect);
            confirmed.extend(again.broken().map(|(requirement, _)| requirement.id));
            let report = tally::repeated(first, again);
            self.reporter
                .event(&RunEvent::CaseFinished(Box::new(report.clone())))?;
            self.reports.insert(case.id, report);
            if dead && !self.revive(&[case]).await? {
                return Ok(());
            }
        }
        Ok(())
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
            flaky: false,
            known: None,
            reproduce: self.reproduce(case),
            trace: Vec::new(),
            recording: None,
        }
    }

    /// The server stopped answering: tells so, and starts it again if it is ours. False when the run
    /// cannot go on.
    async fn revive(&mut self, during: &[&'static Case]) -> Result<bool, RunError> {
        let output = match &mut self.server {
            Some(server) => server.last_output().await,
            None => Vec::new(),
        };
        let restarting = self.plan.spawn.is_some();
        let during = during.iter().map(|case| case.id).collect();
        self.reporter.event(&RunEvent::ServerDied {
            during,
            output,
            restarting,
        })?;
        if let Some(server) = self.server.take() {
            server.stop().await;
        }
        let Some(command) = &self.plan.spawn else {
            self.state = State::Dead;
            return Ok(false);
        };
        let target = &self.plan.target;
        match launch::start(command, &target.urls, &target.path, self.stop).await {
            Ok(server) => {
                self.server = Some(server);
                Ok(true)
            }
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

/// The verdict for a case that had the server for itself when it died.
fn killed(report: &mut CaseReport) {
    report.reason = None;
    report.findings.push(Finding {
        requirement: &connection::SURVIVES,
        broken: Some(Mismatch {
            expected: "a server that goes on answering".into(),
            actual: "it stopped answering while this case alone was running".into(),
        }),
    });
    report.verdict = Verdict::Fail;
}
