//! A foreign generator: it opens connections and listens, and we speak.
//!
//! That we send for it errs in its favour by one connection, and is the only way to have an exact
//! rate: none of these tools keeps to one. It tells how many connections it has and how many events
//! they received, as lines `counts CONNECTED RECEIVED` on its stdout.

use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use super::search::{Outcome, Search};
use super::speaker::Speaker;
use super::table::Figures;
use super::{KEPT_UP, Trials, Work};
use crate::host::{Usage, on_core};

/// How long a tool may take to start, and to open all connections.
const CONNECT: Duration = Duration::from_secs(90);
/// How long a tool may take to get through what it fell behind with.
const CATCH_UP: Duration = Duration::from_secs(20);
/// A process that used less than a twentieth of a core for this long has nothing left to do.
const QUIET: Duration = Duration::from_millis(250);
/// How long to wait for that; some tools are never quiet.
const SETTLE: Duration = Duration::from_secs(4);
/// A generator that ran, or wanted to, for this share of the time is the limit itself.
pub(super) const FULL: f64 = 0.85;

/// What a tool says of itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Counts {
    connected: u64,
    received: u64,
}

/// A foreign generator that runs. It is killed when this is dropped.
#[derive(Debug)]
pub struct Listener {
    pid: u32,
    counts: watch::Receiver<Counts>,
    last_words: LastWords,
    work: Work,
    _child: Child,
}

/// What one round of messages came to.
struct Heard {
    events: u64,
    cpu_nanos: u64,
    outcome: Outcome,
}

impl Listener {
    /// Starts the tool on a core.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(mut command: Command, work: Work, core: usize) -> anyhow::Result<Self> {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let mut child = on_core(core, || command.spawn())?.with_context(|| {
            let program = command.as_std().get_program();
            format!("cannot start {}", program.display())
        })?;
        let stdout = child.stdout.take().context("a child without a stdout")?;
        let stderr = child.stderr.take().context("a child without a stderr")?;
        let pid = child.id().context("it ended at once")?;
        let (tell, counts) = watch::channel(Counts::default());
        let last_words = LastWords::default();
        let words = last_words.clone();
        tokio::spawn(async move {
            // One task, so that the end of the counts is seen after the last words were.
            tokio::join!(
                read(stderr, &words, |_| {}),
                read(stdout, &words, |counts| {
                    tell.send_replace(counts);
                }),
            )
        });
        Ok(Self {
            pid,
            counts,
            last_words,
            work,
            _child: child,
        })
    }

    /// Measures all figures.
    ///
    /// # Errors
    /// The tool ended, did not connect, or missed events.
    pub async fn measure(&mut self, speaker: &Speaker, trials: Trials) -> anyhow::Result<Figures> {
        let (connect_nanos, connection_bytes) = self.connect().await?;
        // Not measured: it lets interpreters compile what is hot.
        self.hear(speaker, trials.rate, trials.step).await?;
        let heard = self.hear(speaker, trials.rate, trials.steady).await?;
        let event_nanos = per(heard.cpu_nanos, heard.events);
        let mut search = Search::from(0.5e9 / event_nanos);
        while let Some(rate) = search.next() {
            let heard = self.hear(speaker, rate, trials.step).await?;
            search.tried(rate, heard.outcome);
        }
        Ok(Figures {
            event_nanos,
            kept_up: heard.outcome == Outcome::Held,
            highest: search.highest(),
            connection_bytes,
            connect_nanos,
        })
    }

    /// CPU time and memory of a connection: what the tool grew by between its first ones and its last,
    /// so that its start is not in it.
    async fn connect(&mut self) -> anyhow::Result<(f64, f64)> {
        let first = self
            .wait(CONNECT, |counts| counts.connected > 0)
            .await?
            .context("it opened no connection")?;
        let before = self.usage().await?;
        let wanted = u64::from(self.work.connections);
        if self
            .wait(CONNECT, |counts| counts.connected >= wanted)
            .await?
            .is_none()
        {
            let connected = self.counts.borrow().connected;
            bail!("it opened {connected} of {wanted} connections within {CONNECT:?}");
        }
        let after = self.settled().await?;
        let more = wanted - first.connected;
        ensure!(more > 0, "it opened all connections at once");
        let cpu = after.cpu_nanos.saturating_sub(before.cpu_nanos);
        let bytes = after.resident_bytes.saturating_sub(before.resident_bytes);
        Ok((per(cpu, more), per(bytes, more)))
    }

    /// Speaks at a rate for a while, and waits until all of it was received.
    async fn hear(
        &mut self,
        speaker: &Speaker,
        rate: f64,
        duration: Duration,
    ) -> anyhow::Result<Heard> {
        let messages = self.work.messages(rate, duration);
        let events = u64::from(messages) * u64::from(self.work.connections);
        let wanted = self.counts.borrow().received + events;
        let before = self.usage().await?;
        let start = Instant::now();
        let every = self.work.every(rate);
        let spoken = speaker.speak(messages, every).await?;
        let in_time = self
            .wait(KEPT_UP, |counts| counts.received >= wanted)
            .await?;
        if in_time.is_none() {
            let late = self.wait(CATCH_UP, |counts| counts.received >= wanted);
            if late.await?.is_none() {
                let missing = wanted - self.counts.borrow().received;
                bail!("{missing} of {events} events had not arrived {CATCH_UP:?} after the last");
            }
        }
        let received = self.counts.borrow().received;
        ensure!(
            received == wanted,
            "it received {received} events of {wanted}"
        );
        let elapsed = start.elapsed();
        let after = self.usage().await?;
        let is_sent_in_time = spoken <= every * messages + KEPT_UP;
        Ok(Heard {
            events,
            cpu_nanos: after.cpu_nanos.saturating_sub(before.cpu_nanos),
            outcome: match (in_time, is_sent_in_time) {
                (Some(_), true) => Outcome::Held,
                _ if after.busy_since(before, elapsed) >= FULL => Outcome::GeneratorFull,
                _ => Outcome::OtherLimit,
            },
        })
    }

    /// What the tool uses.
    async fn usage(&mut self) -> anyhow::Result<Usage> {
        match Usage::of_family(self.pid) {
            Ok(usage) => Ok(usage),
            Err(error) => {
                // It has probably ended, and then its last words say why.
                self.wait(QUIET, |_| false).await?;
                Err(error)
            }
        }
    }

    /// Waits until the tool says so; nothing if it does not within that time.
    async fn wait(
        &mut self,
        within: Duration,
        is_reached: impl Fn(&Counts) -> bool,
    ) -> anyhow::Result<Option<Counts>> {
        match timeout(within, self.counts.wait_for(is_reached)).await {
            Err(_) => Ok(None),
            Ok(Ok(counts)) => Ok(Some(*counts)),
            Ok(Err(_)) => bail!("it ended: {}", self.last_words.get()),
        }
    }

    /// What the tool uses when it has done what followed the last connection.
    async fn settled(&mut self) -> anyhow::Result<Usage> {
        let deadline = Instant::now() + SETTLE;
        let mut before = self.usage().await?;
        loop {
            sleep(QUIET).await;
            let now = self.usage().await?;
            let used = Duration::from_nanos(now.cpu_nanos.saturating_sub(before.cpu_nanos));
            if used < QUIET / 20 || Instant::now() >= deadline {
                return Ok(now);
            }
            before = now;
        }
    }
}

/// `total` shared by `count`.
#[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
pub(super) fn per(total: u64, count: u64) -> f64 {
    total as f64 / count.max(1) as f64
}

/// The last line that a tool printed for people, which tells why it ended.
#[derive(Debug, Clone, Default)]
struct LastWords(Arc<Mutex<String>>);

impl LastWords {
    fn set(&self, line: String) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = line;
    }

    fn get(&self) -> String {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// Reads to the end, so that the tool never blocks on a full pipe.
async fn read(output: impl AsyncRead + Unpin, last_words: &LastWords, told: impl Fn(Counts)) {
    let mut lines = BufReader::new(output).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        match counts(&line) {
            Some(counts) => told(counts),
            None if line.trim().is_empty() => {}
            None => last_words.set(line),
        }
    }
}

fn counts(line: &str) -> Option<Counts> {
    let (connected, received) = line.strip_prefix("counts ")?.split_once(' ')?;
    Some(Counts {
        connected: connected.parse().ok()?,
        received: received.trim_end().parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::cores;

    #[track_caller]
    fn check(line: &str, expected: Option<(u64, u64)>) {
        let counts = counts(line).map(|counts| (counts.connected, counts.received));
        assert_eq!(counts, expected, "{line:?}");
    }

    #[test]
    fn counts_are_read_and_other_lines_are_not() {
        check("counts 0 0", Some((0, 0)));
        check("counts 500 123456", Some((500, 123_456)));
        check("counts 500", None);
        check("counts 5 -1", None);
        check("counts", None);
        check("Phase started", None);
    }

    fn start(script: &str) -> Listener {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        let work = Work {
            connections: 3,
            message_bytes: 10,
        };
        Listener::start(command, work, cores().unwrap()[0]).unwrap()
    }

    #[tokio::test]
    async fn a_tool_that_ends_is_quoted() {
        let mut listener = start("echo counts 1 0; echo 'no such server' >&2; echo; exit 1");
        let error = listener.connect().await.unwrap_err().to_string();
        assert_eq!(error, "it ended: no such server");
    }
}
