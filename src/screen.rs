//! The terminal as a screen: taken while this is held, and given back however the program ends.
//! What is drawn on it, and what keys mean, is for whoever holds it.

use std::io::{self, IsTerminal as _, Stdout, Write, stdin, stdout};
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

use crossterm::clipboard::CopyToClipboard;
use crossterm::event::{
    DisableBracketedPaste, DisableMouseCapture, EnableBracketedPaste, EnableMouseCapture,
};
use crossterm::terminal::{
    BeginSynchronizedUpdate, EndSynchronizedUpdate, EnterAlternateScreen, LeaveAlternateScreen,
    disable_raw_mode, enable_raw_mode,
};
use crossterm::{cursor, execute, queue, style};
use ratatui::backend::CrosstermBackend;
use ratatui::{Frame, Terminal};

use crate::logging;

/// Whether a screen is held, so that it is given back once.
static HELD: AtomicBool = AtomicBool::new(false);

/// Whether something panicked since the screen was taken, in whichever thread.
static PANICKED: AtomicBool = AtomicBool::new(false);

/// What a screen is told by its terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Inputs {
    /// Keys alone; the mouse still selects text.
    Keys,
    /// Also the mouse, and pasted texts as a whole.
    All,
}

/// Whether the terminal says that it knows no escape sequences.
pub(crate) fn is_dumb() -> bool {
    #[expect(
        clippy::disallowed_methods,
        reason = "the binary is the place that reads the environment"
    )]
    let kind = std::env::var_os("TERM");
    kind.is_some_and(|kind| kind == "dumb")
}

/// The terminal in raw mode, on its alternate screen. Gives it back when dropped, and in a panic of
/// any thread before the message is printed.
pub(crate) struct Screen {
    terminal: Terminal<CrosstermBackend<Stdout>>,
}

impl Screen {
    /// Why there is no terminal that can be drawn on, if so.
    pub(crate) fn missing() -> Option<&'static str> {
        if !stdout().is_terminal() {
            Some("stdout is not a terminal")
        } else if !stdin().is_terminal() {
            Some("stdin is not a terminal")
        } else if is_dumb() {
            Some("the terminal cannot move its cursor (TERM=dumb)")
        } else {
            None
        }
    }

    /// Takes the terminal. Logs and notices fall silent, since they would be written across the
    /// screen.
    ///
    /// # Errors
    /// When there is no terminal, or it does not do what is asked.
    pub(crate) fn take(inputs: Inputs) -> io::Result<Self> {
        static HOOK: Once = Once::new();
        HOOK.call_once(|| {
            let print = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |panic| {
                PANICKED.store(true, Ordering::Relaxed);
                give_back();
                print(panic);
            }));
        });
        // Whoever draws decides about colours. The library's own way to leave them out would also
        // undo bold and reverse.
        style::force_color_output(true);
        enable_raw_mode()?;
        HELD.store(true, Ordering::Relaxed);
        logging::hush(true);
        // From here on the terminal is given back by the drop of the value, errors included.
        let screen = Self {
            terminal: Terminal::new(CrosstermBackend::new(stdout()))?,
        };
        execute!(stdout(), EnterAlternateScreen)?;
        if inputs == Inputs::All {
            execute!(stdout(), EnableMouseCapture, EnableBracketedPaste)?;
        }
        Ok(screen)
    }

    /// Draws one frame, which the terminal shows as a whole if it can.
    ///
    /// # Errors
    /// When the terminal cannot be written to.
    pub(crate) fn draw(&mut self, render: impl FnOnce(&mut Frame<'_>)) -> io::Result<()> {
        queue!(stdout(), BeginSynchronizedUpdate)?;
        self.terminal.draw(render)?;
        execute!(stdout(), EndSynchronizedUpdate)
    }

    /// Puts a text into the clipboard of the terminal, which may be on another machine than this.
    ///
    /// # Errors
    /// When the terminal cannot be written to. Whether it takes the text, no terminal tells.
    pub(crate) fn copy(&mut self, text: &str) -> io::Result<()> {
        execute!(stdout(), CopyToClipboard::to_clipboard_from(text))
    }

    /// Whether a part of the program panicked, after which the screen is no longer ours.
    pub(crate) fn is_lost() -> bool {
        PANICKED.load(Ordering::Relaxed)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

fn give_back() {
    if !HELD.swap(false, Ordering::Relaxed) {
        return;
    }
    // A terminal that is gone needs nothing back.
    let _ = execute!(
        stdout(),
        DisableBracketedPaste,
        DisableMouseCapture,
        LeaveAlternateScreen,
        cursor::Show
    );
    let _ = stdout().flush();
    let _ = disable_raw_mode();
    logging::hush(false);
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use pty_process::blocking::{Command, open};
    use rustix::termios::{LocalModes, tcgetattr};

    use super::*;

    #[test]
    #[ignore = "the other test runs it, in a terminal of its own"]
    fn panics_on_the_screen() {
        let _screen = Screen::take(Inputs::All).expect("a terminal");
        panic!("the end");
    }

    #[test]
    fn a_panic_gives_the_terminal_back_before_it_is_told() {
        let (mut pty, pts) = open().expect("a pseudo-terminal");
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .args([
                "screen::tests::panics_on_the_screen",
                "--exact",
                "--ignored",
                "--nocapture",
            ])
            .spawn(pts)
            .expect("this program again");
        let (mut output, mut part) = (Vec::new(), [0; 4096]);
        // The end of a pseudo-terminal's other side is an error on Linux.
        while let Ok(read @ 1..) = pty.read(&mut part) {
            output.extend_from_slice(&part[..read]);
        }
        assert!(!child.wait().expect("its end").success());
        let output = String::from_utf8_lossy(&output);
        let place = |text: &str| {
            output
                .find(text)
                .unwrap_or_else(|| panic!("{text:?}: {output}"))
        };
        assert!(place("\x1b[?1049h") < place("\x1b[?1049l"));
        assert!(place("\x1b[?1049l") < place("the end"));
        assert!(place("\x1b[?1000l") < place("the end"));
        let modes = tcgetattr(&pty).expect("the terminal's modes").local_modes;
        assert!(modes.contains(LocalModes::ECHO | LocalModes::ICANON));
    }
}
