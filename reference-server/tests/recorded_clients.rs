//! The recorded clients against the reference server: two generations of the real command-line
//! client, with a phone at the other end, replayed from `tests/recorded`.
//!
//! Every call is answered with the recorded status and shape, every ack and update that a client
//! waited for comes, and nothing else does. The recordings are the truth here: where they and the
//! server differ, the server is wrong.

use tokio::{net::TcpListener, sync::oneshot, time::Duration};
use touchstone_client::ConnectOptions;
use touchstone_reference_server::{Clock, Config, Faults, serve};

mod recorded;

use recorded::{Failure, Recording, Tally, replay};

/// How long a single answer or event may take. Nothing is measured with it.
const DEADLINE: Duration = Duration::from_secs(20);
/// The same where it is known that something will not come.
const IN_VAIN: Duration = Duration::from_millis(500);

macro_rules! recording {
    ($name:literal) => {
        ($name, include_str!(concat!("recorded/", $name)))
    };
}

const DAEMON_OLD: (&str, &str) = recording!("daemon-old.jsonl");
const DAEMON_NEW: (&str, &str) = recording!("daemon-new.jsonl");
const SESSION_OLD: (&str, &str) = recording!("session-old.jsonl");
const SESSION_NEW: (&str, &str) = recording!("session-new.jsonl");
const PAIRING_OLD: (&str, &str) = recording!("pairing-old.jsonl");
const PAIRING_NEW: (&str, &str) = recording!("pairing-new.jsonl");

/// Replays against a server of its own.
async fn run(
    (name, text): (&'static str, &str),
    config: Config,
    deadline: Duration,
) -> Result<Tally, Failure> {
    let recording = Recording::parse(name, text)?;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (stop, stopped) = oneshot::channel::<()>();
    let server = tokio::spawn(serve(vec![listener], config, async {
        // A dropped sender stops it as well.
        let _ = stopped.await;
    }));
    let base = ConnectOptions::new(url.parse().unwrap());
    let result = replay(&recording, &base, Clock::system(), deadline).await;
    drop(stop);
    server.await.unwrap().unwrap();
    result
}

async fn check(recording: (&'static str, &str), judged: Tally) {
    match run(recording, Config::default(), DEADLINE).await {
        Ok(tally) => assert_eq!(tally, judged),
        Err(failure) => panic!("{failure}"),
    }
}
