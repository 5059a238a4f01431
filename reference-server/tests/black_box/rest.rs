//! The REST surface, row by row (the specification's decisions, section 7).

use serde_json::{Value, json};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::stand::{Account, START, Server, within};

#[track_caller]
fn same(answer: &(u16, Value), status: u16, body: &Value, what: &str) {
    assert_eq!((answer.0, &answer.1), (status, body), "{what}");
}

pub(crate) async fn check(
    account: &Account<'_>,
    request: &str,
    body: Value,
    status: u16,
    expected: Value,
) {
    let (method, path) = request.split_once(' ').unwrap();
    let answer = account.http(method, path, body.clone()).await;
    same(&answer, status, &expected, &format!("{request} {body}"));
}

pub(crate) fn invalid(message: &str) -> Value {
    json!({ "error": "Error", "message": message, "statusCode": 400 })
}

#[tokio::test]
async fn callers_are_told_apart_and_unknown_routes_are_named() {
    let server = Server::start().await;
    let health =
        json!({ "status": "ok", "timestamp": START, "service": "touchstone-reference-server" });
    same(
        &server.http("GET", "/health", None, None).await,
        200,
        &health,
        "health",
    );
    let missing = json!({ "error": "Missing authorization header" });
    same(
        &server.http("GET", "/v1/sessions", None, None).await,
        401,
        &missing,
        "no header",
    );
    let bad = "nope".into();
    let wrong = json!({ "error": "Invalid token" });
    same(
        &server
            .http("POST", "/v1/sessions", Some(&bad), Some(json!({})))
            .await,
        401,
        &wrong,
        "bad token",
    );
    for (method, path) in [
        ("GET", "/nope?a=1"),
        ("POST", "/v9"),
        ("DELETE", "/v1/sessions"),
        ("PUT", "/health"),
    ] {
        let expected = json!({ "error": "Not found", "path": path, "method": method });
        same(
            &server.http(method, path, None, None).await,
            404,
            &expected,
            path,
        );
    }
}

#[tokio::test]
async fn sign_in_needs_a_true_signature() {
    let server = Server::start().await;
    let zeros = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    for (body, status, expected) in [
        (
            json!({ "publicKey": "x" }),
            400,
            invalid("body/challenge Required, body/signature Required"),
        ),
        (
            json!({ "publicKey": "AAAA", "challenge": "", "signature": "" }),
            401,
            json!({ "error": "Invalid public key" }),
        ),
        (
            json!({ "publicKey": zeros, "challenge": zeros, "signature": zeros }),
            401,
            json!({ "error": "Invalid signature" }),
        ),
        (
            json!({ "publicKey": zeros, "challenge": "%", "signature": zeros }),
            401,
            json!({ "error": "Invalid signature" }),
        ),
    ] {
        same(
            &server
                .http("POST", "/v1/auth", None, Some(body.clone()))
                .await,
            status,
            &expected,
            &body.to_string(),
        );
    }
    let account = server.account().await;
    assert_eq!(
        account.get("/v1/account/profile").await["id"],
        account.id().await
    );
}

#[tokio::test]
async fn a_terminal_is_paired() {
    let server = Server::start().await;
    let account = server.account().await;
    let key = "/+AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    let status = format!("/v1/auth/request/status?publicKey={key}");
    let pending = |status: &str, v2: bool| json!({ "status": status, "supportsV2": v2 });
    same(
        &server.http("GET", &status, None, None).await,
        200,
        &pending("not_found", false),
        "before",
    );
    let respond = json!({ "publicKey": key, "response": "sealed" });
    check(
        &account,
        "POST /v1/auth/response",
        respond.clone(),
        404,
        json!({ "error": "Request not found" }),
    )
    .await;
    let ask = json!({ "publicKey": key, "supportsV2": true });
    for _ in 0..2 {
        let answer = server
            .http("POST", "/v1/auth/request", None, Some(ask.clone()))
            .await;
        same(&answer, 200, &json!({ "state": "requested" }), "waiting");
    }
    same(
        &server.http("GET", &status, None, None).await,
        200,
        &pending("pending", true),
        "waiting",
    );
    check(
        &account,
        "POST /v1/auth/response",
        respond,
        200,
        json!({ "success": true }),
    )
    .await;
    let (_, answer) = server
        .http("POST", "/v1/auth/request", None, Some(ask))
        .await;
    assert_eq!(
        (&answer["state"], &answer["response"]),
        (&json!("authorized"), &json!("sealed"))
    );
    assert_eq!(answer["token"], account.token.expose());
    same(
        &server.http("GET", &status, None, None).await,
        200,
        &pending("authorized", true),
        "after",
    );
}

#[tokio::test]
async fn sessions() {
    let server = Server::start().await;
    let account = server.account().await;
    let new =
        json!({ "tag": "t", "metadata": "m", "agentState": "s", "dataEncryptionKey": "a2V5" });
    let made = account.post("/v1/sessions", new).await;
    let id = made["session"]["id"].clone();
    let expected = json!({
        "id": id,
        "seq": 0,
        "metadata": "m",
        "metadataVersion": 0,
        "agentState": "s",
        "agentStateVersion": 1,
        "dataEncryptionKey": "a2V5",
        "active": true,
        "activeAt": START,
        "createdAt": START,
        "updatedAt": START,
        "lastMessage": null,
    });
    assert_eq!(made["session"], expected);
    assert_eq!(
        account
            .post("/v1/sessions", json!({ "tag": "t", "metadata": "x" }))
            .await["session"],
        expected
    );
    assert_eq!(
        account.get("/v1/sessions").await["sessions"],
        json!([expected])
    );
    for (body, message) in [
        (json!({ "tag": "q" }), "body/metadata Required"),
        (
            json!({ "tag": 1, "metadata": "x" }),
            "body/tag Expected string, received number",
        ),
        (json!([]), "body Expected object, received array"),
    ] {
        check(&account, "POST /v1/sessions", body, 400, invalid(message)).await;
    }
    for tag in ["u", "v"] {
        server.clock.advance(1);
        account.session(tag).await;
    }
    let mut listed = Vec::new();
    let mut path = "/v2/sessions?limit=2".to_owned();
    loop {
        let page = account.get(&path).await;
        listed.extend(
            page["sessions"]
                .as_array()
                .unwrap()
                .iter()
                .map(|session| session["createdAt"].clone()),
        );
        let Some(cursor) = page["nextCursor"].as_str() else {
            break;
        };
        assert_eq!(page["hasNext"], true);
        path = format!("/v2/sessions?limit=2&cursor={cursor}");
    }
    assert_eq!(listed, [json!(START + 2), json!(START + 1), json!(START)]);
    let changed = account
        .get(&format!("/v2/sessions?changedSince={START}"))
        .await;
    assert_eq!(changed["sessions"].as_array().unwrap().len(), 2);
    check(
        &account,
        "GET /v2/sessions?cursor=x",
        Value::Null,
        400,
        invalid("Invalid cursor format"),
    )
    .await;
    let gone = json!({ "error": "Session not found or not owned by user" });
    let path = format!("/v1/sessions/{}", id.as_str().unwrap());
    let other = server.account().await;
    check(
        &other,
        &format!("DELETE {path}"),
        Value::Null,
        404,
        gone.clone(),
    )
    .await;
    check(
        &other,
        &format!("POST {path}/archive"),
        json!({}),
        404,
        gone.clone(),
    )
    .await;
    check(
        &account,
        &format!("POST {path}/archive"),
        json!({}),
        200,
        json!({ "success": true }),
    )
    .await;
    check(
        &account,
        &format!("DELETE {path}"),
        Value::Null,
        200,
        json!({ "success": true }),
    )
    .await;
    check(&account, &format!("DELETE {path}"), Value::Null, 404, gone).await;
    // The tag of a deleted session is free again.
    assert_ne!(account.session("t").await, id);
}

#[tokio::test]
async fn messages() {
    let server = Server::start().await;
    let account = server.account().await;
    let session = account.session("t").await;
    let v3 = format!("/v3/sessions/{session}/messages");
    let message =
        |number: u64| json!({ "content": format!("c{number}"), "localId": format!("l{number}") });
    let batch: Vec<Value> = (1..=5).map(message).collect();
    let posted = account.post(&v3, json!({ "messages": batch })).await;
    let seqs = |answer: &Value| -> Vec<u64> {
        answer["messages"]
            .as_array()
            .unwrap()
            .iter()
            .map(|message| message["seq"].as_u64().unwrap())
            .collect()
    };
    assert_eq!(seqs(&posted), [1, 2, 3, 4, 5]);
    assert!(posted["messages"][0].get("content").is_none());
    let again = account
        .post(
            &v3,
            json!({ "messages": [message(2), message(6), message(6), message(2)] }),
        )
        .await;
    assert_eq!(seqs(&again), [2, 6]);
    for (query, expected, more) in [
        ("", vec![1, 2, 3, 4, 5, 6], false),
        ("?after_seq=0&limit=4", vec![1, 2, 3, 4], true),
        ("?after_seq=4&limit=4", vec![5, 6], false),
        ("?after_seq=6", vec![], false),
        ("?before_seq=5&limit=2", vec![3, 4], true),
        ("?before_seq=3&limit=2", vec![1, 2], false),
    ] {
        let page = account.get(&format!("{v3}{query}")).await;
        assert_eq!(
            (seqs(&page), &page["hasMore"]),
            (expected, &json!(more)),
            "{query}"
        );
    }
    let latest = account
        .get(&format!("/v1/sessions/{session}/messages"))
        .await;
    assert_eq!(seqs(&latest), [6, 5, 4, 3, 2, 1]);
    assert_eq!(
        latest["messages"][0]["content"],
        json!({ "t": "encrypted", "c": "c6" })
    );
    let not_found = json!({ "error": "Session not found" });
    check(
        &account,
        "GET /v1/sessions/nope/messages",
        Value::Null,
        404,
        not_found.clone(),
    )
    .await;
    check(
        &account,
        "GET /v3/sessions/nope/messages",
        Value::Null,
        404,
        not_found.clone(),
    )
    .await;
    check(
        &account,
        "POST /v3/sessions/nope/messages",
        json!({ "messages": [message(1)] }),
        404,
        not_found,
    )
    .await;
    for (body, text) in [
        (json!({}), "body/messages Required"),
        (
            json!({ "messages": [] }),
            "body/messages Expected 1 to 100 elements",
        ),
        (
            json!({ "messages": vec![message(1); 101] }),
            "body/messages Expected 1 to 100 elements",
        ),
        (
            json!({ "messages": [message(1), { "localId": "x" }] }),
            "body/messages/1/content Required",
        ),
        (
            json!({ "messages": [3] }),
            "body/messages/0 Expected object, received number",
        ),
    ] {
        check(&account, &format!("POST {v3}"), body, 400, invalid(text)).await;
    }
    check(
        &account,
        &format!("GET {v3}?limit=501"),
        Value::Null,
        400,
        invalid("querystring/limit Expected a number from 1 to 500"),
    )
    .await;
}

/// Browsers of any origin may ask, over HTTP and over the Socket.IO path.
#[tokio::test]
async fn every_origin_is_welcome() {
    let server = Server::start().await;
    for request in [
        "GET /health",
        "GET /v1/updates/?EIO=4&transport=polling",
        "GET /nope",
        "OPTIONS /v1/sessions",
        "OPTIONS /v1/updates/",
    ] {
        let mut stream = TcpStream::connect(server.address()).await.unwrap();
        let head = format!(
            "{request} HTTP/1.1\r\nHost: x\r\nOrigin: http://elsewhere\r\nConnection: close\r\n\
             Access-Control-Request-Method: POST\r\n\
             Access-Control-Request-Headers: authorization\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = String::new();
        within("answer", stream.read_to_string(&mut answer))
            .await
            .unwrap();
        assert!(
            answer.contains("access-control-allow-origin: http://elsewhere\r\n"),
            "{answer}"
        );
        if request.starts_with("OPTIONS") {
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
            assert!(
                answer.contains("access-control-allow-headers: authorization\r\n"),
                "{answer}"
            );
        }
    }
}
