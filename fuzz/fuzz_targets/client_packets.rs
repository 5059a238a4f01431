//! What a server sends: Engine.IO packets, polling payloads and Socket.IO packets. What is decoded is
//! encoded as what decodes to the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use touchstone_client::codec::{engine, packet, payload};
use touchstone_client::{Args, Frame};

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Ok(decoded) = engine::decode(text) {
        assert_eq!(engine::decode(&engine::encode(decoded)), Ok(decoded));
        if let engine::Packet::Message(message) = decoded {
            check(message);
        }
    }
    check(text);
    if let Ok(frames) = payload::decode(text) {
        let encoded = payload::encode(&frames);
        assert_eq!(payload::decode(&encoded).as_ref(), Ok(&frames));
        let length: usize = frames.iter().map(payload::encoded_len).sum();
        assert!(encoded.len() <= length, "{length} for {encoded:?}");
        for frame in frames {
            if let Frame::Text(text) = frame {
                let _ = engine::decode(&text);
            }
        }
    }
});

fn check(text: &str) {
    let Ok(decoded) = packet::decode(text) else {
        return;
    };
    let encoded = packet::encode(&decoded);
    assert_eq!(
        packet::decode(&encoded).as_ref(),
        Ok(&decoded),
        "{encoded:?}"
    );
    if let packet::Body::Event { args, .. } | packet::Body::Ack { args, .. } = decoded.body {
        let args = Args::raw(args.to_owned());
        let _ = (args.values(), args.data(), args.first_raw());
    }
}
