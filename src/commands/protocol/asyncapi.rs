//! The protocol as an AsyncAPI 3 document, for tools. The application that it describes is the server:
//! it receives what clients send.

use serde_json::{Map, Value, json};
use touchstone_fixtures::{
    BROADCASTS, Broadcast, CLIENT_EVENTS, ack_variants, goldens, schema, schemas,
};

use super::{OF_RPC, requirements_of, shape};

/// The document.
pub(super) fn document() -> Value {
    let mut messages = Map::new();
    let mut operations = Map::new();
    for event in CLIENT_EVENTS {
        let name = format!("event/{event}");
        messages.insert(key(&name), message(&name, event, None));
        let answers: Vec<_> = ack_variants(event)
            .iter()
            .map(|variant| format!("ack/{event}.{variant}"))
            .collect();
        for answer in &answers {
            messages.insert(key(answer), message(answer, event, None));
        }
        let mut operation = json!({
            "action": "receive",
            "channel": channel(),
            "summary": format!("A client sends {event}."),
            "messages": [in_channel(&name)],
        });
        if !answers.is_empty() {
            let answers: Vec<_> = answers.iter().map(|answer| in_channel(answer)).collect();
            operation["reply"] = json!({"channel": channel(), "messages": answers});
        }
        operations.insert(format!("receive.{event}"), operation);
    }
    for one in &BROADCASTS {
        let name = format!("{}/{}", one.event, one.name);
        messages.insert(key(&name), message(&name, one.name, Some(one)));
        let summary = format!("The server sends {} to {}.", one.name, one.filter.as_str());
        operations.insert(format!("send.{}", one.name), send(&name, &summary));
    }
    for (event, when) in OF_RPC {
        let name = format!("rpc/{event}");
        messages.insert(key(&name), message(&name, event, None));
        operations.insert(format!("send.{event}"), send(&name, when));
    }
    let listed = |name: &String| {
        let reference = format!("#/components/messages/{name}");
        (name.clone(), json!({"$ref": reference}))
    };
    let in_channel: Map<_, _> = messages.keys().map(listed).collect();
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "happy-server: Socket.IO API and event router",
            "version": "1.0.0",
            "description": "Socket.IO 4 (Engine.IO 4), namespace /. Acknowledgements of Socket.IO are \
                            replies. The payload of an update is the body of its envelope \
                            {id, seq, body, createdAt}.",
            "license": {"name": "MIT"},
        },
        "defaultContentType": "application/json",
        "channels": {
            "updates": {
                "address": "/v1/updates",
                "title": "All events of an account",
                "messages": in_channel,
            },
        },
        "operations": operations,
        "components": {"messages": messages, "schemas": components()},
    })
}

fn send(name: &str, summary: &str) -> Value {
    json!({
        "action": "send",
        "channel": channel(),
        "summary": summary,
        "messages": [in_channel(name)],
    })
}

fn channel() -> Value {
    json!({"$ref": "#/channels/updates"})
}

fn in_channel(name: &str) -> Value {
    json!({"$ref": format!("#/channels/updates/messages/{}", key(name))})
}

/// The name of a schema as a key of a component.
fn key(name: &str) -> String {
    name.replace('/', ".")
}

fn message(name: &str, event: &str, broadcast: Option<&Broadcast>) -> Value {
    let document = schema(name).map(|schema| schema.document());
    let summary = document.and_then(|document| document["description"].as_str());
    let examples = goldens().filter(|golden| golden.schema == name && golden.value.is_object());
    let examples: Vec<_> = examples
        .map(|golden| json!({"name": golden.case, "payload": golden.value}))
        .collect();
    let requirements: Vec<_> = requirements_of(event).iter().map(|one| one.id).collect();
    let mut message = json!({
        "name": broadcast.map_or(event, |one| one.event),
        "title": event,
        "summary": summary,
        "payload": {"$ref": format!("#/components/schemas/{}", key(name))},
        "x-requirements": requirements,
    });
    if !examples.is_empty() {
        message["examples"] = examples.into();
    }
    if let Some(one) = broadcast {
        message["x-audience"] =
            json!({"filter": one.filter.as_str(), "senderIncluded": !one.skips_sender});
        message["x-caused-by"] = json!(one.causes);
    }
    message
}

fn components() -> Map<String, Value> {
    let types = shape::value_types().map(|(name, schema)| (name.to_owned(), portable(schema)));
    let whole = schemas().map(|schema| (key(schema.name()), portable(schema.document())));
    types.chain(whole).collect()
}

/// A schema by the rules of AsyncAPI, where nothing stands beside a reference.
fn portable(schema: &Value) -> Value {
    match schema {
        Value::Array(items) => items.iter().map(portable).collect(),
        Value::Object(object) => {
            let mut rest: Map<_, _> = object
                .iter()
                .filter(|(key, _)| !["$schema", "$comment", "$ref"].contains(&key.as_str()))
                .map(|(key, value)| (key.clone(), portable(value)))
                .collect();
            let Some(name) = shape::referred(schema) else {
                return rest.into();
            };
            let reference = json!({"$ref": format!("#/components/schemas/{name}")});
            if rest.is_empty() {
                return reference;
            }
            let both = [Some(reference), rest.remove("allOf")]
                .into_iter()
                .flatten();
            let both: Vec<_> = both
                .flat_map(|part| match part {
                    Value::Array(parts) => parts,
                    part => vec![part],
                })
                .collect();
            rest.insert("allOf".to_owned(), both.into());
            rest.into()
        }
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reference_leads_somewhere() {
        fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
            match value {
                Value::Array(items) => items.iter().for_each(|item| references(item, found)),
                Value::Object(object) => {
                    found.extend(object.get("$ref").and_then(Value::as_str));
                    object.values().for_each(|value| references(value, found));
                }
                _ => {}
            }
        }
        let document = document();
        let mut found = Vec::new();
        references(&document, &mut found);
        assert!(found.len() > 200, "{}", found.len());
        for reference in found {
            let pointer = reference.strip_prefix('#').expect("a local reference");
            assert!(document.pointer(pointer).is_some(), "{reference}");
        }
    }
}
