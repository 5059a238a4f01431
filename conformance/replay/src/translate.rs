//! What is sent now in place of what was sent then: names, times, tokens and ack ids of now in the packets
//! of the recording.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use touchstone_client::{
    Args, Frame, Secret,
    codec::{
        engine,
        packet::{Body, Packet, encode_message},
    },
    trace::{HIDDEN, Traced},
};

use super::{
    listen::{Asked, Log},
    lock,
    request::Tokens,
    script::{Step, token_name},
};
use touchstone_client::Clock;

/// Knows the names, accounts and time of now.
pub(super) struct Translator<'a> {
    pub(super) log: &'a Log,
    pub(super) tokens: &'a Tokens,
    pub(super) clock: &'a Clock,
}

impl Translator<'_> {
    /// The frame to send now for a packet of the recording. There is none for an answer to what the
    /// server did not ask, which is missing in the comparison already.
    pub(super) fn frame(&self, step: &Step, packet: &Traced) -> Result<Option<Frame>, String> {
        let encoded = |body| Frame::text(encode_message(&Packet::new(body)));
        let plain = |packet| Frame::text(engine::encode(packet));
        Ok(Some(match packet {
            Traced::Connect(Value::Null) => encoded(Body::Connect("")),
            Traced::Connect(auth) => {
                let auth = self.signed(auth, step.t_us);
                encoded(Body::Connect(&auth.to_string()))
            }
            Traced::Binary { bytes, .. } => {
                Frame::Binary(bytes.clone().ok_or("the trace does not hold its bytes")?)
            }
            Traced::Event {
                name,
                args,
                ack,
                attachments,
            } => encoded(Body::Event {
                name: name.as_str().into(),
                args: self.arguments(args, step.t_us).as_str(),
                ack: *ack,
                attachments: *attachments,
            }),
            Traced::Ack {
                id,
                args,
                attachments,
            } => {
                let id = match self.log.asked_as(&step.conn, *id) {
                    Asked::Now(now) => now,
                    // Clients that answer what nobody asked do it to see what happens.
                    Asked::Never => *id,
                    Asked::Then => return Ok(None),
                };
                encoded(Body::Ack {
                    id,
                    args: self.arguments(args, step.t_us).as_str(),
                    attachments: *attachments,
                })
            }
            Traced::Raw(text) => Frame::text(self.raw(text)?),
            Traced::ConnectError(data) => encoded(Body::ConnectError(&data.to_string())),
            Traced::Disconnect => encoded(Body::Disconnect),
            Traced::Open(data) => plain(engine::Packet::Open(&data.to_string())),
            Traced::Close => plain(engine::Packet::Close),
            Traced::Ping(data) => plain(engine::Packet::Ping(data)),
            Traced::Pong(data) => plain(engine::Packet::Pong(data)),
            Traced::Upgrade => plain(engine::Packet::Upgrade),
            Traced::Noop => plain(engine::Packet::Noop),
        }))
    }

    /// A text that is no packet, with the tokens of now.
    fn raw(&self, text: &str) -> Result<String, String> {
        let mut text = self.log.kept().names.renamed(text);
        for (name, account) in &*lock(self.tokens) {
            text = text.replace(&format!("{name}…"), account.token.expose());
        }
        if text.contains("token") && text.contains('…') {
            return Err("the trace does not hold the token in it".into());
        }
        Ok(text)
    }

    /// Arguments with the names and times of now, letter by letter as they were where they hold
    /// neither. In what cannot be read, such as numbers beyond all bounds, names are found as text.
    fn arguments(&self, args: &Args, t_us: u64) -> Args {
        let Ok(then) = args.values() else {
            return Args::raw(self.log.kept().names.renamed(args.as_str()));
        };
        let now: Vec<Value> = then
            .iter()
            .map(|value| self.translated(value, t_us))
            .collect();
        if now == then {
            args.clone()
        } else {
            Args::from(now)
        }
    }

    /// Data with the names and times of now, and with the token of now where it holds one.
    pub(super) fn signed(&self, value: &Value, t_us: u64) -> Value {
        let mut value = self.translated(value, t_us);
        if let Some(name) = token_name(Some(&value)) {
            value["token"] = json!(self.token(&name).expose());
        }
        // What was signed then is not in the trace. A sign-in that succeeded is made anew; one that
        // was refused is refused for bytes that sign nothing, too.
        for (key, bytes) in [("signature", 64), ("challenge", 32)] {
            if value.get(key).is_some_and(|proof| proof == HIDDEN) {
                value[key] = json!(STANDARD.encode(vec![0; bytes]));
            }
        }
        value
    }

    fn translated(&self, value: &Value, t_us: u64) -> Value {
        let now = self.clock.unix_ms();
        self.log.kept().names.translated(value, t_us, now)
    }

    /// The token of an account of the recording. One that never signed in had a token that was none.
    pub(super) fn token(&self, name: &str) -> Secret {
        let tokens = lock(self.tokens);
        tokens.get(name).map_or_else(
            || Secret::new(format!("no-token-{name}")),
            |account| account.token.clone(),
        )
    }
}
