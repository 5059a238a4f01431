//! Provisioning by a program: small shell scripts play it.

use std::{fs, path::PathBuf, sync::Arc, time::Duration};

use serde_json::{Value, json};
use tempfile::TempDir;
use touchstone_client::provision::{
    Account, Command, NewMachine, NewSession, ProvisionError, Provisioner,
};

use crate::script::soon;

/// A script in a directory of its own, which is also where it may leave traces.
struct Program {
    directory: TempDir,
}

impl Program {
    fn new(script: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let script = script.replace("$DIR", directory.path().to_str().unwrap());
        fs::write(directory.path().join("program.sh"), script).unwrap();
        Self { directory }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn start(&self) -> Command {
        Command::start(&format!("sh '{}'", self.path("program.sh").display()), None).unwrap()
    }

    fn requests(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.path("requests")).unwrap();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// An error without what differs from run to run.
    fn shown(&self, error: &ProvisionError) -> String {
        error
            .to_string()
            .replace(self.directory.path().to_str().unwrap(), "DIR")
    }
}

fn account() -> Account {
    Account {
        token: "tok".into(),
        id: None,
    }
}

#[tokio::test]
async fn requests_and_answers_are_lines_of_json() {
    let program = Program::new(
        r#"
        answer() { IFS= read -r line; printf '%s\n' "$line" >> "$DIR/requests"; printf '%s\n' "$1"; }
        answer '{"id":1,"ok":true,"token":"tok","accountId":"A"}'
        answer '{"id":2,"ok":true,"sessionId":"S","session":{"seq":3},"extra":1}'
        answer '{"id":3,"ok":true,"machineId":"M"}'
        answer '{"id":4,"ok":true}'
        while IFS= read -r line; do :; done
        touch "$DIR/left"
        "#,
    );
    let provisioner = Provisioner::Command(Arc::new(program.start()));
    let made = soon(provisioner.account([0xab; 32])).await.unwrap();
    assert_eq!(
        (made.token.expose(), made.id.as_deref()),
        ("tok", Some("A"))
    );
    let new = NewSession {
        tag: "t".to_owned(),
        ..NewSession::default()
    };
    let session = soon(provisioner.session(&made, &new)).await.unwrap();
    assert_eq!(
        (session.id.as_str(), session.record),
        ("S", json!({"seq": 3}))
    );
    let new = NewMachine {
        id: "wished".to_owned(),
        ..NewMachine::default()
    };
    let machine = soon(provisioner.machine(&made, &new)).await.unwrap();
    assert_eq!((machine.id.as_str(), machine.record), ("M", json!(null)));
    let data = soon(provisioner.access_key(&made, "S", "M", "ZA=="))
        .await
        .unwrap();
    assert_eq!(data, "ZA==");
    soon(provisioner.close()).await;
    assert!(
        program.path("left").exists(),
        "the end of its input lets the program leave by itself"
    );

    let expected = json!([
        {"seed": "ab".repeat(32), "id": 1, "op": "account"},
        {"token": "tok", "tag": "t", "metadata": "", "agentState": null,
         "dataEncryptionKey": null, "id": 2, "op": "session"},
        {"token": "tok", "machineId": "wished", "metadata": "", "daemonState": null,
         "dataEncryptionKey": null, "id": 3, "op": "machine"},
        {"token": "tok", "sessionId": "S", "machineId": "M", "data": "ZA==", "id": 4,
         "op": "accessKey"},
    ]);
    assert_eq!(Value::Array(program.requests()), expected);
}

#[tokio::test]
async fn what_a_program_refuses_is_told_apart_and_it_can_be_asked_again() {
    let program = Program::new(
        r#"
        read -r line; echo '{"id":1,"ok":false,"error":"no database"}'
        read -r line; echo '{"id":2,"ok":false,"unsupported":true,"error":"no machines here"}'
        read -r line; echo '{"id":3,"ok":true}'
        read -r line; echo '{"id":4,"ok":true,"token":"tok"}'
        "#,
    );
    let command = program.start();
    let mut told = Vec::new();
    told.push(
        soon(command.session(&account(), &NewSession::default()))
            .await
            .unwrap_err(),
    );
    told.push(
        soon(command.machine(&account(), &NewMachine::default()))
            .await
            .unwrap_err(),
    );
    told.push(soon(command.account([0; 32])).await.unwrap_err());
    assert!(matches!(told[1], ProvisionError::Unsupported { .. }));
    let told: Vec<_> = told.iter().map(|error| program.shown(error)).collect();
    insta::assert_snapshot!(told.join("\n"), @r#"
    program "sh 'DIR/program.sh'": cannot do session: no database
    machine is not supported: no machines here
    program "sh 'DIR/program.sh'": answered account without token
    "#);
    soon(command.account([0; 32])).await.unwrap();
}

/// Programs that fail in every way; each is asked twice.
#[tokio::test]
async fn a_program_that_fails_is_told_and_not_trusted_again() {
    let rows = [
        ("dies", "echo 'out of luck' >&2; exit 3"),
        ("garbage", "read -r line; echo 'hello there'; read -r line"),
        (
            "wrong id",
            r#"read -r line; echo '{"id":7,"ok":true}'; read -r line"#,
        ),
        ("silent", "while read -r line; do :; done"),
        ("half a line", r#"read -r line; printf '{"id":1'"#),
    ];
    let mut told = Vec::new();
    for (name, script) in rows {
        let program = Program::new(script);
        let mut command = program.start();
        if name == "silent" {
            command = command.with_timeout(Duration::from_millis(50));
        }
        let first = soon(command.account([0; 32])).await.unwrap_err();
        let second = soon(command.account([0; 32])).await.unwrap_err();
        told.push(format!("{name}: {}", program.shown(&first)));
        told.push(format!("  again: {}", program.shown(&second)));
        soon(command.close()).await;
    }
    insta::assert_snapshot!(told.join("\n"));
}

#[tokio::test]
async fn a_program_that_cannot_start_is_told() {
    let mut told = Vec::new();
    for command in ["/nonexistent/program --flag", "'unbalanced", ""] {
        told.push(Command::start(command, None).unwrap_err().to_string());
    }
    insta::assert_snapshot!(told.join("\n"));
}

#[tokio::test]
async fn a_program_that_does_not_leave_is_killed() {
    let program = Program::new(
        r#"
        read -r line; echo '{"id":1,"ok":true,"token":"'$$'"}'
        exec sleep 600
        "#,
    );
    let command = program.start();
    let pid = soon(command.account([0; 32])).await.unwrap().token;
    soon(command.close()).await;
    let alive = PathBuf::from(format!("/proc/{}/cmdline", pid.expose())).exists();
    assert!(!alive, "the program still runs");
}
