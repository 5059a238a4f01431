//! `touchstone watch` on a terminal: the terminal, signals and files for the monitor's loop.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, anyhow};
use chrono::{DateTime, Local};
use crossterm::event::EventStream;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc::{self, error::TrySendError};
use tokio::time::Instant;
use touchstone_client::Clock;
use touchstone_output::text::plural;
use touchstone_tui_monitor::event::{Control, Effect, Entry, Input, Now, Order};
use touchstone_tui_monitor::keys::Keymap;
use touchstone_tui_monitor::run::{self, Left, World};
use touchstone_tui_monitor::source::{Overflow, RecordTo};
use touchstone_tui_monitor::{Bounds, Model, Setup, Theme, Times, draw, headless};

use crate::args::{Color, ScreenArguments, ThemeName, TimesName};
use crate::error::Failure;
use crate::exit::Exit;
use crate::screen::{Inputs, Screen};

use super::proxy_screen::{Aside, WAITING, attend};

use super::watch_source::{Reading, Watching, filter};

/// Larger texts are refused by the clipboards of many terminals.
const LARGE_COPY: usize = 74_000;

/// What the screen needs from the arguments; everything that can be wrong with them shows here,
/// before the terminal is taken.
pub(crate) struct Plan {
    setup: Setup,
}

/// What the screen needs of its source, with a recording from the beginning if one is named.
pub(crate) fn reading(record: Option<PathBuf>) -> Reading {
    Reading {
        recording: record.is_some(),
        record: record.map_or(RecordTo::ByTime, RecordTo::File),
        overflow: Overflow::Drop,
        lists_notes: true,
        speed: Some(1.0),
    }
}

/// Turns the arguments into a plan.
pub(crate) fn plan(
    screen: &ScreenArguments,
    shown: Option<&str>,
    color: Color,
) -> Result<Plan, Failure> {
    if let Some(why) = Screen::missing() {
        return Err(Failure::usage(anyhow!(why)).hint("use --headless to print lines"));
    }
    let setup = Setup {
        target: String::new(),
        theme: theme(screen, color),
        ascii: screen.ascii,
        times: match screen.times {
            TimesName::Utc => Times::Utc,
            TimesName::Local => Times::Local,
            TimesName::Start => Times::Start,
            TimesName::Before => Times::Before,
        },
        offset: local_offset,
        keys: screen
            .keys
            .as_deref()
            .map(keys)
            .transpose()?
            .unwrap_or_default(),
        bounds: Bounds {
            events: screen.ring_events as usize,
            bytes: (screen.ring_mib as usize) << 20,
        },
        filter: filter("--filter", shown.unwrap_or_default())?,
        size: (0, 0),
        now: Now::default(),
    };
    Ok(Plan { setup })
}

/// `--color never` and NO_COLOR hold here, too.
fn theme(screen: &ScreenArguments, color: Color) -> Theme {
    let choice = anstream::AutoStream::choice(&io::stdout());
    match screen.theme {
        _ if color != Color::Always && choice == anstream::ColorChoice::Never => Theme::Mono,
        ThemeName::Dark => Theme::Dark,
        ThemeName::Light => Theme::Light,
        ThemeName::Mono => Theme::Mono,
    }
}

/// By the zone of TZ or of the system, summer time at that time included.
fn local_offset(unix_ms: u64) -> i32 {
    let seconds = i64::try_from(unix_ms / 1_000).unwrap_or(i64::MAX);
    // What a recording claims may lie beyond the calendar.
    DateTime::from_timestamp(seconds, 0)
        .map_or(0, |at| at.with_timezone(&Local).offset().local_minus_utc())
}

fn keys(path: &Path) -> Result<Keymap, Failure> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read {}", path.display()))
        .map_err(Failure::usage)?;
    Keymap::parse(&text)
        .with_context(|| format!("cannot use {}", path.display()))
        .map_err(|error| Failure::usage(error).hint("--print-keys prints a file to begin with"))
}

/// Shows what the source sends until the user leaves or a signal ends it.
pub(crate) async fn run(
    plan: Plan,
    mut watching: Watching,
    aside: Option<Aside>,
) -> Result<Exit, Failure> {
    let mut signals = Signals::new().context("cannot catch signals")?;
    let mut screen = Screen::take(Inputs::All).context("cannot use the terminal")?;
    let size = crossterm::terminal::size().context("the terminal has no size")?;
    let clock = Watch {
        clock: Clock::System,
        start: watching.source.start,
    };
    let mut model = Model::new(Setup {
        target: std::mem::take(&mut watching.target),
        size,
        now: clock.now(),
        ..plan.setup
    });
    let (told, done) = mpsc::channel(16);
    let (orders, ordered) = mpsc::channel(WAITING);
    if let Some(aside) = aside {
        tokio::spawn(attend(aside, ordered, told.clone()));
    }
    let mut desk = Desk {
        screen: &mut screen,
        clock,
        told,
        orders,
    };
    let keys = EventStream::new();
    let stop = signals.recv();
    let left = run::run(
        &mut model,
        &mut watching.source,
        keys,
        done,
        stop,
        &mut desk,
    )
    .await;
    // What is held goes on now.
    drop(desk);
    drop(screen);
    watching.close().await?;
    if Screen::is_lost() {
        return Err(anyhow!("a part of the program panicked").into());
    }
    Ok(match left {
        Left::Quit => Exit::Passed,
        // A terminal that is gone cannot be shown anything.
        Left::Stopped | Left::TerminalGone => Exit::Interrupted,
    })
}

/// The time on both clocks.
struct Watch {
    clock: Clock,
    start: Instant,
}

impl Watch {
    fn now(&self) -> Now {
        let t_us = u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX);
        let unix_ms = self.clock.unix_ms();
        Now { unix_ms, t_us }
    }
}

/// Whatever ends the program from outside. Ctrl-C is a key while the terminal is in raw mode.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    async fn recv(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hangup.recv() => {}
        }
    }
}

/// What the loop has of the outside: the terminal, files and the time.
struct Desk<'a> {
    screen: &'a mut Screen,
    clock: Watch,
    told: mpsc::Sender<Input>,
    /// Where a proxy takes them.
    orders: mpsc::Sender<Order>,
}

impl World for Desk<'_> {
    fn now(&self) -> Now {
        self.clock.now()
    }

    fn draw(&mut self, model: &Model) -> io::Result<()> {
        if Screen::is_lost() {
            return Err(io::Error::other("the screen was given back in a panic"));
        }
        self.screen.draw(|frame| draw(model, frame))
    }

    fn carry_out(&mut self, effect: Effect, source: &mpsc::Sender<Control>) {
        match effect {
            Effect::Quit => {}
            Effect::Copy(entry) => {
                let text = headless::object(&entry);
                let copied = self
                    .screen
                    .copy(&text)
                    .map_err(|error| format!("cannot copy: {error}"));
                self.tell(copied.map(|()| match text.len() {
                    0..LARGE_COPY => "copied to the terminal's clipboard".to_owned(),
                    _ => "copied; many terminals refuse so long a text, saving does not".to_owned(),
                }));
            }
            Effect::Save { stem, entries } => {
                let told = self.told.clone();
                // A full ring is written for a second or more.
                tokio::task::spawn_blocking(move || {
                    let saved = save(Path::new("."), stem, &entries).map(|path| {
                        let events = plural(entries.len(), "event");
                        format!("saved {events} to {}", path.display())
                    });
                    let saved = saved.map_err(|error| format!("cannot save: {error}"));
                    let _ = told.blocking_send(Input::Done(saved));
                });
            }
            Effect::Order(order) => {
                if self.orders.try_send(order).is_err() {
                    self.tell(Err("the proxy is busy".to_owned()));
                }
            }
            Effect::Control(control) => {
                let why = match source.try_send(control) {
                    Ok(()) => return,
                    Err(TrySendError::Closed(_)) => "the source has ended",
                    Err(TrySendError::Full(_)) => "the source is busy",
                };
                self.tell(Err(why.to_owned()));
            }
        }
    }
}

impl Desk<'_> {
    fn tell(&self, told: Result<String, String>) {
        // When so many messages wait that none fits, one more would not be read.
        let _ = self.told.try_send(Input::Done(told));
    }
}

/// Writes entries to the first free of `stem-1.json`, `stem-2.json` and so on.
fn save(folder: &Path, stem: &str, entries: &[Arc<Entry>]) -> io::Result<PathBuf> {
    let mut number = 1;
    let (path, file) = loop {
        let path = folder.join(format!("{stem}-{number}.json"));
        match OpenOptions::new().write(true).create_new(true).open(&path) {
            Ok(file) => break (path, file),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
            Err(error) => return Err(error),
        }
    };
    let mut out = io::BufWriter::new(file);
    if let [entry] = entries {
        writeln!(out, "{}", headless::object(entry))?;
    } else {
        out.write_all(b"[")?;
        for (at, entry) in entries.iter().enumerate() {
            let lead = if at == 0 { "\n" } else { ",\n" };
            write!(out, "{lead}{}", headless::object(entry))?;
        }
        out.write_all(b"\n]\n")?;
    }
    out.flush()?;
    Ok(path.strip_prefix(".").map(Path::to_owned).unwrap_or(path))
}
