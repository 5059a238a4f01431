//! What an act sends: an event of the API, or a request.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Value, json};
use touchstone_client::Clock;

use crate::{
    plan::{Act, Callee, Expect, Foreign, Part, Text},
    values,
    world::{Holder, World, lock},
};

/// What is sent for an act.
#[derive(Debug)]
pub(crate) enum Deed {
    /// An event that has no answer.
    Emit(&'static str, Value),
    /// An event that has one, and what its answer tells of versions.
    Call(&'static str, Value, Learn),
    /// A request with its body, and what its answer tells.
    Http(&'static str, String, Option<Value>, Learn),
}

/// Which versions an answer tells.
#[derive(Debug, Clone)]
pub(crate) enum Learn {
    Nothing,
    /// The version of this part of this row.
    Version(String, &'static str),
    /// Those of the parts of an artifact.
    Artifact(String),
    /// Those of these keys.
    Kv(Vec<String>),
    Settings(String),
    AccessKey(String),
    Made(u8),
}

impl Learn {
    /// Learns from an answer.
    pub(crate) fn from(&self, answer: &Value, world: &World, holder: &Holder) {
        match self {
            Self::Nothing => {}
            Self::Version(id, part) => world.learn(id, part, answer.get("version")),
            Self::Artifact(id) => {
                for part in ["header", "body"] {
                    let told = &answer[part];
                    world.learn(id, part, told.get("version"));
                    world.learn(id, part, told.get("currentVersion"));
                    world.learn(id, part, answer.get(format!("{part}Version")));
                }
                world.learn(id, "header", answer.get("currentHeaderVersion"));
                world.learn(id, "body", answer.get("currentBodyVersion"));
                let row = answer.get("artifact").unwrap_or(&Value::Null);
                world.learn_row(id, row, ["header", "body"]);
            }
            Self::Kv(keys) => {
                let told = answer.get("results").or_else(|| answer.get("errors"));
                for one in told.and_then(Value::as_array).into_iter().flatten() {
                    if let Some(key) = keys.iter().find(|key| one["key"] == key.as_str()) {
                        world.learn(&in_account(holder, key), "kv", one.get("version"));
                    }
                }
            }
            Self::Settings(id) => {
                world.learn(id, "settings", answer.get("version"));
                world.learn(id, "settings", answer.get("currentVersion"));
            }
            Self::AccessKey(id) => {
                world.learn(id, "key", answer.get("version"));
                world.learn(id, "key", answer.get("currentVersion"));
                world.learn(id, "key", answer.pointer("/accessKey/dataVersion"));
            }
            Self::Made(tag) => {
                if let Some(id) = answer.pointer("/session/id").and_then(Value::as_str) {
                    lock(&holder.made).insert(*tag, id.to_owned());
                }
            }
        }
    }
}

fn version(expect: Expect, known: u64) -> Value {
    match expect {
        Expect::Current => json!(known),
        Expect::Stale => json!(known.saturating_sub(1)),
        Expect::Future => json!(known + 100),
        Expect::Wide => json!(known + (1 << 32)),
    }
}

fn text_of(text: Text, world: &World) -> String {
    let plain = format!("text {}", world.number());
    match text {
        Text::Plain => plain,
        Text::Odd(form) => values::odd(form, &plain),
    }
}

fn base64(world: &World) -> String {
    BASE64_STANDARD.encode(format!("bytes {}", world.number()))
}

/// Which event or request an act is, by an actor of `holder`. Connections are not opened or closed here.
pub(crate) fn deed(act: &Act, world: &World, holder: &Holder, other: &Holder) -> Option<Deed> {
    if let Act::Foreign(what) = act {
        return Some(foreign(*what, world, holder, other));
    }
    socket(act, world, holder).or_else(|| request(act, world, holder))
}

fn session(holder: &Holder, index: u8) -> &str {
    &holder.sessions[usize::from(index)]
}

fn machine(holder: &Holder, index: u8) -> &str {
    &holder.machines[usize::from(index)]
}

fn artifact(holder: &Holder, index: u8) -> &str {
    &holder.artifacts[usize::from(index)]
}

/// Writes a part of a session.
pub(crate) fn write_session(sid: &str, part: Part, expected: &Value, value: &Value) -> Deed {
    let (event, key) = match part {
        Part::First => ("update-metadata", "metadata"),
        Part::Second => ("update-state", "agentState"),
    };
    let data = json!({"sid": sid, key: value, "expectedVersion": expected});
    Deed::Call(event, data, Learn::Version(sid.to_owned(), key))
}

/// Writes a part of a machine.
pub(crate) fn write_machine(id: &str, part: Part, expected: &Value, value: &Value) -> Deed {
    let (event, key) = match part {
        Part::First => ("machine-update-metadata", "metadata"),
        Part::Second => ("machine-update-state", "daemonState"),
    };
    let data = json!({"machineId": id, key: value, "expectedVersion": expected});
    Deed::Call(event, data, Learn::Version(id.to_owned(), key))
}

fn name_of(part: Part, second: &'static str) -> &'static str {
    match part {
        Part::First => "metadata",
        Part::Second => second,
    }
}

/// What is done with a row of another account. Nothing is learnt of it.
fn foreign(what: Foreign, world: &World, holder: &Holder, other: &Holder) -> Deed {
    let text = || json!(text_of(Text::Plain, world));
    let (sid, id) = (session(other, 0), machine(other, 0));
    let deed = match what {
        Foreign::Session(part) => {
            let known = world.version(sid, name_of(part, "agentState"));
            write_session(sid, part, &json!(known), &text())
        }
        Foreign::Machine(part) => {
            let known = world.version(id, name_of(part, "daemonState"));
            write_machine(id, part, &json!(known), &text())
        }
        Foreign::AccessKey => {
            let data = json!({"sessionId": sid, "machineId": machine(holder, 0)});
            Deed::Call("access-key-get", data, Learn::Nothing)
        }
        Foreign::MakeAccessKey => {
            let path = format!("/v1/access-keys/{sid}/{}", machine(holder, 0));
            Deed::Http(
                "POST",
                path,
                Some(json!({"data": base64(world)})),
                Learn::Nothing,
            )
        }
        Foreign::Usage => Deed::Call("usage-report", usage(world, 0, Some(sid)), Learn::Nothing),
        Foreign::TakeMachine => {
            let body = json!({"id": id, "metadata": text()});
            Deed::Http(
                "POST",
                "/v1/machines".to_owned(),
                Some(body),
                Learn::Nothing,
            )
        }
        Foreign::TakeArtifact => {
            let data = new_artifact(world, artifact(other, 0));
            Deed::Call("artifact-create", data, Learn::Nothing)
        }
    };
    match deed {
        Deed::Call(event, data, _) => Deed::Call(event, data, Learn::Nothing),
        deed => deed,
    }
}

fn usage(world: &World, key: u8, session: Option<&str>) -> Value {
    let total = world.number();
    let mut data = json!({
        "key": values::usage(key), "tokens": {"total": total, "input": 1}, "cost": {"total": 0.25},
    });
    if let Some(session) = session {
        data["sessionId"] = json!(session);
    }
    data
}

fn new_artifact(world: &World, id: &str) -> Value {
    json!({
        "id": id, "header": base64(world), "body": base64(world), "dataEncryptionKey": base64(world),
    })
}

fn socket(act: &Act, world: &World, holder: &Holder) -> Option<Deed> {
    let call = |event, data| Deed::Call(event, data, Learn::Nothing);
    Some(match act {
        Act::Message {
            session: index,
            local,
            differs,
            text,
        } => {
            let sid = session(holder, *index);
            match local {
                // Who sends it again sends the same text, except where a server has to keep the first.
                Some(local) if !differs => {
                    let local = values::local(*local);
                    let text = format!("message of {local}");
                    Deed::Emit(
                        "message",
                        json!({"sid": sid, "message": text, "localId": local}),
                    )
                }
                Some(local) => {
                    let local = values::local(*local);
                    let text = text_of(*text, world);
                    Deed::Emit(
                        "message",
                        json!({"sid": sid, "message": text, "localId": local}),
                    )
                }
                None if *differs => {
                    let local = format!("own-{}", world.number());
                    let text = text_of(*text, world);
                    Deed::Emit(
                        "message",
                        json!({"sid": sid, "message": text, "localId": local}),
                    )
                }
                None => {
                    let text = text_of(*text, world);
                    Deed::Emit("message", json!({"sid": sid, "message": text}))
                }
            }
        }
        Act::WriteSession {
            session: index,
            part,
            expect,
            text,
        } => {
            let sid = session(holder, *index);
            let known = world.version(sid, name_of(*part, "agentState"));
            let value = json!(text_of(*text, world));
            write_session(sid, *part, &version(*expect, known), &value)
        }
        Act::ClearState { session: index } => {
            let sid = session(holder, *index);
            let known = json!(world.version(sid, "agentState"));
            write_session(sid, Part::Second, &known, &Value::Null)
        }
        Act::WriteMachine {
            machine: index,
            part,
            expect,
            text,
        } => {
            let id = machine(holder, *index);
            let known = world.version(id, name_of(*part, "daemonState"));
            let value = json!(text_of(*text, world));
            write_machine(id, *part, &version(*expect, known), &value)
        }
        Act::SessionAlive {
            session: index,
            thinking,
        } => {
            let mut data = json!({"sid": session(holder, *index), "time": Clock::System.unix_ms()});
            if let Some(thinking) = thinking {
                data["thinking"] = json!(thinking);
            }
            Deed::Emit("session-alive", data)
        }
        Act::SessionEnd { session: index } => {
            let data = json!({"sid": session(holder, *index), "time": Clock::System.unix_ms()});
            Deed::Emit("session-end", data)
        }
        Act::MachineAlive { machine: index } => {
            let data =
                json!({"machineId": machine(holder, *index), "time": Clock::System.unix_ms()});
            Deed::Emit("machine-alive", data)
        }
        Act::Ping => call("ping", Value::Null),
        Act::Usage {
            session: index,
            key,
        } => {
            let session = index.map(|index| session(holder, index));
            call("usage-report", usage(world, *key, session))
        }
        Act::AccessKey {
            session: s,
            machine: m,
        } => {
            let data = json!({"sessionId": session(holder, *s), "machineId": machine(holder, *m)});
            call("access-key-get", data)
        }
        Act::ArtifactCreate { artifact: index } => {
            let id = artifact(holder, *index);
            Deed::Call(
                "artifact-create",
                new_artifact(world, id),
                Learn::Artifact(id.to_owned()),
            )
        }
        Act::ArtifactRead { artifact: index } => {
            let id = artifact(holder, *index);
            let learn = Learn::Artifact(id.to_owned());
            Deed::Call("artifact-read", json!({"artifactId": id}), learn)
        }
        Act::ArtifactUpdate {
            artifact: index,
            header,
            body,
        } => {
            let id = artifact(holder, *index);
            let mut data = json!({"artifactId": id});
            for (part, expect) in [("header", header), ("body", body)] {
                if let Some(expect) = expect {
                    let expected = version(*expect, world.version(id, part));
                    data[part] = json!({"data": base64(world), "expectedVersion": expected});
                }
            }
            Deed::Call("artifact-update", data, Learn::Artifact(id.to_owned()))
        }
        Act::ArtifactDelete { artifact: index } => {
            let data = json!({"artifactId": artifact(holder, *index)});
            call("artifact-delete", data)
        }
        Act::Register { method } => {
            Deed::Emit("rpc-register", json!({"method": values::method(*method)}))
        }
        Act::Unregister { method } => {
            Deed::Emit("rpc-unregister", json!({"method": values::method(*method)}))
        }
        Act::Call {
            method,
            callee,
            value,
        } => {
            let params = json!({
                "n": world.number(), "do": orders(*callee), "value": values::value(*value),
            });
            // Clients that encrypt what they send have nothing but texts for params.
            let params = match value / 2 % 2 {
                0 => Value::String(params.to_string()),
                _ => params,
            };
            call(
                "rpc-call",
                json!({"method": values::method(*method), "params": params}),
            )
        }
        _ => return None,
    })
}

/// What the params of a call ask of its callee.
fn orders(callee: Callee) -> Value {
    match callee {
        Callee::Echo => json!("echo"),
        Callee::Value(index) => json!(format!("answer value {index}")),
        Callee::Slow => json!("echo later"),
        Callee::Late => json!("echo late"),
        Callee::Silent => json!("stay silent"),
        Callee::Dies => json!("drop"),
        Callee::Empty => json!("answer nothing"),
    }
}

fn request(act: &Act, world: &World, holder: &Holder) -> Option<Deed> {
    let http = |method, path: String, body| Deed::Http(method, path, Some(body), Learn::Nothing);
    let made = |tag: &u8| lock(&holder.made).get(tag).cloned();
    Some(match act {
        Act::PostSession { tag } => {
            let body = json!({
                "tag": format!("made-{tag}-{}", world.common()), "metadata": text_of(Text::Plain, world),
            });
            Deed::Http(
                "POST",
                "/v1/sessions".to_owned(),
                Some(body),
                Learn::Made(*tag),
            )
        }
        Act::DeleteSession { tag } => {
            let path = format!("/v1/sessions/{}", made(tag)?);
            Deed::Http("DELETE", path, None, Learn::Nothing)
        }
        Act::ArchiveSession { session: index } => {
            let path = format!("/v1/sessions/{}/archive", session(holder, *index));
            http("POST", path, json!({}))
        }
        Act::PostMessages {
            session: index,
            local,
        } => {
            let one = |local: Option<u8>| match local {
                Some(local) => {
                    let local = values::local(local);
                    json!({"content": format!("message of {local}"), "localId": local})
                }
                None => {
                    let number = world.number();
                    json!({"content": format!("text {number}"), "localId": format!("own-{number}")})
                }
            };
            let path = format!("/v3/sessions/{}/messages", session(holder, *index));
            http("POST", path, json!({"messages": [one(*local), one(None)]}))
        }
        Act::PostMachine { machine: index } => {
            let index = usize::from(*index);
            let mut all = holder.machines.iter().chain(&holder.spare);
            let id = all.nth(index)?;
            let body = json!({"id": id, "metadata": text_of(Text::Plain, world)});
            http("POST", "/v1/machines".to_owned(), body)
        }
        Act::PostArtifact { artifact: index } => {
            let id = artifact(holder, *index);
            let body = new_artifact(world, id);
            let learn = Learn::Artifact(id.to_owned());
            Deed::Http("POST", "/v1/artifacts".to_owned(), Some(body), learn)
        }
        Act::ChangeArtifact {
            artifact: index,
            expect,
        } => {
            let id = artifact(holder, *index);
            let expected = version(*expect, world.version(id, "header"));
            let body = json!({"header": base64(world), "expectedHeaderVersion": expected});
            let learn = Learn::Artifact(id.to_owned());
            Deed::Http("POST", format!("/v1/artifacts/{id}"), Some(body), learn)
        }
        Act::RemoveArtifact { artifact: index } => {
            let path = format!("/v1/artifacts/{}", artifact(holder, *index));
            Deed::Http("DELETE", path, None, Learn::Nothing)
        }
        Act::PostAccessKey {
            session: s,
            machine: m,
        } => {
            let (path, learn) = access_key(holder, *s, *m);
            Deed::Http("POST", path, Some(json!({"data": base64(world)})), learn)
        }
        Act::PutAccessKey {
            session: s,
            machine: m,
            expect,
        } => {
            let (path, learn) = access_key(holder, *s, *m);
            let expected = version(*expect, world.version(&path, "key"));
            let body = json!({"data": base64(world), "expectedVersion": expected});
            Deed::Http("PUT", path, Some(body), learn)
        }
        Act::WriteKv { key, expect, other } => {
            let mutation = |name: &str, expect| {
                let known = world.version(&in_account(holder, name), "kv");
                // What was never written is named by -1.
                let expected = match (expect, known) {
                    (Expect::Current, 0) => json!(-1),
                    _ => version(expect, known),
                };
                json!({"key": name, "value": base64(world), "version": expected})
            };
            let mut names = vec![format!("key-{key}-{}", world.common())];
            let mut mutations = vec![mutation(&names[0], *expect)];
            if *other {
                names.push(format!("other-{}", world.common()));
                mutations.push(mutation(&names[1], Expect::Current));
            }
            let body = json!({"mutations": mutations});
            Deed::Http("POST", "/v1/kv".to_owned(), Some(body), Learn::Kv(names))
        }
        Act::WriteSettings { expect } => {
            let id = session(holder, 0);
            let expected = version(*expect, world.version(id, "settings"));
            let body =
                json!({"settings": text_of(Text::Plain, world), "expectedVersion": expected});
            let learn = Learn::Settings(id.to_owned());
            Deed::Http("POST", "/v1/account/settings".to_owned(), Some(body), learn)
        }
        _ => return None,
    })
}

/// A key of an account: others may have one of the same name.
fn in_account(holder: &Holder, key: &str) -> String {
    format!("{}/{key}", session(holder, 0))
}

fn access_key(holder: &Holder, s: u8, m: u8) -> (String, Learn) {
    let path = format!(
        "/v1/access-keys/{}/{}",
        session(holder, s),
        machine(holder, m)
    );
    let learn = Learn::AccessKey(path.clone());
    (path, learn)
}
