//! A recording, played as if it were live, with pause, speed and seek.
//!
//! The file is read as it is played, so that its size does not matter; going back reads it again
//! from the beginning. A line that is no record becomes a note and ends nothing.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use touchstone_client::trace::{Reader, Record, TraceError};

use super::desk::Desk;
use super::sighted::{Origins, what_of};
use super::{Options, Origin, Outlet, Overflow, RPC_PATIENCE, Source, What, channel};
use crate::event::{Control, Lint, Playback, SourceState};
use crate::lint::{Inspect, judged};

/// How often the screen is told where the recording stands.
const TOLD_EVERY: Duration = Duration::from_millis(100);

/// A recording that can be played.
#[derive(Debug)]
pub struct Recorded {
    path: PathBuf,
    reader: Reader<BufReader<File>>,
    length_us: u64,
}

/// Why a file cannot be played.
#[derive(Debug, thiserror::Error)]
#[error("cannot open the recording {path}")]
pub struct OpenError {
    /// The file.
    pub path: PathBuf,
    /// Why.
    #[source]
    pub source: TraceError,
}

impl Recorded {
    /// Opens a trace and finds out its length, for which it is read once.
    ///
    /// # Errors
    /// The file cannot be read, is no trace, or is newer than this program.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let failed = |source| OpenError {
            path: path.to_owned(),
            source,
        };
        let length_us = Reader::open(path)
            .map_err(failed)?
            .filter_map(Result::ok)
            .map(|record| record.t_us)
            .max();
        Ok(Self {
            path: path.to_owned(),
            reader: Reader::open(path).map_err(failed)?,
            length_us: length_us.unwrap_or(0),
        })
    }

    /// What was recorded: a server's URL, as the file has it.
    pub fn target(&self) -> &str {
        &self.reader.header().target
    }

    /// Plays it `speed` times as fast as it was recorded; as fast as the reader takes it where none.
    pub fn start(self, speed: Option<f64>, options: &Options) -> Source {
        let (mut outlet, source) = channel(options);
        // Nobody is kept waiting but the file.
        outlet.overflow = Overflow::Wait;
        let player = Player {
            started_at: self.reader.header().started_at,
            outlet,
            path: self.path,
            reader: self.reader,
            length_us: self.length_us,
            last_us: 0,
            next: None,
            inspect: judged(),
            desk: Desk::new(RPC_PATIENCE),
            origins: Origins::default(),
            pace: Pace {
                speed,
                playing: true,
                position_us: 0,
                since: Instant::now(),
            },
        };
        tokio::spawn(player.run());
        source
    }
}

struct Player {
    started_at: u64,
    outlet: Outlet,
    path: PathBuf,
    reader: Reader<BufReader<File>>,
    length_us: u64,
    /// The time of the last record that was played.
    last_us: u64,
    next: Option<Record>,
    inspect: Inspect,
    desk: Desk,
    origins: Origins,
    pace: Pace,
}

/// Where the recording stands, and how fast it goes.
struct Pace {
    speed: Option<f64>,
    playing: bool,
    position_us: u64,
    since: Instant,
}

impl Pace {
    /// The place at `now`.
    fn at(&self, now: Instant) -> u64 {
        let Some(speed) = self.speed.filter(|_| self.playing) else {
            return self.position_us;
        };
        let played = now.saturating_duration_since(self.since).mul_f64(speed);
        let played = u64::try_from(played.as_micros()).unwrap_or(u64::MAX);
        self.position_us.saturating_add(played)
    }

    /// When `t_us` is due. Nothing while it is held.
    fn due(&self, t_us: u64) -> Option<Instant> {
        if !self.playing {
            return None;
        }
        let Some(speed) = self.speed else {
            return Some(self.since);
        };
        let ahead = Duration::from_micros(t_us.saturating_sub(self.position_us));
        Some(self.since + ahead.div_f64(speed))
    }

    /// Goes on from `position_us`.
    fn set(&mut self, position_us: u64, now: Instant) {
        self.position_us = position_us;
        self.since = now;
    }
}

impl Player {
    async fn run(mut self) {
        let mut told = tokio::time::interval(TOLD_EVERY);
        let mut over = false;
        self.tell().await;
        loop {
            if self.next.is_none() && !over {
                over = !self.read().await;
                if over {
                    self.pace.set(self.length_us, Instant::now());
                    self.pace.playing = false;
                    self.tell().await;
                    let reason = String::new();
                    self.outlet.state(SourceState::Ended { reason }).await;
                }
            }
            let due = self
                .next
                .as_ref()
                .and_then(|record| self.pace.due(record.t_us));
            tokio::select! {
                biased;
                () = self.outlet.stop.cancelled() => return,
                control = self.outlet.controls.recv() => match control {
                    Some(mut control) => {
                        let mut moved = false;
                        // Of several places in a row only the last is wanted: going to one may take
                        // a while.
                        while matches!(control, Control::Seek(_))
                            && let Ok(next) = self.outlet.controls.try_recv()
                        {
                            if !matches!(next, Control::Seek(_)) {
                                moved |= self.control(control).await;
                            }
                            control = next;
                        }
                        moved |= self.control(control).await;
                        over &= !moved;
                        self.tell().await;
                    }
                    // The reader may still want what is left.
                    None if over => return,
                    None => self.outlet.stop.cancelled().await,
                },
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                    if let Some(record) = self.next.take() {
                        if self.pace.speed.is_none() {
                            self.pace.set(record.t_us, Instant::now());
                        }
                        self.play(record).await;
                    }
                }
                _ = told.tick(), if self.pace.playing => self.tell().await,
            }
            // Without a pace nothing else in this loop would ever wait.
            if over && self.pace.speed.is_none() {
                return;
            }
        }
    }

    /// Reads up to the next record. False at the end.
    async fn read(&mut self) -> bool {
        loop {
            match self.reader.next() {
                Some(Ok(record)) => {
                    self.next = Some(record);
                    return true;
                }
                Some(Err(error)) => {
                    let what = What::Note(format!("the recording is damaged: {error}"));
                    self.see(self.last_us, &Origin::none(), &what, Vec::new())
                        .await;
                }
                None => return false,
            }
        }
    }

    /// True when it goes on from another place.
    async fn control(&mut self, control: Control) -> bool {
        let now = Instant::now();
        let place = self.pace.at(now).min(self.length_us);
        match control {
            Control::Play(on) => {
                self.pace.set(place, now);
                self.pace.playing = on;
                false
            }
            Control::Speed(speed) => {
                self.pace.set(place, now);
                self.pace.speed = Some(speed.clamp(0.01, 1_000.0));
                false
            }
            Control::Seek(t_us) => {
                let target = t_us.min(self.length_us);
                if target < place && !self.rewind(place).await {
                    return false;
                }
                while self.next.is_some() || self.read().await {
                    match self.next.take() {
                        Some(record) if record.t_us <= target => self.play(record).await,
                        later => {
                            self.next = later;
                            break;
                        }
                    }
                }
                self.pace.set(target, Instant::now());
                true
            }
            // What is recorded need not be recorded again.
            Control::Record(_) => false,
        }
    }

    /// Goes back to the beginning. False where the file cannot be read again.
    async fn rewind(&mut self, place: u64) -> bool {
        let Ok(reader) = Reader::open(&self.path) else {
            let note = What::Note("the recording is gone, and cannot be read again".into());
            self.see(place, &Origin::none(), &note, Vec::new()).await;
            return false;
        };
        self.reader = reader;
        self.inspect = judged();
        self.desk = Desk::new(RPC_PATIENCE);
        self.origins = Origins::default();
        (self.next, self.last_us) = (None, 0);
        self.outlet.state(SourceState::Rewound).await;
        true
    }

    async fn tell(&mut self) {
        let playback = Playback {
            position_us: self.pace.at(Instant::now()).min(self.length_us),
            length_us: self.length_us,
            speed: self.pace.speed.unwrap_or(1_000.0),
            playing: self.pace.playing,
        };
        self.outlet.state(SourceState::Playback(playback)).await;
    }

    async fn play(&mut self, record: Record) {
        let t_us = record.t_us;
        self.last_us = t_us;
        let origin = self.origins.of(&record);
        let lints = (self.inspect)(&record);
        if let Some(what) = what_of(record, &lints) {
            self.see(t_us, &origin, &what, lints).await;
        }
    }

    async fn see(&mut self, t_us: u64, origin: &Origin, what: &What, lints: Vec<Lint>) {
        let at_ms = self.started_at.saturating_add(t_us / 1_000);
        let mut inputs = Vec::new();
        self.desk.look_for_unanswered(at_ms, t_us, &mut inputs);
        let at = (at_ms, t_us);
        self.desk.see(at, origin, what, lints, &mut inputs);
        for input in inputs {
            self.outlet.send(input).await;
        }
    }
}
