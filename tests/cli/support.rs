//! Running the program, and servers that misbehave in simple ways.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicUsize, Ordering};
use std::thread;

/// What changes the program's output, and would make tests depend on who runs them.
pub(crate) const STEERING: [&str; 6] = [
    "CI",
    "CLICOLOR",
    "CLICOLOR_FORCE",
    "NO_COLOR",
    "TOUCHSTONE_LOG",
    "TOUCHSTONE_TOKEN",
];

/// The program with arguments, without colours and away from the caller's terminal.
pub(crate) fn touchstone(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_touchstone"));
    command
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    for variable in STEERING {
        command.env_remove(variable);
    }
    command
}

/// What a finished run left.
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().expect("an exit code, not a signal"),
            stdout: String::from_utf8(output.stdout).expect("UTF-8"),
            stderr: String::from_utf8(output.stderr).expect("UTF-8"),
        }
    }
}

/// Runs to the end.
pub(crate) fn run(arguments: &[&str]) -> Ran {
    touchstone(arguments)
        .output()
        .expect("the program starts")
        .into()
}

/// Runs to the end and checks the exit code and that stderr holds each of `parts`.
#[track_caller]
pub(crate) fn check(arguments: &[&str], code: i32, parts: &[&str]) -> Ran {
    let ran = run(arguments);
    assert_eq!(
        ran.code, code,
        "{arguments:?}\n{}{}",
        ran.stdout, ran.stderr
    );
    for part in parts {
        assert!(
            ran.stderr.contains(part),
            "{arguments:?}: no {part:?} in\n{}",
            ran.stderr
        );
    }
    ran
}

/// Sends a signal to a child.
pub(crate) fn signal(child: &Child, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_child(child);
    rustix::process::kill_process(pid, signal).expect("the child is there");
}

/// An address for a server that is told where to listen. Its host is one of the loopback network that this
/// process has for itself, so that nobody else takes the port meanwhile.
pub(crate) fn free_address() -> String {
    static NEXT: AtomicU16 = AtomicU16::new(10_000);
    let [_, a, b, c] = std::process::id().to_be_bytes();
    let port = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("127.{}.{b}.{c}:{port}", a | 0x40)
}

/// `touchstone serve` in a process of its own, ended when dropped.
pub(crate) struct Served {
    pub(crate) child: Child,
    /// Where it listens first.
    pub(crate) url: String,
    /// All addresses at which it listens.
    pub(crate) urls: Vec<String>,
}

impl Served {
    /// On a free port, and wherever `arguments` say besides.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let all = [&["serve", "--listen", "127.0.0.1:0"], arguments].concat();
        let mut child = touchstone(&all).spawn().expect("the program starts");
        let stdout = child.stdout.take().expect("a pipe");
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).expect("a line");
        let listed = line.trim().strip_prefix("listening on ").expect(&line);
        let urls: Vec<_> = listed
            .split(' ')
            .take_while(|word| *word != "with")
            .map(str::to_owned)
            .collect();
        let url = urls[0].clone();
        Self { child, url, urls }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.url
            .strip_prefix("http://")
            .expect("a URL")
            .parse()
            .expect("an address")
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// A listener whose every connection is handed to `serve` in a thread of its own.
pub(crate) fn listen(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let serve = Arc::new(serve);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let serve = Arc::clone(&serve);
            thread::spawn(move || serve(stream));
        }
    });
    url
}

/// Reads one HTTP request's head and answers it with `response`.
pub(crate) fn answer(mut stream: &TcpStream, response: &str) {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    while reader.read_line(&mut line).is_ok_and(|length| length > 2) {
        line.clear();
    }
    stream.write_all(response.as_bytes()).ok();
}

/// What happens to a proxy's connections after the first `healthy` ones.
#[derive(Clone, Copy)]
pub(crate) enum Then {
    /// All connections are closed, and new ones as well: the server is gone.
    Die,
    /// Nothing is forwarded any more: the server hangs.
    Freeze,
}

/// A proxy before a server, for one that fails in the middle.
pub(crate) struct Proxy {
    pub(crate) url: String,
    pub(crate) failed: Arc<AtomicBool>,
}

impl Proxy {
    pub(crate) fn start(target: SocketAddr, healthy: usize, then: Then) -> Self {
        let failed = Arc::new(AtomicBool::new(false));
        let seen = AtomicUsize::new(0);
        let flag = Arc::clone(&failed);
        let url = listen(move |client| {
            if seen.fetch_add(1, Ordering::SeqCst) >= healthy {
                flag.store(true, Ordering::SeqCst);
            }
            let Ok(server) = TcpStream::connect(target) else {
                return;
            };
            let back = (
                server.try_clone().expect("a handle"),
                client.try_clone().expect("a handle"),
                Arc::clone(&flag),
            );
            thread::spawn(move || pump(back.0, back.1, &back.2, then));
            pump(client, server, &flag, then);
        });
        Self { url, failed }
    }
}

fn pump(mut from: TcpStream, mut to: TcpStream, failed: &AtomicBool, then: Then) {
    let mut buffer = [0; 4096];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        match (failed.load(Ordering::SeqCst), then) {
            (true, Then::Die) => break,
            (true, Then::Freeze) => continue,
            (false, _) => {}
        }
        if to.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    from.shutdown(std::net::Shutdown::Both).ok();
    to.shutdown(std::net::Shutdown::Both).ok();
}
