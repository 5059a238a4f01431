//! Somebody who writes all the time, remembers what was acknowledged, and compares it with what a server
//! has that was started again.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::watch;
use touchstone_client::provision::{NewSession, Rest};
use touchstone_client::{Events, Secret, Socket, connect};

use crate::served::{Served, ask, within};

const ANSWER: Duration = Duration::from_secs(30);

/// Two accounts that have to do with each other, and a session of the first.
pub(crate) struct Writer {
    name: String,
    token: Secret,
    friend: Secret,
    friend_id: String,
    session: String,
    /// The messages that were sent, in pairs, and the seqs that were acknowledged.
    messages: Vec<(String, Option<u64>)>,
    /// The version of the metadata that was acknowledged last, and the one that may be there too.
    metadata: Tried,
    /// The number in both of two keys that are written together.
    pair: Tried,
    /// The greatest seq of an update that was received.
    seq: u64,
}

/// What was acknowledged last, and whether something newer was tried.
#[derive(Clone, Copy, Default)]
struct Tried {
    acknowledged: u64,
    next: bool,
}

impl Tried {
    /// What is there is what was acknowledged, or what was tried and not answered. From now on, it is
    /// what is known.
    #[track_caller]
    fn settle(&mut self, what: &str, found: u64) {
        let most = self.acknowledged + u64::from(self.next);
        assert!(
            (self.acknowledged..=most).contains(&found),
            "{what}: {} was acknowledged and {most} tried, but {found} is there",
            self.acknowledged
        );
        *self = Self {
            acknowledged: found,
            next: false,
        };
    }
}

impl Writer {
    /// A new one, who is told apart from others by a number.
    pub(crate) async fn new(served: &Served, number: u8) -> Self {
        let rest = served.rest();
        let account = |who: u8| {
            let mut seed = [number; 32];
            seed[0] = who;
            let rest = rest.clone();
            async move { rest.account(seed).await.expect("an account") }
        };
        let (mine, theirs) = (account(1).await, account(2).await);
        let new = NewSession {
            tag: "kept".to_owned(),
            metadata: metadata(0),
            ..NewSession::default()
        };
        let session = rest.session(&mine, &new).await.expect("a session").id;
        let profile = ask(&rest, &theirs.token, "GET", "/v1/account/profile", None).await;
        let friend_id = profile.expect("a profile")["id"]
            .as_str()
            .expect("an id")
            .to_owned();
        Self {
            name: format!("writer {number}"),
            token: mine.token,
            friend: theirs.token,
            friend_id,
            session,
            messages: Vec::new(),
            metadata: Tried::default(),
            pair: Tried::default(),
            seq: 0,
        }
    }

    /// Writes until the server is gone, and counts what is acknowledged.
    pub(crate) async fn write(&mut self, served: &Served, acknowledged: &watch::Sender<u64>) {
        let rest = served.rest();
        let options = served.options().auth(json!({
            "token": self.token.expose(), "clientType": "user-scoped"
        }));
        let Ok((socket, mut events)) = connect(&options).await else {
            return;
        };
        loop {
            let is_answered = self.post(&rest).await.is_some()
                && self.change_metadata(&socket, &mut events).await.is_some()
                && self.change_pair(&rest).await.is_some()
                && self.befriend(&rest).await.is_some();
            if !is_answered {
                return;
            }
            acknowledged.send_modify(|count| *count += 4);
        }
    }

    /// Two messages at once.
    async fn post(&mut self, rest: &Rest) -> Option<()> {
        let first = self.messages.len();
        let ids = [first, first + 1].map(|number| format!("local-{number}"));
        self.messages
            .extend(ids.iter().map(|id| (id.clone(), None)));
        let messages = ids.map(|id| json!({ "content": content(&id), "localId": id }));
        let path = format!("/v3/sessions/{}/messages", self.session);
        let body = json!({ "messages": messages });
        let answer = ask(rest, &self.token, "POST", &path, Some(&body)).await?;
        for (place, message) in answer["messages"].as_array()?.iter().enumerate() {
            self.messages[first + place].1 = message["seq"].as_u64();
        }
        Some(())
    }

    async fn change_metadata(&mut self, socket: &Socket, events: &mut Events) -> Option<()> {
        self.metadata.next = true;
        let version = self.metadata.acknowledged;
        let data = json!({
            "sid": self.session, "metadata": metadata(version + 1), "expectedVersion": version
        });
        let reply = socket.call("update-metadata", [data], ANSWER).await.ok()?;
        let answer = reply.data().expect("JSON");
        assert_eq!(answer["result"], "success", "{}: {answer}", self.name);
        self.metadata
            .settle(&self.name, answer["version"].as_u64().expect("a version"));
        // The update was sent before it was acknowledged.
        let before = self.seq;
        while let Some(Ok(event)) = events.try_recv() {
            if event.name() == "update" {
                let seq = event.data().expect("JSON")["seq"].as_u64().expect("a seq");
                assert!(seq > self.seq, "{}: {seq} after {}", self.name, self.seq);
                self.seq = seq;
            }
        }
        assert!(self.seq > before, "{}: no update", self.name);
        Some(())
    }

    async fn change_pair(&mut self, rest: &Rest) -> Option<()> {
        self.pair.next = true;
        let known = self.pair.acknowledged;
        let version = i64::try_from(known).expect("a small number") - 1;
        let mutations = ["one", "other"]
            .map(|key| json!({ "key": key, "value": (known + 1).to_string(), "version": version }));
        let body = json!({ "mutations": mutations });
        let answer = ask(rest, &self.token, "POST", "/v1/kv", Some(&body)).await?;
        assert_eq!(answer["success"], true, "{}: {answer}", self.name);
        self.pair.settle(&self.name, known + 1);
        Some(())
    }

    /// Makes a friend, or ends the friendship; it is the two sides that must agree.
    async fn befriend(&mut self, rest: &Rest) -> Option<()> {
        let path = match self.pair.acknowledged % 2 {
            0 => "/v1/friends/add",
            _ => "/v1/friends/remove",
        };
        let body = json!({ "uid": self.friend_id });
        ask(rest, &self.token, "POST", path, Some(&body)).await?;
        Some(())
    }

    /// Compares what was acknowledged with what is there, and takes over what was not answered.
    pub(crate) async fn compare(&mut self, served: &Served) {
        let rest = served.rest();
        let get = async |token: &Secret, path: &str| {
            let answer = within("answer", ask(&rest, token, "GET", path, None)).await;
            answer.unwrap_or_else(|| panic!("{}: no answer to {path}", self.name))
        };
        let list = get(&self.token, "/v1/sessions").await;
        let session = &list["sessions"][0];
        assert_eq!(session["id"], *self.session, "{}: {list}", self.name);
        let version = session["metadataVersion"].as_u64().expect("a version");
        assert_eq!(session["metadata"], metadata(version), "{}", self.name);

        let keys = get(&self.token, "/v1/kv").await;
        let keys = keys["items"].as_array().expect("a list").clone();
        let values: Vec<_> = keys
            .iter()
            .map(|item| (&item["value"], &item["version"]))
            .collect();
        assert!(
            values.is_empty() || values.len() == 2 && values[0] == values[1],
            "{}: half of a pair: {keys:?}",
            self.name
        );
        let value = values.first().map_or(0, |(value, _)| {
            value
                .as_str()
                .and_then(|text| text.parse().ok())
                .expect("a number")
        });

        let (mine, theirs) = (
            get(&self.token, "/v1/friends").await,
            get(&self.friend, "/v1/friends").await,
        );
        let status = |list: &Value| {
            list["friends"][0]["status"]
                .as_str()
                .unwrap_or("none")
                .to_owned()
        };
        let sides = (status(&mine), status(&theirs));
        let sides = (sides.0.as_str(), sides.1.as_str());
        let right = [
            ("none", "none"),
            ("requested", "pending"),
            ("pending", "requested"),
            ("friend", "friend"),
        ];
        assert!(
            right.contains(&sides),
            "{}: half of a friendship: {sides:?}",
            self.name
        );

        let messages = self.read(&rest).await;
        self.metadata.settle(&self.name, version);
        self.pair.settle(&self.name, value);
        self.compare_messages(&messages);
        self.repeat(&rest).await;
    }

    /// All messages that are there, in their order.
    async fn read(&self, rest: &Rest) -> Vec<Value> {
        let mut all: Vec<Value> = Vec::new();
        loop {
            let after = all
                .last()
                .map_or(0, |last| last["seq"].as_u64().expect("a seq"));
            let path = format!(
                "/v3/sessions/{}/messages?limit=500&after_seq={after}",
                self.session
            );
            let page = within("page", ask(rest, &self.token, "GET", &path, None)).await;
            let page = page.expect("a page");
            all.extend(page["messages"].as_array().expect("a list").iter().cloned());
            if page["hasMore"] != true {
                return all;
            }
        }
    }

    fn compare_messages(&mut self, found: &[Value]) {
        let name = &self.name;
        for (place, message) in found.iter().enumerate() {
            assert_eq!(message["seq"], place as u64 + 1, "{name}: a hole");
        }
        let seq_of = |id: &str| {
            let message = found.iter().find(|message| message["localId"] == id)?;
            assert_eq!(message["content"]["c"], content(id), "{name}: {message}");
            message["seq"].as_u64()
        };
        for pair in self.messages.chunks_mut(2) {
            let seqs: Vec<_> = pair.iter().map(|(id, _)| seq_of(id)).collect();
            for ((id, acknowledged), seq) in pair.iter_mut().zip(&seqs) {
                assert!(
                    acknowledged.is_none() || acknowledged == seq,
                    "{name}: {id} was acknowledged with {acknowledged:?} and is there with {seq:?}"
                );
                *acknowledged = *seq;
            }
            assert_eq!(
                seqs[0].is_some(),
                seqs[1].is_some(),
                "{name}: half of a request"
            );
        }
        self.messages.retain(|(_, seq)| seq.is_some());
        assert_eq!(
            self.messages.len(),
            found.len(),
            "{name}: somebody else's messages"
        );
        // Ids go on where the list ends, so that none is taken twice.
        for (place, (id, _)) in self.messages.iter_mut().enumerate() {
            assert!(*id == format!("local-{place}"), "{name}: {id} at {place}");
        }
    }

    /// Sends the last message again: it is known, and stored once.
    async fn repeat(&self, rest: &Rest) {
        let Some((id, seq)) = self.messages.last() else {
            return;
        };
        let path = format!("/v3/sessions/{}/messages", self.session);
        let body = json!({ "messages": [{ "content": content(id), "localId": id }] });
        let answer = within("answer", ask(rest, &self.token, "POST", &path, Some(&body))).await;
        let answer = answer.expect("an answer");
        assert_eq!(
            answer["messages"][0]["seq"].as_u64(),
            *seq,
            "{}: {answer}",
            self.name
        );
    }
}

fn metadata(version: u64) -> String {
    format!("metadata {version}")
}

/// Longer than a page of some databases now and then.
fn content(id: &str) -> String {
    id.repeat(50)
}
