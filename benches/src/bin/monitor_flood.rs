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

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, Write};
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use clap::Parser;
use futures_util::{StreamExt as _, stream};
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::event::{Event, KeyCode, KeyEvent, KeyModifiers};
use ratatui::layout::Rect;
use ratatui::{Terminal, TerminalOptions, Viewport};
use rustix::time::{ClockId, clock_gettime};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use touchstone_benches::{host, program};
use touchstone_client::trace::Recorder;
use touchstone_client::{Clock, Direction, Frame, Tap};
use touchstone_tui_monitor::event::{Control, Effect, Now};
use touchstone_tui_monitor::filter::Filter;
use touchstone_tui_monitor::keys::Keymap;
use touchstone_tui_monitor::run::{self, Left, World};
use touchstone_tui_monitor::source::{Options, Overflow, RecordTo, wire};
use touchstone_tui_monitor::{Bounds, Model, Setup, Theme, Times, draw};

/// How often the script sends, each time what has become due.
const BEAT: Duration = Duration::from_millis(2);

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

/// What the script did.
struct Sent {
    arrivals: u64,
    copies: u64,
    cpu: Duration,
}

/// Plays the connections in a thread of its own, whose CPU time can be told from the monitor's.
fn script(
    recorder: Recorder,
    rate: u32,
    end: Instant,
) -> io::Result<std::thread::JoinHandle<Sent>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()?;
    let play = move || {
        runtime.block_on(async {
            let mut cast = Cast::new(&recorder);
            let begun = Instant::now();
            let mut beats = interval(BEAT);
            beats.set_missed_tick_behavior(MissedTickBehavior::Burst);
            while Instant::now() < end {
                beats.tick().await;
                let due = begun.elapsed().as_secs_f64() * f64::from(rate);
                while (cast.arrivals as f64) < due {
                    cast.next();
                }
            }
            Sent {
                arrivals: cast.arrivals,
                copies: cast.copies,
                cpu: thread_time(),
            }
        })
    };
    std::thread::Builder::new()
        .name("script".to_owned())
        .spawn(play)
}

/// The CPU time of this thread.
fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(
        time.tv_sec.unsigned_abs(),
        u32::try_from(time.tv_nsec).unwrap_or(0),
    )
}

/// The connections of one account: two users, who get everything, a session and a machine.
struct Cast {
    users: [Arc<dyn Tap>; 2],
    session: Arc<dyn Tap>,
    machine: Arc<dyn Tap>,
    number: u64,
    arrivals: u64,
    copies: u64,
}

impl Cast {
    fn new(recorder: &Recorder) -> Self {
        let connection = |name: &str, auth: &str| {
            let tap = recorder.tap(name);
            let auth = format!(r#"40{{"token":"secret",{auth}}}"#);
            tap.frame(Instant::now(), Direction::Sent, &Frame::text(auth));
            let sid = format!(r#"40{{"sid":"{name}"}}"#);
            tap.frame(Instant::now(), Direction::Received, &Frame::text(sid));
            tap
        };
        let user = r#""clientType":"user-scoped""#;
        Self {
            users: [connection("1/user-1", user), connection("1/user-2", user)],
            session: connection(
                "1/session-1",
                r#""clientType":"session-scoped","sessionId":"cmbsession0""#,
            ),
            machine: connection(
                "1/machine-1",
                r#""clientType":"machine-scoped","machineId":"cmbmachine0""#,
            ),
            number: 0,
            arrivals: 0,
            copies: 0,
        }
    }

    /// The next thing that happens, which is one arrival or more.
    fn next(&mut self) {
        self.number += 1;
        let number = self.number;
        // A time of day at which the schemas believe in milliseconds.
        let at = 1_800_000_000_000 + number;
        let update = |body: &str| {
            format!(
                r#"42["update",{{"id":"upd{number}","seq":{number},"body":{body},"createdAt":{at}}}]"#
            )
        };
        match number % 10 {
            0..4 => {
                // Mostly small, now and then as large as the load scenarios assume.
                let size = match number % 100 {
                    0 => 12_000,
                    1..10 => 1_000,
                    _ => 120,
                };
                let text = "bWVzc2FnZXMg".repeat(size / 12);
                let message = format!(
                    r#"{{"t":"new-message","sid":"cmbsession0","message":{{"id":"m{number}","seq":{number},"content":{{"t":"encrypted","c":"{text}"}},"localId":null,"createdAt":{at},"updatedAt":{at}}}}}"#
                );
                let frame = update(&message);
                self.got(&frame, &[0, 1, 2]);
            }
            4 | 5 => {
                let body = format!(
                    r#"{{"t":"update-session","id":"cmbsession0","agentState":{{"value":"c3RhdGU=","version":{number}}}}}"#
                );
                self.got(&update(&body), &[0, 1, 2]);
            }
            6 => {
                let body = format!(
                    r#"{{"t":"update-machine","machineId":"cmbmachine0","daemonState":{{"value":"c3RhdGU=","version":{number}}}}}"#
                );
                self.got(&update(&body), &[0, 1, 3]);
            }
            7 => self.call(),
            _ => {
                let frame = format!(
                    r#"42["ephemeral",{{"type":"activity","id":"cmbsession{}","active":true,"activeAt":{at},"thinking":false}}]"#,
                    number % 50
                );
                self.got(&frame, &[0, 1]);
            }
        }
    }

    fn got(&mut self, frame: &str, by: &[usize]) {
        for at in by {
            let tap = match at {
                2 => &self.session,
                3 => &self.machine,
                user => &self.users[*user],
            };
            tap.frame(
                Instant::now(),
                Direction::Received,
                &Frame::text(frame.to_owned()),
            );
        }
        self.arrivals += by.len() as u64;
        self.copies += by.len() as u64 - 1;
    }

    /// A remote call, with its request and both answers.
    fn call(&mut self) {
        let (id, now) = (self.number, Instant::now());
        let call = format!(r#"["rpc-call",{{"method":"cmbmachine0:bash","params":"p{id}"}}]"#);
        let request =
            format!(r#"["rpc-request",{{"method":"cmbmachine0:bash","params":"p{id}"}}]"#);
        let frames = [
            (&self.users[0], Direction::Sent, format!("42{id}{call}")),
            (
                &self.machine,
                Direction::Received,
                format!("42{id}{request}"),
            ),
            (
                &self.machine,
                Direction::Sent,
                format!(r#"43{id}["cmVzdWx0"]"#),
            ),
            (
                &self.users[0],
                Direction::Received,
                format!(r#"43{id}[{{"ok":true,"result":"cmVzdWx0"}}]"#),
            ),
        ];
        for (tap, direction, frame) in frames {
            tap.frame(now, direction, &Frame::text(frame));
        }
        self.arrivals += 4;
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

/// Where the terminal's output ends.
#[derive(Debug, Default)]
struct Sink {
    bytes: u64,
}

/// The sink as a writer, which the terminal and the report share.
#[derive(Debug, Clone)]
struct Shared(Rc<RefCell<Sink>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().bytes += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The world of the loop, and what is measured in it.
struct Stage {
    terminal: Terminal<CrosstermBackend<Shared>>,
    sink: Rc<RefCell<Sink>>,
    start: Instant,
    tenth: Duration,
    /// When the keys were pressed that no frame has answered yet.
    pressed: Rc<RefCell<VecDeque<Instant>>>,
    answers: Vec<Duration>,
    frames: Vec<Duration>,
    memory: Vec<u64>,
    /// The first two rows of the last frame.
    header: [String; 2],
}

impl Stage {
    fn new(arguments: &Arguments, start: Instant) -> anyhow::Result<Self> {
        let sink = Rc::new(RefCell::new(Sink::default()));
        let area = Rect::new(0, 0, arguments.columns, arguments.rows);
        let options = TerminalOptions {
            viewport: Viewport::Fixed(area),
        };
        let backend = CrosstermBackend::new(Shared(Rc::clone(&sink)));
        Ok(Self {
            terminal: Terminal::with_options(backend, options)?,
            sink,
            start,
            tenth: Duration::from_secs(arguments.seconds.into()) / 10,
            pressed: Rc::default(),
            answers: Vec::new(),
            frames: Vec::new(),
            memory: Vec::new(),
            header: Default::default(),
        })
    }
}

impl World for Stage {
    fn now(&self) -> Now {
        Now {
            unix_ms: Clock::System.unix_ms(),
            t_us: u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX),
        }
    }

    fn draw(&mut self, model: &Model) -> io::Result<()> {
        let begun = Instant::now();
        let frame = self.terminal.draw(|frame| draw(model, frame))?;
        self.frames.push(begun.elapsed());
        for (y, row) in (0..).zip(&mut self.header) {
            row.clear();
            let cells = (0..frame.area.width).filter_map(|x| frame.buffer.cell((x, y)));
            row.extend(cells.map(ratatui::buffer::Cell::symbol));
        }
        let now = Instant::now();
        let answered = self.pressed.borrow_mut().drain(..).collect::<Vec<_>>();
        self.answers
            .extend(answered.into_iter().map(|pressed| now - pressed));
        let due = self.tenth * u32::try_from(self.memory.len()).unwrap_or(u32::MAX);
        if self.start.elapsed() >= due {
            let resident = host::resident_bytes(std::process::id()).map_err(io::Error::other)?;
            self.memory.push(resident);
        }
        Ok(())
    }

    fn carry_out(&mut self, _effect: Effect, _source: &mpsc::Sender<Control>) {}
}
