//! Provisioning by a program of the user's that speaks JSON lines on its stdin and stdout.
//!
//! One request is one line, and so is its answer; the next request is sent when the last one is
//! answered. `docs/provisioning.md` has the requests and answers.

use std::{
    path::Path,
    process::Stdio,
    sync::{Arc, Mutex as StdMutex, PoisonError},
    time::Duration,
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    process::{Child, ChildStderr, ChildStdin, ChildStdout},
    sync::Mutex,
    task::JoinHandle,
    time::timeout,
};

use super::answer::Answer;
use super::{Account, Made, NewMachine, NewSession, ProvisionError};
use crate::error::excerpt;

/// How long the program may take for an answer.
const TIMEOUT: Duration = Duration::from_secs(30);
/// How long it may take to leave after the end of its input.
const FAREWELL: Duration = Duration::from_secs(2);
/// The longest line that is read.
const MAX_LINE: u64 = 1 << 20;
/// How much of its stderr is kept for messages.
const KEPT: usize = 400;

/// A running program. It is killed when this is dropped.
#[derive(Debug)]
pub struct Command {
    command: String,
    timeout: Duration,
    talk: Mutex<Talk>,
    complaints: Arc<StdMutex<Vec<u8>>>,
}

#[derive(Debug)]
struct Talk {
    child: Child,
    /// `None` once the conversation is out of step: nothing that follows could be trusted.
    pipes: Option<(ChildStdin, BufReader<ChildStdout>)>,
    next_id: u64,
    /// Ends with the program's stderr.
    listener: Option<JoinHandle<()>>,
}

impl Command {
    /// Starts the program, in `folder` where that is not the current one; `command` is split into words
    /// as a shell would, but no shell runs.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(command: &str, folder: Option<&Path>) -> Result<Self, ProvisionError> {
        let failed = |problem: String| ProvisionError::Command {
            command: command.to_owned(),
            problem,
        };
        let words = shell_words::split(command).map_err(|error| failed(error.to_string()))?;
        let (program, arguments) = words
            .split_first()
            .ok_or_else(|| failed("it is empty".to_owned()))?;
        let mut process = tokio::process::Command::new(program);
        if let Some(folder) = folder {
            process.current_dir(folder);
        }
        let mut child = process
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| failed(format!("cannot be started: {error}")))?;
        let pipes = child.stdin.take().zip(child.stdout.take());
        let pipes = pipes.map(|(stdin, stdout)| (stdin, BufReader::new(stdout)));
        let complaints = Arc::default();
        let stderr = child.stderr.take();
        let listener = stderr.map(|stderr| tokio::spawn(listen(stderr, Arc::clone(&complaints))));
        let talk = Mutex::new(Talk {
            child,
            pipes,
            next_id: 1,
            listener,
        });
        Ok(Self {
            command: command.to_owned(),
            timeout: TIMEOUT,
            talk,
            complaints,
        })
    }

    /// Sets how long an answer may take, 30 s unless changed.
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Asks for an account.
    ///
    /// # Errors
    /// See [`ProvisionError`].
    pub async fn account(&self, seed: [u8; 32]) -> Result<Account, ProvisionError> {
        let hex: String = seed.iter().map(|byte| format!("{byte:02x}")).collect();
        let answer = self.ask("account", json!({"seed": hex})).await?;
        let token = self.needed(answer.token, "account", "token")?;
        Ok(Account {
            token: token.into(),
            id: answer.account_id,
        })
    }

    /// Asks for a session.
    ///
    /// # Errors
    /// See [`ProvisionError`].
    pub async fn session(
        &self,
        account: &Account,
        new: &NewSession,
    ) -> Result<Made, ProvisionError> {
        let request = json!({
            "token": account.token.expose(),
            "tag": new.tag,
            "metadata": new.metadata,
            "agentState": new.agent_state,
            "dataEncryptionKey": new.data_encryption_key,
        });
        let answer = self.ask("session", request).await?;
        let id = self.needed(answer.session_id, "session", "sessionId")?;
        Ok(Made {
            id,
            record: answer.session,
        })
    }

    /// Asks for a machine.
    ///
    /// # Errors
    /// See [`ProvisionError`].
    pub async fn machine(
        &self,
        account: &Account,
        new: &NewMachine,
    ) -> Result<Made, ProvisionError> {
        let request = json!({
            "token": account.token.expose(),
            "machineId": new.id,
            "metadata": new.metadata,
            "daemonState": new.daemon_state,
            "dataEncryptionKey": new.data_encryption_key,
        });
        let answer = self.ask("machine", request).await?;
        let id = self.needed(answer.machine_id, "machine", "machineId")?;
        Ok(Made {
            id,
            record: answer.machine,
        })
    }

    /// Asks for an access key.
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
        let request = json!({
            "token": account.token.expose(),
            "sessionId": session,
            "machineId": machine,
            "data": data,
        });
        self.ask("accessKey", request).await?;
        Ok(data.to_owned())
    }

    /// Ends the program: its input ends, and it has two seconds to leave.
    pub async fn close(self) {
        let mut talk = self.talk.into_inner();
        talk.pipes = None;
        if timeout(FAREWELL, talk.child.wait()).await.is_err() {
            // It may have left in this very moment, which is as good.
            let _ = talk.child.kill().await;
        }
    }

    async fn ask(&self, op: &str, mut request: Value) -> Result<Answer, ProvisionError> {
        let mut talk = self.talk.lock().await;
        let id = talk.next_id;
        talk.next_id += 1;
        request["id"] = json!(id);
        request["op"] = json!(op);
        // Taken for the time of the exchange: if it fails or this future is dropped half-way,
        // the conversation is out of step and the pipes stay closed.
        let Some(mut pipes) = talk.pipes.take() else {
            return Err(self.failed("is not asked any more, since it failed before".to_owned()));
        };
        let exchanged = timeout(self.timeout, exchange(&mut pipes, &request)).await;
        let line = match exchanged {
            Ok(Ok(Some(line))) => line,
            Ok(Ok(None)) => return Err(self.ended(&mut talk, op).await),
            Ok(Err(error)) => {
                let ended = self.ended(&mut talk, op).await;
                return Err(match error.kind() {
                    std::io::ErrorKind::BrokenPipe => ended,
                    _ => self.failed(format!("cannot be spoken to: {error}")),
                });
            }
            Err(_) => {
                return Err(self.failed(format!("gave no answer to {op} in {:?}", self.timeout)));
            }
        };
        let answer = Answer::parse(&line).map_err(|error| {
            self.failed(format!(
                "answered {op} with {:?}: {error}",
                excerpt(&line, 80)
            ))
        })?;
        if answer.id != id {
            return Err(self.failed(format!("answered request {} with id {}", id, answer.id)));
        }
        talk.pipes = Some(pipes);
        if answer.ok {
            return Ok(answer);
        }
        let reason = answer.error.unwrap_or_else(|| "no reason given".to_owned());
        if answer.unsupported {
            return Err(ProvisionError::Unsupported {
                what: op.to_owned(),
                reason,
            });
        }
        Err(self.failed(format!("cannot do {op}: {reason}")))
    }

    async fn ended(&self, talk: &mut Talk, op: &str) -> ProvisionError {
        let status = match timeout(FAREWELL, talk.child.wait()).await {
            Ok(Ok(status)) => status.to_string(),
            _ => "output closed".to_owned(),
        };
        if let Some(listener) = talk.listener.take() {
            // What it complained about last is what matters; a child of its own that keeps the
            // pipe open must not keep us, though.
            let _ = timeout(FAREWELL, listener).await;
        }
        self.failed(format!("ended without an answer to {op} ({status})"))
    }

    fn failed(&self, problem: String) -> ProvisionError {
        let complaints = self
            .complaints
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let said = excerpt(&String::from_utf8_lossy(&complaints), KEPT);
        let problem = if said.is_empty() {
            problem
        } else {
            format!("{problem}; it said: {said}")
        };
        ProvisionError::Command {
            command: self.command.clone(),
            problem,
        }
    }

    fn needed(&self, value: Option<String>, op: &str, key: &str) -> Result<String, ProvisionError> {
        value.ok_or_else(|| self.failed(format!("answered {op} without {key}")))
    }
}

/// Sends one line and reads one; nothing is the end of the program's output.
async fn exchange(
    (stdin, stdout): &mut (ChildStdin, BufReader<ChildStdout>),
    request: &Value,
) -> std::io::Result<Option<String>> {
    stdin.write_all(format!("{request}\n").as_bytes()).await?;
    stdin.flush().await?;
    let mut line = String::new();
    stdout.take(MAX_LINE).read_line(&mut line).await?;
    if line.len() as u64 >= MAX_LINE {
        return Err(std::io::Error::other(format!(
            "its line is longer than {MAX_LINE} bytes"
        )));
    }
    Ok(Some(line).filter(|line| !line.is_empty()))
}

/// Keeps the last that the program complained about.
async fn listen(mut stderr: ChildStderr, complaints: Arc<StdMutex<Vec<u8>>>) {
    let mut chunk = [0; 512];
    while let Ok(read @ 1..) = stderr.read(&mut chunk).await {
        let mut kept = complaints.lock().unwrap_or_else(PoisonError::into_inner);
        kept.extend_from_slice(&chunk[..read]);
        let excess = kept.len().saturating_sub(KEPT);
        kept.drain(..excess);
    }
}
