//! What virtual peers look at in the packets that arrive: as little as possible, in the raw text.

use std::borrow::Cow;

use serde::Deserialize;

use crate::scenario::EventKind;

/// A packet, as far as a virtual peer cares.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Incoming<'a> {
    /// The answer to an event: its id, and the arguments with their brackets.
    Ack(u64, &'a str),
    /// A call; the id under which its answer is awaited, empty where none is.
    Request(&'a str),
    /// A method is registered.
    Registered,
    /// A method could not be registered, or something else of that kind.
    RpcError,
    /// The server complains, before it disconnects, about what came with CONNECT.
    Refusal(Cow<'a, str>),
    /// Anything else.
    Event,
}

/// Looks at a packet without the Engine.IO type.
pub(super) fn look(packet: &str) -> Incoming<'_> {
    let rest = &packet[1..];
    let digits = rest
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(rest.len());
    let (id, rest) = rest.split_at(digits);
    if packet.starts_with('3') {
        return match id.parse() {
            Ok(id) => Incoming::Ack(id, rest),
            Err(_) => Incoming::Event,
        };
    }
    if let Some(args) = rest.strip_prefix("[\"error\",") {
        let args = args.strip_suffix(']').unwrap_or(args);
        let said = serde_json::from_str::<Complaint<'_>>(args).ok();
        return Incoming::Refusal(said.map_or("an error event".into(), |said| said.message));
    }
    match rest.strip_prefix("[\"rpc-") {
        Some(rest) if rest.starts_with("request\"") => Incoming::Request(id),
        Some(rest) if rest.starts_with("registered\"") => Incoming::Registered,
        Some(rest) if rest.starts_with("error\"") => Incoming::RpcError,
        _ => Incoming::Event,
    }
}

/// The argument of the event `error`.
#[derive(Deserialize)]
struct Complaint<'a> {
    #[serde(borrow)]
    message: Cow<'a, str>,
}

/// An ephemeral that is recognised by what it says, having no opaque content to be stamped.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Ephemeral<'a> {
    /// Which kind of event it comes from.
    pub(super) kind: EventKind,
    /// The session or machine, as its id stands in the JSON, without quotes.
    pub(super) id: &'a str,
    /// `activeAt` in Unix milliseconds; of what was used, the total of the tokens.
    pub(super) mark: u64,
    /// Whether the server may say so by itself, since something is not active any more.
    pub(super) is_inactive: bool,
}

/// The ephemeral in an event, if it is one of these.
pub(super) fn ephemeral(packet: &str) -> Option<Ephemeral<'_>> {
    let rest = packet.strip_prefix("2[\"ephemeral\",")?;
    // Keys come in any order, and ids hold no quotes that were not escaped.
    let value = |of: &'_ str, key: &str| -> Option<usize> {
        let after = of.find(key)? + key.len();
        let colon = after + of[after..].find(':')? + 1;
        Some(colon + of[colon..].len() - of[colon..].trim_start().len())
    };
    let text = |key| {
        rest[value(rest, key)?..]
            .strip_prefix('"')?
            .split('"')
            .next()
    };
    let number = |of: &str, key| {
        let digits = &of[value(of, key)?..];
        let end = digits.find([',', '}', ' ']).unwrap_or(digits.len());
        // Some languages write whole numbers as 5.0 or 1.7E12.
        let number = digits[..end].parse::<f64>().ok()?;
        // Both are whole and far below 2^53.
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "see above"
        )]
        (0.0..9e15).contains(&number).then_some(number as u64)
    };
    let is_inactive = value(rest, "\"active\"").is_some_and(|at| rest[at..].starts_with("false"));
    let active_at = || number(rest, "\"activeAt\"");
    let (kind, mark) = match text("\"type\"")? {
        "activity" if is_inactive => (EventKind::SessionEnd, active_at()),
        "activity" => (EventKind::SessionAlive, active_at()),
        "machine-activity" => (EventKind::MachineAlive, active_at()),
        "usage" => {
            // The cost has a total as well.
            let tokens = value(rest, "\"tokens\"").map(|at| &rest[at..]);
            let total = tokens.and_then(|of| number(of, "\"total\""));
            (EventKind::UsageReport, total)
        }
        _ => return None,
    };
    Some(Ephemeral {
        kind,
        id: text("\"id\"")?,
        mark: mark?,
        is_inactive,
    })
}

/// The type that an update or ephemeral calls itself, for an example in a report.
pub(super) fn type_of(packet: &str) -> &str {
    let after = |key: &str| packet.split_once(key)?.1.split('"').next();
    let name = after("\"body\":{\"t\":\"").or_else(|| after("\"t\":\""));
    name.or_else(|| after("\"type\":\"")).unwrap_or("unknown")
}

/// How the server answered.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer<'a> {
    /// Whether it did what was asked.
    pub(super) done: bool,
    /// In a word or an error text.
    pub(super) label: Cow<'a, str>,
    /// The version that the value has now, where it tells.
    pub(super) version: Option<i64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw<'a> {
    #[serde(borrow)]
    result: Option<Cow<'a, str>>,
    ok: Option<bool>,
    success: Option<bool>,
    version: Option<i64>,
    #[serde(borrow)]
    error: Option<Cow<'a, str>>,
    #[serde(borrow)]
    message: Option<Cow<'a, str>>,
    header: Option<Part>,
    artifact: Option<Artifact>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Part {
    version: Option<i64>,
    current_version: Option<i64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Artifact {
    header_version: Option<i64>,
}

/// A call's answer carries whatever its callee likes, so only its `ok` and `error` are read.
#[derive(Deserialize)]
struct RawCall<'a> {
    ok: Option<bool>,
    #[serde(borrow)]
    error: Option<Cow<'a, str>>,
}

/// Reads the answer to an event.
pub(super) fn answer(args: &str, is_call: bool) -> Answer<'_> {
    let malformed = || Answer {
        done: false,
        label: "malformed".into(),
        version: None,
    };
    if is_call {
        let Ok((RawCall { ok, error },)) = serde_json::from_str(args) else {
            return malformed();
        };
        let done = ok.unwrap_or_default();
        let refused = || error.unwrap_or("error".into());
        return Answer {
            done,
            label: if done { "success".into() } else { refused() },
            version: None,
        };
    }
    let Ok((raw,)) = serde_json::from_str::<(Raw<'_>,)>(args) else {
        return malformed();
    };
    let part = raw.header.as_ref();
    let version = raw
        .version
        .or(part.and_then(|part| part.current_version.or(part.version)))
        .or(raw.artifact.and_then(|artifact| artifact.header_version));
    let label = match (raw.result, raw.ok.or(raw.success)) {
        (Some(result), _) if result == "error" => raw.message.or(raw.error).unwrap_or(result),
        (Some(result), _) => result,
        // An answer without any of these is that of ping.
        (None, Some(true) | None) => "success".into(),
        (None, Some(false)) => raw.error.unwrap_or("error".into()),
    };
    Answer {
        done: label == "success",
        label,
        version,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_told_apart() {
        #[track_caller]
        fn check(packet: &str, expected: &Incoming<'_>) {
            assert_eq!(&look(packet), expected);
        }
        check("312[{}]", &Incoming::Ack(12, "[{}]"));
        check("27[\"rpc-request\",{}]", &Incoming::Request("7"));
        check("2[\"rpc-request\",{}]", &Incoming::Request(""));
        check(
            "2[\"rpc-registered\",{\"method\":\"a\"}]",
            &Incoming::Registered,
        );
        check("2[\"rpc-error\",{}]", &Incoming::RpcError);
        let refusal = |message: &'static str| Incoming::Refusal(message.into());
        check(
            "2[\"error\",{\"message\":\"No token\"}]",
            &refusal("No token"),
        );
        check("2[\"error\",7]", &refusal("an error event"));
        check("2[\"error\"]", &Incoming::Event);
        check("2[\"update\",{}]", &Incoming::Event);
        check("3[]", &Incoming::Event);
        check("2", &Incoming::Event);
    }

    #[test]
    fn ephemerals_are_recognised() {
        #[track_caller]
        fn check(packet: &str, expected: Option<(EventKind, &str, u64, bool)>) {
            let found = ephemeral(packet);
            let found = found.map(|of| (of.kind, of.id, of.mark, of.is_inactive));
            assert_eq!(found, expected);
        }
        check(
            "2[\"ephemeral\",{\"type\":\"activity\",\"id\":\"s1\",\"active\":true,\"activeAt\":170,\"thinking\":false}]",
            Some((EventKind::SessionAlive, "s1", 170, false)),
        );
        check(
            "2[\"ephemeral\",{\"type\":\"activity\",\"id\":\"s1\",\"active\":false,\"activeAt\":170,\"thinking\":false}]",
            Some((EventKind::SessionEnd, "s1", 170, true)),
        );
        check(
            "2[\"ephemeral\",{\"activeAt\": 5.0, \"id\": \"m\", \"active\" : false, \"type\": \"machine-activity\"}]",
            Some((EventKind::MachineAlive, "m", 5, true)),
        );
        check(
            "2[\"ephemeral\",{\"cost\":{\"total\":0.01},\"type\":\"usage\",\"id\":\"s1\",\"key\":\"total\",\"tokens\":{\"input\":7,\"total\":7}}]",
            Some((EventKind::UsageReport, "s1", 7, false)),
        );
        check("2[\"ephemeral\",{\"type\":\"usage\",\"id\":\"s1\"}]", None);
        check(
            "2[\"ephemeral\",{\"type\":\"activity\",\"id\":\"s1\",\"activeAt\":null}]",
            None,
        );
        check(
            "2[\"update\",{\"type\":\"activity\",\"id\":\"s1\",\"activeAt\":1}]",
            None,
        );
    }

    /// Optional parts that do not apply may be null instead of absent.
    #[test]
    fn null_parts_are_absent() {
        #[track_caller]
        fn check(args: &str, is_call: bool, expected: (bool, &str, Option<i64>)) {
            let found = answer(args, is_call);
            assert_eq!((found.done, found.label.as_ref(), found.version), expected);
        }
        check(
            r#"[{"result":"success","message":null,"error":null,"version":3,"header":null,"artifact":null}]"#,
            false,
            (true, "success", Some(3)),
        );
        check(
            r#"[{"result":"success","message":null,"header":{"version":2,"data":"AAAA","currentVersion":null},"body":null}]"#,
            false,
            (true, "success", Some(2)),
        );
        check(
            r#"[{"ok":true,"success":null,"error":null,"accessKey":null}]"#,
            false,
            (true, "success", None),
        );
        check(
            r#"[{"ok":true,"error":null,"result":null}]"#,
            true,
            (true, "success", None),
        );
    }

    #[test]
    fn answers_are_read() {
        #[track_caller]
        fn check(args: &str, is_call: bool, expected: (bool, &str, Option<i64>)) {
            let found = answer(args, is_call);
            assert_eq!((found.done, found.label.as_ref(), found.version), expected);
        }
        let event = |args, expected| check(args, false, expected);
        event(
            r#"[{"result":"success","version":3,"metadata":"x"}]"#,
            (true, "success", Some(3)),
        );
        event(
            r#"[{"result":"version-mismatch","version":9,"agentState":null}]"#,
            (false, "version-mismatch", Some(9)),
        );
        event(
            r#"[{"result":"error","message":"Machine not found"}]"#,
            (false, "Machine not found", None),
        );
        event(r#"[{"result":"error"}]"#, (false, "error", None));
        event(
            r#"[{"result":"version-mismatch","header":{"currentVersion":4,"currentData":"AAAA"}}]"#,
            (false, "version-mismatch", Some(4)),
        );
        event(
            r#"[{"result":"success","artifact":{"id":"a","headerVersion":1}}]"#,
            (true, "success", Some(1)),
        );
        event(r#"[{"ok":true,"accessKey":null}]"#, (true, "success", None));
        event("[{}]", (true, "success", None));
        event("[]", (false, "malformed", None));
        event("[7]", (false, "malformed", None));
        check(
            r#"[{"ok":true,"result":{"version":"x"}}]"#,
            true,
            (true, "success", None),
        );
        check(
            r#"[{"ok":false,"error":"RPC method not available"}]"#,
            true,
            (false, "RPC method not available", None),
        );
        check("[{}]", true, (false, "error", None));
    }
}
