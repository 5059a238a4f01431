//! A scenario for small runs, and a place for what they write.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::ChildStderr;

use serde_json::Value;
use tempfile::TempDir;

/// A short run whose generator may be as slow as the machine of the tests is.
pub(crate) const SMALL: &str = r#"
description = "a few of each, for a second"
[population]
accounts = 5
users = 5
sessions = 10
machines = 5
[connect]
ramp = "200ms"
[bounds]
lag-p99 = "30s"
cpu = 1
unsent = 1
[audit]
late-after = "10s"
[[phases]]
name = "connect"
duration = "500ms"
load = 0
counted = false
[[phases]]
name = "work"
duration = "1s"
[[traffic]]
from = "session"
event = "message"
every = "100ms"
[[traffic]]
from = "machine"
event = "machine-update-state"
every = "200ms"
"#;

/// A folder with scenarios, and places for reports.
pub(crate) struct Desk(TempDir);

impl Desk {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes a scenario and returns its path.
    pub(crate) fn scenario(&self, text: &str) -> String {
        let path = self.path("small.toml");
        fs::write(&path, text).expect("a file");
        shown(&path)
    }

    /// `json=PATH`.
    pub(crate) fn json(&self, name: &str) -> String {
        format!("json={}", shown(&self.path(name)))
    }

    pub(crate) fn read(&self, name: &str) -> Value {
        let text = fs::read(self.path(name)).expect("a report");
        serde_json::from_slice(&text).expect("JSON")
    }
}

pub(super) fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// A run that lasts until somebody ends it.
pub(crate) fn long(desk: &Desk) -> String {
    let text = SMALL.replace(r#"duration = "1s""#, r#"duration = "10m""#);
    desk.scenario(&text)
}

/// Reads progress until a line has this in it.
#[track_caller]
pub(super) fn await_line(stderr: &mut BufReader<ChildStderr>, part: &str) -> String {
    let mut said = String::new();
    loop {
        let before = said.len();
        let length = stderr.read_line(&mut said).expect("text");
        assert!(length > 0, "the run ended before it said {part:?}:\n{said}");
        if said[before..].contains(part) {
            return said.split_off(before);
        }
    }
}
