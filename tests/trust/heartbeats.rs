//! Servers whose heartbeats are not those that their handshake announces. The reference server has no
//! faults for that, since the library that it is built on sends the pings and counts the answers; a
//! proxy that changes the announcement makes the same difference.

use std::time::Duration;

use serde_json::Value;
use touchstone_reference_server::Config;

use crate::embedded::{Embedded, quick};
use crate::frames::{TEXT, frame};
use crate::program::run;
use crate::rogue::{Do, Rogue};

/// What the proxy announces in the place of the server's own times.
const ANNOUNCED: &str = r#""pingInterval":300,"pingTimeout":700"#;

/// So long that nobody waits for it here.
const NEVER: Duration = Duration::from_secs(600);

/// Judges a server with these times behind that announcement; gives the requirements that it breaks.
async fn broken(case: &str, ping_interval: Duration, ping_timeout: Duration) -> Vec<String> {
    let config = Config {
        ping_interval,
        ping_timeout,
        ..quick()
    };
    let server = Embedded::start(config).await.expect("a server");
    let port = server.url().port().expect("a port");
    let own = format!(
        r#""pingInterval":{},"pingTimeout":{}"#,
        ping_interval.as_millis(),
        ping_timeout.as_millis()
    );
    let rogue = Rogue::before(([127, 0, 0, 1], port).into()).texts(move |text| {
        match text.starts_with("0{") {
            true => {
                assert!(text.contains(&own), "{text}");
                let told = text.replace(&own, ANNOUNCED);
                vec![Do::Send(frame(TEXT, told.as_bytes()))]
            }
            false => vec![Do::Pass],
        }
    });
    let rogue = rogue.start().await;
    let arguments = ["--only", case, "--report", "json=-"];
    let ran = run("check", &rogue.url, &arguments).await.expect("a run");
    server.stop().await.expect("the server ends");
    let report: Value = serde_json::from_str(&ran.stdout).expect("a report");
    let requirements = report["requirements"].as_array().expect("requirements");
    requirements
        .iter()
        .filter(|row| row["verdict"] == "fail" || row["verdict"] == "warn")
        .filter_map(|row| row["id"].as_str().map(str::to_owned))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pings_that_do_not_come_are_missed() {
    let broken = broken("transport.idle", NEVER, NEVER).await;
    assert_eq!(broken, ["transport.pings"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_minds_no_silence_is_found_out() {
    let often = Duration::from_millis(300);
    let broken = broken("transport.unanswered-pings", often, NEVER).await;
    assert_eq!(broken, ["transport.unanswered-pings"]);
}
