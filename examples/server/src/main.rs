//! A server of this protocol, as somebody would write it on socketioxide and sqlx: the code of
//! `docs/tutorial.md`. The database is the only truth; memory knows who is connected, and nothing else.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program, not a library")]

mod access_key;
mod account;
mod answer;
mod artifact;
mod cas;
mod http;
mod machine;
mod message;
mod presence;
mod refusal;
mod request;
mod rpc;
mod session;
mod socket;
mod sql;
mod usage;

use std::time::Duration;

use clap::Parser;
use socketioxide::SocketIo;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions, SqliteSynchronous};
use tokio::net::TcpListener;
use tower_http::cors::CorsLayer;

/// A server on socketioxide and SQLite
#[derive(Parser)]
struct Options {
    /// Where to listen
    #[arg(long, default_value = "127.0.0.1:3005")]
    listen: String,
    /// The file of the database, which is made if it is missing
    #[arg(long, default_value = "example.db")]
    database: String,
    /// How often a client is pinged
    #[arg(long, default_value = "15s", value_parser = humantime::parse_duration)]
    ping_interval: Duration,
    /// How long a client may take to answer a ping
    #[arg(long, default_value = "45s", value_parser = humantime::parse_duration)]
    ping_timeout: Duration,
    /// How long a client may take to send CONNECT
    #[arg(long, default_value = "20s", value_parser = humantime::parse_duration)]
    connect_timeout: Duration,
    /// How long the callee of an RPC may take
    #[arg(long, default_value = "30s", value_parser = humantime::parse_duration)]
    rpc_timeout: Duration,
    /// How long a session or machine without heartbeats is active
    #[arg(long, default_value = "10m", value_parser = humantime::parse_duration)]
    presence_timeout: Duration,
}

const MAX_PAYLOAD: usize = 1_000_000;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let options = Options::parse();
    let database = SqliteConnectOptions::new()
        .filename(&options.database)
        .create_if_missing(true)
        .journal_mode(sqlx::sqlite::SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Normal);
    // SQLite has one writer. With one connection, waiting for it is waiting for the pool.
    let pool = SqlitePoolOptions::new().max_connections(1).connect_with(database).await?;
    sqlx::raw_sql(include_str!("schema.sql")).execute(&pool).await?;

    let (layer, io) = SocketIo::builder()
        .req_path("/v1/updates")
        .ping_interval(options.ping_interval)
        .ping_timeout(options.ping_timeout)
        .connect_timeout(options.connect_timeout)
        // The first is what the handshake says, and holds for polling alone.
        .max_payload(MAX_PAYLOAD as u64)
        .ws_max_message_size(MAX_PAYLOAD)
        .ws_max_frame_size(MAX_PAYLOAD)
        .build_layer();
    let listener = TcpListener::bind(&options.listen).await?;
    println!("listening on http://{}", listener.local_addr()?);
    let app = account::App::new(pool, options);
    socket::attach(&io, app.clone());
    tokio::spawn(presence::sweep(app.clone()));
    let routes = http::routes(app).layer(layer).layer(CorsLayer::permissive());
    axum::serve(listener, routes.into_make_service_with_connect_info::<socket::Peer>()).await?;
    Ok(())
}
