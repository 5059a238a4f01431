//! Who receives an event, as the router computes it: four filters over accounts of three sizes,
//! with and without a connection to skip.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use touchstone_reference_server::router::{
    ConnectionId, RecipientFilter, Routed, Scope, recipients,
};

struct Connection {
    id: ConnectionId,
    scope: Scope,
}

impl Routed for Connection {
    fn id(&self) -> ConnectionId {
        self.id
    }

    fn scope(&self) -> &Scope {
        &self.scope
    }
}

/// An account in about the mix of a production fleet: for each user-scoped connection a machine and
/// three sessions, each with one connection.
fn account(size: u64) -> Vec<Connection> {
    let scope = |index| match index % 5 {
        0 => Scope::User,
        1 => Scope::Machine(format!("machine-{index}")),
        _ => Scope::Session(format!("session-{index}")),
    };
    (0..size)
        .map(|index| Connection {
            id: ConnectionId(index),
            scope: scope(index),
        })
        .collect()
}

fn filters() -> [(&'static str, RecipientFilter); 4] {
    let (session_id, machine_id) = ("session-2".to_owned(), "machine-1".to_owned());
    [
        (
            "all-interested-in-session",
            RecipientFilter::AllInterestedInSession { session_id },
        ),
        (
            "machine-scoped-only",
            RecipientFilter::MachineScopedOnly { machine_id },
        ),
        ("user-scoped-only", RecipientFilter::UserScopedOnly),
        (
            "all-user-authenticated",
            RecipientFilter::AllUserAuthenticatedConnections,
        ),
    ]
}

fn router(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("recipients");
    for size in [10, 100, 1_000] {
        let connections = account(size);
        group.throughput(Throughput::Elements(size));
        for (name, filter) in filters() {
            for (suffix, skip) in [("", None), (", sender skipped", Some(ConnectionId(2)))] {
                let id = BenchmarkId::new(format!("{name}{suffix}"), size);
                group.bench_function(id, |bencher| {
                    bencher.iter(|| {
                        let chosen = recipients(black_box(&connections), black_box(&filter), skip);
                        chosen.map(|connection| connection.id.0).sum::<u64>()
                    });
                });
            }
        }
    }
    group.finish();
}

criterion_group!(benches, router);
criterion_main!(benches);
