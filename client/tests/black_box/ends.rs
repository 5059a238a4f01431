//! Every way in which a connection ends, told apart.

use serde_json::json;
use touchstone_client::{End, Socket};

use crate::script::{
    self, BINARY, CALM, CLOSE, Server, TEXT, connected, connected_with, expect_names, next, soon,
};

/// What a server does to an open connection.
enum Deed<'a> {
    Text(&'a str),
    Frame(u8, &'a [u8]),
    Bytes(&'a [u8]),
    HangUp,
}

async fn end_after(deeds: &[Deed<'_>]) -> End {
    let server = Server::start().await;
    let mut options = server.options();
    options.max_message = 1000;
    let (mut peer, socket, mut events) = connected(&server, &options).await;
    peer.send(r#"42["before"]"#).await;
    for deed in deeds {
        match deed {
            Deed::Text(text) => peer.send(text).await,
            Deed::Frame(opcode, payload) => peer.send_frame(true, *opcode, payload).await,
            Deed::Bytes(bytes) => peer.write(bytes).await,
            Deed::HangUp => peer.hang_up().await,
        }
    }
    // What came before the end is delivered before it, and all observers agree on the end.
    expect_names(&mut events, &["before"]).await;
    let end = soon(events.recv()).await.unwrap_err();
    assert_eq!(soon(socket.closed()).await, end);
    assert_eq!(socket.end(), Some(end.clone()));
    end
}

fn close(code: Option<u16>, reason: &str) -> End {
    End::TransportClose {
        code,
        reason: reason.to_owned(),
    }
}

#[tokio::test]
async fn ends_of_the_server_are_told_apart() {
    let rows: [(&[Deed<'_>], End); 9] = [
        (&[Deed::Text("41")], End::ServerDisconnect),
        (&[Deed::Text("1")], close(None, "Engine.IO close packet")),
        (
            &[Deed::Frame(CLOSE, b"\x03\xe9restarting")],
            close(Some(1001), "restarting"),
        ),
        (&[Deed::Frame(CLOSE, b"\x03\xf1")], close(Some(1009), "")),
        (
            &[Deed::Frame(CLOSE, b"")],
            close(None, "close frame without code"),
        ),
        (&[Deed::HangUp], close(None, "end of stream")),
        (
            &[Deed::Text(r#"44{"message":"later","data":1}"#)],
            End::Refused {
                message: "later".to_owned(),
                data: Some(json!(1)),
            },
        ),
        // A header is enough: the 4 GB that it announces are neither awaited nor allocated.
        (
            &[Deed::Bytes(&[0x81, 127, 0, 0, 0, 1, 0, 0, 0, 0])],
            End::TooLarge {
                size: 1 << 32,
                limit: 1000,
            },
        ),
        (
            &[
                Deed::Text(r#"451-["e",{"_placeholder":true,"num":0}]"#),
                Deed::Frame(BINARY, &[0; 1001]),
            ],
            End::TooLarge {
                size: 1001,
                limit: 1000,
            },
        ),
    ];
    for (deeds, expected) in rows {
        assert_eq!(end_after(deeds).await, expected);
    }
}

#[tokio::test]
async fn a_message_too_large_in_pieces_is_too_large() {
    let server = Server::start().await;
    let mut options = server.options();
    options.max_message = 1000;
    let (mut peer, _socket, mut events) = connected(&server, &options).await;
    let script = async {
        peer.send_frame(false, TEXT, b"42[\"").await;
        // Without end, until the client hangs up.
        let piece = script::frame(false, script::CONTINUATION, &[b'x'; 500]);
        while peer.write_while_open(&piece).await.is_ok() {}
    };
    let (end, ()) = tokio::join!(soon(events.recv()), soon(script));
    assert!(matches!(
        end.unwrap_err(),
        End::TooLarge { limit: 1000, .. }
    ));
}

/// Attachments are bounded together, not each by itself.
#[tokio::test]
async fn attachments_without_end_are_too_large() {
    let server = Server::start().await;
    let mut options = server.options();
    options.max_message = 1000;
    let (mut peer, _socket, mut events) = connected(&server, &options).await;
    let script = async {
        peer.send(r#"45999999999-["e"]"#).await;
        let piece = script::frame(true, BINARY, &[0; 300]);
        while peer.write_while_open(&piece).await.is_ok() {}
    };
    let (end, ()) = tokio::join!(soon(events.recv()), soon(script));
    assert_eq!(
        end.unwrap_err(),
        End::TooLarge {
            size: 1200,
            limit: 1000
        }
    );
}

/// What is no packet ends the connection, and the message says what and where.
#[tokio::test]
async fn packets_that_cannot_be_parsed_are_shown() {
    let rows: [&[Deed<'_>]; 18] = [
        &[Deed::Text("")],
        &[Deed::Text("7")],
        &[Deed::Text("hello")],
        &[Deed::Text("4")],
        &[Deed::Text("49")],
        &[Deed::Text("42")],
        &[Deed::Text("42{}")],
        &[Deed::Text("42[]")],
        &[Deed::Text("42[1]")],
        &[Deed::Text(r#"42["e",]"#)],
        &[Deed::Text(r#"42["e"]x"#)],
        &[Deed::Text(r#"4299999999999999999999["e"]"#)],
        &[Deed::Text("43[]")],
        &[Deed::Text(r#"45["e"]"#)],
        &[Deed::Text("40")],
        &[Deed::Text(CALM)],
        &[Deed::Frame(BINARY, b"surprise")],
        &[Deed::Text(r#"451-["e"]"#), Deed::Text(r#"42["f"]"#)],
    ];
    let mut told = Vec::new();
    for deeds in rows {
        let end = end_after(deeds).await;
        let End::ParseError { packet, source } = &end else {
            panic!("{end:?}")
        };
        told.push(format!("{packet}  <-  {source}"));
    }
    insta::assert_snapshot!(told.join("\n"));
}

#[tokio::test]
async fn breaches_of_the_websocket_protocol_are_broken_frames() {
    let rows: [(&[u8], &str); 4] = [
        (&[0x83, 0], "WebSocket protocol error"),
        (&[0xc1, 0], "WebSocket protocol error"),
        (&[0x81, 0x81, 1, 2, 3, 4, 5], "WebSocket protocol error"),
        (&[0x81, 2, 0xff, 0xfe], "UTF-8"),
    ];
    for (bytes, told) in rows {
        let end = end_after(&[Deed::Bytes(bytes)]).await;
        let End::BrokenFrame { reason } = &end else {
            panic!("{bytes:x?}: {end:?}")
        };
        assert!(reason.contains(told), "{bytes:x?}: {reason}");
    }
}

#[tokio::test]
async fn silence_beyond_interval_and_timeout_is_a_ping_timeout() {
    let server = Server::start().await;
    let hurried = r#"0{"sid":"x","upgrades":[],"pingInterval":60,"pingTimeout":90}"#;
    let (_peer, _socket, mut events) = connected_with(&server, &server.options(), hurried).await;
    let end = soon(events.recv()).await.unwrap_err();
    assert_eq!(
        end,
        End::PingTimeout {
            after: std::time::Duration::from_millis(150)
        }
    );
}

/// Any packet is a sign of life, and intervals that no clock can hold are no trouble.
#[tokio::test]
async fn a_server_that_talks_lives() {
    let server = Server::start().await;
    let forever = format!(
        r#"0{{"sid":"x","upgrades":[],"pingInterval":{0},"pingTimeout":{0}}}"#,
        u64::MAX
    );
    let (mut peer, socket, mut events) = connected_with(&server, &server.options(), &forever).await;
    peer.send(r#"42["alive"]"#).await;
    expect_names(&mut events, &["alive"]).await;
    assert_eq!(socket.end(), None);
}

/// What this side does, what the server sees of it, and that both agree that it is over.
#[tokio::test]
async fn ends_of_the_client_look_as_they_should() {
    #[derive(Debug, Clone, Copy)]
    enum How {
        Disconnect,
        Close,
        Abort,
        Drop,
    }
    async fn leave(how: How, socket: Socket) {
        match how {
            How::Disconnect => socket.disconnect().await,
            How::Close => socket.close().await,
            How::Abort => socket.abort(),
            How::Drop => drop(socket),
        }
    }
    for how in [How::Disconnect, How::Close, How::Abort, How::Drop] {
        let server = Server::start().await;
        let (mut peer, socket, mut events) = connected(&server, &server.options()).await;
        let left = match how {
            How::Abort => {
                socket.abort();
                assert_eq!(soon(events.recv()).await.unwrap_err(), End::ClientClosed);
                assert_eq!(peer.ended().await, script::End::Reset);
                continue;
            }
            How::Drop => {
                drop(events);
                leave(how, socket)
            }
            _ => {
                // What was sent just before still goes out first.
                socket.emit("last words", ()).await.unwrap();
                leave(how, socket.clone())
            }
        };
        let script = async {
            if !matches!(how, How::Drop) {
                peer.expect(r#"42["last words"]"#).await;
            }
            if matches!(how, How::Disconnect) {
                peer.expect("41").await;
            }
            let goodbye = peer.frame().await;
            assert_eq!(goodbye.opcode, CLOSE, "{how:?}: {goodbye:?}");
            peer.send_frame(true, CLOSE, &goodbye.payload).await;
            peer.hang_up().await;
            assert_eq!(peer.ended().await, script::End::Orderly);
        };
        tokio::join!(soon(left), script);
    }
}

#[tokio::test]
async fn after_its_own_close_the_client_says_so_and_keeps_what_had_come() {
    let server = Server::start().await;
    let (mut peer, socket, mut events) = connected(&server, &server.options()).await;
    peer.send(r#"42["one"]"#).await;
    peer.send(r#"42["two"]"#).await;
    assert_eq!(next(&mut events).await.0, "one");
    let pending = socket.request("never answered", ()).await.unwrap();
    tokio::join!(soon(socket.disconnect()), async {
        peer.expect(r#"420["never answered"]"#).await;
        peer.expect("41").await;
    });
    assert_eq!(next(&mut events).await.0, "two");
    assert_eq!(soon(events.recv()).await.unwrap_err(), End::ClientClosed);
    assert_eq!(socket.emit("x", ()).await.unwrap_err(), End::ClientClosed);
    let error = soon(pending).await.unwrap_err();
    insta::assert_snapshot!(error, @"connection ended before never answered was acknowledged");
    // Leaving twice is no trouble.
    soon(socket.disconnect()).await;
    soon(socket.close()).await;
    socket.abort();
    assert_eq!(socket.end(), Some(End::ClientClosed));
}
