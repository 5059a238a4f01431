//! `touchstone watch` on a terminal: one loop between the keyboard, the source and the screen.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use crossterm::event::{Event, EventStream};
use futures_util::StreamExt as _;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval};
use touchstone_client::Clock;
use touchstone_client::text::plural;
use touchstone_tui_monitor::event::{Effect, Entry, Input, Now};
use touchstone_tui_monitor::keys::Keymap;
use touchstone_tui_monitor::source::Source;
use touchstone_tui_monitor::{Bounds, Model, Setup, Theme, draw, headless};

use crate::args::{Color, ScreenArguments, ThemeName, WatchArguments};
use crate::error::Failure;
use crate::exit::Exit;
use crate::screen::{Inputs, Screen};

use super::watch_headless::filter;
use super::watch_source::Watching;

/// Time between two frames while something happens.
const FRAME: Duration = Duration::from_millis(33);

/// Inputs that are taken in between two frames. More wait in their bounded queue, so that a key is
/// answered soon even when the source is faster than the screen.
const ROUND: usize = 4_000;

/// Frames without news after which one is drawn all the same, since rates and ages change.
const IDLE_FRAMES: u32 = 8;

/// Larger texts are refused by the clipboards of many terminals.
const LARGE_COPY: usize = 74_000;

/// What the screen needs from the arguments; everything that can be wrong with them shows here,
/// before the terminal is taken.
pub(crate) struct Plan {
    setup: Setup,
}

/// Turns the arguments into a plan.
pub(crate) fn plan(arguments: &WatchArguments, color: Color) -> Result<Plan, Failure> {
    if let Some(why) = Screen::missing() {
        return Err(Failure::usage(anyhow!(why)).hint("use --headless to print lines"));
    }
    let screen = &arguments.screen;
    let setup = Setup {
        target: String::new(),
        theme: theme(screen, color),
        ascii: screen.ascii,
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
        filter: filter("--filter", arguments.filter.as_deref().unwrap_or_default())?,
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

fn keys(path: &Path) -> Result<Keymap, Failure> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read {}", path.display()))
        .map_err(Failure::usage)?;
    Keymap::parse(&text)
        .with_context(|| format!("cannot use {}", path.display()))
        .map_err(|error| Failure::usage(error).hint("--print-keys prints a file to begin with"))
}

/// Shows what the source sends until the user leaves or a signal ends it.
pub(crate) async fn run(plan: Plan, mut watching: Watching) -> Result<Exit, Failure> {
    let mut signals = Signals::new().context("cannot catch signals")?;
    let mut screen = Screen::take(Inputs::All).context("cannot use the terminal")?;
    let size = crossterm::terminal::size().context("the terminal has no size")?;
    let clock = Watch {
        clock: Clock::System,
        start: Instant::now(),
    };
    let mut model = Model::new(Setup {
        target: std::mem::take(&mut watching.target),
        size,
        now: clock.now(),
        ..plan.setup
    });
    let (told, mut done) = mpsc::channel(16);
    let mut desk = Desk { told };
    let mut keys = EventStream::new();
    let mut frames = interval(FRAME);
    frames.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut idle = 0;
    let exit = loop {
        if Screen::is_lost() {
            return Err(anyhow!("a part of the program panicked").into());
        }
        // Keys come first, and are answered by a frame at once.
        let (effects, draw_now) = tokio::select! {
            biased;
            () = signals.recv() => break Exit::Interrupted,
            event = keys.next() => match event {
                Some(Ok(event)) => (input_of(event).map(|input| model.update(input)), true),
                // A terminal that is gone cannot be shown anything.
                Some(Err(_)) | None => break Exit::Interrupted,
            },
            Some(input) = done.recv() => (Some(model.update(input)), true),
            _ = frames.tick() => {
                let news = take_in(&mut model, &mut watching.source);
                let effects = model.update(Input::Tick(clock.now()));
                idle = if news { 0 } else { idle + 1 };
                (Some(effects), idle % IDLE_FRAMES == 0)
            }
        };
        let effects = effects.unwrap_or_default();
        if effects.contains(&Effect::Quit) {
            break Exit::Passed;
        }
        for effect in effects {
            desk.carry_out(effect, &mut screen, &watching.source);
        }
        if draw_now {
            let drawn = screen.draw(|frame| draw(&model, frame));
            if drawn.is_err() {
                break Exit::Interrupted;
            }
        }
    };
    drop(screen);
    watching.close().await?;
    Ok(exit)
}

/// Hands the model what the source has sent since the last round.
fn take_in(model: &mut Model, source: &mut Source) -> bool {
    let mut news = false;
    for _ in 0..ROUND {
        let Ok(input) = source.inputs.try_recv() else {
            break;
        };
        news = true;
        // Entries and states ask for nothing.
        model.update(input);
    }
    news
}

fn input_of(event: Event) -> Option<Input> {
    match event {
        Event::Key(key) => Some(Input::Key(key)),
        Event::Mouse(mouse) => Some(Input::Mouse(mouse)),
        Event::Paste(text) => Some(Input::Paste(text)),
        Event::Resize(columns, rows) => Some(Input::Resize(columns, rows)),
        Event::FocusGained | Event::FocusLost => None,
    }
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

/// Carries out what the model asks for.
struct Desk {
    told: mpsc::Sender<Input>,
}

impl Desk {
    fn carry_out(&mut self, effect: Effect, screen: &mut Screen, source: &Source) {
        match effect {
            Effect::Quit => {}
            Effect::Copy(entry) => {
                let text = headless::object(&entry);
                let copied = screen
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
                        let events = plural(entries.len() as u64, "event");
                        format!("saved {events} to {}", path.display())
                    });
                    let saved = saved.map_err(|error| format!("cannot save: {error}"));
                    let _ = told.blocking_send(Input::Done(saved));
                });
            }
            Effect::Control(control) => {
                if source.controls.try_send(control).is_err() {
                    self.tell(Err("the source has ended".to_owned()));
                }
            }
        }
    }

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
