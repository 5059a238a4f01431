//! `touchstone replay`: the client side of a recording, sent to a server again.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use rand::RngExt as _;
use tokio::signal::unix::{SignalKind, signal};
use touchstone_client::ConnectOptions;
use touchstone_client::provision::{ProvisionSpec, Provisioner};
use touchstone_conformance::replay::{
    Recording, Repair, ReplayError, ReplayPlan, ReplayReport, replay,
};
use touchstone_conformance::{
    Clock, Plan, Reporter, RunEvent, Selection, StopSignals, Target, Verdict,
};
use touchstone_reference_server::Config;
use url::Url;

use crate::args::ReplayArguments;
use crate::embedded::{self, Embedded};
use crate::error::Failure;
use crate::exit::Exit;
use crate::{output, reports};

use super::serve::parse_faults;

/// Replays the recording that the arguments name.
pub(crate) async fn run(arguments: ReplayArguments) -> Result<Exit, Failure> {
    let report_to = arguments.report.as_deref().map(report_path).transpose()?;
    let recording = Recording::read(&arguments.trace).map_err(failure)?;
    let faults = parse_faults(&arguments.fault)?;
    let embedded = if arguments.against.is_empty() {
        let config = Config {
            faults,
            ..embedded::quick()
        };
        Some(Embedded::start(config).await?)
    } else {
        None
    };
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot catch signals")?;
    let outcome = tokio::select! {
        outcome = played(&arguments, &recording, embedded.as_ref()) => Some(outcome),
        _ = interrupt.recv() => None,
    };
    if let Some(embedded) = embedded {
        embedded.stop().await?;
    }
    let Some(outcome) = outcome else {
        return Ok(Exit::Interrupted);
    };
    let report = match outcome {
        Err(ReplayFailure::Failure(failure)) => return Err(failure),
        // A failure that cannot be judged is one of the three answers.
        Err(ReplayFailure::Replay(error)) => {
            if let Some(case) = recording.failed_case() {
                output::print(&format!(
                    "{}: {case} could not be judged\n",
                    Repair::Error.as_str()
                ))?;
            }
            return Err(failure(error));
        }
        Ok(report) => report,
    };
    match report_to {
        Some("-") => {
            reports::notice(report.text().trim_end());
            output::print(&format!("{:#}\n", report.json()))?;
        }
        Some(path) => {
            fs::write(path, format!("{:#}\n", report.json()))
                .with_context(|| format!("cannot write the report {path}"))
                .map_err(|error| Failure::expected(Exit::Incomplete, error))?;
            output::print(&report.text())?;
        }
        None => {
            output::print(&report.text())?;
        }
    }
    Ok(exit_of(&report))
}

enum ReplayFailure {
    Failure(Failure),
    Replay(ReplayError),
}

impl From<Failure> for ReplayFailure {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

async fn played(
    arguments: &ReplayArguments,
    recording: &Recording,
    embedded: Option<&Embedded>,
) -> Result<ReplayReport, ReplayFailure> {
    let seed = arguments
        .seed
        .unwrap_or_else(|| rand::rng().random::<u32>().into());
    let target = target(arguments, embedded)?;
    let plan = ReplayPlan {
        target: &target,
        speed: (!arguments.as_fast).then_some(arguments.speed),
        seed,
        clock: Clock::System,
    };
    let mut report = replay(recording, &plan)
        .await
        .map_err(ReplayFailure::Replay)?;
    if let Some(case) = recording.failed_case() {
        report.repair = Some(judged_again(case, target, seed).await?);
    }
    Ok(report)
}

/// Whether the case passes now. Only the case itself knows what it asks for.
async fn judged_again(case: &str, target: Target, seed: u64) -> Result<Repair, Failure> {
    struct Verdicts(Option<Verdict>);
    impl Reporter for Verdicts {
        fn event(&mut self, event: &RunEvent) -> std::io::Result<()> {
            if let RunEvent::CaseFinished(report) = event {
                self.0 = Some(report.verdict);
            }
            Ok(())
        }
    }
    let mut plan = Plan::new(target, seed, rand::rng().random());
    let mut selection = Selection::default();
    selection.only(case).map_err(Failure::usage)?;
    plan.selection = selection;
    let mut verdicts = Verdicts(None);
    let ran = touchstone_conformance::run(&plan, &mut verdicts, &StopSignals::default()).await;
    Ok(match (ran, verdicts.0) {
        (Ok(_), Some(Verdict::Pass | Verdict::Info)) => Repair::Fixed,
        (Ok(_), Some(Verdict::Fail | Verdict::Warn)) => Repair::Failed,
        _ => Repair::Error,
    })
}

fn target(arguments: &ReplayArguments, embedded: Option<&Embedded>) -> Result<Target, Failure> {
    let urls: Vec<Url> = match embedded {
        Some(embedded) => vec![embedded.url().clone()],
        None => arguments.against.clone(),
    };
    let spec: ProvisionSpec = arguments.provision.parse().map_err(Failure::usage)?;
    let options = ConnectOptions::new(urls[0].clone());
    let provisioner = Provisioner::open(&spec, &options).map_err(Failure::usage)?;
    let mut target = Target::new(urls, provisioner);
    target.path.clone_from(&arguments.path);
    target.settle = arguments.settle.map(Duration::from_millis);
    if embedded.is_some() {
        "the embedded reference server".clone_into(&mut target.name);
        target.timeouts = embedded::stated();
    }
    Ok(target)
}

/// The path of `json=PATH`.
fn report_path(text: &str) -> Result<&str, Failure> {
    match text.split_once('=').unwrap_or((text, "-")) {
        ("json", path) if !path.is_empty() => Ok(path),
        _ => Err(Failure::usage(anyhow!("cannot use the report {text:?}"))
            .hint("write json=PATH, or json=- for stdout")),
    }
}

fn failure(error: ReplayError) -> Failure {
    match error {
        ReplayError::Unreachable(_) => Failure::expected(Exit::Unreachable, error),
        ReplayError::Incomplete { .. } => Failure::expected(Exit::Incomplete, error),
        _ => Failure::usage(error),
    }
}

fn exit_of(report: &ReplayReport) -> Exit {
    match report.repair {
        Some(Repair::Fixed) => Exit::Passed,
        Some(Repair::Failed) => Exit::Failures,
        Some(Repair::Error) => Exit::Incomplete,
        None if !report.unsent.is_empty() => Exit::Incomplete,
        None if report.is_identical() => Exit::Passed,
        None => Exit::Failures,
    }
}
