//! `monitor_flood`: does the screen of `touchstone watch` stay responsive while events pour in?
//!
//! A script plays connections that receive so many events per second: their frames are decoded,
//! linted, linked, listed and drawn as those of a server would be, by the loop of the program
//! itself, onto a terminal that throws away what it is sent. Meanwhile keys are pressed, and the
//! time from each key to the end of the frame that answers it is measured.

#![expect(
    clippy::print_stdout,
    reason = "the figures are what this program is for"
)]

mod script;
mod stage;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use clap::Parser;
use futures_util::{StreamExt as _, stream};
use ratatui::crossterm::event::{Event, KeyCode, KeyEvent, KeyModifiers};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use touchstone_benches::{host, program};
use touchstone_client::Clock;
use touchstone_tui_monitor::filter::Filter;
use touchstone_tui_monitor::keys::Keymap;
use touchstone_tui_monitor::run::{self, Left, World as _};
use touchstone_tui_monitor::source::{Options, Overflow, RecordTo, wire};
use touchstone_tui_monitor::{Bounds, Model, Setup, Theme, Times};

use self::script::{Sent, script};
use self::stage::Stage;

/// What is pressed over and over: move, look at a detail and what belongs to it, filter, search, the
/// side pane, bookmarks, pause, help.
const KEYS: &str =
    "kkkjjj\n\n\npp\u{1b}Gfkind == \"update\"\nkkGF/bWVz\nnnNGvvmMM  ??\t\t\u{1b}G!G";

/// Flood the monitor and measure how fast it answers.
#[derive(Debug, Parser)]
struct Arguments {
    /// Events that arrive per second
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    rate: u32,

    /// How long
    #[arg(long, value_name = "S", default_value_t = 60)]
    #[arg(value_parser = clap::value_parser!(u32).range(2..=3_600))]
    seconds: u32,

    /// Columns of the terminal
    #[arg(long, value_name = "N", default_value_t = 120)]
    columns: u16,

    /// Rows of the terminal
    #[arg(long, value_name = "N", default_value_t = 40)]
    rows: u16,

    /// Keys that are pressed per second
    #[arg(long, value_name = "N", default_value_t = 30)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000))]
    keys: u32,

    /// Events that the ring keeps
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    ring_events: usize,

    /// Memory that the ring keeps, in MiB
    #[arg(long, value_name = "MIB", default_value_t = 128)]
    ring_mib: usize,
}

#[tokio::main]
async fn main() -> ExitCode {
    program::ended(flood(&Arguments::parse()).await)
}

async fn flood(arguments: &Arguments) -> anyhow::Result<()> {
    let options = Options {
        clock: Clock::System,
        // As many as the program has.
        queue: 16_384,
        overflow: Overflow::Drop,
        record: RecordTo::Nowhere,
        recording: false,
        seed: 0,
    };
    let (mut source, recorder) = wire::start(
        wire::Wire {
            target: "a script",
            tool: None,
            rest: None,
            inspect: None,
        },
        &options,
    );
    let bounds = Bounds {
        events: arguments.ring_events,
        bytes: arguments.ring_mib << 20,
    };
    let mut stage = Stage::new(arguments, source.start)?;
    let mut model = Model::new(Setup {
        target: "a script".to_owned(),
        theme: Theme::Dark,
        ascii: false,
        times: Times::Utc,
        offset: |_| 0,
        keys: Keymap::default(),
        bounds,
        filter: Filter::parse("").context("nothing is a filter")?,
        size: (arguments.columns, arguments.rows),
        now: stage.now(),
    });
    let pid = std::process::id();
    let (cpu, begun) = (host::cpu_nanos(pid)?, Instant::now());
    let end = begun + Duration::from_secs(arguments.seconds.into());
    let script = script(recorder, arguments.rate, end)?;
    let pressed = Rc::clone(&stage.pressed);
    let keys = typist(arguments.keys, pressed);
    let (_done, done) = mpsc::channel(1);
    // What was sent last is to be seen before the end.
    let stop = sleep_until(end + Duration::from_millis(500));
    let left = run::run(
        &mut model,
        &mut source,
        Box::pin(keys),
        done,
        stop,
        &mut stage,
    )
    .await;
    ensure!(left == Left::Stopped, "the loop ended early: {left:?}");
    let elapsed = begun.elapsed();
    let cpu = host::cpu_nanos(pid)? - cpu;
    let sent = script.join().ok().context("the script panicked")?;
    stage.memory.push(host::resident_bytes(pid)?);
    report(
        &stage,
        &model,
        bounds,
        &sent,
        elapsed,
        Duration::from_nanos(cpu),
    )
}

fn report(
    stage: &Stage,
    model: &Model,
    bounds: Bounds,
    sent: &Sent,
    elapsed: Duration,
    cpu: Duration,
) -> anyhow::Result<()> {
    let counts = model.counts();
    let (kept, bytes) = model.kept();
    let header = &stage.header;
    println!("screen    {}", header[0].trim());
    println!("          {}", header[1].trim());
    println!(
        "events    {} arrived in {:.1} s, {} of them copies; {} seen, {} dropped, {} left the ring",
        sent.arrivals,
        elapsed.as_secs_f64(),
        sent.copies,
        counts.seen,
        counts.dropped,
        counts.forgotten
    );
    println!("answered  {}", spread(&stage.answers));
    println!(
        "frames    {} drawn, {} of output each; {}",
        stage.frames.len(),
        kib(stage.sink.borrow().bytes / stage.frames.len().max(1) as u64),
        spread(&stage.frames)
    );
    println!(
        "ring      {kept} events, {} of {}",
        kib(bytes as u64),
        kib(bounds.bytes as u64)
    );
    let memory: Vec<String> = stage.memory.iter().map(|bytes| kib(*bytes)).collect();
    println!("resident  {} (at each tenth)", memory.join(", "));
    let own = cpu.saturating_sub(sent.cpu).as_secs_f64() / elapsed.as_secs_f64();
    println!(
        "CPU       {:.1} % of a core, and {:.1} s for the script",
        own * 100.0,
        sent.cpu.as_secs_f64()
    );

    let distinct = sent.arrivals - sent.copies;
    ensure!(
        counts.seen <= distinct && counts.seen + counts.dropped >= distinct,
        "{distinct} events were sent, and not all are accounted for"
    );
    ensure!(
        kept <= bounds.events && bytes <= bounds.bytes,
        "the ring is fuller than it may be"
    );
    let told = match counts.dropped {
        0 => "0 dropped",
        _ => "dropped",
    };
    ensure!(
        header[1].contains(told) && (counts.dropped == 0 || !header[1].contains(" 0 dropped")),
        "the screen does not tell what was dropped"
    );
    Ok(())
}

/// Percentiles of times.
fn spread(times: &[Duration]) -> String {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    let at = |share: usize| {
        let index = (sorted.len() * share / 1_000).min(sorted.len().saturating_sub(1));
        sorted.get(index).copied().unwrap_or_default().as_secs_f64() * 1e3
    };
    format!(
        "{} times: p50 {:.1} ms, p90 {:.1} ms, p99 {:.1} ms, p999 {:.1} ms, longest {:.1} ms",
        sorted.len(),
        at(500),
        at(900),
        at(990),
        at(999),
        at(1_000)
    )
}

fn kib(bytes: u64) -> String {
    match bytes {
        0..1_048_576 => format!("{:.1} KiB", bytes as f64 / 1024.0),
        _ => format!("{:.1} MiB", bytes as f64 / 1_048_576.0),
    }
}

/// Presses the keys, each of which leaves the time at which it was pressed.
fn typist(
    rate: u32,
    pressed: Rc<RefCell<VecDeque<Instant>>>,
) -> impl futures_util::Stream<Item = io::Result<Event>> {
    let period = Duration::from_secs(1) / rate;
    let begun = Instant::now() + Duration::from_secs(1);
    let keys = stream::iter(KEYS.chars().collect::<Vec<_>>().into_iter().cycle()).enumerate();
    keys.then(move |(at, character)| {
        // Not in step with the frames.
        let due = begun + period * u32::try_from(at).unwrap_or(u32::MAX);
        let pressed = Rc::clone(&pressed);
        async move {
            sleep_until(due).await;
            pressed.borrow_mut().push_back(due);
            let code = match character {
                '\n' => KeyCode::Enter,
                '\t' => KeyCode::Tab,
                '\u{1b}' => KeyCode::Esc,
                other => KeyCode::Char(other),
            };
            Ok(Event::Key(KeyEvent::new(code, KeyModifiers::NONE)))
        }
    })
}
