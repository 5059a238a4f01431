//! Where entries come from: live connections, the control tap, a recording, connections that are
//! driven elsewhere.
//!
//! Each source is a task that sends [`Input`]s over a bounded channel and takes [`Control`]s. What
//! it sees is recorded, judged as far as an unfinished history can be, and goes through one desk, which
//! numbers it and finds out what belongs together. A source must not draw, must not filter, and must never lose anything silently: what
//! the reader of the channel is too slow for is counted and told.

mod desk;
mod facts;
pub mod file;
pub mod live;
pub mod preview;
pub(crate) mod recent;
mod record;
mod sighted;
pub mod tap;
pub mod wire;

use std::sync::Arc;
use std::time::Duration;

use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval};
use tokio_util::sync::{CancellationToken, DropGuard};
use touchstone_client::{
    Args, Clock,
    trace::{Exchange, Record},
};

use self::desk::Desk;
pub use self::record::RecordTo;
use self::record::Tape;
use crate::event::{Control, Direction, Input, Lint, Recording, Scope, SourceState};
use crate::lint::{Inspect, judged};

/// How long an RPC may stay unanswered before it is linted: servers give up after 30 s.
const RPC_PATIENCE: Duration = Duration::from_secs(35);
/// How often a source looks for RPCs without answer, flushes its recording and tells how far it is.
const HOUSEKEEPING: Duration = Duration::from_millis(500);
/// How many controls may wait: more than the keys that one frame answers.
const CONTROLS: usize = 512;
/// How many sightings wait between the connections and the desk, before connections stop reading.
const SIGHTINGS: usize = 1_024;

/// How recordings name what made them.
const TOOL: &str = concat!("touchstone-watch ", env!("CARGO_PKG_VERSION"));

/// What all sources are given.
#[derive(Debug, Clone)]
pub struct Options {
    /// The wall clock.
    pub clock: Clock,
    /// How many inputs may wait for the reader.
    pub queue: usize,
    /// What happens when they do: wait, so that nothing is lost and the server notices, or drop and
    /// count, so that the recording goes on at the server's pace.
    pub overflow: Overflow,
    /// The file of the recording. Nothing is written while it is off.
    pub record: RecordTo,
    /// Whether the recording is on from the beginning.
    pub recording: bool,
    /// Seed of the jitter between attempts to reconnect.
    pub seed: u64,
}

/// What happens to inputs that the reader is too slow for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overflow {
    /// The source waits.
    Wait,
    /// They are dropped, counted and told.
    Drop,
}

/// A running source. It ends when this is dropped.
#[derive(Debug)]
pub struct Source {
    /// What it sees. Closed after the source has ended and everything is received.
    pub inputs: mpsc::Receiver<Input>,
    /// What it can be told.
    pub controls: mpsc::Sender<Control>,
    /// When the clock of its entries began, unless it plays a recording.
    pub start: Instant,
    stop: Option<DropGuard>,
}

impl Source {
    /// Lets it end: what it has seen until now is still received.
    pub fn end(&mut self) {
        self.stop = None;
    }

    /// Ends the source and waits until its recording is written.
    ///
    /// # Errors
    /// The recording could not be written to its end.
    pub async fn close(self) -> Result<(), RecordError> {
        let Self {
            mut inputs, stop, ..
        } = self;
        drop(stop);
        let mut closed = Ok(());
        while let Some(input) = inputs.recv().await {
            closed = match input {
                Input::Recording(Recording::Failed { path, reason }) => {
                    Err(RecordError { path, reason })
                }
                Input::Recording(_) => Ok(()),
                _ => closed,
            };
        }
        closed
    }

    /// A source that shows what the other end sends: for scripted sources of tests and benches.
    pub fn fed(queue: usize) -> (Self, mpsc::Sender<Input>) {
        let (feed, inputs) = mpsc::channel(queue.max(1));
        let (controls, _) = mpsc::channel(1);
        let source = Self {
            inputs,
            controls,
            start: Instant::now(),
            stop: Some(CancellationToken::new().drop_guard()),
        };
        (source, feed)
    }
}

/// A recording could not be written to its end.
#[derive(Debug, thiserror::Error)]
#[error("cannot record to {path}: {reason}")]
pub struct RecordError {
    /// The file.
    pub path: String,
    /// Why.
    pub reason: String,
}

/// The side of a source that its task has.
struct Outlet {
    inputs: mpsc::Sender<Input>,
    controls: mpsc::Receiver<Control>,
    overflow: Overflow,
    dropped: u64,
    start: Instant,
    stop: CancellationToken,
}

fn channel(options: &Options) -> (Outlet, Source) {
    let (inputs, received) = mpsc::channel(options.queue.max(1));
    let (told, controls) = mpsc::channel(CONTROLS);
    let stop = CancellationToken::new();
    let start = Instant::now();
    let outlet = Outlet {
        inputs,
        controls,
        overflow: options.overflow,
        dropped: 0,
        start,
        stop: stop.clone(),
    };
    let source = Source {
        inputs: received,
        controls: told,
        start,
        stop: Some(stop.drop_guard()),
    };
    (outlet, source)
}

impl Outlet {
    /// Sends an input, or counts it as dropped. States are never dropped: they are few, and a header
    /// that misses one would lie.
    async fn send(&mut self, input: Input) {
        let droppable = matches!(input, Input::Entry(_) | Input::Amend(_));
        if self.overflow == Overflow::Wait || !droppable {
            // A reader that has gone ends the source through `stop`.
            let _ = self.inputs.send(input).await;
            return;
        }
        if self.dropped > 0 && self.inputs.try_send(Input::Dropped(self.dropped)).is_ok() {
            self.dropped = 0;
        }
        if self.dropped > 0 || self.inputs.try_send(input).is_err() {
            self.dropped += 1;
        }
    }

    async fn state(&mut self, state: SourceState) {
        self.send(Input::Source(state)).await;
    }

    /// Tells what was dropped, at the latest now.
    async fn settle(&mut self) {
        if self.dropped > 0 {
            let dropped = std::mem::take(&mut self.dropped);
            self.send(Input::Dropped(dropped)).await;
        }
    }
}

/// One thing that a source saw, before the desk looks at it.
#[derive(Debug)]
struct Sighting {
    at: Instant,
    origin: Origin,
    what: What,
}

/// On whose behalf something was seen.
#[derive(Debug, Clone)]
struct Origin {
    account: Arc<str>,
    conn: Arc<str>,
    scope: Scope,
}

impl Origin {
    /// Of no connection.
    fn none() -> Self {
        Self {
            account: "".into(),
            conn: "".into(),
            scope: Scope::None,
        }
    }
}

#[derive(Debug)]
enum What {
    Event {
        direction: Direction,
        name: String,
        args: Args,
        ack: Option<u64>,
    },
    Ack {
        direction: Direction,
        id: u64,
        args: Args,
    },
    /// A connection asks to be let in: the auth, with a name in place of the token. For the recording.
    Connect(Value),
    Http(Exchange),
    /// The server let a connection in, and calls it so.
    Accepted(Option<Arc<str>>),
    /// A word, and a sentence.
    Connection(&'static str, String),
    Gap(String),
    Note(String),
    /// A decision of the tap, as JSON.
    Decision(String),
}

/// What the task of a live source or of the tap has: the desk, the recording and the way out.
struct Post {
    inspect: Inspect,
    desk: Desk,
    tape: Tape,
    outlet: Outlet,
    start: Instant,
    start_ms: u64,
    housekeeping: Interval,
}

impl Post {
    fn new(options: &Options, outlet: Outlet, tool: &str, target: &str) -> Self {
        let (start, start_ms) = (outlet.start, options.clock.unix_ms());
        let mut housekeeping = interval(HOUSEKEEPING);
        housekeeping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            inspect: judged(),
            desk: Desk::new(RPC_PATIENCE),
            tape: Tape::new(tool, options.record.clone(), target, start_ms),
            outlet,
            start,
            start_ms,
            housekeeping,
        }
    }

    /// Switches the recording on if it is to be on from the beginning.
    async fn begin(&mut self, options: &Options) {
        if options.recording {
            self.control(Control::Record(true)).await;
        }
    }

    async fn see(&mut self, sighting: Sighting) {
        let t_us = self.t_us(sighting.at);
        let mut lints = Vec::new();
        if let Some(record) = record::record_of(t_us, &sighting.origin, &sighting.what) {
            lints = (self.inspect)(&record);
            self.keep(&record).await;
        }
        self.show(sighting, lints).await;
    }

    /// Records without showing.
    async fn keep(&mut self, record: &Record) {
        if let Some(told) = self.tape.keep(record) {
            self.outlet.send(Input::Recording(told)).await;
        }
    }

    /// Shows without recording, with these lints.
    async fn show(&mut self, sighting: Sighting, lints: Vec<Lint>) {
        let t_us = self.t_us(sighting.at);
        let mut inputs = Vec::new();
        let at = (self.start_ms + t_us / 1_000, t_us);
        let Sighting { origin, what, .. } = &sighting;
        self.desk.see(at, origin, what, lints, &mut inputs);
        for input in inputs {
            self.outlet.send(input).await;
        }
    }

    /// Waits for the next thing that is the same for all sources. False when the source is to end.
    async fn idle(&mut self) -> bool {
        tokio::select! {
            () = self.outlet.stop.cancelled() => return false,
            Some(control) = self.outlet.controls.recv() => self.control(control).await,
            _ = self.housekeeping.tick() => self.keep_house().await,
        }
        true
    }

    async fn control(&mut self, control: Control) {
        // Playback is a matter of recordings.
        if let Control::Record(on) = control {
            let told = self.tape.switch(on, self.t_us(Instant::now()));
            self.outlet.send(Input::Recording(told)).await;
        }
    }

    async fn keep_house(&mut self) {
        let t_us = self.t_us(Instant::now());
        let mut inputs = Vec::new();
        self.desk
            .look_for_unanswered(self.start_ms + t_us / 1_000, t_us, &mut inputs);
        for input in inputs {
            self.outlet.send(input).await;
        }
        if let Some(told) = self.tape.flush() {
            self.outlet.send(Input::Recording(told)).await;
        }
        if self.outlet.inputs.capacity() > 0 {
            self.outlet.settle().await;
        }
    }

    async fn end(mut self, reason: String) {
        self.tape.flush();
        self.outlet.settle().await;
        // Whoever closes the source hears of it even if nobody looked.
        if let Some(lost) = self.tape.lost() {
            self.outlet.send(Input::Recording(lost)).await;
        }
        self.outlet.state(SourceState::Ended { reason }).await;
    }

    fn t_us(&self, at: Instant) -> u64 {
        let since = at.saturating_duration_since(self.start);
        u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
    }
}

/// How long to wait before the next attempt: twice as long each time, up to ten seconds, and never the
/// same for two who lost the same server.
#[derive(Debug)]
struct Backoff {
    attempt: u32,
    random: StdRng,
}

impl Backoff {
    const FIRST: Duration = Duration::from_millis(250);
    const LONGEST: Duration = Duration::from_secs(10);

    fn new(seed: u64) -> Self {
        Self {
            attempt: 0,
            random: StdRng::seed_from_u64(seed),
        }
    }

    /// The next attempt, from 1, and the wait before it.
    fn next(&mut self) -> (u32, Duration) {
        let doubled = Self::FIRST.saturating_mul(1 << self.attempt.min(10));
        self.attempt = self.attempt.saturating_add(1);
        let jitter = self.random.random_range(0.5..=1.0);
        (self.attempt, doubled.min(Self::LONGEST).mul_f64(jitter))
    }

    /// A connection has ended after this time. One that was soon over counts as a failed attempt, so
    /// that a server that admits and drops at once is asked more rarely, too.
    fn ended(&mut self, lasted: Duration) {
        if lasted > Self::LONGEST {
            self.attempt = 0;
        }
    }
}

/// What stands in a gap: nothing was seen for that long.
fn gap(conn: &str, lasted: Duration) -> String {
    format!(
        "nothing was seen on {conn} for {:.1} s; servers do not send again what was missed",
        lasted.as_secs_f64()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_become_rarer_up_to_a_limit() {
        let mut backoff = Backoff::new(7);
        for expected in 1..=20 {
            let (attempt, wait) = backoff.next();
            assert_eq!(attempt, expected);
            let whole = Backoff::FIRST.saturating_mul(1 << (expected - 1).min(10));
            let whole = whole.min(Backoff::LONGEST);
            assert!(
                wait >= whole.mul_f64(0.5) && wait <= whole,
                "{attempt}: {wait:?}"
            );
        }
        backoff.ended(Backoff::LONGEST);
        assert_eq!(backoff.next().0, 21);
        backoff.ended(Backoff::LONGEST * 2);
        assert_eq!(backoff.next().0, 1);
        assert_ne!(Backoff::new(1).next().1, Backoff::new(2).next().1);
    }

    #[tokio::test]
    async fn what_the_reader_is_too_slow_for_is_counted_and_told() {
        let options = Options {
            clock: Clock::Fixed(0),
            queue: 2,
            overflow: Overflow::Drop,
            record: RecordTo::Nowhere,
            recording: false,
            seed: 0,
        };
        let (outlet, mut source) = channel(&options);
        let mut post = Post::new(&options, outlet, TOOL, "test");
        for _ in 0..5 {
            let sighting = Sighting {
                at: Instant::now(),
                origin: Origin::none(),
                what: What::Note("x".into()),
            };
            post.see(sighting).await;
        }
        let mut told = Vec::new();
        for _ in 0..2 {
            told.push(source.inputs.recv().await.unwrap());
        }
        post.outlet.settle().await;
        told.push(source.inputs.recv().await.unwrap());
        let numbers: Vec<_> = told
            .iter()
            .map(|input| match input {
                Input::Entry(entry) => format!("#{}", entry.number),
                Input::Dropped(count) => format!("{count} dropped"),
                other => format!("{other:?}"),
            })
            .collect();
        assert_eq!(numbers, ["#1", "#2", "3 dropped"]);
    }
}
