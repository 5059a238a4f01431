//! Servers that are down, hang or die: the client sees what it would have seen without a proxy, and the
//! record says it once.

use std::io::ErrorKind;
use std::time::Duration;

use socket2::SockRef;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use touchstone_client::trace::{Kind, Record};

use crate::stand::{Stand, at_end, frame, pass, upgrade};

fn marks(records: &[Record]) -> Vec<&str> {
    records
        .iter()
        .filter_map(|record| match &record.kind {
            Kind::Mark(text) => Some(text.as_str()),
            _ => None,
        })
        .collect()
}

#[tokio::test]
async fn a_server_that_is_down_is_recorded_once_until_it_is_back() {
    let mut stand = Stand::new(None).await;
    let address = stand.server.local_addr().unwrap();
    for _ in 0..2 {
        // The other listener is closed by that.
        stand.server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        for _ in 0..3 {
            let mut client = TcpStream::connect(stand.address).await.unwrap();
            let error = at_end(&mut client).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        }
        stand.server = TcpListener::bind(address).await.unwrap();
        let (mut client, mut server) = stand.connection().await;
        let get = format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", stand.upstream);
        pass(&mut client, &mut server, &get, &get).await;
        let answer = "HTTP/1.1 204 No Content\r\n\r\n";
        pass(&mut server, &mut client, answer, answer).await;
        // The one that closes first has the port a while longer.
        drop(client);
        assert_eq!(at_end(&mut server).await.unwrap(), b"");
    }
    let is_last = |record: &Record| matches!(&record.kind, Kind::Http(_));
    let records = stand.records(is_last).await;
    let marks = marks(&records);
    assert_eq!(marks.len(), 2, "{marks:?}");
    let is_refusal = |text: &&&str| text.starts_with("failed: ") && text.contains("refused");
    assert_eq!(marks.iter().filter(is_refusal).count(), 2, "{marks:?}");
}

#[tokio::test]
async fn a_server_that_hangs_lets_the_client_wait_and_its_request_stays_open() {
    let stand = Stand::new(None).await;
    let (mut client, mut server) = stand.connection().await;
    let get = format!("GET /a HTTP/1.1\r\nHost: {}\r\n\r\n", stand.upstream);
    pass(&mut client, &mut server, &get, &get).await;
    // The other direction is not waited for: the client gives up, and the server sees that.
    SockRef::from(&client)
        .set_linger(Some(Duration::ZERO))
        .unwrap();
    drop(client);
    let error = at_end(&mut server).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    let records = stand
        .records(|record| matches!(record.kind, Kind::Http(_)))
        .await;
    let [record] = &records[..] else {
        panic!("{records:?}");
    };
    let Kind::Http(exchange) = &record.kind else {
        panic!("{record:?}");
    };
    assert_eq!((exchange.url.as_str(), exchange.status), ("/a", None));
}

#[tokio::test]
async fn a_server_that_dies_within_an_answer() {
    for is_reset in [false, true] {
        let stand = Stand::new(None).await;
        let (mut client, mut server) = stand.connection().await;
        let get = format!("GET /a HTTP/1.1\r\nHost: {}\r\n\r\n", stand.upstream);
        pass(&mut client, &mut server, &get, &get).await;
        let part = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"a\":";
        pass(&mut server, &mut client, part, part).await;
        if is_reset {
            SockRef::from(&server)
                .set_linger(Some(Duration::ZERO))
                .unwrap();
        }
        drop(server);
        match (at_end(&mut client).await, is_reset) {
            (Ok(rest), false) => assert_eq!(rest, b""),
            (Err(error), true) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
            (other, _) => panic!("{other:?}"),
        }
        drop(client);
        let records = stand
            .records(|record| matches!(record.kind, Kind::Http(_)))
            .await;
        assert_eq!(records.len(), 1, "{records:?}");
        assert!(
            matches!(&records[0].kind, Kind::Http(one) if one.status.is_none()),
            "{records:?}"
        );
    }
}

#[tokio::test]
async fn a_server_that_dies_within_a_message() {
    let stand = Stand::new(None).await;
    let (mut client, mut server) = stand.websocket(&upgrade("proxy")).await;
    let open = frame(r#"0{"sid":"e1"}"#, None);
    pass(&mut server, &mut client, &open, &open).await;
    let event = frame(r#"42["x",{"a":1}]"#, None);
    pass(&mut server, &mut client, &event[..6], &event[..6]).await;
    SockRef::from(&server)
        .set_linger(Some(Duration::ZERO))
        .unwrap();
    drop(server);
    let error = at_end(&mut client).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    // Nobody listens any more, and the proxy does not mind.
    client.write_all(&frame("3", Some([0; 4]))).await.ok();
    let is_end = |record: &Record| matches!(&record.kind, Kind::Mark(_));
    let records = stand.records(is_end).await;
    let ended = marks(&records);
    assert_eq!(ended.len(), 1, "{ended:?}");
    assert!(
        ended[0].starts_with("ended: ") && ended[0].contains("by the server"),
        "{ended:?}"
    );
}

#[tokio::test]
async fn what_is_unanswered_when_the_proxy_stops_is_recorded_as_open() {
    let stand = Stand::new(None).await;
    let (mut client, mut server) = stand.connection().await;
    let host = stand.upstream.clone();
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n");
    pass(&mut client, &mut server, &get("/a"), &get("/a")).await;
    let answer = "HTTP/1.1 204 No Content\r\n\r\n";
    pass(&mut server, &mut client, answer, answer).await;
    pass(&mut client, &mut server, &get("/b"), &get("/b")).await;
    let is_answer =
        |record: &Record| matches!(&record.kind, Kind::Http(one) if one.status.is_some());
    let records = stand.records(is_answer).await;
    let exchanges: Vec<_> = records
        .iter()
        .filter_map(|record| match &record.kind {
            Kind::Http(one) => Some((one.url.as_str(), one.status)),
            _ => None,
        })
        .collect();
    assert_eq!(exchanges, [("/a", Some(204)), ("/b", None)]);
}
