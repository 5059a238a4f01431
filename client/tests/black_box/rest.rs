//! Provisioning by REST, against a scripted HTTP server.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use ed25519_dalek::{Signature, VerifyingKey};
use serde_json::{Value, json};
use touchstone_client::provision::{
    Account, Made, NewMachine, NewSession, ProvisionError, ProvisionSpec, Provisioner, Rest,
};

use crate::{
    http::{HttpServer, Request},
    script::header,
};

fn account() -> Account {
    Account {
        token: "the-token".into(),
        id: None,
    }
}

fn json_of(request: &Request) -> Value {
    serde_json::from_str(&request.body).unwrap()
}

#[tokio::test]
async fn an_account_is_made_with_a_signature_that_verifies() {
    let mut server = HttpServer::start().await;
    let provisioner = Provisioner::open(&ProvisionSpec::Rest, &server.options()).unwrap();
    let mut keys = Vec::new();
    for seed in [[1; 32], [1; 32], [2; 32]] {
        let script = async {
            let request = server.expect("POST /v1/auth").await;
            let body = json_of(&request);
            request.answer(200, r#"{"success":true,"token":"issued"}"#);
            body
        };
        let (made, body) = tokio::join!(provisioner.account(seed), script);
        assert_eq!(made.unwrap().token.expose(), "issued");
        let bytes = |key: &str| BASE64_STANDARD.decode(body[key].as_str().unwrap()).unwrap();
        let key = VerifyingKey::try_from(bytes("publicKey").as_slice()).unwrap();
        let signature = Signature::from_slice(&bytes("signature")).unwrap();
        key.verify_strict(&bytes("challenge"), &signature).unwrap();
        keys.push(body["publicKey"].clone());
    }
    assert_eq!(keys[0], keys[1], "the same seed is the same account");
    assert_ne!(keys[0], keys[2]);
}

#[tokio::test]
async fn sessions_machines_and_access_keys_are_asked_for_as_specified() {
    let mut server = HttpServer::start().await;
    let provisioner = Provisioner::open(&ProvisionSpec::Rest, &server.options()).unwrap();
    let session = NewSession {
        tag: "tag".to_owned(),
        metadata: "m".to_owned(),
        agent_state: Some("s".to_owned()),
        data_encryption_key: None,
    };
    let script = async {
        let request = server.expect("POST /v1/sessions").await;
        assert_eq!(
            header(&request.head, "authorization").as_deref(),
            Some("Bearer the-token")
        );
        assert_eq!(
            json_of(&request),
            json!({"tag": "tag", "metadata": "m", "agentState": "s"})
        );
        request.answer(200, r#"{"session":{"id":"S1","seq":1}}"#);
    };
    let account = account();
    let (made, ()) = tokio::join!(provisioner.session(&account, &session), script);
    let record = json!({"id": "S1", "seq": 1});
    assert_eq!(
        made.unwrap(),
        Made {
            id: "S1".to_owned(),
            record
        }
    );

    let machine = NewMachine {
        id: "M1".to_owned(),
        metadata: "m".to_owned(),
        daemon_state: None,
        data_encryption_key: Some("a2V5".to_owned()),
    };
    let script = async {
        let request = server.expect("POST /v1/machines").await;
        let expected = json!({"id": "M1", "metadata": "m", "dataEncryptionKey": "a2V5"});
        assert_eq!(json_of(&request), expected);
        request.answer(200, r#"{"machine":{"id":"M1"}}"#);
    };
    let (made, ()) = tokio::join!(provisioner.machine(&account, &machine), script);
    assert_eq!(made.unwrap().id, "M1");

    let script = async {
        let request = server.expect("POST /v1/access-keys/S%2F1%20%3F/M1").await;
        assert_eq!(json_of(&request), json!({"data": "ZA=="}));
        request.answer(200, r#"{"success":true}"#);
    };
    let key = provisioner.access_key(&account, "S/1 ?", "M1", "ZA==");
    let (data, ()) = tokio::join!(key, script);
    assert_eq!(data.unwrap(), "ZA==");
    provisioner.close().await;
}

/// A missing route is a missing capability; everything else is a failure that names itself.
#[tokio::test]
async fn failures_are_told_apart() {
    let rows = [
        (404, r#"{"error":"Not found","path":"/v1/sessions"}"#),
        (404, "Cannot POST"),
        (501, ""),
        (404, r#"{"error":"Session or machine not found"}"#),
        (401, r#"{"error":"Invalid token"}"#),
        (500, "<html>oops</html>"),
        (200, r#"{"session":{}}"#),
        (200, r#"{"token":"a-token-that-must-not-be-shown"}"#),
        (200, "not json"),
    ];
    let mut told = Vec::new();
    for (status, body) in rows {
        let mut server = HttpServer::start().await;
        let rest = Rest::new(&server.options()).unwrap();
        let script = async {
            server
                .expect("POST /v1/sessions")
                .await
                .answer(status, body);
        };
        let account = account();
        let new = NewSession::default();
        let (made, ()) = tokio::join!(rest.session(&account, &new), script);
        let error = made.unwrap_err();
        let kind = match &error {
            ProvisionError::Unsupported { .. } => "unsupported",
            ProvisionError::Http { .. } => "http",
            ProvisionError::Unexpected { .. } => "unexpected",
            other => panic!("{other:?}"),
        };
        let text = error.to_string().replace(server.origin(), "http://HOST");
        assert!(
            !text.contains("the-token") && !text.contains("must-not"),
            "{text}"
        );
        told.push(format!("{kind}: {text}"));
    }
    insta::assert_snapshot!(told.join("\n"));
}

#[tokio::test]
async fn a_server_that_is_not_there_is_told() {
    let server = HttpServer::start().await;
    let options = server.options();
    let origin = server.origin().to_owned();
    drop(server);
    let rest = Rest::new(&options).unwrap();
    // The port is free once the accepting task is gone.
    let error = loop {
        match rest.account([0; 32]).await {
            Err(error) if error.to_string().contains("refused") => break error,
            _ => tokio::task::yield_now().await,
        }
    };
    let expected = format!("POST {origin}/v1/auth failed: Connection refused (os error 111)");
    assert_eq!(error.to_string(), expected);
}

#[tokio::test]
async fn any_request_can_be_made_and_any_answer_read() {
    let mut server = HttpServer::start().await;
    let rest = Rest::new(&server.options()).unwrap();
    let rows = [
        ("GET", None, 200, "[1]", json!([1])),
        ("DELETE", None, 404, "", json!(null)),
        ("PUT", Some(json!({"a": 1})), 409, "text", json!("text")),
    ];
    for (method, body, status, answer, expected) in rows {
        let script = async {
            let request = server.expect(&format!("{method} /v1/kv")).await;
            let sent = (!request.body.is_empty()).then(|| json_of(&request));
            assert_eq!(sent, body);
            assert_eq!(header(&request.head, "authorization"), None);
            request.answer(status, answer);
        };
        let (answer, ()) =
            tokio::join!(rest.request(method, "/v1/kv", None, body.as_ref()), script);
        let answer = answer.unwrap();
        assert_eq!((answer.status, answer.body), (status, expected));
    }
}
