//! The program in a pseudo-terminal, driven as a person drives it.

use std::cell::Cell;
use std::io::{Read as _, Write as _};
use std::num::NonZero;
use std::process::Child;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use pty_process::blocking::{Command, Pty, open};
use rustix::termios::{LocalModes, tcgetattr};
use tokio::time::Instant;

use crate::support::STEERING;

/// How long the program may take for what is waited for, on a machine that is busy with other things.
const DEADLINE: Duration = Duration::from_secs(30);

/// Columns and rows of a terminal.
pub(crate) type Size = (u16, u16);

/// The smallest terminal that everything has to fit.
pub(crate) const SMALL: Size = (80, 24);

/// What the terminal has been sent so far, and whether the program closed it.
#[derive(Default)]
pub(crate) struct Received {
    pub(crate) bytes: Vec<u8>,
    pub(crate) closed: bool,
}

/// A terminal with the program in it.
pub(crate) struct Terminal {
    pty: Arc<Pty>,
    pub(crate) child: Child,
    received: Arc<(Mutex<Received>, Condvar)>,
    size: Cell<Size>,
}

impl Terminal {
    /// A small terminal with colours.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        Self::start_with(arguments, &[])
    }

    /// A small terminal whose program has these variables in its environment.
    pub(crate) fn start_with(arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let (pty, pts) = open().expect("a pseudo-terminal");
        let (columns, rows) = SMALL;
        pty.resize(pty_process::Size::new(rows, columns))
            .expect("a size");
        let mut command = Command::new(env!("CARGO_BIN_EXE_touchstone"));
        for variable in STEERING {
            command = command.env_remove(variable);
        }
        let child = command
            .args(arguments)
            .env("TERM", "xterm-256color")
            .envs(variables.iter().copied())
            .spawn(pts)
            .expect("the program starts");
        let pty = Arc::new(pty);
        let received = Arc::new((Mutex::new(Received::default()), Condvar::new()));
        let (reader, shared) = (Arc::clone(&pty), Arc::clone(&received));
        std::thread::spawn(move || {
            let mut part = [0; 8192];
            // The end of a pseudo-terminal's other side is an error on Linux.
            while let Ok(read @ 1..) = (&*reader).read(&mut part) {
                let mut received = shared.0.lock().expect("no panic");
                received.bytes.extend_from_slice(&part[..read]);
                shared.1.notify_all();
            }
            shared.0.lock().expect("no panic").closed = true;
            shared.1.notify_all();
        });
        Self {
            pty,
            child,
            received,
            size: Cell::new(SMALL),
        }
    }

    pub(crate) fn send(&self, keys: &str) {
        (&*self.pty).write_all(keys.as_bytes()).expect("a terminal");
    }

    /// Gives the terminal another size, of which the program is told.
    pub(crate) fn resize(&self, size: Size) {
        let (columns, rows) = size;
        self.pty
            .resize(pty_process::Size::new(rows, columns))
            .expect("a size");
        self.size.set(size);
    }

    /// The screen that the terminal would show now.
    fn screen(&self, received: &Received) -> vt100::Parser {
        let cells = |cells| NonZero::new(cells).expect("more than nothing");
        let (columns, rows) = self.size.get();
        let mut parser = vt100::Parser::new(cells(rows), cells(columns), 0);
        parser.process(&received.bytes);
        parser
    }

    /// Waits until the screen is as wanted, and returns its text.
    #[track_caller]
    pub(crate) fn wait(
        &self,
        what: &str,
        wanted: impl Fn(&Received, &vt100::Screen) -> bool,
    ) -> String {
        let end = Instant::now() + DEADLINE;
        let mut received = self.received.0.lock().expect("no panic");
        loop {
            let parser = self.screen(&received);
            if wanted(&received, parser.screen()) {
                return parser.screen().contents();
            }
            let left = end.saturating_duration_since(Instant::now());
            assert!(
                !left.is_zero() && !received.closed,
                "no {what} on\n{}",
                parser.screen().contents()
            );
            received = self
                .received
                .1
                .wait_timeout(received, left)
                .expect("no panic")
                .0;
        }
    }

    #[track_caller]
    pub(crate) fn wait_for(&self, text: &str) -> String {
        self.wait(text, |_, screen| screen.contents().contains(text))
    }

    /// Waits for the end of the program, checks its exit code and that the terminal is as it was, and
    /// returns everything that the terminal has been sent.
    #[track_caller]
    pub(crate) fn ends(mut self, code: i32) -> String {
        self.wait("end", |received, _| received.closed);
        let status = self.child.wait().expect("its end");
        let received = self.received.0.lock().expect("no panic");
        let text = String::from_utf8_lossy(&received.bytes).into_owned();
        assert_eq!(status.code(), Some(code), "{text}");
        let parser = self.screen(&received);
        let screen = parser.screen();
        assert!(!screen.alternate_screen() && !screen.hide_cursor() && !screen.bracketed_paste());
        assert_eq!(screen.mouse_protocol_mode(), vt100::MouseProtocolMode::None);
        let modes = tcgetattr(&*self.pty)
            .expect("the terminal's modes")
            .local_modes;
        assert!(modes.contains(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG));
        drop(received);
        text
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
