//! `touchstone explore`: histories that nobody wrote down, judged and made small.

use std::fs::{self, File};
use std::io::{self, IsTerminal as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use rand::RngExt as _;
use touchstone_client::Clock;
use touchstone_client::trace::{Header, Writer};
use touchstone_explore::{Crash, Ended, Explored, Extent, Progress, Settings, Target, explore};
use touchstone_harness::Timeouts;
use touchstone_output::text::{display_url, plural};

use crate::args::ExploreArguments;
use crate::embedded;
use crate::error::Failure;
use crate::exit::Exit;
use crate::profile::{self, Accused};
use crate::reports;
use crate::sinks::{Render, Sinks};
use crate::spawned;
use crate::target::{self, Reached, unserved};

use self::report::Report;
use super::serve::differing;
use super::stop::Stop;
use super::violation::FORMATS;

mod html;
mod report;

/// How long it goes on unless somebody says otherwise.
const USUAL: Duration = Duration::from_secs(60);

/// How often progress is told where no line can be redrawn.
const PLAIN: Duration = Duration::from_secs(5);

/// Explores the server that the arguments name.
pub(crate) async fn run(mut arguments: ExploreArguments, quiet: bool) -> Result<Exit, Failure> {
    let command = command(&arguments);
    profile::apply(Accused {
        urls: &mut arguments.urls,
        reach: &mut arguments.reach,
        provision: Some(&mut arguments.provision),
        spawn: Some(&mut arguments.spawn),
        durable: Some(&mut arguments.durable),
    })?;
    let config = differing(embedded::quick(), &arguments.fault, &arguments.liberty)?;
    let settings = settings(&arguments)?;
    let sinks = Sinks::open(&arguments.report, FORMATS, renderer)?;
    if let Some(folder) = &arguments.trace {
        fs::create_dir_all(folder)
            .with_context(|| format!("cannot make the folder {}", folder.display()))
            .map_err(Failure::usage)?;
    }
    let stop = Stop::on_signals().context("cannot catch signals")?;
    let embedded = target::embedded(&arguments.urls, config).await?;
    let (urls, network) = (arguments.urls.as_slice(), arguments.network.network);
    let Reached {
        server,
        provisioner,
        ways: _ways,
        ..
    } = Reached::of(
        (urls, embedded.as_ref()),
        &arguments.reach,
        arguments.provision.as_ref(),
        (network, settings.seed),
    )
    .await?;
    let spawned = match arguments.spawn.clone() {
        Some(command) => Some(spawned::launch(command, &server, stop.signals()).await?),
        None => None,
    };
    let rpc_timeout = match embedded {
        Some(_) => embedded::stated().rpc,
        None => arguments.rpc_timeout.unwrap_or(Timeouts::default().rpc),
    };
    let (urls, options) = (server.urls.clone(), server.options.clone());
    let mut target =
        Target::new(urls, options, provisioner, rpc_timeout).map_err(Failure::usage)?;
    target.is_unsteady = network.is_some_and(|network| network.cut.is_some());
    target.crash = spawned
        .clone()
        .filter(|_| arguments.crash)
        .map(|server| Crash {
            server,
            is_durable: arguments.durable,
        });
    let target = Arc::new(target);
    let options = server.options;
    let started_at = Clock::System.unix_ms();
    let progress = Shown::new(quiet);
    let stopped = stop.finish();
    let tell = |progressed| progress.tell(progressed);
    let exploring = explore(Arc::clone(&target), &settings, &stopped, &tell);
    let explored = tokio::select! {
        explored = Box::pin(exploring) => explored,
        () = stop.given_up() => {
            return Err(Failure::expected(Exit::Interrupted, anyhow!("ended without a report")));
        }
    };
    drop(progress);
    if let Some(server) = spawned {
        server.stop().await;
    }
    if let Some(embedded) = embedded {
        embedded.stop().await?;
    }
    if explored.operations == 0
        && explored.ended == Ended::Done
        && let Some(error) = explored.error
    {
        return Err(unserved(&options, error));
    }
    let mut report = Report {
        explored,
        target: server.name,
        command,
        started_at,
        seed: settings.seed,
        traces: Vec::new(),
    };
    // What was found is told also where its traces cannot be kept.
    let kept = match &arguments.trace {
        Some(folder) => write_traces(&mut report, folder),
        None => Ok(()),
    };
    let exit = exit_of(&report.explored);
    sinks.write(&report, Report::text)?;
    kept?;
    Ok(exit)
}

fn exit_of(explored: &Explored) -> Exit {
    let is_must = |finding: &touchstone_explore::Finding| {
        finding.violation.level == touchstone_history::Level::Must
    };
    if explored.ended == Ended::Interrupted {
        Exit::Interrupted
    } else if explored.findings.iter().any(is_must) {
        Exit::Failures
    } else if explored.unrun > 0 {
        Exit::Incomplete
    } else {
        Exit::Passed
    }
}

fn settings(arguments: &ExploreArguments) -> Result<Settings, Failure> {
    let mut random = rand::rng();
    let extent = match (arguments.rounds, arguments.time) {
        (Some(rounds), _) => Extent::Rounds(rounds),
        (None, time) => Extent::For(time.unwrap_or(USUAL)),
    };
    let first = match &arguments.seeds {
        Some(file) => seeds(file).map_err(Failure::usage)?,
        None => Vec::new(),
    };
    Ok(Settings {
        // Four bytes are enough to tell runs apart, and a person can type them.
        seed: arguments
            .seed
            .unwrap_or_else(|| random.random::<u32>().into()),
        first,
        nonce: random.random(),
        extent,
        jobs: match arguments.crash {
            true => 1,
            false => arguments.jobs.into(),
        },
        shrink_for: arguments.shrink_for,
        fail_fast: arguments.fail_fast,
    })
}

/// The seeds of a file.
fn seeds(file: &Path) -> anyhow::Result<Vec<u64>> {
    let name = file.display();
    let text = fs::read_to_string(file).with_context(|| format!("cannot read {name}"))?;
    let mut seeds = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let seed = line.split('#').next().unwrap_or_default().trim();
        if !seed.is_empty() {
            let seed = seed
                .parse()
                .with_context(|| format!("{name}:{number}: {seed:?} is not a seed"));
            seeds.push(seed?);
        }
    }
    Ok(seeds)
}

/// The command that explores the same server again, without what says how long.
fn command(arguments: &ExploreArguments) -> String {
    let mut words = vec!["touchstone".to_owned(), "explore".to_owned()];
    words.extend(arguments.urls.iter().map(display_url));
    let mut flag = |name: &str, value: &str| words.extend([name.to_owned(), value.to_owned()]);
    let options = [
        ("--profile", arguments.reach.profile.clone()),
        ("--path", arguments.reach.path.clone()),
        (
            "--provision",
            arguments.provision.as_ref().map(ToString::to_string),
        ),
        ("--spawn", arguments.spawn.as_ref().map(ToString::to_string)),
        (
            "--network",
            arguments.network.network.as_ref().map(ToString::to_string),
        ),
    ];
    for (name, value) in options {
        if let Some(value) = value {
            flag(name, &value);
        }
    }
    for (name, is_set) in [
        ("--crash", arguments.crash),
        // A profile may say so of a server that is not killed here.
        ("--durable", arguments.durable && arguments.crash),
    ] {
        if is_set {
            words.push(name.to_owned());
        }
    }
    let mut flag = |name: &str, value: &str| words.extend([name.to_owned(), value.to_owned()]);
    for fault in &arguments.fault {
        flag("--fault", fault);
    }
    for liberty in &arguments.liberty {
        flag("--liberty", liberty);
    }
    shell_words::join(&words)
}

fn renderer(format: &str) -> Option<Render<Report>> {
    Some(match format {
        "json" => |report| Ok(report.json()),
        "junit" => Report::junit,
        "html" => |report| Ok(report.html()),
        "markdown" => |report| Ok(report.markdown()),
        _ => return None,
    })
}

/// Writes the histories, one file for each that is another one.
fn write_traces(report: &mut Report, folder: &Path) -> Result<(), Failure> {
    for finding in &report.explored.findings {
        let name = format!("{}.jsonl", finding.violation.requirement);
        let path = folder.join(name);
        let header = Header::new(
            concat!("touchstone-explore ", env!("CARGO_PKG_VERSION")),
            &report.target,
            report.started_at,
        );
        let written = || -> io::Result<()> {
            let mut writer = Writer::new(File::create(&path)?, &header)?;
            for record in &finding.records {
                writer.write(record)?;
            }
            writer.finish().map(drop)
        };
        if !finding.records.is_empty() {
            written()
                .with_context(|| format!("cannot write {}", path.display()))
                .map_err(|error| Failure::expected(Exit::Incomplete, error))?;
            report.traces.push((finding.violation.requirement, path));
        }
    }
    Ok(())
}

/// How far it is, on stderr.
struct Shown {
    bar: Option<ProgressBar>,
    quiet: bool,
    last: std::cell::Cell<Option<tokio::time::Instant>>,
}

impl Shown {
    fn new(quiet: bool) -> Self {
        let drawn = io::stderr().is_terminal() && !quiet;
        let bar = drawn.then(|| {
            let style = ProgressStyle::with_template("{spinner} {elapsed} {msg}");
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr())
                .with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
            bar.enable_steady_tick(Duration::from_millis(200));
            bar
        });
        Self {
            bar,
            quiet,
            last: std::cell::Cell::new(Some(tokio::time::Instant::now())),
        }
    }

    fn tell(&self, progress: Progress) {
        let mut text = format!(
            "{}, {}, {} broken",
            plural(progress.rounds, "round"),
            plural(progress.operations, "operation"),
            plural(progress.broken, "requirement")
        );
        if let Some(size) = progress.shrinking {
            text.push_str(&format!("; smallest history: {}", plural(size, "step")));
        }
        match &self.bar {
            Some(bar) => bar.set_message(text),
            None if self.quiet => {}
            None => {
                if self.last.get().is_none_or(|last| last.elapsed() >= PLAIN) {
                    self.last.set(Some(tokio::time::Instant::now()));
                    reports::notice(&text);
                }
            }
        }
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_seeds() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("seeds");
        fs::write(&file, "17 # lost a message\n\n# nothing\n4000000000\n").expect("written");
        assert_eq!(seeds(&file).expect("seeds"), [17, 4_000_000_000]);
        fs::write(&file, "17\nx\n").expect("written");
        let error = format!("{:#}", seeds(&file).expect_err("an error"));
        assert!(error.contains(":2: \"x\" is not a seed"), "{error}");
    }
}
