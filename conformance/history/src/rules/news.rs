//! What is announced because something was made, deleted, reported or written under a key.

use serde_json::Value;
use touchstone_fixtures::broadcast;

use crate::{
    print::prints,
    requirement as r,
    requirement::Requirement,
    story::{Asked, Call},
};

/// What a success has done that is announced to user-scoped connections.
pub(super) struct News {
    pub(super) key: u64,
    pub(super) what: String,
    pub(super) requirement: &'static Requirement,
}

/// What an activity says of a session that is not active any more.
const ENDED: &str = "activity false";

/// A new machine is announced a second time.
pub(super) fn second_of_machine(asked: &Asked<'_>) -> Option<News> {
    let (_, id) = asked.posted_machine()?;
    Some(news("update-machine", id, &r::MACHINE_SECOND))
}

/// What keeps an archived session from being announced as such: that it had ended before.
pub(super) fn end_of(call: &Call) -> Option<u64> {
    let id = call.data["sid"]
        .as_str()
        .filter(|_| call.event == "session-end")?;
    Some(news(ENDED, id, &r::ARCHIVED).key)
}

fn news(event: &str, id: &str, requirement: &'static Requirement) -> News {
    News {
        key: prints(&[&event.into(), &id.into()]),
        what: format!("{event} of {id}"),
        requirement,
    }
}

pub(super) fn announced_by_event(event: &str, data: &Value) -> Option<News> {
    let id = |key: &str| data.get(key).and_then(Value::as_str);
    Some(match event {
        "artifact-create" => news("new-artifact", id("id")?, &r::ARTIFACT_NEWS),
        "artifact-delete" => news("delete-artifact", id("artifactId")?, &r::ARTIFACT_END),
        "usage-report" => {
            let of_session = news("usage", id("sessionId")?, &r::USAGE_NEWS);
            News {
                key: usage_key(data, "sessionId"),
                ..of_session
            }
        }
        _ => return None,
    })
}

pub(super) fn announced_by_request(asked: &Asked<'_>) -> Option<News> {
    let text = |body: Option<&'_ Value>, pointer: &str| {
        let found = body.and_then(|body| body.pointer(pointer)?.as_str());
        found.map(str::to_owned)
    };
    let (request, answer) = (
        asked.exchange.request.as_ref(),
        asked.exchange.response.as_ref(),
    );
    Some(match (asked.method, asked.path) {
        ("POST", "/v1/sessions") => news(
            "new-session",
            &text(answer, "/session/id")?,
            &r::SESSION_MADE,
        ),
        // All that a request changes is announced at once.
        ("POST", "/v1/kv") => {
            let first = answer?.pointer("/results/0")?;
            News {
                key: kv_key(first),
                what: format!("kv-batch-update of {}", first["key"]),
                requirement: &r::KV_NEWS,
            }
        }
        ("POST", "/v1/machines") => news("new-machine", &text(request, "/id")?, &r::MACHINE_MADE),
        ("POST", path) if path.ends_with("/archive") => {
            let path = path.strip_suffix("/archive")?;
            let id = path.strip_prefix("/v1/sessions/")?;
            News {
                what: format!("that session {id} is archived"),
                ..news(ENDED, id, &r::ARCHIVED)
            }
        }
        ("POST", "/v1/artifacts") => {
            news("new-artifact", &text(request, "/id")?, &r::ARTIFACT_NEWS)
        }
        ("DELETE", path) => match path.strip_prefix("/v1/artifacts/") {
            Some(id) => news("delete-artifact", id, &r::ARTIFACT_END),
            None => {
                let id = path.strip_prefix("/v1/sessions/")?;
                news("delete-session", id, &r::SESSION_DELETED)
            }
        },
        _ => return None,
    })
}

/// The key of what an update's body or an ephemeral announces, as [`News`] have it.
pub(super) fn news_of(body: &Value) -> Vec<u64> {
    let name = body.get("t").or_else(|| body.get("type"));
    let Some(name) = name.and_then(Value::as_str) else {
        return Vec::new();
    };
    match name {
        "usage" => vec![usage_key(body, "id")],
        "kv-batch-update" => {
            let changes = body["changes"].as_array().into_iter().flatten();
            changes.map(kv_key).collect()
        }
        "new-session" | "delete-session" | "new-machine" | "update-machine" | "new-artifact"
        | "delete-artifact" | "activity" | "machine-activity" => {
            let id = broadcast(name).and_then(|one| one.id(body));
            let key = |name: &str, id: &str| prints(&[&name.into(), &id.into()]);
            let mut keys: Vec<u64> = id.iter().map(|(_, id)| key(name, id)).collect();
            if let (Some((_, id)), Some(false)) = (id, body["active"].as_bool()) {
                keys.push(key(ENDED, id));
            }
            keys
        }
        _ => Vec::new(),
    }
}

fn kv_key(change: &Value) -> u64 {
    prints(&[
        &"kv-batch-update".into(),
        &change["key"],
        &change["version"],
    ])
}

fn usage_key(data: &Value, id: &str) -> u64 {
    prints(&[
        &"usage".into(),
        &data[id],
        &data["key"],
        &data["tokens"]["total"],
    ])
}
