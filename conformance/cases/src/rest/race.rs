//! Writers over HTTP that race for one version: one of them wins.

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::{access_keys, account, artifacts, kv, told};
use crate::artifact;
use touchstone_harness::{
    case::{Flow, case_table},
    ctx::Ctx,
    ledger::{Requirement, requirement_table},
    provide::Account,
};

requirement_table! {
    ONE_WINNER = "rest.one-winner", Should, Decision,
        "Of several writes over HTTP that come with the same version at most one succeeds, and what it wrote \
         is read afterwards.";
}

case_table! {
    /// Writes the settings eight times at once with the present version, in several rounds.
    ///
    /// Accepted is one success in each round, or none where a server gives up on so many at once, and the
    /// winner's value afterwards. Typical cause of a failure: the version is read and compared first, and
    /// written by a second statement without a condition.
    "rest.settings.race" needs [Rest, Settings] judges [ONE_WINNER, account::WRITTEN] => settings;

    /// Writes a key of the key-value store eight times at once with the present version, in several rounds.
    ///
    /// Accepted is one success in each round, or none, and the winner's value afterwards. Typical cause of a
    /// failure: the versions of all keys are compared before the transaction that writes them begins.
    "rest.kv.race" needs [Rest, KeyValue] judges [ONE_WINNER, kv::READ] => entry;

    /// Changes an access key eight times at once with the present version, in several rounds.
    ///
    /// Accepted is one success in each round, or none, and the winner's data afterwards. Typical cause of a
    /// failure: the version is compared in the program, and not in the condition of the statement that writes.
    "rest.access-key.race" needs [Rest, AccessKeys] judges [ONE_WINNER, access_keys::MADE] => access_key;

    /// Changes the header of an artifact eight times at once with the present version, in several rounds.
    ///
    /// Accepted is one success in each round, or none, and the winner's header afterwards. Typical cause of a
    /// failure: the route has code of its own beside the socket handler, without its condition.
    "rest.artifact.race" needs [Rest, Artifacts] judges [ONE_WINNER, artifacts::READ] => header;
}

const WRITERS: usize = 8;
const ROUNDS: usize = 4;

/// Something with a version that is written and read over HTTP.
struct Versioned<'a> {
    /// What makes it and reads it rightly.
    basis: &'static Requirement,
    read: &'a str,
    /// Where the value and its version stand in what is read.
    value: &'a str,
    version: &'a str,
    write: (&'a str, &'a str),
    /// The body that writes a value over a version.
    body: &'a (dyn Fn(&str, &Value) -> Value + Sync),
}

impl Versioned<'_> {
    async fn now(&self, cx: &mut Ctx, account: &Account) -> Flow<(Value, Value)> {
        let none = Value::Null;
        let read = cx
            .rest(self.basis, account, "GET", self.read, &none)
            .await?;
        let part = |place| read.pointer(place).cloned().unwrap_or_default();
        Ok((part(self.value), part(self.version)))
    }

    async fn race(&self, cx: &mut Ctx, account: &Account) -> Flow {
        let (method, path) = self.write;
        for _ in 0..ROUNDS {
            let (_, version) = self.now(cx, account).await?;
            // Base64, as artifacts have it.
            let values: Vec<_> = (0..WRITERS)
                .map(|_| artifact::encoded(&cx.marker("racer")))
                .collect();
            let bodies: Vec<_> = values
                .iter()
                .map(|value| (self.body)(value, &version))
                .collect();
            let writes = bodies
                .iter()
                .map(|body| cx.rest_any(account, method, path, body));
            let mut winners = Vec::new();
            for (value, answer) in values.iter().zip(join_all(writes).await) {
                let answer = answer?;
                if answer.status < 300 && answer.body["success"] != false {
                    winners.push((value, told(&answer)));
                }
            }
            let [(winner, _)] = &winners[..] else {
                let shown: Vec<_> = winners.into_iter().map(|(_, shown)| shown).collect();
                let expected = format!("one success for version {version}");
                cx.check(&ONE_WINNER, shown.is_empty(), expected, shown.join("; "));
                continue;
            };
            let (value, _) = self.now(cx, account).await?;
            cx.equal(&ONE_WINNER, "the winner's value", &json!(winner), &value);
        }
        Ok(())
    }
}

async fn settings(cx: &mut Ctx) -> Flow {
    let account = cx.account().await?;
    let path = "/v1/account/settings";
    let settings = Versioned {
        basis: &account::WRITTEN,
        read: path,
        value: "/settings",
        version: "/settingsVersion",
        write: ("POST", path),
        body: &|value, version| json!({"settings": value, "expectedVersion": version}),
    };
    settings.race(cx, &account).await
}

async fn entry(cx: &mut Ctx) -> Flow {
    let account = cx.account().await?;
    let key = cx.marker("key");
    let write = |value: &str, version: &Value| json!({"mutations": [{"key": key, "value": value, "version": version}]});
    let first = write(&cx.marker("value"), &json!(-1));
    cx.rest(&kv::READ, &account, "POST", "/v1/kv", &first)
        .await?;
    let entry = Versioned {
        basis: &kv::READ,
        read: &format!("/v1/kv/{key}"),
        value: "/value",
        version: "/version",
        write: ("POST", "/v1/kv"),
        body: &write,
    };
    entry.race(cx, &account).await
}

async fn access_key(cx: &mut Ctx) -> Flow {
    let account = cx.account().await?;
    let session = cx.session(&account).await?;
    let machine = cx.machine(&account).await?;
    let path = format!("/v1/access-keys/{}/{}", session.id, machine.id);
    let first = json!({"data": cx.marker("key")});
    cx.rest(&access_keys::MADE, &account, "POST", &path, &first)
        .await?;
    let key = Versioned {
        basis: &access_keys::MADE,
        read: &path,
        value: "/accessKey/data",
        version: "/accessKey/dataVersion",
        write: ("PUT", &path),
        body: &|value, version| json!({"data": value, "expectedVersion": version}),
    };
    key.race(cx, &account).await
}

async fn header(cx: &mut Ctx) -> Flow {
    let account = cx.account().await?;
    let id = cx.uuid();
    let [header, body] = ["header", "body"].map(artifact::encoded);
    let new = json!({"id": id, "header": header, "body": body, "dataEncryptionKey": "a2V5"});
    cx.rest(&artifacts::READ, &account, "POST", "/v1/artifacts", &new)
        .await?;
    let path = format!("/v1/artifacts/{id}");
    let header = Versioned {
        basis: &artifacts::READ,
        read: &path,
        value: "/header",
        version: "/headerVersion",
        write: ("POST", &path),
        body: &|value, version| json!({"header": value, "expectedHeaderVersion": version}),
    };
    header.race(cx, &account).await
}
