//! The screen of `touchstone watch`, driven as a person drives it: in a pseudo-terminal.

use std::io::{Read as _, Write as _};
use std::num::NonZero;
use std::process::Child;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use pty_process::Size;
use pty_process::blocking::{Command, Pty, open};
use rustix::process::Signal;
use rustix::termios::{LocalModes, tcgetattr};
use tokio::time::Instant;
use touchstone_client::ConnectOptions;
use touchstone_client::provision::{NewSession, Rest};

use super::support::{Served, check, signal};

const ROWS: u16 = 24;
const COLUMNS: u16 = 80;

/// How long the program may take for what is waited for, on a machine that is busy with other things.
const DEADLINE: Duration = Duration::from_secs(30);

fn parser() -> vt100::Parser {
    let size = |cells| NonZero::new(cells).expect("more than nothing");
    vt100::Parser::new(size(ROWS), size(COLUMNS), 0)
}

/// What the terminal has been sent so far, and whether the program closed it.
#[derive(Default)]
struct Received {
    bytes: Vec<u8>,
    closed: bool,
}

/// A terminal with the program in it.
struct Terminal {
    pty: Arc<Pty>,
    child: Child,
    received: Arc<(Mutex<Received>, Condvar)>,
}

impl Terminal {
    fn start(arguments: &[&str]) -> Self {
        let (pty, pts) = open().expect("a pseudo-terminal");
        pty.resize(Size::new(ROWS, COLUMNS)).expect("a size");
        let child = Command::new(env!("CARGO_BIN_EXE_touchstone"))
            .args(arguments)
            .env("TERM", "xterm-256color")
            .env_remove("NO_COLOR")
            .env_remove("TOUCHSTONE_LOG")
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
        }
    }

    fn send(&self, keys: &str) {
        (&*self.pty).write_all(keys.as_bytes()).expect("a terminal");
    }

    /// Waits until the screen is as wanted, and returns its text.
    #[track_caller]
    fn wait(&self, what: &str, wanted: impl Fn(&Received, &vt100::Screen) -> bool) -> String {
        let end = Instant::now() + DEADLINE;
        let mut received = self.received.0.lock().expect("no panic");
        loop {
            let mut parser = parser();
            parser.process(&received.bytes);
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
    fn wait_for(&self, text: &str) -> String {
        self.wait(text, |_, screen| screen.contents().contains(text))
    }

    /// Waits for the end of the program, and checks its exit code and that the terminal is as it was.
    #[track_caller]
    fn ends(mut self, code: i32) {
        self.wait("end", |received, _| received.closed);
        let status = self.child.wait().expect("its end");
        assert_eq!(status.code(), Some(code));
        let mut parser = parser();
        parser.process(&self.received.0.lock().expect("no panic").bytes);
        let screen = parser.screen();
        assert!(!screen.alternate_screen() && !screen.hide_cursor() && !screen.bracketed_paste());
        assert_eq!(screen.mouse_protocol_mode(), vt100::MouseProtocolMode::None);
        let modes = tcgetattr(&*self.pty)
            .expect("the terminal's modes")
            .local_modes;
        assert!(modes.contains(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG));
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Makes sessions, each of which is an event, of one account.
fn make_sessions(server: &Served, tags: std::ops::Range<u32>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(async {
        let rest =
            Rest::new(&ConnectOptions::new(server.url.parse().expect("a URL"))).expect("a client");
        let account = rest.account([7; 32]).await.expect("an account");
        for tag in tags {
            let session = NewSession {
                tag: format!("tag-{tag}"),
                metadata: "bWV0YWRhdGE=".to_owned(),
                agent_state: None,
                data_encryption_key: None,
            };
            rest.session(&account, &session).await.expect("a session");
        }
    });
}

/// The program on the tap of a server, connected.
fn watch(server: &Served) -> Terminal {
    let terminal = Terminal::start(&["watch", &server.url, "--tap"]);
    terminal.wait_for("1 open");
    terminal
}

#[test]
fn start_filter_pause_detail_quit() {
    let server = Served::start(&["--control"]);
    let terminal = watch(&server);
    make_sessions(&server, 0..3);
    terminal.wait_for("following  4/4");

    terminal.send("f");
    terminal.wait_for("filter>");
    terminal.send("seq >");
    terminal.wait_for("not valid");
    terminal.send(" 1\r");
    terminal.wait_for("2 of 4");

    terminal.send(" ");
    terminal.wait_for("paused, 0 held");
    make_sessions(&server, 3..5);
    terminal.wait_for("paused, 2 held  2/2");
    terminal.send(" ");
    terminal.wait_for("2 events came meanwhile");

    terminal.send("\r");
    let screen = terminal.wait_for("valid: update/new-session");
    assert!(
        screen.contains(r#"{"type":"user-scoped-only"}"#),
        "{screen}"
    );
    terminal.send("?");
    terminal.wait_for("Moving around");
    terminal.send("\x1b");
    terminal.wait("list", |_, screen| {
        !screen.contents().contains("Moving around")
    });
    terminal.send("q");
    terminal.ends(0);
}

#[test]
fn ctrl_c_is_a_way_out() {
    let server = Served::start(&["--control"]);
    let terminal = watch(&server);
    terminal.send("\x03");
    terminal.ends(0);
}

#[test]
fn sigterm_gives_the_terminal_back() {
    let server = Served::start(&["--control"]);
    let terminal = watch(&server);
    signal(&terminal.child, Signal::TERM);
    terminal.ends(130);
}

#[test]
fn without_a_server_a_demonstration_is_shown_and_ends_with_the_screen() {
    let end = |how: &dyn Fn(&Terminal), code| {
        let terminal = Terminal::start(&["watch", "--filter", "new-message"]);
        // All connections of the load: two users, three sessions, two machines.
        let screen = terminal.wait_for("7 open");
        assert!(
            screen.contains("demonstration at http://127.0.0.1:"),
            "{screen}"
        );
        terminal.wait("update", |_, screen| {
            screen.contents().contains("upd  new-message")
        });
        how(&terminal);
        terminal.ends(code);
    };
    end(&|terminal| terminal.send("q"), 0);
    end(&|terminal| terminal.send("\x03"), 0);
    end(&|terminal| signal(&terminal.child, Signal::TERM), 130);
}

#[test]
fn a_lost_server_is_told_and_the_screen_can_be_left() {
    let server = Served::start(&[]);
    let terminal = Terminal::start(&["watch", &server.url]);
    terminal.wait_for("1 open");
    drop(server);
    let screen = terminal.wait_for("1 lost");
    assert!(screen.contains("attempt"), "{screen}");
    terminal.send("q");
    terminal.ends(0);
}

#[test]
fn what_cannot_be_shown_is_refused_before_the_terminal_is_taken() {
    check(
        &["watch", "127.0.0.1:1", "--tap"],
        2,
        &["stdout is no terminal", "--headless"],
    );
    let keys = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(keys.path(), "[keys]\nleap = [\"x\"]\n").expect("a file");
    let path = keys.path().to_str().expect("a path");
    let terminal = Terminal::start(&["watch", "127.0.0.1:1", "--tap", "--keys", path]);
    terminal.wait("error", |received, _| {
        received.closed
            && String::from_utf8_lossy(&received.bytes).contains("unknown action \"leap\"")
    });
    terminal.ends(2);
    let ran = check(&["watch", "--print-keys"], 0, &[]);
    assert!(ran.stdout.contains("quit = [\"q\", \"ctrl-c\"]"));
}
