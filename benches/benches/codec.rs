//! Decoding and encoding of packets in the client: what each received or sent frame costs before
//! any socket is involved.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use touchstone_client::codec::engine;
use touchstone_client::codec::packet::{Packet, decode, encode_message};

/// The frames that make up real traffic: a heartbeat's ephemeral, messages of the median and of the
/// 95th percentile size that the load scenarios assume, an ack.
fn frames() -> [(&'static str, String); 4] {
    [
        ("small event", activity()),
        ("event of 1.2 kB", new_message(1_200)),
        ("event of 16 kB", new_message(16_000)),
        (
            "ack",
            r#"4317[{"result":"success","version":4,"metadata":"bWV0YWRhdGE="}]"#.to_owned(),
        ),
    ]
}

fn activity() -> String {
    let data = r#"{"type":"activity","id":"csession","active":true,"activeAt":1,"thinking":false}"#;
    format!(r#"42["ephemeral",{data}]"#)
}

fn new_message(size: usize) -> String {
    let head = concat!(
        r#"42["update",{"id":"u1","seq":7,"body":{"t":"new-message","sid":"csession","#,
        r#""message":{"id":"m1","seq":3,"content":{"t":"encrypted","c":""#,
    );
    let tail = r#""},"localId":null,"createdAt":1,"updatedAt":1}},"createdAt":1}]"#;
    let filler = "x".repeat(size - head.len() - tail.len());
    format!("{head}{filler}{tail}")
}

fn parse(frame: &str) -> Packet<'_> {
    match engine::decode(frame) {
        Ok(engine::Packet::Message(message)) => decode(message).expect("a valid packet"),
        other => panic!("not a message: {other:?}"),
    }
}

fn codec(criterion: &mut Criterion) {
    let frames = frames();
    let mut group = criterion.benchmark_group("decode");
    for (name, frame) in &frames {
        group.throughput(Throughput::Bytes(frame.len() as u64));
        group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
            bencher.iter(|| black_box(parse(black_box(frame))));
        });
    }
    group.finish();

    let mut group = criterion.benchmark_group("encode");
    for (name, frame) in &frames {
        let packet = parse(frame);
        assert_eq!(encode_message(&packet), *frame, "{name} does not survive");
        group.throughput(Throughput::Bytes(frame.len() as u64));
        group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
            bencher.iter(|| black_box(encode_message(black_box(&packet))));
        });
    }
    group.finish();
}

criterion_group!(benches, codec);
criterion_main!(benches);
