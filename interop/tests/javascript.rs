//! The official JavaScript client connects, calls, receives and answers an RPC.
#![cfg(feature = "interop")]

use serde_json::{Value, json};
use tokio::process::Command;
use touchstone_interop::with_server;

async fn run_peer(mode: &str) -> Value {
    with_server(async |url| {
        let peer = concat!(env!("CARGO_MANIFEST_DIR"), "/js/peer.mjs");
        let output = Command::new("node")
            .args([peer, &url, mode])
            .kill_on_drop(true)
            .output()
            .await
            .expect("node runs; interop/run installs it");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{mode}: {errors}");
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {errors}"))
    })
    .await
}

async fn check(mode: &str) {
    let mut seen = run_peer(mode).await;
    let update = seen["update"].take();
    assert_eq!(update["body"]["t"], "new-message", "{update}");
    assert_eq!(
        update["body"]["message"]["content"],
        json!({"t": "encrypted", "c": "ünïcode"})
    );
    assert_eq!(update["body"]["message"]["localId"], "l1");
    assert_eq!(
        seen,
        json!({
            "transport": "websocket",
            "registered": {"method": "interop:echo"},
            "update": null,
            "ping": {},
            "state": {"result": "success", "version": 1, "agentState": "s"},
            "rpc": {
                "ok": true,
                "result": {"echoed": {"method": "interop:echo", "params": [1, null, {"a": "b"}]}},
            },
            "refusal": "Invalid authentication token",
            "disconnect": "io client disconnect",
        })
    );
}

#[tokio::test]
async fn over_websocket() {
    check("websocket").await;
}

#[tokio::test]
async fn over_polling_with_upgrade() {
    check("upgrade").await;
}
