//! `touchstone replay`: the client side of recordings, sent to a server again.

use std::io::IsTerminal as _;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use futures_util::{StreamExt as _, stream};
use rand::RngExt as _;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep_until};
use touchstone_client::{Clock, StopSignals};
use touchstone_harness::{Plan, Reporter, RunEvent, Selection, Target, Verdict};
use touchstone_output::text::plural;
use touchstone_replay::{
    Recording, Repair, ReplayError, ReplayPlan, ReplayReport, ReplayRun, Replayed, replay,
};

use crate::args::ReplayArguments;
use crate::embedded::{self, Embedded};
use crate::error::Failure;
use crate::exit::Exit;
use crate::profile::{self, Accused};
use crate::reports;
use crate::sinks::{Render, Sinks};
use crate::target::{Reached, unserved};
use crate::traces::traces;

use super::serve::differing;
use super::stop::Stop;

const FORMATS: &str =
    "formats are json, markdown, html and pretty; write json=PATH, or json=- for stdout";

const NOTHING_SENT: &str =
    "`touchstone check --trace DIR` and `touchstone load --trace FILE` record what clients send";

/// When it is first told how far the run is, and how often from then on. A file is told more and more
/// rarely, since nobody watches it.
const FIRST_PROGRESS: Duration = Duration::from_secs(1);
const PROGRESS: Duration = Duration::from_secs(5);

/// Replays the recordings that the arguments name.
pub(crate) async fn run(mut arguments: ReplayArguments, is_quiet: bool) -> Result<Exit, Failure> {
    profile::apply(Accused {
        urls: &mut arguments.against,
        reach: &mut arguments.reach,
        provision: Some(&mut arguments.provision),
        spawn: None,
        durable: None,
    })?;
    let sinks = Sinks::open(&arguments.report, FORMATS, renderer)?;
    let paths = traces(&arguments.traces)?;
    let stop = Stop::on_signals().context("cannot catch signals")?;
    // One trace that cannot be used is a mistake; of many, it is one that is told.
    let only = match paths.as_slice() {
        [path] => read(path, &stop).await.transpose().map_err(failure)?,
        _ => None,
    };
    let config = differing(embedded::quick(), &arguments.fault, &arguments.liberty)?;
    let embedded = if arguments.against.is_empty() {
        Some(Embedded::start(config).await?)
    } else {
        None
    };
    let player = Player {
        seed: arguments
            .seed
            .unwrap_or_else(|| rand::rng().random::<u32>().into()),
        target: target(&arguments, embedded.as_ref()).await?,
        arguments: &arguments,
        stop,
        sent: AtomicUsize::new(0),
        is_quiet,
    };
    let (run, trouble) = player.all(paths, only).await;
    if let Some(embedded) = embedded {
        embedded.stop().await?;
    }
    sinks.write(&run, |run, _, _| run.text())?;
    if let Some(failure) = trouble {
        return Err(failure);
    }
    if player.stop.asked() {
        return Ok(Exit::Interrupted);
    }
    Ok(exit_of(&run))
}

/// Reads a trace beside everything else, since it may be large. Nothing where the user has ended
/// the run before.
async fn read(path: &Path, stop: &Stop) -> Option<Result<Recording, ReplayError>> {
    let path = path.to_owned();
    tokio::select! {
        biased;
        () = stop.when_asked() => None,
        read = spawn_blocking(move || Recording::read(&path)) => match read {
            Ok(read) => Some(read),
            Err(error) => resume_unwind(error.into_panic()),
        },
    }
}

struct Player<'a> {
    arguments: &'a ReplayArguments,
    target: Target,
    seed: u64,
    stop: Stop,
    /// How many steps of all traces were sent.
    sent: AtomicUsize,
    is_quiet: bool,
}

/// What came of a trace.
enum Done {
    /// Its report, and what ends the whole run.
    Replayed(Box<Replayed>, Option<Failure>),
    /// It is left out, for this reason.
    LeftOut(PathBuf, &'static str),
}

impl Player<'_> {
    /// All of them, and what ended the whole run. The `only` one has been read already.
    async fn all(
        &self,
        paths: Vec<PathBuf>,
        mut only: Option<Recording>,
    ) -> (ReplayRun, Option<Failure>) {
        let started = Instant::now();
        let started_at = Clock::System.unix_ms();
        let total = paths.len();
        let several = total > 1;
        let replays = paths.into_iter().zip(0_u64..).map(|(path, index)| {
            let read = only.take();
            let seed = self.seed.wrapping_add(index);
            async move { self.one(path, read, seed, several).await }
        });
        let mut outcomes = stream::iter(replays).buffered(self.arguments.jobs.into());
        let is_watched = std::io::stderr().is_terminal();
        let mut next_progress = started + FIRST_PROGRESS;
        let mut pause = PROGRESS;
        let mut traces = Vec::new();
        let mut trouble = None;
        let mut left_out = 0;
        loop {
            let outcome = tokio::select! {
                outcome = outcomes.next() => outcome,
                () = sleep_until(next_progress), if !self.is_quiet => {
                    reports::notice(&self.progress(&traces, total));
                    next_progress = Instant::now() + pause;
                    pause *= if is_watched { 1 } else { 2 };
                    continue;
                }
            };
            match outcome {
                None => break,
                // The user has ended the run before it began.
                Some(None) => {}
                Some(Some(Done::LeftOut(path, why))) => {
                    reports::notice(&format!("left out: {}: {why}", path.display()));
                    left_out += 1;
                }
                Some(Some(Done::Replayed(replayed, failure))) => {
                    traces.push(*replayed);
                    if failure.is_some() {
                        trouble = failure;
                        break;
                    }
                }
            }
        }
        if left_out == total {
            let nothing = anyhow!("nothing to replay in any of {}", plural(total, "trace"));
            trouble = Some(Failure::usage(nothing).hint(NOTHING_SENT));
        }
        let run = ReplayRun {
            started_at,
            duration: started.elapsed(),
            target: self.target.name.clone(),
            seed: self.seed,
            speed: self.speed(),
            traces,
        };
        (run, trouble)
    }

    fn progress(&self, done: &[Replayed], total: usize) -> String {
        let differ = |trace: &&Replayed| match &trace.outcome {
            Ok(report) => !report.counts().is_same(),
            Err(_) => true,
        };
        format!(
            "{} of {}, {} with differences; {} sent",
            done.len(),
            plural(total, "trace"),
            done.iter().filter(differ).count(),
            plural(self.sent.load(Ordering::Relaxed), "step"),
        )
    }

    fn speed(&self) -> Option<f64> {
        (!self.arguments.as_fast).then_some(self.arguments.speed)
    }

    /// Nothing where the user has ended the run before.
    async fn one(
        &self,
        path: PathBuf,
        already: Option<Recording>,
        seed: u64,
        several: bool,
    ) -> Option<Done> {
        if self.stop.asked() {
            return None;
        }
        let read = match already {
            Some(recording) => Ok(recording),
            None => read(&path, &self.stop).await?,
        };
        let recording = match read {
            Ok(recording) => recording,
            // As those of skipped cases.
            Err(ReplayError::NothingSent { .. }) => {
                return Some(Done::LeftOut(path, "no client sends anything in it"));
            }
            Err(error) => {
                let outcome = Err(failure(error).told());
                return Some(Done::Replayed(Box::new(Replayed { path, outcome }), None));
            }
        };
        let case = recording.failed_case().map(str::to_owned);
        match self.played(recording, seed).await {
            Ok(report) => {
                let outcome = Ok(report);
                Some(Done::Replayed(Box::new(Replayed { path, outcome }), None))
            }
            Err(error) => {
                if several {
                    reports::notice(&format!("stopped at {}", path.display()));
                }
                let mut outcome = error.told();
                // A failure that cannot be judged is one of the three answers.
                if let Some(case) = case {
                    outcome = format!("{}: {case} could not be judged", Repair::Error.as_str());
                }
                let outcome = Err(outcome);
                Some(Done::Replayed(
                    Box::new(Replayed { path, outcome }),
                    Some(error),
                ))
            }
        }
    }

    async fn played(&self, recording: Recording, seed: u64) -> Result<ReplayReport, Failure> {
        let case = recording.failed_case().map(str::to_owned);
        let name = recording.path().display().to_string();
        let plan = ReplayPlan {
            target: &self.target,
            speed: self.speed(),
            seed,
            clock: Clock::System,
            stop: self.stop.finish(),
            sent: &self.sent,
        };
        let mut report = tokio::select! {
            report = replay(recording, &plan) => report.map_err(|error| match error {
                ReplayError::Unreachable(_) => unserved(&self.target.server, error),
                other => failure(other),
            })?,
            () = self.stop.given_up() => {
                let ended = anyhow!("ended while {name} was replayed");
                return Err(Failure::expected(Exit::Interrupted, ended));
            }
        };
        if let Some(case) = case
            && !report.interrupted
        {
            report.repair =
                Some(judged_again(&case, self.target.clone(), seed, &self.stop.signals()).await?);
        }
        Ok(report)
    }
}

/// The server, with one provisioner for all recordings: what a file lists is handed out once, since a
/// recording meets what another has left behind otherwise.
async fn target(
    arguments: &ReplayArguments,
    embedded: Option<&Embedded>,
) -> Result<Target, Failure> {
    let server = (&arguments.against[..], embedded);
    let provision = arguments.provision.as_ref();
    let reached = Reached::of(server, &arguments.reach, provision, (None, 0)).await?;
    let (mut target, _ways) = reached.into_target();
    target.settle = arguments.settle.map(Duration::from_millis);
    Ok(target)
}

/// Whether the case passes now. Only the case itself knows what it asks for.
async fn judged_again(
    case: &str,
    target: Target,
    seed: u64,
    stop: &StopSignals,
) -> Result<Repair, Failure> {
    struct Verdicts(Option<Verdict>);
    impl Reporter for Verdicts {
        fn event(&mut self, event: &RunEvent) -> std::io::Result<()> {
            if let RunEvent::CaseFinished(report) = event {
                self.0 = Some(report.verdict);
            }
            Ok(())
        }
    }
    let mut plan = Plan::new(
        touchstone_cases::REGISTRY,
        target,
        seed,
        rand::rng().random(),
    );
    let mut selection = Selection::of(touchstone_cases::REGISTRY);
    selection.only(case).map_err(Failure::usage)?;
    plan.selection = selection;
    let mut verdicts = Verdicts(None);
    let ran = touchstone_harness::run(&plan, &mut verdicts, stop).await;
    Ok(match (ran, verdicts.0) {
        (Ok(_), Some(Verdict::Pass | Verdict::Info)) => Repair::Fixed,
        (Ok(_), Some(Verdict::Fail | Verdict::Warn)) => Repair::Failed,
        _ => Repair::Error,
    })
}

/// What renders a format, or nothing where there is no such format.
fn renderer(format: &str) -> Option<Render<ReplayRun>> {
    Some(match format {
        "json" => |run| Ok(run.json()),
        "markdown" => |run| Ok(run.markdown()),
        "html" => |run| Ok(run.html()),
        _ => return None,
    })
}

fn failure(error: ReplayError) -> Failure {
    match error {
        ReplayError::Incomplete { .. } => Failure::expected(Exit::Incomplete, error),
        ReplayError::NothingSent { .. } => Failure::usage(error).hint(NOTHING_SENT),
        _ => Failure::usage(error),
    }
}

/// What is worst of the traces decides: one that cannot be read, one that differs, one that could not be
/// replayed as a whole.
fn exit_of(run: &ReplayRun) -> Exit {
    if run.traces.iter().any(|trace| trace.outcome.is_err()) {
        return Exit::Usage;
    }
    let exits: Vec<Exit> = run.reports().map(exit_of_one).collect();
    for exit in [Exit::Failures, Exit::Incomplete] {
        if exits.contains(&exit) {
            return exit;
        }
    }
    Exit::Passed
}

fn exit_of_one(report: &ReplayReport) -> Exit {
    let counts = report.counts();
    match report.repair {
        Some(Repair::Fixed) => Exit::Passed,
        Some(Repair::Failed) => Exit::Failures,
        Some(Repair::Error) => Exit::Incomplete,
        None if !counts.is_same() => Exit::Failures,
        None if counts.not_replayable + counts.blocked > 0 => Exit::Incomplete,
        None => Exit::Passed,
    }
}
