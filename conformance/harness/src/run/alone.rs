//! Cases with the server for themselves: whoever kills it here has the verdict, with the input that did
//! it.

use std::sync::Arc;

use tokio::time::Instant;

use super::{
    Run, RunError, State,
    execute::{Outcome, execute},
};
use crate::steps::{SLOW_DEATH, Steps, lives_on};
use crate::{
    case::Case,
    event::{CaseReport, Direction, TraceLine},
    focus::{Focus, Part},
    own,
    verdict::{Finding, Verdict},
};

/// The attempt of a run that sends its inputs one by one.
const STEPPING: u32 = 50;

impl Run<'_> {
    /// Runs cases with the server for themselves.
    pub(super) async fn one_by_one(
        &mut self,
        cases: &[&'static Case],
        attempt: u32,
    ) -> Result<(), RunError> {
        for &case in cases {
            if self.judged_alone.contains(case.id) {
                continue;
            }
            let Some(mut outcome) = self.alone(case, attempt).await? else {
                return Ok(());
            };
            // One that was alive at its end may die of it a moment later.
            let dead = outcome.dead || !lives_on(&self.shared, self.linger).await;
            self.judged_alone.insert(case.id);
            self.reports.remove(case.id);
            if !dead {
                self.record(outcome)?;
                self.ends_at_failure();
                continue;
            }
            self.measure_death();
            let mut suspect = self.shared.inputs.last().map(|input| input.text);
            let revived = self.revive(&[case]).await?;
            if revived && let Some(found) = self.step_by_step(case).await? {
                suspect = Some(found);
            }
            killed(&mut outcome.report, suspect);
            self.record(outcome)?;
            self.ends_at_failure();
            if self.state != State::Running {
                return Ok(());
            }
        }
        Ok(())
    }

    /// What fails with the server for itself needs no confirmation.
    fn ends_at_failure(&mut self) {
        let fails = self.plan.fail_fast && self.first_failure().is_some();
        if fails && self.state == State::Running {
            self.state = State::Failed;
        }
    }

    /// Learns from a death how long this server takes to die.
    fn measure_death(&mut self) {
        if let Some(last) = self.shared.inputs.last() {
            let took = Instant::now().saturating_duration_since(last.at);
            self.linger = self.linger.max((took * 2).min(SLOW_DEATH * 4));
        }
    }

    /// Runs a case that has killed the server once more, its inputs one by one, on a server that was
    /// started anew. Gives the input of which it died.
    async fn step_by_step(&mut self, case: &'static Case) -> Result<Option<String>, RunError> {
        let steps = Arc::new(Steps::new(self.linger));
        let shared = Arc::clone(&self.shared);
        let reproduce = self.reproduce(case);
        let run = execute(shared, case, STEPPING, reproduce, Some(Arc::clone(&steps)));
        tokio::select! {
            biased;
            () = self.stop.asked() => {
                self.state = State::Interrupted;
                return Ok(None);
            }
            _ = run => {}
        }
        let killer = steps.killer();
        if !lives_on(&self.shared, SLOW_DEATH).await {
            self.revive(&[case]).await?;
        }
        Ok(killer.map(|input| format!("{input} (found by sending its inputs one by one)")))
    }

    pub(super) async fn alone(
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
            None,
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
}

/// The verdict for a case that had the server for itself when it died.
pub(super) fn killed(report: &mut CaseReport, suspect: Option<String>) {
    let suspect = suspect.map_or_else(String::new, |input| match input.ends_with("one by one)") {
        true => format!("; it died of {input}"),
        false => format!("; what was sent last is suspected: {input}"),
    });
    report.reason = None;
    let mut finding = Finding::broken(
        &own::SURVIVES,
        "a server that goes on answering".into(),
        format!("it stopped answering while this case alone was running{suspect}"),
    );
    finding.focus = last_words(&report.trace);
    report.findings.push(finding);
    report.verdict = Verdict::Fail;
}

/// How a trace ends with the server: what was sent before the first connection ended, and that end.
fn last_words(trace: &[TraceLine]) -> Vec<Focus> {
    let ends = |line: &TraceLine| line.dir == Direction::Mark && line.text.starts_with("ended: ");
    let end = trace.iter().position(ends);
    let before = &trace[..end.unwrap_or(trace.len())];
    let sends = |line: &TraceLine| line.dir == Direction::C2s && !line.text.starts_with("ping");
    let cause = before.iter().rposition(sends);
    let part = |part| move |line| Focus { line, part };
    let wrong = end.map(part(Part::Wrong));
    cause
        .map(part(Part::Cause))
        .into_iter()
        .chain(wrong)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_words_before_the_first_end_are_marked() {
        #[track_caller]
        fn check(lines: &[(Direction, &str)], expected: &[(usize, Part)]) {
            let line = |&(dir, text): &(Direction, &str)| TraceLine {
                at_us: 0,
                conn: "u1".into(),
                dir,
                text: text.into(),
            };
            let trace: Vec<_> = lines.iter().map(line).collect();
            let found = last_words(&trace);
            let found: Vec<_> = found.iter().map(|it| (it.line, it.part)).collect();
            assert_eq!(found, expected);
        }
        let dies = [
            (Direction::C2s, "message [[[["),
            (Direction::C2s, "ping #1"),
            (Direction::Mark, "ended: transport closed by the server"),
            (Direction::C2s, "message again"),
            (Direction::Mark, "ended: transport closed by the server"),
        ];
        check(&dies, &[(0, Part::Cause), (2, Part::Wrong)]);
        check(&dies[..2], &[(0, Part::Cause)]);
        check(&dies[2..3], &[(0, Part::Wrong)]);
    }
}
