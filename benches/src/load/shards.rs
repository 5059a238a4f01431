//! One scenario in several processes: a generator and a server for each shard, all at once.
//!
//! For more connections than one process may have open. What the processes use is sampled while
//! they run; what happened is in the reports, which `touchstone load merge` adds.

use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::{Duration, UNIX_EPOCH};

use anyhow::{Context as _, bail};
use futures_util::future::try_join_all;
use serde::Deserialize;
use tokio::process::{Child, Command};
use tokio::time::{MissedTickBehavior, interval};
use touchstone_client::Clock;

use crate::host::Usage;
use crate::process::ServerProcess;

/// How often CPU time and memory are read.
const SAMPLE: Duration = Duration::from_millis(100);

/// What is to be run.
#[derive(Debug)]
pub struct Shards<'a> {
    /// The touchstone program.
    pub program: &'a Path,
    /// The scenario file.
    pub scenario: &'a Path,
    /// What `--scale` takes.
    pub scale: &'a str,
    /// How many generators, each with a server of its own.
    pub count: u32,
    /// How long the making of accounts may take.
    pub lead: Duration,
    /// For the reports.
    pub folder: &'a Path,
}

/// What a run came to.
#[derive(Debug)]
pub struct Found {
    /// The summary that `load merge` prints.
    pub summary: String,
    /// The rest.
    pub figures: Figures,
}

/// Figures that are in no report, and those of the report that belong to them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Figures {
    /// Connections that were open at the same time.
    pub connections: u64,
    /// RPC methods that were registered.
    pub registered: u64,
    /// From the start until the last connection was open and had registered its methods.
    pub ready: Duration,
    /// Cores that all generators used together until then, and afterwards while phases counted.
    pub generators: [f64; 2],
    /// The same of all servers.
    pub servers: [f64; 2],
    /// Resident bytes of all generators by connections, in the counted phases.
    pub generator_bytes: f64,
    /// The same of all servers.
    pub server_bytes: f64,
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            connections,
            registered,
            ready,
            generators,
            servers,
            generator_bytes,
            server_bytes,
        } = self;
        writeln!(
            f,
            "{connections} connections, {registered} registrations, ready after {:.1} s",
            ready.as_secs_f64()
        )?;
        for (who, [before, after], bytes) in [
            ("generators", generators, generator_bytes),
            ("servers", servers, server_bytes),
        ] {
            writeln!(
                f,
                "{who:<10} {before:.2} cores until then, {after:.3} cores under load, \
                 {:.1} KB per connection",
                bytes / 1024.0
            )?;
        }
        Ok(())
    }
}

/// The parts of a report that are used.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    started_at: u64,
    connections: Connections,
    phases: Vec<Phase>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Connections {
    peak: u64,
    registered: u64,
    ready_ms: u64,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Phase {
    start_ms: u64,
    duration_ms: u64,
    counted: bool,
}

impl Shards<'_> {
    /// Runs all shards to their end.
    ///
    /// # Errors
    /// A server or a generator did not start, or a generator left no report.
    pub async fn run(&self) -> anyhow::Result<Found> {
        let mut servers = Vec::new();
        for _ in 0..self.count {
            servers.push(ServerProcess::touchstone(self.program).await?);
        }
        let start_at = Duration::from_millis(Clock::System.unix_ms()) + self.lead;
        let start_at = humantime::format_rfc3339_seconds(UNIX_EPOCH + start_at);
        let generators: Vec<Child> = (1..)
            .zip(&servers)
            .map(|(shard, server)| self.generator(shard, server, &start_at.to_string()))
            .collect::<anyhow::Result<_>>()?;
        let of_generators = generators.iter().filter_map(Child::id).collect();
        let of_servers = servers.iter().map(ServerProcess::pid).collect();
        let mut samples = Samples::of([of_generators, of_servers]);
        let ends = try_join_all(generators.into_iter().map(Child::wait_with_output));
        let outputs = samples
            .until(ends)
            .await
            .context("cannot wait for a generator")?;
        let reports: Vec<PathBuf> = (1..=self.count).map(|shard| self.report(shard)).collect();
        for (report, output) in reports.iter().zip(&outputs) {
            if !report.exists() {
                bail!("{}", said(output));
            }
        }
        self.merge(&reports, &samples).await
    }

    fn report(&self, shard: u32) -> PathBuf {
        self.folder.join(format!("shard-{shard}.json"))
    }

    fn generator(
        &self,
        shard: u32,
        server: &ServerProcess,
        start_at: &str,
    ) -> anyhow::Result<Child> {
        let mut command = Command::new(self.program);
        command
            .args(["load", server.url().as_str(), "--workers", "1", "--plain"])
            .args(["--recipients", "narrow", "--scenario"])
            .arg(self.scenario)
            .args(["--scale", self.scale, "--start-at", start_at])
            .args(["--shard", &format!("{shard}/{}", self.count)])
            .args(["--report", &json_at(&self.report(shard))])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command.spawn().context("cannot start a generator")
    }

    async fn merge(&self, reports: &[PathBuf], samples: &Samples) -> anyhow::Result<Found> {
        let merged = self.folder.join("merged.json");
        let arguments = [OsString::from("load"), OsString::from("merge")];
        let output = Command::new(self.program)
            .args(arguments)
            .args(reports)
            .args(["--report", &json_at(&merged)])
            .output()
            .await
            .context("cannot merge the reports")?;
        let Ok(text) = fs::read(&merged) else {
            bail!("{}", said(&output));
        };
        let report: Report =
            serde_json::from_slice(&text).context("the merged report is not as expected")?;
        Ok(Found {
            summary: String::from_utf8_lossy(&output.stdout).into_owned(),
            figures: figures(&report, samples)?,
        })
    }
}

fn json_at(path: &Path) -> String {
    format!("json={}", path.display())
}

/// How a command ended, and the last thing that it said.
fn said(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr);
    let said = said.lines().rfind(|line| !line.trim().is_empty());
    format!("{}: {}", output.status, said.unwrap_or("it said nothing"))
}

/// What two groups of processes used, by the Unix time in milliseconds.
struct Samples {
    groups: [Vec<u32>; 2],
    taken: Vec<(u64, [Usage; 2])>,
}

impl Samples {
    fn of(groups: [Vec<u32>; 2]) -> Self {
        Self {
            groups,
            taken: Vec::new(),
        }
    }

    /// Takes samples until something else is over.
    async fn until<T>(&mut self, over: impl Future<Output = T>) -> T {
        let mut times = interval(SAMPLE);
        times.set_missed_tick_behavior(MissedTickBehavior::Delay);
        tokio::pin!(over);
        loop {
            tokio::select! {
                value = &mut over => return value,
                _ = times.tick() => {
                    let sums = self.groups.each_ref().map(|group| sum(group));
                    self.taken.push((Clock::System.unix_ms(), sums));
                }
            }
        }
    }

    /// The last sample that is not later.
    fn at(&self, unix_ms: u64) -> anyhow::Result<[Usage; 2]> {
        let later = self.taken.partition_point(|(at, _)| *at <= unix_ms);
        let index = later
            .checked_sub(1)
            .with_context(|| format!("nothing was watched yet at {unix_ms}"))?;
        Ok(self.taken[index].1)
    }
}

fn sum(group: &[u32]) -> Usage {
    // One that has ended uses no more; the phases that count are over by then.
    let all = group.iter().filter_map(|pid| Usage::of_family(*pid).ok());
    all.fold(Usage::default(), |sum, one| Usage {
        cpu_nanos: sum.cpu_nanos + one.cpu_nanos,
        waiting_nanos: sum.waiting_nanos + one.waiting_nanos,
        resident_bytes: sum.resident_bytes + one.resident_bytes,
    })
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
fn figures(report: &Report, samples: &Samples) -> anyhow::Result<Figures> {
    let Connections {
        peak,
        registered,
        ready_ms,
    } = report.connections;
    let mut counted = report.phases.iter().filter(|phase| phase.counted);
    let first = counted.next().context("no phase counts")?;
    let last = counted.next_back().unwrap_or(first);
    let border = |ms| samples.at(report.started_at + ms);
    let borders = [
        [border(0)?, border(ready_ms)?],
        [
            border(first.start_ms)?,
            border(last.start_ms + last.duration_ms)?,
        ],
    ];
    let times = [ready_ms, last.start_ms + last.duration_ms - first.start_ms];
    let cores = |group: usize| {
        [0, 1].map(|part| {
            let [from, to] = borders[part];
            let used = to[group].cpu_nanos.saturating_sub(from[group].cpu_nanos);
            used as f64 / 1e6 / times[part].max(1) as f64
        })
    };
    let bytes = |group: usize| {
        let [_, end] = borders[1];
        end[group].resident_bytes as f64 / peak.max(1) as f64
    };
    Ok(Figures {
        connections: peak,
        registered,
        ready: Duration::from_millis(ready_ms),
        generators: cores(0),
        servers: cores(1),
        generator_bytes: bytes(0),
        server_bytes: bytes(1),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn figures_are_taken_at_the_borders_of_the_phases() {
        let usage = |cpu_ms: u64, resident_bytes| Usage {
            cpu_nanos: cpu_ms * 1_000_000,
            waiting_nanos: 0,
            resident_bytes,
        };
        let both = |cpu_ms, bytes| [usage(cpu_ms, bytes), usage(2 * cpu_ms, 3 * bytes)];
        let samples = Samples {
            groups: [vec![], vec![]],
            taken: vec![
                (9_900, both(100, 10)),
                (11_900, both(1_100, 20_000)),
                (14_950, both(1_200, 20_000)),
                (24_980, both(2_200, 40_000)),
                (26_000, both(9_000, 90_000)),
            ],
        };
        let report = json!({
            "startedAt": 10_000,
            "connections": { "peak": 10, "registered": 120, "readyMs": 2_000 },
            "phases": [
                { "startMs": 0, "durationMs": 5_000, "counted": false },
                { "startMs": 5_000, "durationMs": 4_000, "counted": true },
                { "startMs": 9_000, "durationMs": 6_000, "counted": true },
            ],
        });
        let report = serde_json::from_value(report).unwrap();
        let found = figures(&report, &samples).unwrap();
        insta::assert_snapshot!(found, @r"
        10 connections, 120 registrations, ready after 2.0 s
        generators 0.50 cores until then, 0.100 cores under load, 3.9 KB per connection
        servers    1.00 cores until then, 0.200 cores under load, 11.7 KB per connection
        ");
    }
}
