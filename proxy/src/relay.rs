//! Connections: each of a client has one to the server, and what comes on one goes on on the other.
//!
//! Ends go on as they are: a direction that ends is ended on the other side, a reset becomes a reset.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use touchstone_client::trace::Recorder;
use touchstone_client::{ConnectOptions, NetStream};

use crate::gate::{Choose, Gates};
use crate::gated::{Gated, LinkState, Sessions, State, close};
use crate::observe::{self, Ended, What, Witness};
use crate::scan::{Piece, Rewrite, Side};
use crate::stream::{Direction, Stop};
use crate::tls::Certificate;

/// How many packets of the proxy itself may wait for one side.
const INSERTED: usize = 64;
/// The pause after a connection could not be accepted, as when there are no more file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long a goodbye may take.
const GOODBYE: Duration = Duration::from_secs(1);

/// What a proxy needs.
pub struct Plan {
    /// The server, and how it is reached.
    pub server: ConnectOptions,
    /// What clients are shown where they come by TLS.
    pub certificate: Option<Certificate>,
    /// Who looks at messages before they go on, if anybody does.
    pub gates: Choose,
}

/// Passes on what clients of `listener` and the server say to each other, and records it, until `stop`.
/// What went by until then is recorded when this returns.
pub async fn serve(listener: TcpListener, plan: Plan, recorder: Recorder, stop: CancellationToken) {
    let (witness, observer) = observe::start(recorder.clone());
    let shared = Arc::new(Shared {
        plan,
        recorder,
        witness: witness.clone(),
        sessions: Sessions::default(),
    });
    let mut links = JoinSet::new();
    let mut number = 0;
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            Some(_) = links.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((tcp, _)) => {
                number += 1;
                links.spawn(link(number, tcp, Arc::clone(&shared)));
            }
            Err(error) => {
                witness.tell(
                    0,
                    Side::Client,
                    What::Problem(format!("cannot accept: {error}")),
                );
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    links.shutdown().await;
    drop((shared, witness));
    // It ends when nobody is left who tells it anything.
    let _ = observer.await;
}

/// What all connections have in common.
struct Shared {
    plan: Plan,
    witness: Witness,
    recorder: Recorder,
    sessions: Sessions,
}

fn rewrite(plan: &Plan, gates: Option<&Gates>) -> Rewrite {
    let server = &plan.server;
    Rewrite {
        authority: server.authority(),
        prefix: server.url.path().trim_end_matches('/').to_owned(),
        headers: server.headers.clone(),
        // A message that was compressed with those before it can be neither left out nor changed.
        is_plain: gates.is_some(),
    }
}

/// Takes a client, opens a connection to the server for it, and passes on what comes until one ends.
async fn link(number: u64, tcp: TcpStream, shared: Arc<Shared>) {
    let tell = |side, what| shared.witness.tell(number, side, what);
    let [client, server] = match open(&shared.plan, tcp).await {
        Ok(ends) => ends,
        Err((side, why)) => return tell(side, why),
    };
    tell(Side::Client, What::Opened);
    let gates = (shared.plan.gates)();
    let rewrite = rewrite(&shared.plan, gates.as_ref());
    let mut directions = Direction::both(client, server, rewrite);
    let passed = match &gates {
        None => {
            let [from_client, from_server] = &mut directions;
            let witness = &shared.witness;
            tokio::try_join!(
                pump(number, witness, from_client),
                pump(number, witness, from_server),
            )
            .map(drop)
        }
        Some(gates) => Box::pin(pass_gated(number, &shared, gates, &mut directions)).await,
    };
    let ended = end(directions, passed).await;
    tell(Side::Client, What::Closed(ended));
}

/// The client, and a connection to the server for it.
async fn open(plan: &Plan, tcp: TcpStream) -> Result<[NetStream; 2], (Side, What)> {
    // What comes goes on at once. A socket that cannot be told so is only slower.
    let _ = tcp.set_nodelay(true);
    let client = match &plan.certificate {
        None => NetStream::Plain(tcp),
        Some(certificate) => certificate.accept(tcp).await.map_err(|error| {
            let text = format!("a client failed its TLS handshake: {error}");
            (Side::Client, What::Problem(text))
        })?,
    };
    match NetStream::open(&plan.server).await {
        Ok(server) => Ok([client, server]),
        Err(error) => {
            // The client was to see a refused connection; after an accepted one, a reset comes next to it.
            client.reset_on_drop();
            let text = touchstone_output::text::error_chain(&error);
            Err((Side::Server, What::Unreachable(text)))
        }
    }
}

/// Passes on both directions with somebody who looks at messages before they go on.
async fn pass_gated(
    number: u64,
    shared: &Shared,
    gates: &Gates,
    [from_client, from_server]: &mut [Direction; 2],
) -> Result<(), Stop> {
    let link_state = LinkState::new(gates);
    let (back_to_client, for_client) = mpsc::channel(INSERTED);
    let (back_to_server, for_server) = mpsc::channel(INSERTED);
    let gated = |direction, inserted, back| Gated {
        link: number,
        witness: &shared.witness,
        recorder: &shared.recorder,
        gates,
        sessions: &shared.sessions,
        link_state: &link_state,
        direction,
        inserted,
        back,
        state: State::default(),
    };
    let client = gated(from_client, for_server, back_to_client);
    let server = gated(from_server, for_client, back_to_server);
    tokio::try_join!(client.run(), server.run()).map(drop)
}

/// Ends what is left of a connection in the way that its directions ended.
async fn end([client, server]: [Direction; 2], passed: Result<(), Stop>) -> Ended {
    match passed {
        Ok(()) => Ended::Orderly,
        Err(Stop::Broken(side, error)) => {
            client.from.unsplit(server.to).reset_on_drop();
            server.from.unsplit(client.to).reset_on_drop();
            Ended::Broken(side, error.to_string())
        }
        Err(Stop::Clean) => {
            let (mut to_client, mut to_server) = (server.to, client.to);
            let goodbye = async {
                // Whoever has gone meanwhile needs no goodbye.
                if server.scanner.is_websocket() {
                    let _ = to_client.write_all(&close(Side::Server)).await;
                    let _ = to_server.write_all(&close(Side::Client)).await;
                }
                let _ = to_client.shutdown().await;
                let _ = to_server.shutdown().await;
            };
            let _ = timeout(GOODBYE, goodbye).await;
            Ended::Orderly
        }
    }
}

/// Passes on one direction to its end.
async fn pump(link: u64, witness: &Witness, direction: &mut Direction) -> Result<(), Stop> {
    let side = direction.side;
    loop {
        let input = direction.read().await?;
        let is_end = input.is_empty();
        let pieces = direction.scan(input);
        let wire = joined(&pieces);
        for seen in pieces.into_iter().filter_map(|piece| piece.seen) {
            witness.tell(link, side, What::Seen(seen));
        }
        if !wire.is_empty() {
            direction.write(&wire).await?;
        }
        if is_end {
            witness.tell(link, side, What::End);
            direction.end().await;
            return Ok(());
        }
    }
}

/// What the pieces are on the wire, without copying where it is one.
fn joined(pieces: &[Piece]) -> Bytes {
    let mut parts = pieces
        .iter()
        .map(|piece| &piece.wire)
        .filter(|wire| !wire.is_empty());
    let Some(first) = parts.next() else {
        return Bytes::new();
    };
    let mut joined: Option<BytesMut> = None;
    for part in parts {
        let whole = joined.get_or_insert_with(|| BytesMut::from(first.as_ref()));
        whole.extend_from_slice(part);
    }
    joined.map_or_else(|| first.clone(), BytesMut::freeze)
}
