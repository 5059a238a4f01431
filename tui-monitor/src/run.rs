//! The loop between the keyboard, a source and the screen: who is heard first, and when a frame is
//! drawn.
//!
//! The terminal, signals, files and the clock belong to whoever calls it, as a [`World`], so that the
//! program and the bench that floods it run the very same loop. This module must not know what a
//! key or an entry means.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use futures_util::{Stream, StreamExt as _};
use ratatui::crossterm::event::Event;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

use crate::event::{Control, Effect, Input, Now};
use crate::model::Model;
use crate::source::Source;

/// Time between two frames while something happens.
const FRAME: Duration = Duration::from_millis(33);

/// Inputs that are taken in between two frames. More wait in their bounded queue, so that a key is
/// answered soon even when the source is faster than the screen.
const ROUND: usize = 4_000;

/// Keys and turns of the wheel that one frame answers, where so many came at once.
const KEYS: usize = 256;

/// Frames without news after which one is drawn all the same, since rates and ages change.
const IDLE_FRAMES: u32 = 8;

/// What the loop needs from outside.
pub trait World {
    /// The time, on the clock of the entries.
    fn now(&self) -> Now;

    /// Shows the model.
    ///
    /// # Errors
    /// The terminal cannot be written to any more, which ends the loop.
    fn draw(&mut self, model: &Model) -> io::Result<()>;

    /// Does what the model asks for, or begins to; the loop takes care of [`Effect::Quit`] itself.
    /// `source` takes what is for the source.
    fn carry_out(&mut self, effect: Effect, source: &mpsc::Sender<Control>);
}

/// Why the loop ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Left {
    /// The user asked for it.
    Quit,
    /// The caller's `stop` came true.
    Stopped,
    /// There is no keyboard or no screen any more.
    TerminalGone,
}

/// Shows what `source` sends until somebody leaves. `keys` is the keyboard; `done` brings what became
/// of effects that take a while.
pub async fn run<K>(
    model: &mut Model,
    source: &mut Source,
    mut keys: K,
    mut done: mpsc::Receiver<Input>,
    stop: impl Future<Output = ()>,
    world: &mut impl World,
) -> Left
where
    K: Stream<Item = io::Result<Event>> + Unpin,
{
    let mut stop = pin!(stop);
    let mut frames = interval(FRAME);
    frames.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut idle = 0;
    loop {
        let mut effects = Vec::new();
        // Frames come before keys, so that a key that is held down cannot stop the list; they are so
        // short that the next key hardly waits.
        let draw = tokio::select! {
            biased;
            () = &mut stop => return Left::Stopped,
            _ = frames.tick() => {
                let news = take_in(model, source);
                effects.extend(model.update(Input::Tick(world.now())));
                idle = if news { 0 } else { idle + 1 };
                idle % IDLE_FRAMES == 0
            }
            event = keys.next() => {
                let mut next = Some(event);
                let mut answered = 0;
                while let Some(event) = next {
                    let Some(Ok(event)) = event else {
                        return Left::TerminalGone;
                    };
                    if let Some(input) = input_of(event) {
                        effects.extend(model.update(input));
                    }
                    answered += 1;
                    next = match answered {
                        KEYS => None,
                        _ => ready(&mut keys).await,
                    };
                }
                true
            }
            Some(input) = done.recv() => {
                effects.extend(model.update(input));
                true
            }
        };
        for effect in effects {
            if effect == Effect::Quit {
                return Left::Quit;
            }
            world.carry_out(effect, &source.controls);
        }
        if draw && world.draw(model).is_err() {
            return Left::TerminalGone;
        }
    }
}

/// What the keyboard has at once, if anything.
async fn ready<K: Stream + Unpin>(keys: &mut K) -> Option<Option<K::Item>> {
    poll_fn(|context| match keys.poll_next_unpin(context) {
        Poll::Ready(event) => Poll::Ready(Some(event)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
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
