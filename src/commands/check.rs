//! `touchstone check`: judge a server. Arguments become a plan here; the suite runs it; the summary
//! becomes an exit code.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use rand::RngExt as _;
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};
use touchstone_client::{StopSignals, Way};
use touchstone_harness::report::Shows;
use touchstone_harness::{
    Baseline, Case, Level, Plan, Recorded, RunError, Selection, Summary, Timeouts,
};

use crate::args::{self, CheckArguments, SelectionArguments, TargetArguments};
use crate::embedded::{self, Embedded};
use crate::error::Failure;
use crate::exit::Exit;
use crate::output;
use crate::patterns;
use crate::profile;
use crate::reports;
use crate::spawned;
use crate::target::{self, Reached};

use super::check_reports::Reports;
use super::serve::differing;

/// Judges the server that the arguments name.
pub(crate) async fn run(mut arguments: CheckArguments, quiet: bool) -> Result<Exit, Failure> {
    // What a profile says is said again by its name.
    let reproduce = reproduce_command(&arguments);
    profile::apply_to_check(&mut arguments)?;
    let mut selection = selection(&arguments.selection)?;
    if let Some(file) = &arguments.rerun {
        selection.among(failed_in(file)?.iter().map(String::as_str));
    }
    if arguments.list {
        return list(&selection, &arguments.report);
    }
    let config = differing(embedded::quick(), &arguments.fault, &arguments.liberty)?;
    let baseline = baseline(&arguments.baseline)?;
    let shows = Shows {
        full: arguments.full,
        dialect: arguments.dialect,
        ..Shows::default()
    };
    let mut reports = Reports::open(&arguments.report, shows, quiet)?;
    if let Some(path) = &arguments.write_baseline {
        reports.write_baseline(path, baseline.clone())?;
    }
    if let Some(folder) = &arguments.trace {
        reports.write_traces(folder)?;
    }
    let stop = stop_signals().context("cannot catch signals")?;

    let embedded = target::embedded(&arguments.target.urls, config).await?;
    let (mut plan, _ways) = plan(&arguments, embedded.as_ref()).await?;
    plan.selection = selection;
    plan.spawn = arguments.target.spawn.take();
    plan.fail_fast = arguments.fail_fast;
    plan.reproduce = reproduce;
    plan.baseline = baseline;
    plan.traces = arguments
        .trace
        .as_ref()
        .map(|folder| folder.display().to_string());

    let outcome = touchstone_harness::run(&plan, &mut reports, &stop).await;
    if let Some(embedded) = embedded {
        embedded.stop().await?;
    }
    let verdict = exit_of(outcome)?;
    reports.close()?;
    Ok(verdict)
}

fn selection(arguments: &SelectionArguments) -> Result<Selection, Failure> {
    let mut selection = Selection::of(touchstone_cases::REGISTRY);
    for glob in &arguments.only {
        selection.only(glob).map_err(Failure::usage)?;
        // What was asked for by a name that there is not would be missing in silence.
        if matches_nothing(glob)? {
            return Err(unmatched("--only", glob));
        }
    }
    for glob in &arguments.skip {
        selection.skip(glob).map_err(Failure::usage)?;
        if matches_nothing(glob)? {
            reports::notice(&unmatched("--skip", glob).told());
        }
    }
    selection.hazards(!arguments.no_hazards);
    selection.slow(!arguments.no_slow);
    selection.level(match arguments.level.unwrap_or(args::Level::Info) {
        args::Level::Must => Level::Must,
        args::Level::Should => Level::Should,
        args::Level::Info => Level::Info,
    });
    Ok(selection)
}

/// The cases that failed, or could not be judged, in a report.
fn failed_in(file: &Path) -> Result<Vec<String>, Failure> {
    let name = file.display().to_string();
    let text = fs::read_to_string(file)
        .with_context(|| format!("cannot read {name}"))
        .map_err(Failure::usage)?;
    let recorded = Recorded::read(&name, &text).map_err(Failure::usage)?;
    let failed: Vec<String> = recorded.to_rerun().map(str::to_owned).collect();
    if failed.is_empty() {
        let error = anyhow!("no case failed in {name}");
        return Err(
            Failure::expected(Exit::NothingSelected, error).hint("without --rerun, all cases run")
        );
    }
    for id in &failed {
        if matches_nothing(id)? {
            reports::notice(&format!("{name}: there is no case {id} any more"));
        }
    }
    Ok(failed)
}

fn matches_nothing(glob: &str) -> Result<bool, Failure> {
    let mut alone = Selection::of(touchstone_cases::REGISTRY);
    alone.only(glob).map_err(Failure::usage)?;
    Ok(alone.cases().is_empty())
}

fn unmatched(flag: &str, glob: &str) -> Failure {
    let meant = patterns::closest_pattern(glob);
    let meant = meant.map_or_else(String::new, |meant| format!("; did you mean {meant}?"));
    let error = anyhow!("{flag} {glob} matches no case{meant}");
    Failure::expected(Exit::NothingSelected, error).hint("touchstone check --list shows all cases")
}

/// The entries of all baseline files.
fn baseline(files: &[PathBuf]) -> Result<Baseline, Failure> {
    let mut baseline = Baseline::default();
    for file in files {
        let name = file.display().to_string();
        let text = fs::read_to_string(file)
            .with_context(|| format!("cannot read the baseline {name}"))
            .map_err(Failure::usage)?;
        baseline.read(&name, &text).map_err(Failure::usage)?;
    }
    Ok(baseline)
}

fn list(selection: &Selection, reports: &[String]) -> Result<Exit, Failure> {
    let cases = selection.cases();
    if cases.is_empty() {
        return Err(nothing_selected());
    }
    match reports {
        [] => {}
        [one] if matches!(one.as_str(), "json" | "json=-") => {
            return output::print(&format!("{:#}\n", listing(&cases)));
        }
        _ => {
            return Err(Failure::usage(anyhow!(
                "--list prints text, or JSON with --report json=-"
            )));
        }
    }
    let width = cases.iter().map(|case| case.id.len()).max().unwrap_or(0);
    let line = |case: &&touchstone_harness::Case| {
        let title = first_sentence(case.doc);
        let kind = match case {
            case if case.hazardous => " (hazardous)",
            case if case.slow => " (slow)",
            _ => "",
        };
        format!(
            "{:width$}  {:6}  {title}{kind}\n",
            case.id,
            case.level().to_string()
        )
    };
    output::print(&cases.iter().map(line).collect::<String>())
}

/// The first sentence, or as much of it as a line of a list holds.
fn first_sentence(doc: &str) -> String {
    const LONGEST: usize = 100;
    let words: Vec<_> = doc.split_whitespace().collect();
    let end = words.iter().position(|word| word.ends_with(['.', ':']));
    let mut sentence = String::new();
    for word in &words[..end.map_or(words.len(), |end| end + 1)] {
        if sentence.chars().count() + word.chars().count() >= LONGEST {
            return format!("{} …", sentence.trim_end_matches(','));
        }
        if !sentence.is_empty() {
            sentence.push(' ');
        }
        sentence.push_str(word);
    }
    sentence
}

/// The list for machines.
fn listing(cases: &[&Case]) -> Value {
    let one = |case: &&Case| {
        json!({
            "id": case.id,
            "level": case.level(),
            "requirements": case.requirements.iter().map(|one| one.id).collect::<Vec<_>>(),
            "hazardous": case.hazardous,
            "slow": case.slow,
            "about": case.doc.lines().map(str::trim).collect::<Vec<_>>().join("\n").trim(),
        })
    };
    json!({
        "format": "touchstone-cases",
        "version": 1,
        "touchstone": env!("CARGO_PKG_VERSION"),
        "cases": cases.iter().map(one).collect::<Vec<_>>(),
    })
}

/// What is run, and the ways to the server, which have to be kept meanwhile.
async fn plan(
    arguments: &CheckArguments,
    embedded: Option<&Embedded>,
) -> Result<(Plan, Vec<Way>), Failure> {
    let TargetArguments {
        urls,
        reach,
        provision,
        network,
        ..
    } = &arguments.target;
    if network.network.is_some_and(|network| network.cut.is_some()) {
        let error = anyhow!("--network with cut ends connections that the cases need");
        return Err(Failure::usage(error).hint("touchstone explore and load take it"));
    }
    let mut random = rand::rng();
    // Four bytes are enough to tell runs apart, and a person can type them.
    let seed = arguments
        .seed
        .unwrap_or_else(|| random.random::<u32>().into());
    let network = (network.network, seed);
    let reached = Reached::of((urls, embedded), reach, provision.as_ref(), network).await?;
    let (mut target, ways) = reached.into_target();
    if embedded.is_none() {
        target.timeouts = timeouts(&arguments.target);
    }
    target.durable = arguments.target.durable;
    target.settle = arguments.settle.map(std::time::Duration::from_millis);
    let mut plan = Plan::new(touchstone_cases::REGISTRY, target, seed, random.random());
    plan.repeat = arguments.repeat.into();
    if let Some(jobs) = arguments.jobs {
        plan.jobs = jobs.into();
    }
    Ok((plan, ways))
}

/// What the user states about the server, and the times of real servers for the rest.
fn timeouts(arguments: &TargetArguments) -> Timeouts {
    let usual = Timeouts::default();
    Timeouts {
        rpc: arguments.rpc_timeout.unwrap_or(usual.rpc),
        connect: arguments.connect_timeout.unwrap_or(usual.connect),
        presence: arguments.presence_timeout,
    }
}

/// The command that judges the same target again; the suite appends the case and the seed.
fn reproduce_command(arguments: &CheckArguments) -> String {
    let target = &arguments.target;
    let mut words = vec!["touchstone".to_owned(), "check".to_owned()];
    words.extend(
        target
            .urls
            .iter()
            .map(|url| url.as_str().trim_end_matches('/').to_owned()),
    );
    let mut flag = |name: &str, value: &str| words.extend([name.to_owned(), value.to_owned()]);
    let texts = [
        ("--profile", target.reach.profile.clone()),
        ("--path", target.reach.path.clone()),
        (
            "--cacert",
            target
                .reach
                .cacert
                .as_ref()
                .map(|file| file.display().to_string()),
        ),
        (
            "--connect-to",
            target
                .reach
                .connect_to
                .as_ref()
                .map(|(host, port)| match host.contains(':') {
                    true => format!("[{host}]:{port}"),
                    false => format!("{host}:{port}"),
                }),
        ),
        (
            "--provision",
            target.provision.as_ref().map(ToString::to_string),
        ),
        ("--spawn", target.spawn.as_ref().map(ToString::to_string)),
        (
            "--network",
            target.network.network.as_ref().map(ToString::to_string),
        ),
    ];
    for (name, text) in texts {
        if let Some(text) = text {
            flag(name, &text);
        }
    }
    let stated = [
        ("--rpc-timeout", target.rpc_timeout),
        ("--connect-timeout", target.connect_timeout),
        ("--presence-timeout", target.presence_timeout),
    ];
    for (name, duration) in stated {
        if let Some(duration) = duration {
            flag(
                name,
                &humantime::format_duration(duration)
                    .to_string()
                    .replace(' ', ""),
            );
        }
    }
    for fault in &arguments.fault {
        flag("--fault", fault);
    }
    for liberty in &arguments.liberty {
        flag("--liberty", liberty);
    }
    for header in &target.reach.header {
        let (name, _) = header.expose().split_once(':').unwrap_or_default();
        flag("--header", &format!("{name}: …"));
    }
    for (name, is_set) in [
        ("--durable", target.durable),
        ("--insecure", target.reach.insecure),
    ] {
        if is_set {
            words.push(name.to_owned());
        }
    }
    words
        .iter()
        .map(|word| shell_words::quote(word))
        .collect::<Vec<_>>()
        .join(" ")
}

/// The first Ctrl-C lets running cases end, the second one and SIGTERM stop at once.
fn stop_signals() -> std::io::Result<StopSignals> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let stop = StopSignals::default();
    let StopSignals { finish, abort } = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = interrupt.recv() => {
                reports::notice("stopping after the cases that are running; again to stop at once");
                finish.cancel();
            }
            _ = terminate.recv() => abort.cancel(),
        }
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        abort.cancel();
    });
    Ok(stop)
}

fn exit_of(outcome: Result<Summary, RunError>) -> Result<Exit, Failure> {
    match outcome {
        Ok(summary) if summary.interrupted => Ok(Exit::Interrupted),
        Ok(summary) if summary.unexpected() > 0 => Ok(Exit::Failures),
        Ok(summary) if summary.stale > 0 => Ok(Exit::Baseline),
        Ok(summary) if summary.incomplete() => Ok(Exit::Incomplete),
        Ok(_) => Ok(Exit::Passed),
        Err(RunError::NothingSelected) => Err(nothing_selected()),
        Err(error @ RunError::Interrupted) => Err(Failure::expected(Exit::Interrupted, error)),
        Err(RunError::Launch(error)) => Err(spawned::failure(error)),
        Err(RunError::NotReady(error)) => {
            let hint = error.hint();
            let failure = Failure::expected(Exit::Unreachable, error);
            Err(match hint {
                Some(hint) => failure.hint(hint),
                None => failure,
            })
        }
        Err(error) => Err(Failure::expected(Exit::Unreachable, error)),
    }
}

fn nothing_selected() -> Failure {
    Failure::expected(
        Exit::NothingSelected,
        anyhow!("no case matches the selection"),
    )
    .hint("touchstone check --list shows all cases")
}
