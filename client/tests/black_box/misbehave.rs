//! Slow consumers, and clients that misbehave on purpose.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use serde_json::json;
use touchstone_client::{End, Frame};

use crate::script::{self, CALM, Server, TEXT, connected, expect_names, frame, next, opened, soon};

/// More than all buffers between two sockets of one machine hold.
const FLOOD: usize = 2000;
const PIECE: usize = 16 << 10;

fn flood() -> impl Iterator<Item = Vec<u8>> {
    let filler = "x".repeat(PIECE);
    (0..FLOOD).map(move |n| frame(true, TEXT, format!(r#"42["e",{n},"{filler}"]"#).as_bytes()))
}

/// Waits for a condition without an event to wait for.
async fn until(mut condition: impl FnMut() -> bool) {
    soon(async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// The end of a connection whose server hangs up.
fn hung_up() -> End {
    End::TransportClose {
        code: None,
        reason: "end of stream".to_owned(),
    }
}

#[tokio::test]
async fn a_slow_consumer_stops_the_server_and_loses_nothing() {
    for (events_bound, bytes_bound) in [(4, usize::MAX), (usize::MAX, 4 * PIECE + 4000)] {
        let server = Server::start().await;
        let mut options = server.options();
        options.event_queue = events_bound;
        options.event_queue_bytes = bytes_bound;
        let (mut peer, socket, mut events) = connected(&server, &options).await;
        let written = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&written);
        let script = tokio::spawn(async move {
            for piece in flood() {
                peer.write(&piece).await;
                counted.fetch_add(1, Ordering::Relaxed);
            }
            peer
        });
        until(|| events.queued() >= 4).await;
        // Sending goes on meanwhile, and the queue stays within its bound.
        soon(async {
            socket.emit("still here", ()).await.unwrap();
            socket.flush().await.unwrap();
        })
        .await;
        assert_eq!(events.queued(), 4);
        assert!(
            written.load(Ordering::Relaxed) < FLOOD,
            "the server was not held back"
        );

        for n in 0..FLOOD {
            let event = soon(events.recv()).await.unwrap();
            assert_eq!(event.arrival, n as u64);
            assert_eq!(event.args.first::<usize>().unwrap(), n);
        }
        let mut peer = soon(script).await.unwrap();
        peer.expect(r#"42["still here"]"#).await;
        assert_eq!(socket.end(), None);
    }
}

/// An event larger than the whole bound is still delivered.
#[tokio::test]
async fn no_bound_is_too_small_for_one_event() {
    let server = Server::start().await;
    let mut options = server.options();
    options.event_queue = 0;
    options.event_queue_bytes = 0;
    options.send_queue = 0;
    let (mut peer, socket, mut events) = connected(&server, &options).await;
    for name in ["a", "b", "c"] {
        peer.send(&format!(r#"42["{name}","{}"]"#, "x".repeat(5000)))
            .await;
    }
    expect_names(&mut events, &["a", "b", "c"]).await;
    socket.emit("d", ()).await.unwrap();
    peer.expect(r#"42["d"]"#).await;
}

#[tokio::test]
async fn the_end_reaches_a_consumer_that_was_behind() {
    let server = Server::start().await;
    let mut options = server.options();
    options.event_queue = 1;
    let (mut peer, socket, mut events) = connected(&server, &options).await;
    for text in [r#"42["a"]"#, r#"42["b"]"#, r#"42["c"]"#, "41"] {
        peer.send(text).await;
    }
    until(|| events.queued() == 1).await;
    assert_eq!(
        socket.end(),
        None,
        "the end is behind events that nobody has received"
    );
    expect_names(&mut events, &["a", "b", "c"]).await;
    assert_eq!(
        soon(events.recv()).await.unwrap_err(),
        End::ServerDisconnect
    );
}

/// The event that found no room is not lost when this side closes.
#[tokio::test]
async fn closing_keeps_the_event_in_hand() {
    let server = Server::start().await;
    let mut options = server.options();
    options.event_queue = 1;
    let (mut peer, socket, mut events) = connected(&server, &options).await;
    let acked = socket.request("sync", ()).await.unwrap();
    for text in ["430[]", r#"42["a"]"#, r#"42["b"]"#] {
        peer.send(text).await;
    }
    soon(acked).await.unwrap();
    until(|| events.queued() == 1).await;
    soon(socket.close()).await;
    assert_eq!(next(&mut events).await.0, "a");
    // `b` may have been read by then or not; either way the end is next and nothing is twice.
    match soon(events.recv()).await {
        Ok(event) => {
            assert_eq!(event.name(), "b");
            assert_eq!(soon(events.recv()).await.unwrap_err(), End::ClientClosed);
        }
        Err(end) => assert_eq!(end, End::ClientClosed),
    }
}

#[tokio::test]
async fn without_a_consumer_events_are_discarded_and_acks_still_come() {
    let server = Server::start().await;
    let mut options = server.options();
    options.event_queue = 2;
    let (mut peer, socket, events) = connected(&server, &options).await;
    drop(events);
    let script = async {
        peer.expect(r#"420["ping"]"#).await;
        for piece in flood() {
            peer.write(&piece).await;
        }
        peer.send("430[{}]").await;
    };
    let patience = std::time::Duration::from_secs(20);
    let (reply, ()) = tokio::join!(socket.call("ping", (), patience), script);
    assert_eq!(reply.unwrap().data().unwrap(), json!({}));
}

#[tokio::test]
async fn a_client_can_stop_reading_and_go_on() {
    let server = Server::start().await;
    let (mut peer, socket, mut events) = connected(&server, &server.options()).await;
    socket.stop_reading(true);
    // A round trip through the connection's task shows that the switch has been seen.
    soon(socket.flush()).await.unwrap();
    let written = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&written);
    let script = tokio::spawn(async move {
        peer.send("2").await;
        for piece in flood() {
            peer.write(&piece).await;
            counted.fetch_add(1, Ordering::Relaxed);
        }
        peer
    });
    until(|| written.load(Ordering::Relaxed) > 0).await;
    for _ in 0..100 {
        soon(socket.flush()).await.unwrap();
    }
    assert_eq!(events.queued(), 0);
    assert!(
        written.load(Ordering::Relaxed) < FLOOD,
        "the server was not held back"
    );
    socket.stop_reading(false);
    for n in 0..FLOOD {
        assert_eq!(
            soon(events.recv())
                .await
                .unwrap()
                .args
                .first::<usize>()
                .unwrap(),
            n
        );
    }
    soon(script).await.unwrap().expect("3").await;
}

#[tokio::test]
async fn a_client_can_leave_pings_unanswered() {
    let server = Server::start().await;
    let (mut peer, socket, mut events) = connected(&server, &server.options()).await;
    socket.ignore_pings(true);
    peer.send("2").await;
    peer.send(r#"42["sentinel"]"#).await;
    expect_names(&mut events, &["sentinel"]).await;
    socket.emit("next frame", ()).await.unwrap();
    peer.expect(r#"42["next frame"]"#).await;
    socket.ignore_pings(false);
    peer.send("2").await;
    peer.expect("3").await;
}

#[tokio::test]
async fn a_client_can_half_close() {
    let server = Server::start().await;
    let (mut peer, socket, mut events) = connected(&server, &server.options()).await;
    socket.emit("last words", ()).await.unwrap();
    socket.half_close().await.unwrap();
    peer.expect(r#"42["last words"]"#).await;
    // The end of the stream, without DISCONNECT or close frame before it.
    assert_eq!(peer.ended().await, script::End::Orderly);
    peer.send("2").await;
    peer.send(r#"42["still heard"]"#).await;
    expect_names(&mut events, &["still heard"]).await;
    assert_eq!(
        socket.emit("unsaid", ()).await.unwrap_err(),
        End::ClientClosed
    );
    peer.hang_up().await;
    let end = soon(events.recv()).await.unwrap_err();
    assert_eq!(end, hung_up());
}

/// A server that takes nothing cannot keep a client from leaving.
#[tokio::test]
async fn leaving_a_server_that_does_not_read_takes_bounded_time() {
    let server = Server::start().await;
    let (peer, socket, mut events) = connected(&server, &server.options()).await;
    let stuffed = socket.clone();
    let stuffing = tokio::spawn(async move {
        let filler = json!("x".repeat(PIECE));
        while stuffed.emit("e", &filler).await.is_ok() {}
    });
    // Nothing else happens any more, so that time can pass by itself.
    tokio::time::pause();
    socket.disconnect().await;
    assert_eq!(soon(events.recv()).await.unwrap_err(), End::ClientClosed);
    soon(stuffing).await.unwrap();
    drop(peer);
}

#[tokio::test]
async fn frames_can_be_exchanged_before_connect_and_without_it() {
    let server = Server::start().await;
    let (mut peer, mut engine) = opened(&server, &server.options()).await;
    assert_eq!(engine.handshake().sid, "engine-id");
    engine
        .send(Frame::text(r#"42["before connect"]"#))
        .await
        .unwrap();
    peer.expect(r#"42["before connect"]"#).await;
    // Raw packets are shown as they are, pings among them, and nothing is answered.
    peer.send("2").await;
    peer.send("41").await;
    assert_eq!(soon(engine.recv()).await.unwrap(), Frame::text("2"));
    assert_eq!(soon(engine.recv()).await.unwrap(), Frame::text("41"));
    engine.send(Frame::text("40{}")).await.unwrap();
    peer.expect("40{}").await;

    let (socket, mut events) = engine.attach();
    socket.emit("attached", ()).await.unwrap();
    peer.expect(r#"42["attached"]"#).await;
    assert_eq!(socket.id(), None);
    peer.send(r#"40{"sid":"s"}"#).await;
    assert_eq!(soon(socket.connected()).await.unwrap(), "s");
    peer.hang_up().await;
    let end = soon(events.recv()).await.unwrap_err();
    assert_eq!(end, hung_up());
}

#[tokio::test]
async fn an_engine_tells_how_its_transport_ended() {
    let server = Server::start().await;
    let (mut peer, mut engine) = opened(&server, &server.options()).await;
    peer.hang_up().await;
    let end = soon(engine.recv()).await.unwrap_err();
    assert_eq!(end, hung_up());
    assert!(CALM.contains(&engine.handshake().sid));
}
