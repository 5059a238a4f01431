//! Repeating what failed: alone first, and beside others where it does not fail alone. What needs load
//! to fail is a failure all the same.

use std::{collections::HashSet, sync::Arc, time::Duration};

use futures_util::future::join_all;
use tokio::time::Instant;

use super::{
    Run, RunError,
    execute::{Outcome, execute},
    tally,
};
use crate::steps::lives_on;
use crate::{
    case::Case,
    event::{CaseReport, RunEvent},
    ledger::Requirement,
    verdict::Verdict,
};

/// How long failures are repeated before the rest of them stands as it is. So many failures are no
/// accident of timing.
const BUDGET: Duration = Duration::from_secs(60);

/// The same where a large part of all cases failed: such a server lacks something, and whoever mends it
/// runs them all again.
const SHORT_BUDGET: Duration = Duration::from_secs(10);

/// How large that part is: one in so many.
const LARGE_PART: usize = 4;

/// Fewer cases than that are no large part of anything, whoever selected them.
const FEW: usize = 100;

/// How many times a case that passed alone is repeated beside others.
const UNDER_LOAD: u32 = 4;

/// The attempts of these repetitions, so that each has names of its own.
const FIRST_ATTEMPT: u32 = 10;

impl Run<'_> {
    /// Repeats what failed beside others, or could not be judged there. A failure that does not repeat
    /// stays visible.
    pub(super) async fn confirm(&mut self, cases: &[&'static Case]) -> Result<(), RunError> {
        let began = Instant::now();
        let before = self.confirming;
        let failed = |case: &&&Case| {
            let report = self.reports.get(case.id);
            report.is_some_and(|report| {
                matches!(
                    report.verdict,
                    Verdict::Fail | Verdict::Warn | Verdict::Error
                )
            })
        };
        let failed = cases.iter().filter(failed).count();
        let budget = match failed * LARGE_PART > cases.len().max(FEW) {
            true => SHORT_BUDGET,
            false => BUDGET,
        };
        // What was seen alone once needs no further confirmation from other cases.
        let mut confirmed: HashSet<&'static str> = HashSet::new();
        for &case in cases {
            if self.judged_alone.contains(case.id) {
                continue;
            }
            let Some(first) = self.reports.get(case.id) else {
                continue;
            };
            let is_failed = matches!(first.verdict, Verdict::Fail | Verdict::Warn);
            let is_unexplained = self.is_unexplained(first);
            if !is_failed && !is_unexplained && first.verdict != Verdict::Error {
                continue;
            }
            let known = |(requirement, _): (&Requirement, _)| confirmed.contains(requirement.id);
            if is_failed && first.broken().all(known) {
                continue;
            }
            let first = first.clone();
            self.confirming = before + began.elapsed();
            if is_unexplained && self.confirming > SHORT_BUDGET {
                continue;
            }
            if self.confirming > budget {
                let note = "not repeated alone: too much failed for that".to_owned();
                if let Some(report) = self.reports.get_mut(case.id)
                    && !report.notes.contains(&note)
                {
                    report.notes.push(note);
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
            // Where the server has died before, whoever is repeated may be who killed it.
            if dead || self.lives > 0 && !lives_on(&self.shared, self.linger).await {
                if !self.revive(&[case]).await? {
                    return Ok(());
                }
                self.one_by_one(&[case], 2).await?;
                continue;
            }
            self.dialect.merge(dialect);
            self.judged_alone.insert(case.id);
            confirmed.extend(again.broken().map(|(requirement, _)| requirement.id));
            let loaded = match tally::needs_load(&first, &again) {
                true => self.under_load(case, cases).await,
                false => Vec::new(),
            };
            let report = tally::repeated(first, again, &loaded);
            self.reporter
                .event(&RunEvent::CaseFinished(Box::new(report.clone())))?;
            self.reports.insert(case.id, report);
        }
        // With `--fail-fast` cases come one by one, and share the budget.
        self.confirming = before + began.elapsed();
        Ok(())
    }

    /// Whether a case was blocked by what no case has found broken: a busy machine may have been too slow for
    /// what it begins with.
    fn is_unexplained(&self, report: &CaseReport) -> bool {
        let breaks = |parent: &Requirement| {
            let mut all = self.reports.values();
            all.any(|other| other.broken().any(|(broken, _)| broken.id == parent.id))
        };
        report.verdict == Verdict::Blocked
            && report.blocked_by.is_some_and(|parent| !breaks(parent))
    }

    /// Runs `case` several times at once, beside as many others as in the run before. Gives the reports of
    /// its own runs.
    async fn under_load(
        &mut self,
        case: &'static Case,
        cases: &[&'static Case],
    ) -> Vec<CaseReport> {
        let own = (0..UNDER_LOAD).map(|round| (case, FIRST_ATTEMPT + round));
        let at = cases.iter().position(|other| other.id == case.id);
        // Those that stand beside it ran beside it.
        let beside = cases[at.unwrap_or(0)..].iter().chain(cases);
        let beside = beside
            .filter(|other| !other.slow && other.id != case.id)
            .take(self.plan.jobs.saturating_sub(UNDER_LOAD as usize))
            .map(|other| (*other, FIRST_ATTEMPT + UNDER_LOAD));
        let runs = own.chain(beside).map(|(case, attempt)| {
            let shared = Arc::clone(&self.shared);
            execute(shared, case, attempt, self.reproduce(case), None)
        });
        let runs: Vec<_> = runs.map(tokio::spawn).collect();
        let mut outcomes = join_all(runs).await;
        outcomes.truncate(UNDER_LOAD as usize);
        // One that panicked is the suite's own fault, and says nothing here.
        let reports = outcomes.into_iter().filter_map(Result::ok);
        reports.map(|outcome| outcome.report).collect()
    }
}
