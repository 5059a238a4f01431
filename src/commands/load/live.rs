//! What is seen while a run lasts: a view on a terminal, lines elsewhere.

use std::time::Duration;

use crossterm::event::{Event, EventStream, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use futures_util::StreamExt as _;
use tokio::sync::watch;
use touchstone_loadgen::live::{Key, View, draw, line};
use touchstone_loadgen::progress::{Snapshot, Stage};

use crate::commands::stop::Stop;
use crate::reports;
use crate::screen::{Inputs, Screen};

/// Runs no longer than this tell how they are every second.
const SHORT: Duration = Duration::from_secs(30);

/// How often longer ones do.
const LONG_STEP: u64 = 10;

/// How a run is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    /// Drawn where a terminal can be drawn on, in lines elsewhere.
    Drawn {
        /// With ASCII characters alone.
        ascii: bool,
    },
    /// In lines.
    Plain,
    /// Not at all.
    Quiet,
}

/// Shows a run until the sender of its progress is gone.
pub(super) async fn show(
    title: &str,
    seen: watch::Receiver<Snapshot>,
    stop: &Stop,
    manner: Manner,
) {
    match manner {
        Manner::Quiet => {}
        Manner::Drawn { ascii } if Screen::missing().is_none() => {
            match Screen::take(Inputs::Keys) {
                Ok(screen) => {
                    let style = crate::reports::style(&std::io::stdout());
                    let view = View::new(title, style).in_ascii(ascii);
                    drawn(screen, view, seen, stop).await;
                }
                // A terminal that cannot be drawn on still takes lines.
                Err(_) => lines(seen).await,
            }
        }
        Manner::Drawn { .. } | Manner::Plain => lines(seen).await,
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
            reports::notice(&line(&snapshot));
        }
    }
}

/// The live view. What becomes of the screen does not end the run: its report goes elsewhere.
async fn drawn(
    mut screen: Screen,
    mut view: View,
    mut seen: watch::Receiver<Snapshot>,
    stop: &Stop,
) {
    let mut keys = EventStream::new();
    let (mut is_stopping, mut has_keys) = (false, true);
    loop {
        // A panic has given the terminal back already, and its message shall stay readable.
        if Screen::is_lost() || screen.draw(|frame| draw(frame, &view)).is_err() {
            drop(keys);
            drop(screen);
            return lines(seen).await;
        }
        tokio::select! {
            changed = seen.changed() => match changed {
                Ok(()) => view.update(seen.borrow_and_update().clone()),
                Err(_) => break,
            },
            () = stop.when_asked(), if !is_stopping => {
                is_stopping = true;
                view.stopping();
            }
            event = keys.next(), if has_keys => match event {
                Some(Ok(Event::Key(key))) if is_ctrl_c(key) => stop.interrupt(),
                Some(Ok(Event::Key(key))) if key.kind == KeyEventKind::Press => {
                    if view.press(pressed(key)) {
                        stop.ask();
                    }
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => has_keys = false,
            },
        }
    }
}

fn is_ctrl_c(key: KeyEvent) -> bool {
    key.code == KeyCode::Char('c')
        && key.modifiers.contains(KeyModifiers::CONTROL)
        && key.kind == KeyEventKind::Press
}

fn pressed(key: KeyEvent) -> Key {
    match key.code {
        KeyCode::Char(c) => Key::Char(c),
        _ => Key::Other,
    }
}
