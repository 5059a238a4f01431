//! `--trace`: what the connections of the first accounts send and receive, written to a file while the
//! run lasts.

use std::fs::File;
use std::io;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use touchstone_client::Clock;
use touchstone_client::trace::{Bounds, Header, Record, Recorder, Writer};
use touchstone_loadgen::run::Trace;

use crate::error::Failure;
use crate::exit::Exit;
use crate::reports::{self, Publish};

/// How often what was recorded goes to the file. The recorder has room for much more than comes
/// meanwhile from the few accounts that anyone looks at.
const WRITE_EVERY: Duration = Duration::from_millis(100);

/// Records that a file holds at most: some hundreds of megabytes. Long runs leave out the rest.
const MOST_RECORDS: u64 = 1_000_000;

/// A trace that is being written.
pub(super) struct TraceFile {
    path: String,
    recorder: Recorder,
    accounts: u32,
    stop: CancellationToken,
    task: JoinHandle<io::Result<Written>>,
    publish: Option<Publish>,
}

/// What is in the file.
struct Written {
    out: Writer<File>,
    records: u64,
    left_out: u64,
}

impl TraceFile {
    /// Begins a trace of the connections of so many accounts to `target`.
    pub(super) fn begin(path: &Path, accounts: u32, target: &str) -> Result<Self, Failure> {
        let shown = path.display().to_string();
        let unusable = || format!("cannot write the trace to {shown}");
        let opened = reports::open(path).with_context(unusable);
        let (out, publish) = opened.map_err(Failure::usage)?;
        let tool = format!("touchstone {} load", env!("CARGO_PKG_VERSION"));
        let header = Header::new(tool, target, Clock::System.unix_ms());
        let out = Writer::new(out, &header).with_context(unusable);
        let written = Written {
            out: out.map_err(Failure::usage)?,
            records: 0,
            left_out: 0,
        };
        let recorder = Recorder::new(Instant::now(), Bounds::default());
        let stop = CancellationToken::new();
        let task = tokio::spawn(follow(recorder.clone(), written, stop.clone()));
        Ok(Self {
            path: shown,
            recorder,
            accounts,
            stop,
            task,
            publish,
        })
    }

    /// What the generator has to record.
    pub(super) fn traced(&self) -> Trace {
        Trace {
            recorder: self.recorder.clone(),
            accounts: self.accounts,
        }
    }

    /// Completes the file, and says what it holds.
    pub(super) async fn close(self) -> Result<(), Failure> {
        self.stop.cancel();
        let written = self
            .task
            .await
            .context("the writer of the trace panicked")?;
        let closed = written.and_then(|written| {
            written.out.finish()?;
            self.publish.map_or(Ok(()), Publish::now)?;
            Ok((written.records, written.left_out))
        });
        let (records, left_out) = closed
            .with_context(|| format!("cannot write the trace to {}", self.path))
            .map_err(|error| Failure::expected(Exit::Incomplete, error))?;
        let rest = match left_out {
            0 => String::new(),
            _ => format!("; {left_out} that came later are left out"),
        };
        reports::notice(&format!("trace: {records} records in {}{rest}", self.path));
        Ok(())
    }
}

/// Writes what is recorded until it is told to stop, and then the rest.
async fn follow(
    recorder: Recorder,
    mut written: Written,
    stop: CancellationToken,
) -> io::Result<Written> {
    let mut ticks = interval(WRITE_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let is_last = tokio::select! {
            () = stop.cancelled() => true,
            _ = ticks.tick() => false,
        };
        let records = recorder.drain();
        // A disk may take its time, and a thread of the runtime must not wait for it.
        written = tokio::task::spawn_blocking(|| written.add(records)).await??;
        if is_last {
            return Ok(written);
        }
    }
}

impl Written {
    fn add(mut self, records: Vec<Record>) -> io::Result<Self> {
        for record in records {
            if self.records < MOST_RECORDS {
                self.out.write(&record)?;
                self.records += 1;
            } else {
                self.left_out += 1;
            }
        }
        Ok(self)
    }
}
