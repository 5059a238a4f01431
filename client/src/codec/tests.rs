//! The codec as tables, and with inputs that nobody would write down.

use proptest::{collection::vec, option, prelude::*};

use super::{
    Frame, Problem, engine,
    packet::{self, Body, Packet},
    payload,
};

/// A text, and the packet that it must be; encoding it gives the text again.
#[track_caller]
fn check(text: &str, namespace: &str, body: &Body<'_>) {
    let packet = packet::decode(text).unwrap();
    assert_eq!((packet.namespace, &packet.body), (namespace, body));
    assert_eq!(packet::encode(&packet), text);
    assert_eq!(packet::encode_message(&packet), format!("4{text}"));
}

fn event<'a>(name: &'a str, args: &'a str, ack: Option<u64>, attachments: usize) -> Body<'a> {
    Body::Event {
        name: name.into(),
        args,
        ack,
        attachments,
    }
}

/// The examples of the Socket.IO protocol's description, and their corners.
#[test]
fn packets_of_each_type() {
    check("0", "/", &Body::Connect(""));
    check(r#"0{"token":"t"}"#, "/", &Body::Connect(r#"{"token":"t"}"#));
    check(
        r#"0/admin,{"sid":"x"}"#,
        "/admin",
        &Body::Connect(r#"{"sid":"x"}"#),
    );
    check("1", "/", &Body::Disconnect);
    check("1/admin,", "/admin", &Body::Disconnect);
    check(r#"2["foo"]"#, "/", &event("foo", "", None, 0));
    check(r#"2["hello",1]"#, "/", &event("hello", "1", None, 0));
    check(
        r#"212["foo",{"a":[]},null]"#,
        "/",
        &event("foo", r#"{"a":[]},null"#, Some(12), 0),
    );
    check(
        r#"2/admin,0["bar"]"#,
        "/admin",
        &event("bar", "", Some(0), 0),
    );
    check(
        r#"218446744073709551615["e"]"#,
        "/",
        &event("e", "", Some(u64::MAX), 0),
    );
    check(
        "312[]",
        "/",
        &Body::Ack {
            id: 12,
            args: "",
            attachments: 0,
        },
    );
    check(
        r#"3/admin,456["foo",2]"#,
        "/admin",
        &Body::Ack {
            id: 456,
            args: r#""foo",2"#,
            attachments: 0,
        },
    );
    check(
        r#"4{"message":"no"}"#,
        "/",
        &Body::ConnectError(r#"{"message":"no"}"#),
    );
    let placeholder = r#"{"_placeholder":true,"num":0}"#;
    check(
        &format!(r#"51-["baz",{placeholder}]"#),
        "/",
        &event("baz", placeholder, None, 1),
    );
    check(
        &format!(r#"51-/admin,7["baz",{placeholder}]"#),
        "/admin",
        &event("baz", placeholder, Some(7), 1),
    );
    check(
        &format!("61-15[{placeholder}]"),
        "/",
        &Body::Ack {
            id: 15,
            args: placeholder,
            attachments: 1,
        },
    );
}

/// What is understood although nobody would write it so.
#[test]
fn liberties_that_json_takes() {
    #[track_caller]
    fn check(text: &str, body: &Body<'_>) {
        assert_eq!(packet::decode(text).unwrap(), Packet::new(body.clone()));
    }
    check(r#"2 [ "e" , 1 , 2 ] "#, &event("e", "1 , 2", None, 0));
    check("2[\n\"e\"\n]", &event("e", "", None, 0));
    check(r#"2["\u0065"]"#, &event("e", "", None, 0));
    check("50-[\"e\"]", &event("e", "", None, 0));
    assert_eq!(packet::decode("1/admin").unwrap().namespace, "/admin");
}

#[track_caller]
fn reject(text: &str, at: usize, problem: &str) {
    let error = packet::decode(text).unwrap_err();
    assert_eq!(
        (error.at, error.problem.to_string().as_str()),
        (at, problem),
        "{text}"
    );
}

#[test]
fn what_is_no_packet_is_rejected_where_it_goes_wrong() {
    reject("", 0, "empty packet");
    reject("7", 0, "unknown Socket.IO packet type '7'");
    reject("é", 0, "unknown Socket.IO packet type 'é'");
    reject("0[]", 1, "expected a JSON object: found another JSON value");
    reject(
        "0{",
        1,
        "expected a JSON object: EOF while parsing an object",
    );
    reject("07{}", 2, "unexpected data");
    reject("1x", 1, "unexpected data");
    reject("4", 1, "expected a JSON object: EOF while parsing a value");
    reject(
        "4\"no\"",
        1,
        "expected a JSON object: found another JSON value",
    );
    reject("5[\"e\"]", 1, "missing number of attachments");
    reject("5-[\"e\"]", 1, "missing number of attachments");
    reject("51[\"e\"]", 1, "missing number of attachments");
    reject("599999999999999999999-[\"e\"]", 1, "number is too large");
    reject("218446744073709551616[\"e\"]", 1, "number is too large");
    reject("3[]", 1, "missing ack id");
    reject("3/admin,[]", 8, "missing ack id");
    const NAME: &str = "expected a JSON array that begins with the event's name: ";
    reject("2", 1, &format!("{NAME}EOF while parsing a value"));
    reject("2[\"e\",\n1,x]", 9, &format!("{NAME}expected value"));
    reject("2[\"e\"]]", 6, &format!("{NAME}trailing characters"));
    reject(
        "2[null]",
        5,
        &format!("{NAME}invalid type: null, expected a string"),
    );
    reject(
        "31{}",
        2,
        "expected a JSON array: invalid type: map, expected an array",
    );
}

#[test]
fn engine_packets_of_each_type() {
    #[track_caller]
    fn check(text: &str, packet: engine::Packet<'_>) {
        assert_eq!(engine::decode(text), Ok(packet));
        assert_eq!(engine::encode(packet), text);
    }
    check("0{}", engine::Packet::Open("{}"));
    check("1", engine::Packet::Close);
    check("2", engine::Packet::Ping(""));
    check("2probe", engine::Packet::Ping("probe"));
    check("3probe", engine::Packet::Pong("probe"));
    check("42[]", engine::Packet::Message("2[]"));
    check("5", engine::Packet::Upgrade);
    check("6", engine::Packet::Noop);
    for (text, at, problem) in [
        ("", 0, Problem::Empty),
        ("b", 0, Problem::EngineType('b')),
        ("1x", 1, Problem::Unexpected),
        ("6 ", 1, Problem::Unexpected),
    ] {
        let error = engine::decode(text).unwrap_err();
        assert_eq!((error.at, error.problem), (at, problem));
    }
}

#[test]
fn payloads_that_are_none_are_rejected_where_they_go_wrong() {
    for (text, at, problem) in [
        ("", 0, Problem::Empty),
        ("2\u{1e}", 2, Problem::Empty),
        ("\u{1e}2", 0, Problem::Empty),
        ("2\u{1e}b*", 3, Problem::Base64),
        ("bAQ", 1, Problem::Base64),
    ] {
        let error = payload::decode(text).unwrap_err();
        assert_eq!((error.at, error.problem), (at, problem), "{text:?}");
    }
}

/// A JSON value as text.
fn json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        any::<bool>().prop_map(|b| b.to_string()),
        any::<i64>().prop_map(|n| n.to_string()),
        any::<String>().prop_map(|s| serde_json::Value::from(s).to_string()),
    ];
    leaf.prop_recursive(3, 20, 5, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(|items| format!("[{}]", items.join(","))),
            vec((any::<String>(), inner), 0..4).prop_map(|entries| {
                let entry = |(key, value)| format!("{}:{value}", serde_json::Value::String(key));
                format!(
                    "{{{}}}",
                    entries.into_iter().map(entry).collect::<Vec<_>>().join(",")
                )
            }),
        ]
    })
}

fn frame() -> impl Strategy<Value = Frame> {
    prop_oneof![
        // The separator never occurs in a packet's JSON, and `b` is no packet type.
        "[0-6][^\u{1e}]{0,20}".prop_map(Frame::text),
        vec(any::<u8>(), 0..40).prop_map(|bytes| Frame::Binary(bytes.into())),
    ]
}

proptest! {
    #[test]
    fn events_come_back_as_they_were_sent(
        name in any::<String>(),
        args in vec(json(), 0..4),
        ack in option::of(any::<u64>()),
        attachments in prop_oneof![Just(0), any::<usize>()],
        namespace in prop_oneof![Just("/".to_owned()), "/[a-z]{1,8}"],
    ) {
        let args = args.join(",");
        let body = Body::Event { name: name.into(), args: &args, ack, attachments };
        let packet = Packet { namespace: &namespace, body };
        let text = packet::encode(&packet);
        prop_assert_eq!(packet::decode(&text).unwrap(), packet);
    }

    #[test]
    fn acks_come_back_as_they_were_sent(
        id in any::<u64>(),
        args in vec(json(), 0..4),
        attachments in prop_oneof![Just(0), any::<usize>()],
    ) {
        let args = args.join(",");
        let packet = Packet::new(Body::Ack { id, args: &args, attachments });
        let text = packet::encode(&packet);
        prop_assert_eq!(packet::decode(&text).unwrap(), packet);
    }

    #[test]
    fn payloads_come_back_as_they_were_sent(frames in vec(frame(), 1..6)) {
        let text = payload::encode(&frames);
        prop_assert_eq!(text.len() + 1, frames.iter().map(payload::encoded_len).sum::<usize>());
        prop_assert_eq!(payload::decode(&text).unwrap(), frames);
    }

    /// Whatever comes in, nothing panics, and an error points into the text.
    #[test]
    fn no_text_is_too_strange(text in prop_oneof![
        any::<String>(),
        "[0-6b\\-/,\\[\\]\"{}a\u{1e}é]{0,30}",
        "[0-6][0-9]{0,3}-?(/[a-z]*,)?[0-9]{0,22}\\[\"?[a-z\\\\u0]{0,5}\"?,?.{0,10}\\]?",
    ]) {
        for error in [
            packet::decode(&text).err(),
            engine::decode(&text).err(),
            payload::decode(&text).err(),
        ].into_iter().flatten() {
            prop_assert!(error.at <= text.len(), "{error} in {text:?}");
        }
        crate::trace::Traced::of(&Frame::text(text));
    }
}
