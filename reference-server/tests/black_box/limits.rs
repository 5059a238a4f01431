//! Sizes, queues, stalls, and the end of the server.

use std::time::Duration;

use serde_json::{Value, json};
use touchstone_client::{ConnectOptions, Transport};

use crate::stand::{Client, DEADLINE, Server, within};

/// A reader that stalls is disconnected; everybody else receives everything, in order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stalled_reader_is_disconnected_and_others_do_not_feel_it() {
    // By packets and by bytes; the healthy ones are sent far more than may wait.
    for (transport, packets, bytes) in [
        (Transport::WebSocket, 64, u64::MAX),
        (Transport::WebSocket, 16_384, 2_000_000),
        (Transport::Upgrade, 64, u64::MAX),
        (Transport::Upgrade, 16_384, 2_000_000),
    ] {
        let server = Server::with(|config| {
            (config.send_queue, config.max_queued) = (packets, bytes);
        })
        .await;
        let account = server.account().await;
        account.machine("stalled").await;
        let session = account.session("tag").await;
        let mut healthy = account.user().await;
        let sender = account.on_session("another").await;
        let auth = json!({ "clientType": "machine-scoped", "machineId": "stalled" });
        let stalled = Client::over(transport, account.options(auth)).await;
        if transport == Transport::Upgrade {
            within("upgrade", stalled.socket.upgraded()).await.unwrap();
        }
        // The machine-scoped connection is the one that stalls: its end is announced to the others.
        stalled.socket.stop_reading(true);
        let payload = "x".repeat(100_000);
        let mut received = 0;
        let mut gone = false;
        for round in 0..2_000 {
            let data = json!({ "machineId": "stalled", "metadata": payload, "expectedVersion": round + 1 });
            let answer = sender.call("machine-update-metadata", data).await;
            assert_eq!(answer["result"], "success", "round {round}");
            // Each update was put before the healthy one before it was answered.
            for (event, data) in healthy.seen().await {
                if event == "update" && data["body"]["metadata"]["version"] != 1 {
                    received += 1;
                    assert_eq!(data["body"]["metadata"]["version"], received + 1);
                }
                gone |= event == "ephemeral" && data["id"] == "stalled" && data["active"] == false;
            }
            assert_eq!(received, round + 1);
            if gone {
                break;
            }
        }
        assert!(
            gone,
            "the stalled reader was never disconnected ({transport:?})"
        );
        sender
            .emit("message", json!({ "sid": session, "message": "after" }))
            .await;
        assert_eq!(healthy.next_of("update").await["body"]["t"], "new-message");
        // It learns of its end when it reads again, after nothing but what came before, unbroken.
        let mut stalled = stalled;
        stalled.socket.stop_reading(false);
        let mut version = 1;
        loop {
            let received = within("end of the stalled reader", stalled.events.recv()).await;
            let Ok(event) = received else { break };
            if event.name() == "update" {
                version += 1;
                assert_eq!(
                    event.data().unwrap()["body"]["metadata"]["version"],
                    version
                );
            }
        }
    }
}

/// Who fetches what it is sent by polling is sent far more than may wait.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_that_were_fetched_do_not_wait() {
    let server = Server::with(|config| config.max_queued = 500_000).await;
    let account = server.account().await;
    let session = account.session("tag").await;
    let sender = account.user().await;
    for transport in [Transport::Polling, Transport::WebSocket] {
        let mut reader = Client::over(transport, account.options(json!({}))).await;
        for size in [10, 1_000, 100_000] {
            for _ in 0..30 {
                let data = json!({ "sid": session, "message": "z".repeat(size) });
                sender.emit("message", data).await;
                let update = reader.next_of("update").await;
                assert_eq!(update["body"]["t"], "new-message");
            }
        }
    }
}

/// A burst far beyond the kernel's buffers reaches a client that reads.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_burst_kills_no_healthy_reader() {
    const BURST: u64 = 5_000;
    let server = Server::start().await;
    let account = server.account().await;
    let session = account.session("tag").await;
    let (sender, mut reader) = (account.user().await, account.user().await);
    for number in 0..BURST {
        let data = json!({ "sid": session, "message": number.to_string() });
        sender.emit("message", data).await;
    }
    for number in 0..BURST {
        let update = reader.next_of("update").await;
        assert_eq!(
            update["body"]["message"]["content"]["c"],
            number.to_string()
        );
        assert_eq!(update["body"]["message"]["seq"], number + 1);
    }
}

#[tokio::test]
async fn messages_up_to_the_limit_pass_and_larger_ones_end_their_connection() {
    let server = Server::start().await;
    let account = server.account().await;
    let session = account.session("tag").await;
    let mut watcher = account.user().await;
    for transport in [Transport::WebSocket, Transport::Polling, Transport::Upgrade] {
        let mut client = Client::over(transport, account.options(json!({}))).await;
        if transport == Transport::Upgrade {
            within("upgrade", client.socket.upgraded()).await.unwrap();
        }
        let large = "y".repeat(900_000);
        client
            .emit("message", json!({ "sid": session, "message": large }))
            .await;
        let update = watcher.next_of("update").await;
        assert_eq!(update["body"]["message"]["content"]["c"], large);
        client.handled().await;
        // The connection may end while this is still being written.
        let _ = client
            .socket
            .emit(
                "message",
                json!({ "sid": session, "message": "z".repeat(1_100_000) }),
            )
            .await;
        client.ended().await;
        assert_eq!(watcher.updates().await, [] as [Value; 0], "{transport:?}");
    }
}

#[tokio::test]
async fn large_bodies_are_answered_not_reset() {
    let server = Server::with(|config| config.max_body = 100_000).await;
    let account = server.account().await;
    let body = |size: usize| json!({ "tag": "t", "metadata": "x".repeat(size) });
    assert_eq!(
        account.http("POST", "/v1/sessions", body(99_000)).await.0,
        200
    );
    let (status, answer) = account.http("POST", "/v1/sessions", body(101_000)).await;
    assert_eq!((status, &answer["statusCode"]), (413, &json!(413)));
}

#[tokio::test]
async fn a_silent_client_is_disconnected_by_the_ping_timeout() {
    let server = Server::with(|config| {
        config.ping_interval = Duration::from_millis(20);
        config.ping_timeout = Duration::from_millis(50);
    })
    .await;
    let account = server.account().await;
    let mut watcher = account.user().await;
    let silent = account.on_machine("silent").await;
    assert_eq!(watcher.next().await.1["active"], true);
    silent.socket.ignore_pings(true);
    assert_eq!(watcher.next().await.1["active"], false);
    watcher.handled().await;
}

/// Nobody who is connected, whatever they do, keeps the server from ending.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_server_ends_whoever_is_connected() {
    let mut server = Server::start().await;
    let account = server.account().await;
    let mut clients = Vec::new();
    for transport in [Transport::WebSocket, Transport::Polling, Transport::Upgrade] {
        clients.push(Client::over(transport, account.options(json!({}))).await);
    }
    let stalled = account.user().await;
    stalled.socket.stop_reading(true);
    let refused = ConnectOptions::new(server.url.parse().unwrap());
    assert!(Client::try_connect(&refused).await.is_err());
    // A watcher of the tap holds a response open, and an idle connection waits for its next request.
    let tap = open_get(&server, "/control/tap").await;
    let idle = open_get(&server, "/health").await;
    let address = server.address().to_owned();
    // That its two periods of grace make less than a second is checked where they are defined.
    within("end of the server", server.stop())
        .await
        .unwrap()
        .unwrap();
    for mut client in clients {
        client.ended().await;
    }
    drop((tap, idle, stalled));
    assert!(tokio::net::TcpStream::connect(&address).await.is_err());
}

/// Sends a GET and reads the status line, leaving the connection open.
async fn open_get(server: &Server, path: &str) -> tokio::net::TcpStream {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut stream = tokio::net::TcpStream::connect(server.address())
        .await
        .unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", server.address());
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut status = [0; 12];
    tokio::time::timeout(DEADLINE, stream.read_exact(&mut status))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(&status, b"HTTP/1.1 200");
    stream
}
