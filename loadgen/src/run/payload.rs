//! The frames that virtual peers send: each event as its client writes it, with a stamp in it.

use std::fmt::Write as _;

use crate::{audit::stamp::Stamp, scenario::EventKind};

/// Artifacts and usage reports name what does not matter here.
const KEY: &str = "touchstone";

/// Whom and what an event is about, ready to be written: ids are JSON strings with their quotes.
#[derive(Debug, Clone, Copy)]
pub(super) struct About<'a> {
    /// The session, machine, artifact or method.
    pub(super) subject: &'a str,
    /// The other id, where there are two.
    pub(super) other: &'a str,
    /// The version that a compare-and-set expects.
    pub(super) version: i64,
    /// Unix milliseconds for heartbeats and the end of a session.
    pub(super) time: u64,
    /// Whether a session's heartbeat says that it is in a turn.
    pub(super) thinking: bool,
}

/// The frame of an event. `ack` asks for an ack under that id.
pub(super) fn frame(
    kind: EventKind,
    ack: Option<u64>,
    about: About<'_>,
    stamp: Stamp,
    size: u32,
) -> String {
    let About {
        subject,
        other,
        version,
        time,
        thinking,
    } = about;
    let mut text = String::with_capacity(size as usize + 200);
    text.push_str("42");
    if let Some(ack) = ack {
        // Writing to a string cannot fail, here and below.
        let _ = write!(text, "{ack}");
    }
    let _ = write!(text, "[\"{}\"", kind.name());
    let value = |text: &mut String, key: &str| {
        let _ = write!(text, ",\"{key}\":\"");
        stamp.write(text, size);
        text.push('"');
    };
    let expects = |text: &mut String| {
        let _ = write!(text, ",\"expectedVersion\":{version}}}");
    };
    match kind {
        EventKind::Message => {
            let _ = write!(text, ",{{\"sid\":{subject}");
            value(&mut text, "message");
            text.push('}');
        }
        EventKind::UpdateMetadata | EventKind::UpdateState => {
            let _ = write!(text, ",{{\"sid\":{subject}");
            let metadata = kind == EventKind::UpdateMetadata;
            value(&mut text, if metadata { "metadata" } else { "agentState" });
            expects(&mut text);
        }
        EventKind::MachineUpdateMetadata | EventKind::MachineUpdateState => {
            let _ = write!(text, ",{{\"machineId\":{subject}");
            let metadata = kind == EventKind::MachineUpdateMetadata;
            value(&mut text, if metadata { "metadata" } else { "daemonState" });
            expects(&mut text);
        }
        EventKind::SessionAlive => {
            let _ = write!(
                text,
                ",{{\"sid\":{subject},\"time\":{time},\"thinking\":{thinking}}}"
            );
        }
        EventKind::SessionEnd => {
            let _ = write!(text, ",{{\"sid\":{subject},\"time\":{time}}}");
        }
        EventKind::MachineAlive => {
            let _ = write!(text, ",{{\"machineId\":{subject},\"time\":{time}}}");
        }
        EventKind::UsageReport => {
            // The total says which report it is: a server may drop keys that it does not know, and all
            // reports are rows of one key.
            let total = usage_total(stamp.number);
            let _ = write!(
                text,
                ",{{\"key\":\"{KEY}\",\"sessionId\":{subject},\"tokens\":{{\"total\":{total},\"input\":{total},\
                 \"output\":0,\"cache_creation\":0,\"cache_read\":0}},\
                 \"cost\":{{\"total\":0.01,\"input\":0.01,\"output\":0}}}}"
            );
        }
        EventKind::ArtifactCreate => {
            let _ = write!(text, ",{{\"id\":{subject}");
            value(&mut text, "header");
            text.push_str(",\"body\":\"AAAA\",\"dataEncryptionKey\":\"AAAA\"}");
        }
        EventKind::ArtifactUpdate => {
            let _ = write!(text, ",{{\"artifactId\":{subject},\"header\":{{\"data\":\"");
            stamp.write(&mut text, size);
            text.push('"');
            expects(&mut text);
            text.push('}');
        }
        EventKind::ArtifactRead => {
            let _ = write!(text, ",{{\"artifactId\":{subject}}}");
        }
        EventKind::AccessKeyGet => {
            let _ = write!(text, ",{{\"sessionId\":{subject},\"machineId\":{other}}}");
        }
        EventKind::RpcCall => {
            let _ = write!(text, ",{{\"method\":{subject}");
            value(&mut text, "params");
            text.push('}');
        }
        EventKind::Ping => {}
    }
    text.push(']');
    text
}

/// The tokens of a usage report with this number. None has used nothing.
pub(super) fn usage_total(number: u32) -> u64 {
    u64::from(number) + 1
}

/// The frame that registers a method; `method` is a JSON string with its quotes.
pub(super) fn registration(method: &str) -> String {
    format!("42[\"rpc-register\",{{\"method\":{method}}}]")
}

/// The frame that asks for an answer and changes nothing.
pub(super) fn proof(ack: u64) -> String {
    format!("42{ack}[\"ping\"]")
}

/// The frame that answers a call.
pub(super) fn answer(id: &str) -> String {
    format!("43{id}[{{\"done\":true}}]")
}

/// An artifact's id, as a JSON string: a UUID like those of real clients, of run, account and
/// number.
pub(super) fn artifact_id(stamp: Stamp) -> String {
    let Stamp {
        run,
        account,
        number,
    } = stamp;
    format!(
        "\"{run:08x}-{:04x}-4000-8000-{:04x}{number:08x}\"",
        account >> 16,
        account & 0xffff
    )
}

#[cfg(test)]
mod tests {
    use touchstone_client::codec::packet::{self, Body};
    use touchstone_fixtures::schema;

    use super::*;

    const STAMP: Stamp = Stamp {
        run: 1,
        account: 2,
        number: 3,
    };

    #[test]
    fn every_frame_is_an_event_of_the_contract() {
        for kind in EventKind::ALL {
            let artifact = artifact_id(STAMP);
            let about = About {
                subject: if kind.name().starts_with("artifact") {
                    &artifact
                } else {
                    "\"id\""
                },
                other: "\"other\"",
                version: 4,
                time: 1_700_000_000_000,
                thinking: true,
            };
            let ack = kind.is_acked().then_some(5);
            let frame = frame(kind, ack, about, STAMP, 200);
            let Body::Event {
                name,
                args,
                ack: found,
                ..
            } = packet::decode(&frame[1..]).unwrap().body
            else {
                panic!("{frame}");
            };
            assert_eq!((name.as_ref(), found), (kind.name(), ack));
            let must_be_stamped = kind.delivered_as().is_some()
                && !kind.is_presence()
                && kind != EventKind::UsageReport;
            assert_eq!(
                Stamp::all(&frame).next(),
                must_be_stamped.then_some(STAMP),
                "{frame}"
            );
            if kind == EventKind::Ping {
                continue;
            }
            let data = serde_json::from_str(args).unwrap();
            let schema = schema(&format!("event/{name}")).unwrap();
            assert_eq!(schema.validate(&data).err(), None, "{frame}");
        }
    }
}
