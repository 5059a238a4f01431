//! Making accounts, sessions, machines and access keys exist on a server under test.
//!
//! How that is done depends on the server, so there are three ways behind one face:
//! [`rest`] speaks the REST surface of decisions.md section 7, [`file`](mod@file) hands out what a TOML file
//! lists, `command` asks a program of the user's. Nothing here knows what a suite wants these
//! things for, and nothing reads a random source: whoever asks for an account brings its seed.

pub mod answer;
mod command;
pub mod file;
pub mod rest;

use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
    sync::Arc,
};

use serde_json::Value;

pub use self::{command::Command, file::File, rest::Rest};
use crate::{ConnectError, ConnectOptions, Secret, trace::Recorder};

/// An account that exists on the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// What CONNECT and `Authorization` carry.
    pub token: Secret,
    /// The server's id of the account, where it is known.
    pub id: Option<String>,
}

/// A session to be made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NewSession {
    /// The tag that makes creation idempotent.
    pub tag: String,
    /// Opaque metadata.
    pub metadata: String,
    /// Opaque agent state, or none.
    pub agent_state: Option<String>,
    /// Base64, or none.
    pub data_encryption_key: Option<String>,
}

/// A machine to be made. Its id is the client's choice.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NewMachine {
    /// The id.
    pub id: String,
    /// Opaque metadata.
    pub metadata: String,
    /// Opaque daemon state, or none.
    pub daemon_state: Option<String>,
    /// Base64, or none.
    pub data_encryption_key: Option<String>,
}

/// A session or machine that exists on the server.
#[derive(Debug, Clone, PartialEq)]
pub struct Made {
    /// Its id.
    pub id: String,
    /// All that the server told about it, `null` where it is only known to exist.
    pub record: Value,
}

/// Why something could not be provisioned.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProvisionError {
    /// The server, the file or the program has no means for this: a missing capability and no
    /// failure.
    #[error("{what} is not supported: {reason}")]
    Unsupported {
        /// What was asked for, such as `POST /v1/sessions`.
        what: String,
        /// How that was found out.
        reason: String,
    },
    /// The server answered, but with another status than asked for.
    #[error("{method} {url} answered HTTP {status}: {body}")]
    Http {
        /// The method.
        method: String,
        /// The whole URL.
        url: String,
        /// The status.
        status: u16,
        /// The beginning of the body.
        body: String,
    },
    /// The server did not answer.
    #[error("{method} {url} failed: {reason}")]
    NoAnswer {
        /// The method.
        method: String,
        /// The whole URL.
        url: String,
        /// Why.
        reason: String,
    },
    /// The answer is not shaped as decisions.md section 7 has it.
    #[error("{method} {url} answered without {missing}: {body}")]
    Unexpected {
        /// The method.
        method: String,
        /// The whole URL.
        url: String,
        /// Which part is missing.
        missing: &'static str,
        /// The beginning of the body.
        body: String,
    },
    /// The client for the server could not be set up.
    #[error("cannot set up HTTP")]
    Setup(#[source] ConnectError),
    /// The file cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is no target file.
    #[error("{path}: {problem}")]
    Syntax {
        /// The file.
        path: PathBuf,
        /// What is wrong, where, and perhaps what was meant.
        problem: String,
    },
    /// The file does not list enough.
    #[error("too few {what} in {path}: {needed} needed so far, {listed} listed; add more to it")]
    NotEnough {
        /// The file.
        path: PathBuf,
        /// What there is too little of, such as `accounts` or `sessions of account 2`.
        what: String,
        /// How many it lists.
        listed: usize,
        /// How many have been asked for so far.
        needed: usize,
    },
    /// The program cannot be run, ended, kept silent or spoke nonsense.
    #[error("program {command:?}: {problem}")]
    Command {
        /// The program as given.
        command: String,
        /// What happened.
        problem: String,
    },
}

/// Which provisioner is meant: `rest`, `file:PATH` or `command:CMD`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ProvisionSpec {
    /// The server's own REST surface.
    #[default]
    Rest,
    /// A TOML file with ready accounts.
    File(PathBuf),
    /// A program that speaks JSON lines.
    Command {
        /// The program with its arguments.
        command: String,
        /// Where it runs, unless in the current folder.
        folder: Option<PathBuf>,
    },
}

impl ProvisionSpec {
    /// The same, seen from a folder other than the current one: what a file means that stands there.
    pub fn relative_to(self, folder: &Path) -> Self {
        match self {
            Self::Rest => Self::Rest,
            Self::File(path) => Self::File(folder.join(path)),
            Self::Command { command, .. } => Self::Command {
                command,
                folder: Some(folder.to_owned()),
            },
        }
    }
}

/// The text is no provisioner.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is no provisioner; use rest, file:PATH or command:CMD")]
pub struct ProvisionSpecError {
    given: String,
}

impl FromStr for ProvisionSpec {
    type Err = ProvisionSpecError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once(':') {
            None if text == "rest" => Ok(Self::Rest),
            Some(("file", path)) if !path.is_empty() => Ok(Self::File(path.into())),
            Some(("command", command)) if !command.trim().is_empty() => Ok(Self::Command {
                command: command.to_owned(),
                folder: None,
            }),
            _ => Err(ProvisionSpecError {
                given: text.to_owned(),
            }),
        }
    }
}

impl fmt::Display for ProvisionSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rest => f.write_str("rest"),
            Self::File(path) => write!(f, "file:{}", path.display()),
            Self::Command { command, .. } => write!(f, "command:{command}"),
        }
    }
}

/// One of the three ways to provision. Share it by reference; all calls may run in parallel.
///
/// Cheap to clone; clones are the same provisioner.
#[derive(Debug, Clone)]
pub enum Provisioner {
    /// See [`rest`].
    Rest(Rest),
    /// See [`file`](mod@file).
    File(Arc<File>),
    /// A program of the user's, which speaks JSON lines (`docs/provisioning.md`).
    Command(Arc<Command>),
}

impl Provisioner {
    /// Opens the provisioner that `spec` means: reads the file, starts the program. `options`
    /// say which server is spoken to and how; its auth is not used.
    ///
    /// # Errors
    /// The file or program is not usable, or HTTP cannot be set up. No request is sent.
    pub fn open(spec: &ProvisionSpec, options: &ConnectOptions) -> Result<Self, ProvisionError> {
        match spec {
            ProvisionSpec::Rest => Rest::new(options).map(Self::Rest),
            ProvisionSpec::File(path) => File::read(path).map(Arc::new).map(Self::File),
            ProvisionSpec::Command { command, folder } => {
                Command::start(command, folder.as_deref())
                    .map(Arc::new)
                    .map(Self::Command)
            }
        }
    }

    /// The same provisioner, whose HTTP exchanges are noted by `recorder`. Files and programs have
    /// none.
    pub fn recorded(&self, recorder: &Recorder) -> Self {
        match self {
            Self::Rest(rest) => Self::Rest(rest.recorded(recorder)),
            other => other.clone(),
        }
    }

    /// An account of its own. With `rest`, the same `seed` is the same account on the same
    /// server; a file ignores it and never hands out an account twice.
    ///
    /// # Errors
    /// See [`ProvisionError`].
    pub async fn account(&self, seed: [u8; 32]) -> Result<Account, ProvisionError> {
        match self {
            Self::Rest(rest) => rest.account(seed).await,
            Self::File(file) => file.account(),
            Self::Command(command) => command.account(seed).await,
        }
    }

    /// A session of the account. A file hands out one of those it lists, whatever `new` says.
    ///
    /// # Errors
    /// See [`ProvisionError`].
    pub async fn session(
        &self,
        account: &Account,
        new: &NewSession,
    ) -> Result<Made, ProvisionError> {
        match self {
            Self::Rest(rest) => rest.session(account, new).await,
            Self::File(file) => file.session(account),
            Self::Command(command) => command.session(account, new).await,
        }
    }

    /// A machine of the account. A file hands out one of those it lists, whatever `new` says:
    /// use the id of the result.
    ///
    /// # Errors
    /// See [`ProvisionError`].
    pub async fn machine(
        &self,
        account: &Account,
        new: &NewMachine,
    ) -> Result<Made, ProvisionError> {
        match self {
            Self::Rest(rest) => rest.machine(account, new).await,
            Self::File(file) => file.machine(account),
            Self::Command(command) => command.machine(account, new).await,
        }
    }

    /// An access key for a session and a machine. Returns its data, which for a file is what it
    /// lists and not `data`.
    ///
    /// # Errors
    /// See [`ProvisionError`].
    pub async fn access_key(
        &self,
        account: &Account,
        session: &str,
        machine: &str,
        data: &str,
    ) -> Result<String, ProvisionError> {
        match self {
            Self::Rest(rest) => rest.access_key(account, session, machine, data).await,
            Self::File(file) => file.access_key(account, session, machine),
            Self::Command(command) => command.access_key(account, session, machine, data).await,
        }
    }

    /// Ends what runs beside: the program gets the end of its input and a moment to leave. While
    /// there are clones, the last of them does that.
    pub async fn close(self) {
        if let Self::Command(command) = self
            && let Some(command) = Arc::into_inner(command)
        {
            command.close().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<&ProvisionSpec>) {
        let parsed = text.parse::<ProvisionSpec>();
        if expected.is_some() {
            assert_eq!(
                parsed.as_ref().map(ToString::to_string).as_deref(),
                Ok(text)
            );
        }
        assert_eq!(parsed.as_ref().ok(), expected);
    }

    #[test]
    fn specs() {
        check("rest", Some(&ProvisionSpec::Rest));
        check(
            "file:a b.toml",
            Some(&ProvisionSpec::File("a b.toml".into())),
        );
        check(
            "file:C:/a.toml",
            Some(&ProvisionSpec::File("C:/a.toml".into())),
        );
        check(
            "command:./make x:y",
            Some(&ProvisionSpec::Command {
                command: "./make x:y".to_owned(),
                folder: None,
            }),
        );
        for wrong in ["", "REST", "rest:", "file", "file:", "command: ", "http:x"] {
            check(wrong, None);
        }
        let error = "fiel:x".parse::<ProvisionSpec>().unwrap_err();
        insta::assert_snapshot!(error, @r#""fiel:x" is no provisioner; use rest, file:PATH or command:CMD"#);
    }
}
