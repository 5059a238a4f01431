//! Connections: each of a client has one to the server, and what comes on one goes on on the other.
//!
//! Ends go on as they are: a direction that ends is ended on the other side, a reset becomes a reset.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncWriteExt as _, ReadHalf, WriteHalf, split};
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
use crate::scan::{Piece, Rewrite, Scanner, Side};
use crate::stream::{Stop, read, write};
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

async fn link(number: u64, tcp: TcpStream, shared: Arc<Shared>) {
    let tell = |side, what| shared.witness.tell(number, side, what);
    // What comes goes on at once. A socket that cannot be told so is only slower.
    let _ = tcp.set_nodelay(true);
    let client = match &shared.plan.certificate {
        None => NetStream::Plain(tcp),
        Some(certificate) => match certificate.accept(tcp).await {
            Ok(client) => client,
            Err(error) => {
                let text = format!("a client failed its TLS handshake: {error}");
                return tell(Side::Client, What::Problem(text));
            }
        },
    };
    let server = match NetStream::open(&shared.plan.server).await {
        Ok(server) => server,
        Err(error) => {
            // The client was to see a refused connection; after an accepted one, a reset comes next to it.
            client.reset_on_drop();
            let text = touchstone_output::text::error_chain(&error);
            return tell(Side::Server, What::Unreachable(text));
        }
    };
    tell(Side::Client, What::Opened);
    let (mut from_client, mut to_client) = split(client);
    let (mut from_server, mut to_server) = split(server);
    let gates = (shared.plan.gates)();
    let (mut requests, mut answers) =
        Scanner::pair(&Arc::new(rewrite(&shared.plan, gates.as_ref())));
    let witness = &shared.witness;
    let passed = match &gates {
        None => {
            tokio::try_join!(
                pump(
                    number,
                    Side::Client,
                    witness,
                    &mut requests,
                    &mut from_client,
                    &mut to_server
                ),
                pump(
                    number,
                    Side::Server,
                    witness,
                    &mut answers,
                    &mut from_server,
                    &mut to_client
                ),
            )
        }
        Some(gates) => {
            let link_state = LinkState::new(gates);
            let (back_to_client, for_client) = mpsc::channel(INSERTED);
            let (back_to_server, for_server) = mpsc::channel(INSERTED);
            let gated = |side, scanner, from, to, inserted, back| Gated {
                link: number,
                side,
                witness,
                recorder: &shared.recorder,
                gates,
                sessions: &shared.sessions,
                link_state: &link_state,
                scanner,
                from,
                to,
                inserted,
                back,
                state: State::default(),
            };
            let client = gated(
                Side::Client,
                &mut requests,
                &mut from_client,
                &mut to_server,
                for_server,
                back_to_client,
            );
            let server = gated(
                Side::Server,
                &mut answers,
                &mut from_server,
                &mut to_client,
                for_client,
                back_to_server,
            );
            Box::pin(async { tokio::try_join!(client.run(), server.run()) }).await
        }
    };
    let ended = match passed {
        Ok(_) => Ended::Orderly,
        Err(Stop::Broken(side, error)) => {
            from_client.unsplit(to_client).reset_on_drop();
            from_server.unsplit(to_server).reset_on_drop();
            Ended::Broken(side, error.to_string())
        }
        Err(Stop::Clean) => {
            let goodbye = async {
                // Whoever has gone meanwhile needs no goodbye.
                if answers.is_websocket() {
                    let _ = to_client.write_all(&close(Side::Server)).await;
                    let _ = to_server.write_all(&close(Side::Client)).await;
                }
                let _ = to_client.shutdown().await;
                let _ = to_server.shutdown().await;
            };
            let _ = timeout(GOODBYE, goodbye).await;
            Ended::Orderly
        }
    };
    tell(Side::Client, What::Closed(ended));
}

/// Passes on one direction to its end.
async fn pump(
    link: u64,
    side: Side,
    witness: &Witness,
    scanner: &mut Scanner,
    from: &mut ReadHalf<NetStream>,
    to: &mut WriteHalf<NetStream>,
) -> Result<(), Stop> {
    let mut pieces = Vec::new();
    loop {
        let input = read(from)
            .await
            .map_err(|error| Stop::Broken(side, error))?;
        let is_end = input.is_empty();
        match is_end {
            true => scanner.end(&mut pieces),
            false => scanner.feed(input, &mut pieces),
        }
        let wire = joined(&pieces);
        for seen in pieces.drain(..).filter_map(|piece| piece.seen) {
            witness.tell(link, side, What::Seen(seen));
        }
        if !wire.is_empty() {
            write(to, &wire)
                .await
                .map_err(|error| Stop::Broken(side.other(), error))?;
        }
        if is_end {
            witness.tell(link, side, What::End);
            // Whoever has gone meanwhile needs no end.
            let _ = to.shutdown().await;
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
