//! Targets that are not ready: each gives one message that names the step, and a hint.
//!
//! The servers are a few bytes over TCP, written here.

use std::{future::Future, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    time::timeout,
};
use touchstone_client::{
    ConnectOptions,
    provision::{ProvisionSpec, Provisioner},
};
use touchstone_client::{LaunchError, SpawnCommand, StopSignals};
use touchstone_harness::case::{Flow, Module, case_table};
use touchstone_harness::ctx::Ctx;
use touchstone_harness::ledger::requirement_table;
use touchstone_harness::{DoctorError, Plan, Registry, Reporter, RunError, RunEvent, Target, run};
use url::Url;

requirement_table! {
    RUNS = "some.must", Must, Specification, "A case runs.";
}

case_table! {
    /// No run comes so far.
    "some.must" judges [RUNS] => runs;
}

static MODULES: &[Module] = &[Module {
    requirements: REQUIREMENTS,
    cases: CASES,
}];

async fn runs(_: &mut Ctx) -> Flow {
    panic!("no case may run");
}

/// Nobody asks what a run says that never begins.
struct Unheard;

impl Reporter for Unheard {
    fn event(&mut self, event: &RunEvent) -> std::io::Result<()> {
        panic!("unexpected event: {event:?}")
    }
}

fn plan(url: &str) -> Plan {
    let url: Url = url.parse().expect("a URL");
    let options = ConnectOptions::new(url.clone());
    let provisioner = Provisioner::open(&ProvisionSpec::Rest, &options).expect("a provisioner");
    Plan::new(Registry(MODULES), Target::new(vec![url], provisioner), 1, 1)
}

/// The error of a run, which must come within a bounded time.
async fn outcome(plan: &Plan) -> RunError {
    let stop = StopSignals::default();
    timeout(Duration::from_secs(40), run(plan, &mut Unheard, &stop))
        .await
        .expect("a bounded time")
        .expect_err("a target that is not ready")
}

/// Serves each connection with `answer`, for as long as the test lasts.
async fn server<F>(answer: impl Fn(TcpStream) -> F + Send + 'static) -> String
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(stream));
        }
    });
    format!("http://{address}")
}

#[track_caller]
fn not_ready(error: RunError) -> (DoctorError, String) {
    let RunError::NotReady(error) = error else {
        panic!("{error:?}");
    };
    let hint = error.hint().unwrap_or_default();
    (error, hint)
}

#[tokio::test]
async fn nobody_listens() {
    // The port was free a moment ago, and is not reused so soon.
    let free = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let (error, hint) = not_ready(outcome(&plan(&format!("http://{free}"))).await);
    assert!(matches!(error, DoctorError::Dial { .. }), "{error:?}");
    assert!(error.to_string().contains(&free.to_string()), "{error}");
    assert!(hint.contains("--spawn"), "{hint}");
}

#[tokio::test]
async fn a_host_without_an_address() {
    let (error, _) = not_ready(outcome(&plan("http://no-such-host.invalid")).await);
    assert!(matches!(error, DoctorError::Resolve { .. }), "{error:?}");
}

#[tokio::test]
async fn accepts_and_says_nothing() {
    let url = server(|mut stream| async move {
        let mut all = Vec::new();
        // Ends when the client gives up.
        let _ = stream.read_to_end(&mut all).await;
    })
    .await;
    let (error, hint) = not_ready(outcome(&plan(&url)).await);
    assert!(matches!(error, DoctorError::Silent { .. }), "{error:?}");
    assert!(hint.contains("https"), "{hint}");
}

#[tokio::test]
async fn plain_http() {
    let url = server(|mut stream| async move {
        let mut head = [0; 1024];
        let _ = stream.read(&mut head).await;
        let answer =
            b"HTTP/1.1 404 Not Found\r\nContent-Length: 9\r\nConnection: close\r\n\r\nnot found";
        // The client may have gone already, which its own errors tell.
        let _ = stream.write_all(answer).await;
    })
    .await;
    let (error, hint) = not_ready(outcome(&plan(&url)).await);
    assert!(matches!(error, DoctorError::NoSocketIo { .. }), "{error:?}");
    assert!(
        error
            .to_string()
            .ends_with("speaks no Socket.IO at /v1/updates: it answers HTTP 404")
    );
    assert!(hint.contains("--path"), "{hint}");
}

#[tokio::test]
async fn the_wrong_scheme() {
    // A server that expects TLS hangs up on a plain request.
    let url = server(|mut stream| async move {
        let mut head = [0; 16];
        let _ = stream.read(&mut head).await;
    })
    .await;
    let (error, hint) = not_ready(outcome(&plan(&url)).await);
    assert!(matches!(error, DoctorError::NoSocketIo { .. }), "{error:?}");
    assert!(
        hint.contains("--path") && hint.contains("https://"),
        "{hint}"
    );

    // One that speaks plain HTTP answers a TLS handshake with an error of its own.
    let url = server(|mut stream| async move {
        let mut head = [0; 16];
        let _ = stream.read(&mut head).await;
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
    })
    .await;
    let url = url.replace("http://", "https://");
    let (error, hint) = not_ready(outcome(&plan(&url)).await);
    assert!(matches!(error, DoctorError::Tls { .. }), "{error:?}");
    assert!(
        hint.contains("--cacert") && hint.contains("http://"),
        "{hint}"
    );
}

#[tokio::test]
async fn a_spawned_server_that_ends_at_once() {
    let mut plan = plan("http://127.0.0.1:1");
    plan.spawn = Some(SpawnCommand::parse("sh -c 'echo no such option; exit 3'").unwrap());
    let error = outcome(&plan).await;
    let RunError::Launch(LaunchError::Ended { status, output, .. }) = &error else {
        panic!("{error:?}");
    };
    assert!(status.contains('3'), "{status}");
    assert_eq!(output, &["no such option"]);
    assert!(error.to_string().contains("no such option"), "{error}");
}

#[tokio::test]
async fn nothing_is_selected() {
    let mut plan = plan("http://127.0.0.1:1");
    plan.selection.only("no.such-case").unwrap();
    assert!(matches!(outcome(&plan).await, RunError::NothingSelected));
}

#[tokio::test]
async fn an_interrupted_doctor_ends_at_once() {
    let url = server(|mut stream| async move {
        let mut all = Vec::new();
        let _ = stream.read_to_end(&mut all).await;
    })
    .await;
    let stop = StopSignals::default();
    stop.finish.cancel();
    let error = run(&plan(&url), &mut Unheard, &stop).await.unwrap_err();
    assert!(matches!(error, RunError::Interrupted), "{error:?}");
}
