//! A thousand random operations by several connections, against a model that knows only the rules:
//! versions, sequences, answers, and who receives what.

use std::collections::HashMap;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};

use crate::stand::{Client, Server};

/// What an update is for, in the model's own words.
#[derive(Clone, Copy, PartialEq)]
enum Interest {
    Users,
    Session(usize),
    Machine(usize),
}

/// A connection of the model.
struct Peer {
    client: Client,
    interest: Option<Interest>,
    expected: Vec<(u64, String)>,
}

#[derive(Default)]
struct Model {
    seq: u64,
    /// Versions by name of the versioned thing.
    versions: HashMap<String, u64>,
    messages: HashMap<usize, u64>,
    local_ids: HashMap<(usize, u64), ()>,
    artifacts: HashMap<u64, (u64, u64)>,
}

impl Model {
    /// An update happened: everybody who is interested must receive it.
    fn update(&mut self, t: &str, interest: Interest, sender: Option<usize>, peers: &mut [Peer]) {
        self.seq += 1;
        for (index, peer) in peers.iter_mut().enumerate() {
            let is_user = peer.interest.is_none();
            if (is_user || peer.interest == Some(interest)) && sender != Some(index) {
                peer.expected.push((self.seq, t.to_owned()));
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_random_operations() {
    for seed in 0..3 {
        run(seed).await;
    }
}

async fn run(seed: u64) {
    let server = Server::start().await;
    let account = server.account().await;
    let sessions = [account.session("one").await, account.session("two").await];
    let machines = [account.machine("m1").await, account.machine("m2").await];
    let mut peers = Vec::new();
    let mut add = |client, interest| {
        peers.push(Peer {
            client,
            interest,
            expected: Vec::new(),
        });
    };
    add(account.user().await, None);
    add(account.user().await, None);
    for index in 0..2 {
        add(
            account.on_session(&sessions[index]).await,
            Some(Interest::Session(index)),
        );
        add(
            account.on_machine(&machines[index]).await,
            Some(Interest::Machine(index)),
        );
    }
    for peer in &mut peers {
        peer.client.seen().await;
    }
    // Two sessions, and two machines with two updates each, were made before.
    let mut model = Model {
        seq: 6,
        ..Model::default()
    };
    let mut random = StdRng::seed_from_u64(seed);
    for step in 0..1_000 {
        let actor = random.random_range(0..peers.len());
        let which = random.random_range(0..2);
        let guess = |model: &Model, key: &str, first: u64, random: &mut StdRng| {
            let current = model.versions.get(key).copied().unwrap_or(first);
            // Two of three writers have seen the latest version.
            (
                current,
                if random.random_range(0..3) > 0 {
                    current
                } else {
                    random.random_range(0..=current + 1)
                },
            )
        };
        let value = format!("value {step}");
        match random.random_range(0..7) {
            kind @ 0..4 => {
                let (event, field, id_key, id, first, interest) = match kind {
                    0 => (
                        "update-metadata",
                        "metadata",
                        "sid",
                        &sessions[which],
                        0,
                        Interest::Session(which),
                    ),
                    1 => (
                        "update-state",
                        "agentState",
                        "sid",
                        &sessions[which],
                        0,
                        Interest::Session(which),
                    ),
                    2 => (
                        "machine-update-metadata",
                        "metadata",
                        "machineId",
                        &machines[which],
                        1,
                        Interest::Machine(which),
                    ),
                    _ => (
                        "machine-update-state",
                        "daemonState",
                        "machineId",
                        &machines[which],
                        1,
                        Interest::Machine(which),
                    ),
                };
                let key = format!("{event} {which}");
                let (current, expected) = guess(&model, &key, first, &mut random);
                let data = json!({ id_key: id, field: value, "expectedVersion": expected });
                let answer = peers[actor].client.call(event, data).await;
                if expected == current {
                    model.versions.insert(key, current + 1);
                    assert_eq!(
                        answer,
                        json!({ "result": "success", "version": current + 1, field: value })
                    );
                    let t = if kind < 2 {
                        "update-session"
                    } else {
                        "update-machine"
                    };
                    model.update(t, interest, None, &mut peers);
                } else {
                    assert_eq!(
                        (&answer["result"], &answer["version"]),
                        (&json!("version-mismatch"), &json!(current))
                    );
                }
            }
            4 => {
                let local = random.random_range(0..20);
                let mut data = json!({ "sid": sessions[which], "message": value });
                let has_local = random.random_range(0..2) == 0;
                if has_local {
                    data["localId"] = json!(format!("local {local}"));
                }
                peers[actor].client.emit("message", data).await;
                peers[actor].client.handled().await;
                let is_new = !has_local || model.local_ids.insert((which, local), ()).is_none();
                if is_new {
                    *model.messages.entry(which).or_default() += 1;
                    model.update(
                        "new-message",
                        Interest::Session(which),
                        Some(actor),
                        &mut peers,
                    );
                }
            }
            5 => {
                let id = random.random_range(0..10);
                let name = format!("artifact {id}");
                match model.artifacts.get(&id).copied() {
                    None => {
                        let data = json!({ "id": name, "header": "", "body": "", "dataEncryptionKey": "" });
                        let answer = peers[actor].client.call("artifact-create", data).await;
                        assert_eq!(answer["artifact"]["seq"], 0);
                        model.artifacts.insert(id, (1, 1));
                        model.update("new-artifact", Interest::Users, None, &mut peers);
                    }
                    Some((header, body)) if random.random_range(0..4) > 0 => {
                        let expected = (
                            random.random_range(1..=header),
                            random.random_range(1..=body),
                        );
                        let part = |version| json!({ "data": "", "expectedVersion": version });
                        let data = json!({ "artifactId": name, "header": part(expected.0), "body": part(expected.1) });
                        let answer = peers[actor].client.call("artifact-update", data).await;
                        if expected == (header, body) {
                            assert_eq!(
                                (&answer["header"]["version"], &answer["body"]["version"]),
                                (&json!(header + 1), &json!(body + 1))
                            );
                            model.artifacts.insert(id, (header + 1, body + 1));
                            model.update("update-artifact", Interest::Users, None, &mut peers);
                        } else {
                            assert_eq!(answer["result"], "version-mismatch");
                            assert_eq!(answer.get("header").is_some(), expected.0 != header);
                            assert_eq!(answer.get("body").is_some(), expected.1 != body);
                        }
                    }
                    Some(_) => {
                        let answer = peers[actor]
                            .client
                            .call("artifact-delete", json!({ "artifactId": name }))
                            .await;
                        assert_eq!(answer, json!({ "result": "success" }));
                        model.artifacts.remove(&id);
                        model.update("delete-artifact", Interest::Users, None, &mut peers);
                    }
                }
            }
            _ => {
                let (current, expected) = guess(&model, "settings", 0, &mut random);
                let answer = account
                    .post(
                        "/v1/account/settings",
                        json!({ "settings": value, "expectedVersion": expected }),
                    )
                    .await;
                assert_eq!(answer["success"], expected == current);
                if expected == current {
                    model.versions.insert("settings".to_owned(), current + 1);
                    model.update("update-account", Interest::Users, None, &mut peers);
                }
            }
        }
    }
    for (index, peer) in peers.iter_mut().enumerate() {
        let received: Vec<(u64, String)> = peer
            .client
            .seen()
            .await
            .into_iter()
            .filter(|(name, _)| name == "update")
            .map(|(_, data)| (data["seq"].as_u64().unwrap(), text(&data["body"]["t"])))
            .collect();
        assert_eq!(received, peer.expected, "peer {index}, seed {seed}");
    }
    for (index, session) in sessions.iter().enumerate() {
        let stored = account
            .get(&format!("/v3/sessions/{session}/messages?limit=500"))
            .await;
        let seqs: Vec<u64> = stored["messages"]
            .as_array()
            .unwrap()
            .iter()
            .map(|message| message["seq"].as_u64().unwrap())
            .collect();
        let count = model.messages.get(&index).copied().unwrap_or_default();
        assert_eq!(seqs, (1..=count).collect::<Vec<_>>());
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}
