//! `touchstone load`: load a server and account for every delivery. Arguments become a plan here; the
//! generator runs it; the verdict of its report becomes an exit code.

mod live;
mod merge;
mod metrics;
mod scenario;
mod sinks;
mod trace;

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, anyhow};
use tokio::sync::watch;
use touchstone_client::provision::Provisioner;
use touchstone_client::{Clock, ConnectOptions};
use touchstone_client::{Spawned, Way};
use touchstone_loadgen::merge::join;
use touchstone_loadgen::progress::Snapshot;
use touchstone_loadgen::report::{self, Report, Verdict, model};
use touchstone_loadgen::run::{PORTS, RunError, RunPlan};
use touchstone_loadgen::slo::{Slo, objectives};
use touchstone_reference_server::Config;

use crate::args::{LoadArguments, LoadCommand, LoadPlanArguments, LoadRunArguments, Recipients};
use crate::embedded::Embedded;
use crate::error::Failure;
use crate::exit::Exit;
use crate::profile::{self, Accused};
use crate::target::{self, Reached, Server, unserved};
use crate::{output, reports, spawned};

use self::live::Manner;
use self::metrics::Exporter;
use self::scenario::Planned;
use self::trace::TraceFile;
use super::stop::Stop;

/// Lines of a server that ended which its report has.
const LAST_LINES: usize = 3;

/// Loads the server that the arguments name, or does what else they ask for.
pub(crate) async fn run(arguments: LoadArguments, quiet: bool) -> Result<Exit, Failure> {
    match arguments.command {
        Some(LoadCommand::Plan(plan)) => show_plan(&plan),
        Some(LoadCommand::Merge(merge)) => merge::run(&merge),
        None if arguments.run.list => output::print(&scenario::list()),
        None => {
            let mut run = arguments.run;
            profile::apply(Accused {
                urls: &mut run.urls,
                reach: &mut run.reach,
                provision: Some(&mut run.provision),
                spawn: Some(&mut run.spawn),
                durable: None,
            })?;
            load(&run, quiet).await
        }
    }
}

fn show_plan(arguments: &LoadPlanArguments) -> Result<Exit, Failure> {
    if let Some(trace) = &arguments.from {
        return output::print(&scenario::recorded(trace)?);
    }
    let planned = Planned::of(&arguments.schedule)?;
    let (schedule, summary) = (&planned.schedule, &planned.summary);
    if arguments.json {
        return output::print(&format!("{:#}\n", report::plan_json(schedule, summary)));
    }
    output::print(&report::plan(
        schedule,
        summary,
        reports::style(&std::io::stdout()),
    ))
}

async fn load(arguments: &LoadRunArguments, quiet: bool) -> Result<Exit, Failure> {
    let planned = Planned::of(&arguments.schedule)?;
    let stated = planned.schedule.scenario().slo.iter().chain(&arguments.slo);
    let slos = objectives(stated.map(String::as_str)).map_err(Failure::usage)?;
    let start_at = arguments.start_at.map(start_ms).transpose()?;
    let opened = sinks::open(&arguments.output.report)?;
    let exporter = Exporter::bind(arguments.prometheus).await?;
    let manner = match (quiet, arguments.plain) {
        (true, _) => Manner::Quiet,
        (false, true) => Manner::Plain,
        (false, false) => Manner::Drawn {
            ascii: arguments.ascii,
        },
    };
    let stop = Stop::on_signals().context("cannot catch signals")?;

    let embedded = target::embedded(&arguments.urls, Config::default()).await?;
    let target = Target::of(arguments, embedded.as_ref()).await?;
    let begin =
        |path: &PathBuf| TraceFile::begin(path, arguments.trace_accounts, &target.server.name);
    let trace = arguments.trace.as_ref().map(begin).transpose()?;
    let spawned = match arguments.spawn.clone() {
        Some(command) => Some(spawned::launch(command, &target.server, stop.signals()).await?),
        None => None,
    };
    let mut runs = Vec::new();
    let mut outcome = Ok(());
    for run in 1..=arguments.repeat {
        let (progress, seen) = watch::channel(Snapshot::default());
        let mut plan = target.plan(&planned, arguments, start_at, progress, &stop);
        plan.trace = trace.as_ref().map(TraceFile::traced);
        let title = match arguments.repeat {
            1 => format!("{}, {}", planned.title(), target.server.name),
            runs => format!(
                "run {run} of {runs}: {}, {}",
                planned.title(),
                target.server.name
            ),
        };
        match attend(plan, &title, seen, exporter.as_ref(), &stop, manner).await {
            Ok(report) => runs.push(report),
            Err(failure) => outcome = Err(failure),
        }
        let end = match &spawned {
            Some(spawned) => end_of(spawned).await,
            None => None,
        };
        if let Some(end) = &end {
            match runs.last_mut() {
                Some(report) if outcome.is_ok() => report.add_failure(end),
                _ => reports::notice(end),
            }
        }
        if end.is_some() || outcome.is_err() || stop.asked() {
            break;
        }
    }
    if let Some(spawned) = spawned {
        spawned.stop().await;
    }
    if let Some(trace) = trace {
        let closed = trace.close().await;
        outcome = outcome.and(closed);
    }
    if let Some(embedded) = embedded {
        embedded.stop().await?;
    }
    if let Some(exporter) = exporter {
        exporter.close().await;
    }
    let Some(mut report) = join(runs) else {
        // There was at least one run, so that without any report there is a failure.
        return outcome.map(|()| Exit::Internal);
    };
    judge(&mut report, &slos);
    sinks::write(opened, &report)?;
    outcome.map(|()| exit_of(&report, &stop))
}

/// Runs a plan while somebody looks on.
async fn attend(
    plan: RunPlan,
    title: &str,
    seen: watch::Receiver<Snapshot>,
    exporter: Option<&Exporter>,
    stop: &Stop,
    manner: Manner,
) -> Result<Report, Failure> {
    if let Some(exporter) = exporter {
        exporter.follow(seen.clone());
    }
    let options = plan.options.clone();
    let showing = live::show(title, seen, stop, manner);
    let running = async {
        tokio::select! {
            outcome = Box::pin(touchstone_loadgen::run::run(plan)) => {
                outcome.map_err(|error| failure(error, &options))
            }
            () = stop.given_up() => Err(Failure::expected(
                Exit::Interrupted,
                anyhow!("ended without a report"),
            )),
        }
    };
    // The view ends when the run drops its end of the progress.
    let (outcome, ()) = tokio::join!(running, showing);
    outcome
}

/// Which server, as the arguments say.
struct Target {
    server: Server,
    provisioner: Arc<Provisioner>,
    is_embedded: bool,
    /// Kept as long as connections go through them.
    _ways: Vec<Way>,
}

impl Target {
    async fn of(
        arguments: &LoadRunArguments,
        embedded: Option<&Embedded>,
    ) -> Result<Self, Failure> {
        let network = (arguments.network.network, arguments.schedule.seed);
        let (reach, provision) = (&arguments.reach, arguments.provision.as_ref());
        let reached = Reached::of((&arguments.urls, embedded), reach, provision, network).await?;
        Ok(Self {
            server: reached.server,
            provisioner: Arc::new(reached.provisioner),
            is_embedded: reached.is_embedded,
            _ways: reached.ways,
        })
    }

    fn plan(
        &self,
        planned: &Planned,
        arguments: &LoadRunArguments,
        start_at: Option<u64>,
        progress: watch::Sender<Snapshot>,
        stop: &Stop,
    ) -> RunPlan {
        let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let usual = cores.saturating_sub(usize::from(self.is_embedded)).max(1);
        RunPlan {
            name: self.server.name.clone(),
            urls: self.server.urls.clone(),
            options: self.server.options.clone(),
            provisioner: Arc::clone(&self.provisioner),
            schedule: Arc::clone(&planned.schedule),
            summary: planned.summary.clone(),
            scale: planned.scale,
            recipients: match arguments.recipients {
                Recipients::Auto => None,
                Recipients::Narrow => Some(model::Recipients::Narrow),
                Recipients::Wide => Some(model::Recipients::Wide),
            },
            workers: arguments.workers.map_or(usual, usize::from),
            start_at,
            id: rand::random(),
            ports: PORTS,
            is_embedded: self.is_embedded,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            clock: Clock::System,
            progress,
            stop: stop.finish(),
            trace: None,
        }
    }
}

/// How a server that was started for this run ended, if it has, and what it printed last.
async fn end_of(spawned: &Spawned) -> Option<String> {
    let status = spawned.exited().await?;
    let output = spawned.last_output().await;
    let first = output.len().saturating_sub(LAST_LINES);
    let printed = match &output[first..] {
        [] => "it printed nothing".to_owned(),
        last => format!("it printed last: {}", last.join(" / ")),
    };
    let command = spawned.command().to_string();
    Some(format!("{command:?} ended ({status}); {printed}"))
}

/// When to begin, in Unix milliseconds.
fn start_ms(at: SystemTime) -> Result<u64, Failure> {
    let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let at_ms = at.duration_since(UNIX_EPOCH).map_or(0, ms);
    if at_ms <= Clock::System.unix_ms() {
        let shown = humantime::format_rfc3339_seconds(at);
        return Err(Failure::usage(anyhow!("--start-at {shown} is over"))
            .hint("give a moment at which every shard will have made its accounts"));
    }
    Ok(at_ms)
}

fn judge(report: &mut Report, slos: &[Slo]) {
    let results = slos.iter().map(|slo| slo.evaluate(report)).collect();
    report.slo = results;
}

fn exit_of(report: &Report, stop: &Stop) -> Exit {
    match report.verdict() {
        Verdict::Failed => Exit::Unreachable,
        _ if stop.by_signal() => Exit::Interrupted,
        Verdict::Invalid => Exit::Invalid,
        Verdict::Misdelivered | Verdict::Missed => Exit::Objective,
        Verdict::Interrupted | Verdict::Passed => Exit::Passed,
    }
}

fn failure(error: RunError, options: &ConnectOptions) -> Failure {
    match error {
        RunError::Stopped => Failure::expected(
            Exit::Interrupted,
            anyhow!("ended before the schedule began"),
        ),
        RunError::Server { .. } | RunError::Unreachable { .. } => unserved(options, error),
        RunError::Files(_) => {
            Failure::usage(error).hint("raise it with ulimit -n, or load with a smaller --scale")
        }
        RunError::StartMissed { .. } => {
            Failure::usage(error).hint("choose a later --start-at, for all shards")
        }
        RunError::Provision(_) => Failure::usage(error),
        other => Failure::from(anyhow::Error::from(other)),
    }
}
