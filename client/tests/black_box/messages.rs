//! Events and acks in both directions.

use std::time::Duration;

use serde_json::{Value, json};
use touchstone_client::{Args, CallError, End, Frame};

use crate::script::{
    BINARY, CONTINUATION, PING, PONG, Server, TEXT, bytes, connected, expect_names, frame, next,
    opened, soon,
};

const LONG: Duration = Duration::from_secs(20);

#[tokio::test]
async fn what_is_emitted_is_on_the_wire_byte_by_byte() {
    let server = Server::start().await;
    let (mut peer, socket, _events) = connected(&server, &server.options()).await;
    let rows: [(&str, Args, &str); 9] = [
        ("ping", ().into(), r#"42["ping"]"#),
        (
            "message",
            json!({"sid": "s"}).into(),
            r#"42["message",{"sid":"s"}]"#,
        ),
        ("two", [json!(1), json!(null)].into(), r#"42["two",1,null]"#),
        ("list", json!([1, 2]).into(), r#"42["list",[1,2]]"#),
        ("quote\"d", ().into(), r#"42["quote\"d"]"#),
        ("back\\slash", ().into(), r#"42["back\\slash"]"#),
        ("nul\0", ().into(), r#"42["nul\u0000"]"#),
        ("", json!("é 👍").into(), r#"42["","é 👍"]"#),
        ("raw", Args::raw("{no json"), r#"42["raw",{no json]"#),
    ];
    for (event, args, expected) in rows {
        socket.emit(event, args).await.unwrap();
        peer.expect(expected).await;
    }
}

/// Frames of every length encoding arrive whole.
#[tokio::test]
async fn long_messages_pass_in_both_directions() {
    let server = Server::start().await;
    let (mut peer, socket, mut events) = connected(&server, &server.options()).await;
    for size in [100, 200, 70_000, 900_000] {
        let text = "x".repeat(size);
        let expected = format!(r#"42["e","{text}"]"#);
        let ((), ()) = tokio::join!(
            async { socket.emit("e", json!(text)).await.unwrap() },
            peer.expect(&expected),
        );
        let ((), received) = tokio::join!(peer.send(&expected), next(&mut events));
        assert_eq!(received.1.len(), size + 2);
    }
}

#[tokio::test]
async fn many_calls_are_in_flight_and_answered_in_any_order() {
    let server = Server::start().await;
    let (mut peer, socket, _events) = connected(&server, &server.options()).await;
    let mut pending = Vec::new();
    for n in 0..5 {
        pending.push(socket.request("n", json!(n)).await.unwrap());
    }
    for (n, pending) in pending.iter().enumerate() {
        assert_eq!(pending.id(), n as u64);
        peer.expect(&format!(r#"42{n}["n",{n}]"#)).await;
    }
    for n in [3, 0, 4, 1, 2] {
        peer.send(&format!(r#"43{n}[{{"n":{n}}}]"#)).await;
    }
    let mut arrivals = Vec::new();
    for (n, pending) in pending.into_iter().enumerate() {
        let reply = soon(pending).await.unwrap();
        assert_eq!(reply.data().unwrap(), json!({"n": n}));
        arrivals.push(reply.arrival);
    }
    assert_eq!(arrivals, [1, 3, 4, 0, 2]);
}

#[tokio::test]
async fn an_ack_may_hold_no_argument_or_several() {
    async fn check(answer: &str, args: &str, data: Value, values: Vec<Value>) {
        let server = Server::start().await;
        let (mut peer, socket, _events) = connected(&server, &server.options()).await;
        let script = async {
            peer.text().await;
            peer.send(answer).await;
        };
        let ((), reply) = tokio::join!(script, socket.call("ping", (), LONG));
        let reply = reply.unwrap();
        assert_eq!(reply.args.as_str(), args);
        assert_eq!(reply.data().unwrap(), data);
        assert_eq!(reply.args.values().unwrap(), values);
    }
    check("430[]", "", json!(null), vec![]).await;
    check("430[ ]", "", json!(null), vec![]).await;
    check("430[{}]", "{}", json!({}), vec![json!({})]).await;
    check(
        r#"430[ "a" , [1] ]"#,
        r#""a" , [1]"#,
        json!("a"),
        vec![json!("a"), json!([1])],
    )
    .await;
    check(
        "430[null,2]",
        "null,2",
        json!(null),
        vec![json!(null), json!(2)],
    )
    .await;
}

#[tokio::test]
async fn arrival_numbers_tell_acks_and_events_apart_in_time() {
    let server = Server::start().await;
    let (mut peer, socket, mut events) = connected(&server, &server.options()).await;
    let first = socket.request("a", ()).await.unwrap();
    let second = socket.request("b", ()).await.unwrap();
    for text in ["42[\"u\"]", "430[]", "42[\"v\"]", "431[]", "42[\"w\"]"] {
        peer.send(text).await;
    }
    let acks = [soon(first).await.unwrap(), soon(second).await.unwrap()];
    let mut seen = Vec::new();
    for _ in 0..3 {
        seen.push(soon(events.recv()).await.unwrap());
    }
    assert_eq!(acks.each_ref().map(|ack| ack.arrival), [1, 3]);
    assert_eq!(
        seen.iter().map(|event| event.arrival).collect::<Vec<_>>(),
        [0, 2, 4]
    );
    assert!(seen[0].at <= acks[0].at && acks[0].at <= seen[1].at && acks[1].at <= seen[2].at);
}

#[tokio::test]
async fn an_event_that_asks_for_an_ack_is_answered() {
    let server = Server::start().await;
    let (mut peer, socket, mut events) = connected(&server, &server.options()).await;
    peer.send(r#"4217["rpc-request",{"method":"m","params":null}]"#)
        .await;
    let event = soon(events.recv()).await.unwrap();
    assert_eq!((event.name(), event.ack), ("rpc-request", Some(17)));
    assert_eq!(
        event.data().unwrap(),
        json!({"method": "m", "params": null})
    );
    socket.answer(17, json!({"done": true})).await.unwrap();
    peer.expect(r#"4317[{"done":true}]"#).await;
    socket.answer(u64::MAX, ()).await.unwrap();
    peer.expect("4318446744073709551615[]").await;
}

#[tokio::test]
async fn acks_that_nobody_waits_for_are_counted() {
    let server = Server::start().await;
    let (mut peer, socket, _events) = connected(&server, &server.options()).await;
    let given_up = socket.call("slow", (), Duration::from_millis(1)).await;
    let late = CallError::Timeout {
        event: "slow".to_owned(),
        after: Duration::from_millis(1),
    };
    assert_eq!(given_up.unwrap_err(), late);
    let pending = socket.request("twice", ()).await.unwrap();
    for answer in ["430[]", "431[]", "431[]", "43999[]"] {
        peer.send(answer).await;
    }
    soon(pending).await.unwrap();
    let sentinel = socket.request("sentinel", ()).await.unwrap();
    peer.send("432[]").await;
    soon(sentinel).await.unwrap();
    // The late answer, the second one and the one nobody asked for.
    assert_eq!(socket.stray_acks(), 3);
}

#[tokio::test]
async fn what_is_in_flight_at_the_end_fails_with_the_end() {
    let server = Server::start().await;
    let (mut peer, socket, mut events) = connected(&server, &server.options()).await;
    let pending = socket.request("one", ()).await.unwrap();
    let other = socket.clone();
    let called = tokio::spawn(async move { other.call("two", (), LONG).await });
    peer.expect(r#"420["one"]"#).await;
    peer.expect(r#"421["two"]"#).await;
    peer.send(r#"42["last"]"#).await;
    peer.send("41").await;
    let ended = |event: &str| CallError::Ended {
        event: event.to_owned(),
        source: End::ServerDisconnect,
    };
    assert_eq!(soon(pending).await.unwrap_err(), ended("one"));
    assert_eq!(soon(called).await.unwrap().unwrap_err(), ended("two"));
    assert_eq!(
        soon(socket.emit("late", ())).await.unwrap_err(),
        End::ServerDisconnect
    );
    assert_eq!(
        soon(socket.flush()).await.unwrap_err(),
        End::ServerDisconnect
    );
    let late = soon(socket.call("late", (), LONG)).await.unwrap_err();
    assert_eq!(late, ended("late"));
    expect_names(&mut events, &["last"]).await;
    // The end comes after the last event, and stays.
    assert_eq!(
        soon(events.recv()).await.unwrap_err(),
        End::ServerDisconnect
    );
    assert_eq!(
        soon(events.recv()).await.unwrap_err(),
        End::ServerDisconnect
    );
}

#[tokio::test]
async fn event_names_and_arguments_keep_what_json_can_say() {
    let server = Server::start().await;
    let (mut peer, _socket, mut events) = connected(&server, &server.options()).await;
    let deep = format!("{}{}", "[".repeat(2000), "]".repeat(2000));
    let rows = [
        (r#"42["plain"]"#, "plain", ""),
        (
            r#"42[ "spaced" , {"a": 1} , 2 ]"#,
            "spaced",
            r#"{"a": 1} , 2"#,
        ),
        (r#"42["esc\"aped\u0000é"]"#, "esc\"aped\0é", ""),
        ("42[\"\",null]", "", "null"),
        (r#"42["big",1e999]"#, "big", "1e999"),
        (&format!(r#"42["deep",{deep}]"#), "deep", &deep),
    ];
    for (text, name, args) in rows {
        peer.send(text).await;
        assert_eq!(next(&mut events).await, (name.to_owned(), args.to_owned()));
    }
}

#[tokio::test]
async fn other_namespaces_do_not_concern_us() {
    let server = Server::start().await;
    let (mut peer, socket, mut events) = connected(&server, &server.options()).await;
    for text in [
        r#"42/admin,["theirs"]"#,
        "41/admin,",
        r#"44/admin,{"message":"no"}"#,
    ] {
        peer.send(text).await;
    }
    peer.send(r#"42["ours"]"#).await;
    expect_names(&mut events, &["ours"]).await;
    assert_eq!(socket.end(), None);
}

#[tokio::test]
async fn binary_attachments_come_with_their_event_or_ack() {
    let server = Server::start().await;
    let (mut peer, socket, mut events) = connected(&server, &server.options()).await;
    let pending = socket.request("get", ()).await.unwrap();
    peer.expect(r#"420["get"]"#).await;
    let placeholder = |n: u8| format!(r#"{{"_placeholder":true,"num":{n}}}"#);
    peer.send(&format!(
        r#"452-["file",{},{}]"#,
        placeholder(0),
        placeholder(1)
    ))
    .await;
    peer.send_frame(true, BINARY, &[1, 2, 3]).await;
    // A heartbeat may come between a packet and its attachments.
    peer.send("2").await;
    peer.expect("3").await;
    peer.send_frame(true, BINARY, &[]).await;
    peer.send(&format!("461-0[{}]", placeholder(0))).await;
    peer.send_frame(true, BINARY, &[9]).await;
    let event = soon(events.recv()).await.unwrap();
    assert_eq!((event.name(), event.arrival), ("file", 0));
    assert_eq!(event.attachments, [bytes(&[1, 2, 3]), bytes(&[])]);
    let reply = soon(pending).await.unwrap();
    assert_eq!((reply.arrival, reply.attachments), (1, vec![bytes(&[9])]));

    let attachments = vec![bytes(&[7]), bytes(&[8])];
    let args = [
        json!({"_placeholder": true, "num": 0}),
        json!({"_placeholder": true, "num": 1}),
    ];
    socket.emit_binary("up", args, attachments).await.unwrap();
    let expected = format!(r#"452-["up",{},{}]"#, placeholder(0), placeholder(1));
    peer.expect(&expected).await;
    for payload in [7, 8] {
        let frame = peer.frame().await;
        assert_eq!((frame.opcode, frame.payload), (BINARY, vec![payload]));
    }
}

#[tokio::test]
async fn fragments_are_joined_and_websocket_pings_between_them_answered() {
    let server = Server::start().await;
    let (mut peer, _socket, mut events) = connected(&server, &server.options()).await;
    peer.send_frame(false, TEXT, b"42[\"fr").await;
    peer.send_frame(true, PING, b"still there?").await;
    peer.send_frame(false, CONTINUATION, b"agm").await;
    peer.send_frame(true, CONTINUATION, b"ents\"]").await;
    expect_names(&mut events, &["fragments"]).await;
    let pong = peer.frame().await;
    assert_eq!(
        (pong.opcode, pong.payload.as_slice()),
        (PONG, b"still there?".as_slice())
    );
}

#[tokio::test]
async fn many_frames_in_one_segment_and_one_frame_in_many() {
    let server = Server::start().await;
    let (mut peer, _socket, mut events) = connected(&server, &server.options()).await;
    let burst: Vec<u8> = (0..1000)
        .flat_map(|n| frame(true, TEXT, format!(r#"42["e",{n}]"#).as_bytes()))
        .collect();
    peer.write(&burst).await;
    for n in 0..1000 {
        assert_eq!(next(&mut events).await.1, n.to_string());
    }
    for byte in frame(true, TEXT, br#"42["slow"]"#) {
        peer.write(&[byte]).await;
    }
    expect_names(&mut events, &["slow"]).await;
}

#[tokio::test]
async fn engine_pings_are_answered_with_their_data() {
    let server = Server::start().await;
    let (mut peer, _socket, _events) = connected(&server, &server.options()).await;
    for (ping, pong) in [("2", "3"), ("2probe", "3probe"), ("2", "3")] {
        peer.send(ping).await;
        peer.expect(pong).await;
    }
    // Packets that mean nothing to an open connection are ignored.
    for text in ["6", "3", "5", "2"] {
        peer.send(text).await;
    }
    peer.expect("3").await;
}

#[tokio::test]
async fn events_can_be_sent_right_behind_connect() {
    let server = Server::start().await;
    let options = server.options().auth(json!({"token": "t"}));
    let (mut peer, engine) = opened(&server, &options).await;
    let (socket, mut events) = engine.begin();
    socket.emit("early", json!(1)).await.unwrap();
    let pending = socket.request("ping", ()).await.unwrap();
    assert_eq!(socket.id(), None);
    // Nothing is answered before all of it has come.
    for expected in [r#"40{"token":"t"}"#, r#"42["early",1]"#, r#"420["ping"]"#] {
        peer.expect(expected).await;
    }
    peer.send(r#"40{"sid":"s"}"#).await;
    peer.send("430[{}]").await;
    assert_eq!(soon(socket.connected()).await.unwrap(), "s");
    soon(pending).await.unwrap();
    peer.send("41").await;
    assert_eq!(
        soon(events.recv()).await.unwrap_err(),
        End::ServerDisconnect
    );
}

#[tokio::test]
async fn raw_frames_pass_as_they_are() {
    let server = Server::start().await;
    let (mut peer, socket, _events) = connected(&server, &server.options()).await;
    let garbage = ["", "9", "42", "4299999999999999999999[\"e\"]", "{\"t\":1}"];
    for text in garbage {
        socket.send_raw(Frame::text(text)).await.unwrap();
        peer.expect(text).await;
    }
    socket
        .send_raw(Frame::Binary(bytes(&[0, 255])))
        .await
        .unwrap();
    let frame = peer.frame().await;
    assert_eq!((frame.opcode, frame.payload), (BINARY, vec![0, 255]));
    soon(socket.flush()).await.unwrap();
}

#[tokio::test]
async fn senders_share_a_connection_without_tearing_messages() {
    let server = Server::start().await;
    let mut options = server.options();
    options.send_queue = 2;
    let (mut peer, socket, _events) = connected(&server, &options).await;
    let senders: Vec<_> = (0..4)
        .map(|sender| {
            let socket = socket.clone();
            tokio::spawn(async move {
                for n in 0..200 {
                    let args = json!([sender, n]);
                    socket
                        .emit_binary("b", args, vec![bytes(&[sender])])
                        .await
                        .unwrap();
                }
            })
        })
        .collect();
    let mut next_of = [0; 4];
    for _ in 0..800 {
        let text = peer.text().await;
        let args: Value = serde_json::from_str(text.strip_prefix("451-").unwrap()).unwrap();
        let sender = args[1][0].as_u64().unwrap() as usize;
        assert_eq!(
            args[1][1],
            json!(next_of[sender]),
            "each sender's messages keep their order"
        );
        next_of[sender] += 1;
        assert_eq!(peer.frame().await.payload, [sender as u8]);
    }
    for sender in senders {
        soon(sender).await.unwrap();
    }
}
