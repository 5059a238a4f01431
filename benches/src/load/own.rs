//! `touchstone load`: it connects, sends, receives and audits by itself, once for every rate.
//!
//! Its report says when its phases were and what arrived in them. CPU time and memory are taken from
//! the operating system, as for the foreign tools: sampled while it runs, and looked up at the
//! borders of the phases.

use std::fs;
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use serde::Deserialize;
use tokio::process::Command;
use tokio::time::{MissedTickBehavior, interval, timeout};
use touchstone_client::Clock;
use url::Url;

use super::listener::{FULL, per};
use super::search::{Highest, Outcome, Search};
use super::table::Figures;
use super::{KEPT_UP, Trials, Work};
use crate::host::{Usage, on_core};

/// How many connections are opened per second. The other generators open as fast as they can, and one
/// that has to wait for the next connection sleeps and wakes for each.
const DIALS: u32 = 4_000;
/// The time after that in which nothing is sent.
const QUIET: Duration = Duration::from_secs(2);
/// The time after the last message. Its first half is for the last events; in the second, the process
/// is still there to be asked.
const AFTER: Duration = KEPT_UP.saturating_mul(2);
/// How much longer than planned a run may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often CPU time and memory are read.
const SAMPLE: Duration = Duration::from_millis(10);

/// The program, and the server that it loads.
#[derive(Debug)]
pub struct Own<'a> {
    /// The touchstone program.
    pub program: &'a Path,
    /// The server.
    pub url: &'a Url,
    /// What is asked of it.
    pub work: Work,
    /// Where it runs.
    pub core: usize,
    /// Distinguishes the accounts of runs on one server.
    pub seed: u64,
    /// How many messages are sent at once.
    pub burst: u32,
    /// A file of accounts, for a server that cannot make them.
    pub accounts: Option<&'a Path>,
}

/// What connections cost that receive next to nothing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Idle {
    /// Resident bytes of each.
    pub connection_bytes: f64,
    /// CPU nanoseconds of opening each.
    pub connect_nanos: f64,
}

/// How far one core goes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Peak {
    /// The highest rate, and whether the generator was what ended the search.
    pub highest: Highest,
    /// CPU nanoseconds per delivery at that rate.
    pub event_nanos: f64,
}

/// The parts of the report that are used.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    started_at: u64,
    #[serde(default)]
    failure: Option<String>,
    audit: Audit,
    latency_us: Latencies,
    generator: Generator,
    phases: Vec<Phase>,
}

#[derive(Debug, Deserialize)]
struct Audit {
    lost: u64,
    duplicated: u64,
    reordered: u64,
    misrouted: u64,
}

#[derive(Debug, Deserialize)]
struct Latencies {
    fanout: Latency,
}

#[derive(Debug, Deserialize)]
struct Latency {
    p99: u64,
}

#[derive(Debug, Deserialize)]
struct Generator {
    valid: bool,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Phase {
    start_ms: u64,
    duration_ms: u64,
    delivered: u64,
}

/// What one run came to.
struct Run {
    connect_nanos: f64,
    connection_bytes: f64,
    event_nanos: f64,
    outcome: Outcome,
}

impl Own<'_> {
    /// Measures all figures.
    ///
    /// # Errors
    /// The program has no `load`, ended without a report, or found the server at fault.
    pub async fn measure(&mut self, trials: Trials) -> anyhow::Result<Figures> {
        let steady = self.run(trials.rate, trials.steady).await?;
        let peak = self.search(0.5e9 / steady.event_nanos, trials.step).await?;
        Ok(Figures {
            event_nanos: steady.event_nanos,
            kept_up: steady.outcome == Outcome::Held,
            highest: peak.map(|peak| peak.highest),
            connection_bytes: steady.connection_bytes,
            connect_nanos: steady.connect_nanos,
        })
    }

    /// Searches for the highest rate, each tried for as long as `step`; nothing if none holds.
    ///
    /// # Errors
    /// As [`measure`](Self::measure).
    pub async fn search(&mut self, from: f64, step: Duration) -> anyhow::Result<Option<Peak>> {
        let mut search = Search::from(from);
        let mut event_nanos = 0.0;
        while let Some(rate) = search.next() {
            let run = self.run(rate, step).await?;
            if run.outcome == Outcome::Held {
                event_nanos = run.event_nanos;
            }
            search.tried(rate, run.outcome);
        }
        Ok(search.highest().map(|highest| Peak {
            highest,
            event_nanos,
        }))
    }

    /// Opens all connections and sends them one message, which proves that they live.
    ///
    /// # Errors
    /// As [`measure`](Self::measure), or one of them did not receive it.
    pub async fn idle(&mut self) -> anyhow::Result<Idle> {
        let second = Duration::from_secs(1);
        let run = self.run(f64::from(self.work.connections), second).await?;
        ensure!(
            run.outcome == Outcome::Held,
            "not all connections were alive, or other programs keep this machine busy"
        );
        Ok(Idle {
            connection_bytes: run.connection_bytes,
            connect_nanos: run.connect_nanos,
        })
    }

    async fn run(&mut self, rate: f64, duration: Duration) -> anyhow::Result<Run> {
        self.seed += 1;
        let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
        let scenario = folder.path().join("scenario.toml");
        let report = folder.path().join("report.json");
        fs::write(
            &scenario,
            scenario_text(self.work, self.burst, rate, duration),
        )
        .with_context(|| format!("cannot write {}", scenario.display()))?;
        let mut command = Command::new(self.program);
        command
            .args(["load", self.url.as_str(), "--recipients", "narrow"])
            .arg("--scenario")
            .arg(&scenario)
            .args(["--seed", &self.seed.to_string(), "--report"])
            .arg(format!("json={}", report.display()));
        if let Some(accounts) = self.accounts {
            command.arg(format!("--provision=file:{}", accounts.display()));
        }
        let planned = ramp(self.work) + QUIET + duration + AFTER;
        let (output, samples) = watch(command, self.core, planned + PATIENCE).await?;
        let Ok(text) = fs::read(&report) else {
            let said = String::from_utf8_lossy(&output.stderr);
            let said = said.lines().find(|line| !line.trim().is_empty());
            bail!("{}: {}", output.status, said.unwrap_or("it said nothing"));
        };
        let report = serde_json::from_slice(&text).context("its report is not as expected")?;
        evaluate(&report, &samples, self.work)
    }
}

/// The time in which all connections are opened.
fn ramp(work: Work) -> Duration {
    Duration::from_secs(1) * work.connections / DIALS
}

/// One account, its connections, and a session that sends.
fn scenario_text(work: Work, burst: u32, rate: f64, duration: Duration) -> String {
    let Work {
        connections,
        message_bytes,
    } = work;
    let quiet = (ramp(work) + QUIET).as_millis();
    let ramp = ramp(work).as_millis();
    let steady = duration.as_millis();
    let after = AFTER.as_millis();
    let every = (work.every(rate) * burst).as_micros();
    format!(
        r#"description = "the fan-out that benches/peers/load compares tools by"

[population]
accounts = 1
users = {connections}
sessions = 1

[connect]
ramp = "{ramp}ms"

[[phases]]
name = "connect"
duration = "{quiet}ms"
load = 0
counted = false

[[phases]]
name = "send"
duration = "{steady}ms"

[[phases]]
name = "after"
duration = "{after}ms"
load = 0
counted = false

[[traffic]]
from = "session"
event = "message"
every = "{every}us"
burst = {burst}
timing = "periodic"
size = {message_bytes}
"#
    )
}

/// What the process used, by the Unix time in milliseconds.
type Samples = Vec<(u64, Usage)>;

/// Runs a command on a core to its end, and reads meanwhile what it uses.
async fn watch(
    mut command: Command,
    core: usize,
    within: Duration,
) -> anyhow::Result<(Output, Samples)> {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let child = on_core(core, || command.spawn())?.with_context(|| {
        let program = command.as_std().get_program();
        format!("cannot start {}", program.display())
    })?;
    let pid = child.id().context("it ended at once")?;
    let mut samples = Samples::new();
    let mut times = interval(SAMPLE);
    times.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let output = child.wait_with_output();
    tokio::pin!(output);
    let watched = timeout(within, async {
        loop {
            tokio::select! {
                output = &mut output => return output,
                _ = times.tick() => {
                    // Between its end and our notice of it there is nothing to read.
                    if let Ok(usage) = Usage::of_family(pid) {
                        samples.push((Clock::System.unix_ms(), usage));
                    }
                }
            }
        }
    });
    let output = watched
        .await
        .with_context(|| format!("it did not end within {within:?}"))?
        .context("cannot wait for it")?;
    Ok((output, samples))
}

fn evaluate(report: &Report, samples: &[(u64, Usage)], work: Work) -> anyhow::Result<Run> {
    if let Some(failure) = &report.failure {
        bail!("the run failed: {failure}");
    }
    let [_, send, after] = report.phases.as_slice() else {
        bail!("its report has {} phases, not 3", report.phases.len());
    };
    ensure!(send.delivered > 0, "nothing was delivered");
    let at = |ms: u64| usage_at(samples, report.started_at + ms);
    let (begun, connected) = (at(0)?, at(send.start_ms)?);
    let sent = at(after.start_ms + after.duration_ms / 2)?;
    // All users, and the session that sends.
    let connections = u64::from(work.connections) + 1;
    let audit = &report.audit;
    let is_clean = audit.lost + audit.duplicated + audit.reordered + audit.misrouted == 0;
    let is_in_time = u128::from(report.latency_us.fanout.p99) <= KEPT_UP.as_micros();
    let cpu = sent.cpu_nanos.saturating_sub(connected.cpu_nanos);
    let elapsed = Duration::from_millis(send.duration_ms + after.duration_ms / 2);
    Ok(Run {
        connect_nanos: per(
            connected.cpu_nanos.saturating_sub(begun.cpu_nanos),
            connections,
        ),
        connection_bytes: per(
            connected
                .resident_bytes
                .saturating_sub(begun.resident_bytes),
            connections,
        ),
        event_nanos: per(cpu, send.delivered),
        outcome: if report.generator.valid && is_clean && is_in_time {
            Outcome::Held
        } else if sent.busy_since(connected, elapsed) >= FULL {
            Outcome::GeneratorFull
        } else {
            Outcome::OtherLimit
        },
    })
}

/// The last sample that is not later.
fn usage_at(samples: &[(u64, Usage)], unix_ms: u64) -> anyhow::Result<Usage> {
    let later = samples.partition_point(|(at, _)| *at <= unix_ms);
    let index = later
        .checked_sub(1)
        .with_context(|| format!("it was not yet watched at {unix_ms}"))?;
    Ok(samples[index].1)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::host::cores;

    const WORK: Work = Work {
        connections: 9,
        message_bytes: 200,
    };

    /// Ten connections take a second of CPU and 10 000 bytes, and 1 000 events half a second.
    fn samples() -> Samples {
        let usage = |cpu_ms: u64, resident_bytes| Usage {
            cpu_nanos: cpu_ms * 1_000_000,
            waiting_nanos: 0,
            resident_bytes,
        };
        vec![
            (10_000, usage(100, 50_000)),
            (10_990, usage(1_000, 55_000)),
            (13_000, usage(1_100, 60_000)),
            (15_100, usage(1_600, 61_000)),
            (15_900, usage(1_900, 70_000)),
        ]
    }

    fn report() -> serde_json::Value {
        json!({
            "startedAt": 10_005,
            "audit": { "lost": 0, "duplicated": 0, "reordered": 0, "misrouted": 0 },
            "latencyUs": { "fanout": { "p99": 900 } },
            "generator": { "valid": true },
            "phases": [
                { "startMs": 0, "durationMs": 3_000, "delivered": 0 },
                { "startMs": 3_000, "durationMs": 2_000, "delivered": 1_000 },
                { "startMs": 5_000, "durationMs": 500, "delivered": 0 },
            ],
        })
    }

    #[track_caller]
    fn check(change: &str, to: serde_json::Value, expected: Result<Outcome, &str>) {
        let mut report = report();
        *report.pointer_mut(change).expect("a pointer to a part") = to;
        let report = serde_json::from_value(report).expect("still a report");
        match (evaluate(&report, &samples(), WORK), expected) {
            (Ok(run), Ok(outcome)) => assert_eq!(run.outcome, outcome),
            (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{error}"),
            (Ok(run), Err(_)) => panic!("{change}: {:?}", run.outcome),
            (Err(error), Ok(_)) => panic!("{change}: {error}"),
        }
    }

    #[test]
    fn a_report_tells_whether_the_rate_held() {
        check("/generator/valid", json!(true), Ok(Outcome::Held));
        // Half a second of two and a quarter is not what ended it.
        check("/generator/valid", json!(false), Ok(Outcome::OtherLimit));
        check(
            "/latencyUs/fanout/p99",
            json!(250_001),
            Ok(Outcome::OtherLimit),
        );
        check("/audit/lost", json!(1), Ok(Outcome::OtherLimit));
        check(
            "/phases/1/delivered",
            json!(0),
            Err("nothing was delivered"),
        );
        check("/startedAt", json!(9_000), Err("not yet watched at 9000"));
        check("/phases", json!([]), Err("0 phases"));
    }

    #[test]
    fn figures_are_taken_at_the_borders_of_the_phases() {
        let report = serde_json::from_value(report());
        let run = evaluate(&report.unwrap(), &samples(), WORK).unwrap();
        assert_eq!(
            (run.connect_nanos, run.connection_bytes, run.event_nanos),
            (100e6, 1_000.0, 500e3)
        );
    }

    #[test]
    fn the_scenario_says_what_is_asked_for() {
        insta::assert_snapshot!(scenario_text(WORK, 5, 9_000.0, Duration::from_secs(2)));
    }

    #[tokio::test]
    async fn a_program_without_load_is_quoted() {
        let mut own = Own {
            program: Path::new("cat"),
            url: &Url::parse("http://127.0.0.1:7").unwrap(),
            work: WORK,
            core: cores().unwrap()[0],
            seed: 0,
            burst: 1,
            accounts: None,
        };
        let error = own.run(1.0, Duration::from_secs(1)).await;
        let error = error.err().map(|error| error.to_string());
        let error = error.unwrap_or_default();
        assert!(error.starts_with("exit status: 1: cat: "), "{error}");
    }
}
