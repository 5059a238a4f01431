//! Cases side by side, and what the death of the server makes of those that ran then.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use tokio::{
    task::{Id, JoinError, JoinSet},
    time::{Instant, sleep_until},
};

use super::{
    Run, RunError, State,
    alone::killed,
    execute::{Outcome, execute},
};
use crate::steps::lives_on;
use crate::{case::Case, event::CaseReport, verdict::Verdict};

/// How long cases that run may go on after the user has asked to finish.
const FINISH_WITHIN: Duration = Duration::from_secs(5);

/// How long before a death that was noticed a case may have ended that is suspected of it all the same.
const LOOK_BACK: Duration = Duration::from_millis(1_500);

/// The cases that run side by side at the moment.
#[derive(Default)]
pub(super) struct Company {
    tasks: JoinSet<Outcome>,
    running: HashMap<Id, Running>,
    /// Those that ended lately, and when.
    ended: VecDeque<(Instant, &'static Case)>,
}

/// A case that runs.
#[derive(Clone, Copy)]
struct Running {
    case: &'static Case,
    /// How many times the server had been started again when it began.
    lives: u32,
}

/// What there is to do next.
enum Next {
    Ended(Box<Result<(Id, Outcome), JoinError>>),
    /// Nothing runs any more.
    Idle,
    /// The user wants no more.
    Stop,
}

impl Company {
    fn cases(&self) -> impl Iterator<Item = &'static Case> {
        self.running.values().map(|running| running.case)
    }

    /// Whether `case` may start beside those that run. Slow ones take no places, except where each case
    /// is to have the server for itself.
    fn has_room(&self, case: &Case, jobs: usize) -> bool {
        let places = jobs.max(1);
        if places == 1 {
            return self.running.is_empty();
        }
        case.slow || self.cases().filter(|case| !case.slow).count() < places
    }

    fn only_slow_ones(&self) -> bool {
        self.cases().all(|case| case.slow)
    }

    /// The cases that ended so late that they may have caused a death which was noticed just now.
    fn lately(&mut self) -> Vec<&'static Case> {
        let ended = self.ended.drain(..);
        ended
            .filter(|(at, _)| at.elapsed() <= LOOK_BACK)
            .map(|(_, case)| case)
            .collect()
    }
}

impl Run<'_> {
    /// Runs cases side by side until only slow ones are left, if any. Gives those that are suspected of a
    /// death of the server, where it was started again.
    pub(super) async fn together(
        &mut self,
        cases: &[&'static Case],
    ) -> Result<Vec<&'static Case>, RunError> {
        let rounds = 0..self.plan.repeat.max(1);
        // Repetitions have names of their own, apart from those of solo runs.
        let all = rounds.flat_map(|round| cases.iter().map(move |case| (*case, round * 100)));
        // Slow cases wait most of the time, so that the run is bound by the slowest of them.
        let (mut queue, others): (VecDeque<(&'static Case, u32)>, VecDeque<_>) =
            all.partition(|(case, _)| case.slow);
        queue.extend(others);
        // Without company, the case that was running is the one to blame.
        let solo = queue.len() == 1 || self.plan.jobs <= 1;
        let mut suspects: Vec<&'static Case> = Vec::new();
        loop {
            suspects.extend(self.fail_fast(cases).await?);
            // A queue of nothing but what is suspected waits until the others are done.
            queue.retain(|(case, _)| !suspects.iter().any(|suspect| suspect.id == case.id));
            while self.state == State::Running
                && let Some(&(case, attempt)) = queue.front()
                && self.company.has_room(case, self.plan.jobs)
            {
                queue.pop_front();
                self.begin(case, attempt)?;
            }
            if queue.is_empty() && !solo && self.company.only_slow_ones() {
                // Whoever was last may have killed it as well.
                if self.state == State::Running
                    && self.company.ended.back().is_some()
                    && !lives_on(&self.shared, self.linger).await
                {
                    suspects.extend(self.mourn(&[]).await?);
                    continue;
                }
                return Ok(suspects);
            }
            match self.next().await? {
                Next::Ended(ended) => suspects.extend(self.ended(*ended, solo).await?),
                Next::Idle if queue.is_empty() || self.state != State::Running => {
                    return Ok(suspects);
                }
                Next::Idle => {}
                Next::Stop => return Ok(Vec::new()),
            }
        }
    }

    /// Where a failure is to end the run: repeats one that there is, and ends everything if it stands. Gives
    /// those that are suspected of a death of the server meanwhile.
    pub(super) async fn fail_fast(
        &mut self,
        cases: &[&'static Case],
    ) -> Result<Vec<&'static Case>, RunError> {
        let mut suspects = Vec::new();
        if !self.plan.fail_fast || self.state != State::Running || self.first_failure().is_none() {
            return Ok(suspects);
        }
        while !self.company.only_slow_ones() {
            match self.next().await? {
                Next::Ended(ended) => suspects.extend(self.ended(*ended, false).await?),
                Next::Idle => break,
                Next::Stop => return Ok(suspects),
            }
        }
        if self.plan.confirm {
            let failed = |case: &&&Case| Some(case.id) == self.first_failure();
            let failed: Vec<_> = cases.iter().filter(failed).copied().collect();
            self.confirm(&failed).await?;
        }
        if self.state == State::Running && self.first_failure().is_some() {
            self.state = State::Failed;
            self.company.tasks.shutdown().await;
            self.company.running.clear();
        }
        Ok(suspects)
    }

    /// The first case that failed and that no baseline lists.
    pub(super) fn first_failure(&self) -> Option<&'static str> {
        let unexpected = |report: &&CaseReport| {
            report.verdict == Verdict::Fail && !self.plan.baseline.knows(report)
        };
        let failed = self.reports.values().filter(unexpected);
        failed.map(|report| report.id).min()
    }

    /// Waits for the slow cases that still run. Gives those that are suspected of a death of the server,
    /// and those that the death of it has cut short.
    pub(super) async fn await_slow(&mut self) -> Result<Vec<&'static Case>, RunError> {
        let mut suspects = Vec::new();
        loop {
            match self.next().await? {
                Next::Ended(ended) => suspects.extend(self.ended(*ended, false).await?),
                Next::Idle => return Ok(suspects),
                Next::Stop => return Ok(Vec::new()),
            }
        }
    }

    /// Starts `case` beside those that run.
    pub(super) fn begin(&mut self, case: &'static Case, attempt: u32) -> Result<(), RunError> {
        self.start(case, false)?;
        let reproduce = self.reproduce(case);
        let shared = Arc::clone(&self.shared);
        let run = execute(shared, case, attempt, reproduce, None);
        let task = self.company.tasks.spawn(run);
        let lives = self.lives;
        self.company
            .running
            .insert(task.id(), Running { case, lives });
        Ok(())
    }

    async fn next(&mut self) -> Result<Next, RunError> {
        let mut last_call: Option<Instant> = None;
        loop {
            if self.company.running.is_empty() {
                return Ok(Next::Idle);
            }
            let joined = tokio::select! {
                biased;
                () = self.stop.abort.cancelled() => {
                    self.state = State::Interrupted;
                    return Ok(Next::Stop);
                }
                () = self.stop.finish.cancelled(), if last_call.is_none() => {
                    self.state = State::Interrupted;
                    last_call = Some(Instant::now() + FINISH_WITHIN);
                    continue;
                }
                () = sleep_until(last_call.unwrap_or_else(Instant::now)), if last_call.is_some() => {
                    return Ok(Next::Stop);
                }
                joined = self.company.tasks.join_next_with_id() => joined,
            };
            return Ok(match joined {
                Some(ended) => Next::Ended(Box::new(ended)),
                None => Next::Idle,
            });
        }
    }

    /// Records the outcome of a case that ended. Where the server died, gives everybody who may be
    /// concerned: they run again, alone.
    async fn ended(
        &mut self,
        ended: Result<(Id, Outcome), JoinError>,
        solo: bool,
    ) -> Result<Vec<&'static Case>, RunError> {
        let (id, mut outcome) = match ended {
            Ok(ended) => ended,
            Err(error) => {
                if let Some(running) = self.company.running.remove(&error.id()) {
                    self.panicked(running.case, error)?;
                }
                return Ok(Vec::new());
            }
        };
        let Some(Running { case, lives }) = self.company.running.remove(&id) else {
            return Ok(Vec::new());
        };
        if lives < self.lives {
            // Its server died under it, and what it saw of the next one proves nothing.
            return Ok(vec![case]);
        }
        if !outcome.dead {
            self.company.ended.push_back((Instant::now(), case));
            self.record(outcome)?;
            return Ok(Vec::new());
        }
        if solo {
            killed(
                &mut outcome.report,
                self.shared.inputs.last().map(|input| input.text),
            );
            self.judged_alone.insert(outcome.report.id);
            self.record(outcome)?;
            self.revive(&[case]).await?;
            return Ok(Vec::new());
        }
        self.record(outcome)?;
        self.mourn(&[case]).await
    }

    /// The server died: waits for all that ran, starts the server again, and gives those that may have
    /// killed it or that it took with it.
    async fn mourn(&mut self, first: &[&'static Case]) -> Result<Vec<&'static Case>, RunError> {
        let mut suspects = first.to_vec();
        suspects.extend(self.company.lately());
        // Slow ones would wait for long; they are run again when they end.
        while !self.company.only_slow_ones() {
            match self.next().await? {
                Next::Ended(ended) => match *ended {
                    Ok((id, outcome)) => {
                        if let Some(Running { case, .. }) = self.company.running.remove(&id) {
                            self.record(outcome)?;
                            suspects.push(case);
                        }
                    }
                    Err(error) => {
                        if let Some(running) = self.company.running.remove(&error.id()) {
                            self.panicked(running.case, error)?;
                        }
                    }
                },
                Next::Idle => break,
                Next::Stop => return Ok(Vec::new()),
            }
        }
        match self.revive(&suspects).await? {
            true => Ok(suspects),
            false => Ok(Vec::new()),
        }
    }
}
