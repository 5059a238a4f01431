//! Round trips of `ping`, the event with the cheapest handler: emit, handle, ack. One at a time
//! shows latency, 64 in flight show what pipelining on one connection gives.

use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use tokio::runtime::Runtime;
use touchstone_benches::embedded;
use touchstone_benches::fleet::Account;
use touchstone_client::{CallError, PendingReply, Socket};
use touchstone_reference_server::Config;

const PATIENCE: Duration = Duration::from_secs(10);

fn connect(runtime: &Runtime) -> Socket {
    runtime.block_on(async {
        let url = embedded::start(Config::default()).await.expect("a server");
        let account = Account::provision(&url, 0).await.expect("an account");
        let (socket, _) = account.connect().await.expect("a connection");
        socket
    })
}

/// Sends all calls before it awaits the first reply.
async fn round_trips(socket: &Socket, in_flight: usize) -> Result<(), CallError> {
    let mut pending: Vec<PendingReply> = Vec::with_capacity(in_flight);
    for _ in 0..in_flight {
        let call = socket.request("ping", ()).await;
        pending.push(call.map_err(|source| CallError::Ended {
            event: "ping".to_owned(),
            source,
        })?);
    }
    for reply in pending {
        reply.within(PATIENCE).await?;
    }
    Ok(())
}

fn ack(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let mut socket = None;
    let mut group = criterion.benchmark_group("ack round trips");
    for in_flight in [1, 64] {
        group.throughput(Throughput::Elements(in_flight as u64));
        group.bench_function(BenchmarkId::new("in flight", in_flight), |bencher| {
            let socket = socket.get_or_insert_with(|| connect(&runtime));
            bencher.to_async(&runtime).iter(async || {
                round_trips(socket, in_flight)
                    .await
                    .expect("every ping is answered");
            });
        });
    }
    group.finish();
}

criterion_group!(benches, ack);
criterion_main!(benches);
