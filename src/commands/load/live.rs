//! What is seen while a run lasts: a view on a terminal, lines elsewhere.

use std::io::{self, IsTerminal as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use tokio::sync::{mpsc, watch};
use touchstone_loadgen::live::{View, draw, line};
use touchstone_loadgen::progress::{Snapshot, Stage};

use super::stop::Stop;

/// How long a key may wait for its effect, and the program for the reader of keys.
const KEY_POLL: Duration = Duration::from_millis(100);

/// Runs no longer than this tell how they are every second.
const SHORT: Duration = Duration::from_secs(30);

/// How often longer ones do.
const LONG_STEP: u64 = 10;

/// Shows a run until the sender of its progress is gone.
pub(super) async fn show(title: &str, seen: watch::Receiver<Snapshot>, stop: &Stop, plain: bool) {
    let is_terminal = io::stdout().is_terminal() && io::stdin().is_terminal();
    if plain || !is_terminal {
        return lines(seen).await;
    }
    match Screen::take() {
        Ok(screen) => view(screen, title, seen, stop).await,
        // A terminal that cannot be drawn on still takes lines.
        Err(_) => lines(seen).await,
    }
}

/// Lines on stderr, at each change of what the run does and every second or ten.
async fn lines(mut seen: watch::Receiver<Snapshot>) {
    let mut told: Option<(Stage, u64)> = None;
    while seen.changed().await.is_ok() {
        let snapshot = seen.borrow_and_update().clone();
        let step = if snapshot.total <= SHORT {
            1
        } else {
            LONG_STEP
        };
        let now = (snapshot.stage, snapshot.elapsed.as_secs() / step);
        if told != Some(now) {
            told = Some(now);
            super::notice(&line(&snapshot));
        }
    }
}

/// The live view.
async fn view(mut screen: Screen, title: &str, mut seen: watch::Receiver<Snapshot>, stop: &Stop) {
    let mut view = View::new(title);
    let (mut keys, reader) = Keys::read();
    loop {
        if stop.asked() {
            view.stopping();
        }
        // A terminal that is gone does not end the run; its report goes elsewhere.
        screen.terminal.draw(|frame| draw(frame, &view)).ok();
        tokio::select! {
            changed = seen.changed() => match changed {
                Ok(()) => view.update(seen.borrow_and_update().clone()),
                Err(_) => break,
            },
            Some(event) = keys.recv() => match event {
                Event::Key(key) if is_ctrl_c(key) => stop.interrupt(),
                Event::Key(KeyEvent { code: KeyCode::Char('q') | KeyCode::Esc, kind: KeyEventKind::Press, .. }) => stop.ask(),
                _ => {}
            },
        }
    }
    drop(keys);
    reader.end().await;
}

fn is_ctrl_c(key: KeyEvent) -> bool {
    key.code == KeyCode::Char('c')
        && key.modifiers.contains(KeyModifiers::CONTROL)
        && key.kind == KeyEventKind::Press
}

/// The terminal while it is drawn on. It is given back when this is dropped, and when the program
/// panics.
struct Screen {
    terminal: DefaultTerminal,
}

impl Screen {
    fn take() -> io::Result<Self> {
        let mut terminal = ratatui::try_init()?;
        terminal.clear()?;
        Ok(Self { terminal })
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        ratatui::restore();
    }
}

/// The thread that reads keys, since reading them blocks.
struct Keys {
    ended: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Keys {
    fn read() -> (mpsc::Receiver<Event>, Self) {
        let (sender, keys) = mpsc::channel(16);
        let ended = Arc::new(AtomicBool::new(false));
        let asked = Arc::clone(&ended);
        let thread = std::thread::spawn(move || {
            while !asked.load(Ordering::Relaxed) {
                let event = match event::poll(KEY_POLL) {
                    Ok(false) => continue,
                    Ok(true) => event::read(),
                    Err(error) => Err(error),
                };
                // Without a terminal, or without a view, nobody needs keys.
                let Ok(event) = event else { break };
                if sender.blocking_send(event).is_err() {
                    break;
                }
            }
        });
        (keys, Self { ended, thread })
    }

    /// Ends the thread before the terminal is given back, so that it takes no key of the shell's.
    async fn end(self) {
        self.ended.store(true, Ordering::Relaxed);
        // A thread that panicked has ended, too.
        tokio::task::spawn_blocking(|| self.thread.join())
            .await
            .ok();
    }
}
