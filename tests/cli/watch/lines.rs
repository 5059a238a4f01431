//! A running `touchstone watch --headless --format json`, read line by line.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::Child;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use tokio::time::Instant;

use crate::support::{signal, touchstone};

/// How long the program may take for what is waited for, on a machine that is busy with other things.
const DEADLINE: Duration = Duration::from_secs(30);

/// The program and what it prints.
pub(super) struct Lines {
    child: Child,
    lines: Receiver<String>,
    /// All lines that were read.
    seen: Vec<Value>,
}

impl Lines {
    pub(super) fn start(arguments: &[&str]) -> Self {
        let all = [&["watch", "--headless", "--format", "json"], arguments].concat();
        let mut child = touchstone(&all).spawn().expect("the program starts");
        let stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        let (tell, lines) = sync_channel(1_024);
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if tell.send(line).is_err() {
                    return;
                }
            }
        });
        Self {
            child,
            lines,
            seen: Vec::new(),
        }
    }

    /// Reads until a line is as wanted, and returns it.
    #[track_caller]
    pub(super) fn wait(&mut self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let end = Instant::now() + DEADLINE;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let Ok(line) = self.lines.recv_timeout(left) else {
                panic!("no {what} after {:#?}", self.seen);
            };
            let line: Value = serde_json::from_str(&line).expect(&line);
            self.seen.push(line.clone());
            if wanted(&line) {
                return line;
            }
        }
    }

    /// Reads until a line has each of these fields.
    #[track_caller]
    pub(super) fn wait_for(&mut self, fields: &[(&str, &str)]) -> Value {
        self.wait(&format!("{fields:?}"), |line| {
            fields.iter().all(|(key, value)| line[*key] == *value)
        })
    }

    /// Asks the program to end, and returns what it wrote to stderr.
    pub(super) fn end(mut self) -> String {
        signal(&self.child, Signal::TERM);
        let mut stderr = self.child.stderr.take().expect("a pipe");
        let mut told = String::new();
        stderr.read_to_string(&mut told).expect("UTF-8");
        told
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
