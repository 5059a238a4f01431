//! The world of the monitor's loop, with a terminal that throws away what it is sent, and what is measured
//! in it.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, Write};
use std::rc::Rc;
use std::time::Duration;

use ratatui::backend::CrosstermBackend;
use ratatui::layout::Rect;
use ratatui::{Terminal, TerminalOptions, Viewport};
use tokio::sync::mpsc;
use tokio::time::Instant;
use touchstone_benches::host;
use touchstone_client::Clock;
use touchstone_tui_monitor::event::{Control, Effect, Now};
use touchstone_tui_monitor::run::World;
use touchstone_tui_monitor::{Model, draw};

use super::Arguments;

/// Where the terminal's output ends.
#[derive(Debug, Default)]
pub(crate) struct Sink {
    pub(crate) bytes: u64,
}

/// The sink as a writer, which the terminal and the report share.
#[derive(Debug, Clone)]
pub(crate) struct Shared(Rc<RefCell<Sink>>);

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
pub(crate) struct Stage {
    pub(crate) terminal: Terminal<CrosstermBackend<Shared>>,
    pub(crate) sink: Rc<RefCell<Sink>>,
    pub(crate) start: Instant,
    pub(crate) tenth: Duration,
    /// When the keys were pressed that no frame has answered yet.
    pub(crate) pressed: Rc<RefCell<VecDeque<Instant>>>,
    pub(crate) answers: Vec<Duration>,
    pub(crate) frames: Vec<Duration>,
    pub(crate) memory: Vec<u64>,
    /// The first two rows of the last frame.
    pub(crate) header: [String; 2],
}

impl Stage {
    pub(crate) fn new(arguments: &Arguments, start: Instant) -> anyhow::Result<Self> {
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
