//! What a client sends: Socket.IO packets as the reference server decodes them, with their attachments.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use serde_json::value::RawValue;

#[path = "../../reference-server/src/packet.rs"]
#[allow(dead_code, reason = "only what decodes is of interest")]
mod packet;

use packet::{Packet, Pending};

fuzz_target!(|data: &[u8]| {
    // What stands behind a zero byte are attachments.
    let mut parts = data.split(|byte| *byte == 0);
    let Some(Ok(text)) = parts.next().map(std::str::from_utf8) else {
        return;
    };
    let Ok((_, decoded)) = packet::decode(text) else {
        return;
    };
    let Packet::Binary { attachments, head } = decoded else {
        return read(&decoded);
    };
    let mut pending = Pending::new(attachments, *head);
    for part in parts {
        match pending.add(Bytes::copy_from_slice(part)) {
            Ok(Ok(whole)) => return read(&whole),
            Ok(Err(more)) => pending = more,
            Err(_) => return,
        }
    }
});

fn read(packet: &Packet) {
    match packet {
        Packet::Event {
            args, attachments, ..
        } => {
            if let Ok((_, data)) = packet::event(args) {
                let fields = packet::raw_fields(data);
                for name in fields.keys() {
                    let passed = packet::passed(&fields, name, attachments).expect("a field");
                    assert!(passed.attachments.len() <= args.len());
                    serde_json::from_str::<&RawValue>(passed.json.get()).expect("JSON");
                }
            }
        }
        Packet::Ack {
            args, attachments, ..
        } => drop(packet::first_argument(args, attachments)),
        Packet::Connect(_) | Packet::Disconnect | Packet::Binary { .. } => {}
    }
}
