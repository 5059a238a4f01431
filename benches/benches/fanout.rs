//! One message to everyone of an account, from the sender's call to the last receiver's event: the
//! reference server and all clients in this process, real sockets over loopback.
//!
//! The figure is time from end to end for both sides together. For the server's share alone, see
//! the `fanout_peers` program.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use tokio::runtime::Runtime;
use tokio::time::Instant;
use touchstone_benches::fleet::{Account, Fleet};
use touchstone_benches::{embedded, host};
use touchstone_reference_server::Config;

const MESSAGE_BYTES: usize = 200;

fn connect(runtime: &Runtime, receivers: usize) -> Fleet {
    runtime.block_on(async {
        let url = embedded::start(Config::default()).await.expect("a server");
        let account = Account::provision(&url, 0).await.expect("an account");
        Fleet::connect(&account, receivers, MESSAGE_BYTES)
            .await
            .expect("all connections")
    })
}

fn fanout(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let mut group = criterion.benchmark_group("fanout");
    group.sample_size(20);
    for receivers in [100, 1_000] {
        // Both ends of each connection are files of this process.
        host::allow_connections(2 * receivers).expect("enough open files");
        // Connected by the first bench that is not filtered out, and used by both.
        let mut fleet = None;
        for (name, burst) in [("single", 1), ("burst of 20", 20)] {
            group.throughput(Throughput::Elements(burst * receivers as u64));
            group.bench_function(BenchmarkId::new(name, receivers), |bencher| {
                let fleet = fleet.get_or_insert_with(|| connect(&runtime, receivers));
                bencher.iter_custom(|iterations| {
                    runtime.block_on(async {
                        let start = Instant::now();
                        for _ in 0..iterations {
                            fleet
                                .burst(burst)
                                .await
                                .expect("delivered to everyone in order");
                        }
                        start.elapsed()
                    })
                });
            });
        }
    }
    group.finish();
}

criterion_group!(benches, fanout);
criterion_main!(benches);
