#![allow(clippy::all, missing_docs, unused)]
use touchstone_client::*;
use serde_json::json;
use std::time::Duration;
#[tokio::main]
async fn main() {
    let url = std::env::args().nth(1).unwrap();
    for t in [Transport::WebSocket, Transport::Polling, Transport::Upgrade] {
    let o = ConnectOptions::new(url.parse().unwrap()).auth(json!({"clientType":"user-scoped"})).transport(t);
    let (s, mut e) = connect(&o).await.unwrap();
    println!("{s:?} {:?} {:?}", s.handshake(), s.upgraded().await);
    loop { let x = e.recv().await; println!("{x:?}"); if x.is_err() {break} }
    println!("{:?}", connect(&ConnectOptions::new("http://127.0.0.1:1".parse().unwrap()).transport(t)).await.map(|_|()));
    println!("{:?}", connect(&o.clone().path("/nope")).await.map(|_|()));
    }
}
