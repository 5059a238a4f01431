//! Packets of long-polling, which come in the bodies of requests and of answers.

use std::sync::Arc;

use touchstone_client::Frame as Packet;
use touchstone_client::codec::payload;
use touchstone_client::trace::Traced;

use super::Gated;
use super::fate::{Carrier, Fate};
use super::sessions::Session;
use crate::engine::Engine;
use crate::gate;
use crate::observe::text_of;
use crate::scan::{Content, Request, Response, Seen, with_body};
use crate::stream::Stop;

/// What stands in an answer from which everything was taken.
const NOOP: &str = "6";

impl Gated<'_> {
    /// Passes on a request, whose packets somebody looks at if it has some.
    pub(super) async fn requested(&mut self, request: Box<Request>) -> Result<bool, Stop> {
        let engine = Engine::of(&request.target);
        let session = engine
            .as_ref()
            .and_then(|engine| self.sessions.get(engine.sid.as_deref()?));
        match (engine, session) {
            (Some(engine), session) if engine.is_polling && request.method == "GET" => {
                let sid = engine.sid.filter(|_| session.is_some());
                self.link_state.expect_poll(request.number, sid);
            }
            (Some(engine), Some(session)) if engine.is_polling => {
                if let Some(packets) = packets(&request.content) {
                    return self.body(&session, Seen::Request(request), packets).await;
                }
            }
            // What follows are packets of this session.
            (Some(_), Some(session)) => self.link_state.become_of(session.gate.clone()),
            _ => {}
        }
        self.state.seen.push(Seen::Request(request));
        self.release().await.map(|()| true)
    }

    /// Passes on an answer, whose packets somebody looks at if it has some.
    pub(super) async fn answered(
        &mut self,
        response: Box<Response>,
        is_cut: bool,
    ) -> Result<bool, Stop> {
        let poll = self.link_state.polled(response.number);
        if let Some(sid) = poll
            && response.status == 200
            && !is_cut
            && let Some(packets) = packets(&response.content)
        {
            let session = match sid {
                Some(sid) => self.sessions.get(&sid),
                None => self.opened(&packets),
            };
            if let Some(session) = session {
                return self.body(&session, Seen::Response(response), packets).await;
            }
        }
        self.state.seen.push(Seen::Response(response));
        self.release().await.map(|()| true)
    }

    /// The session that the first packet opens.
    fn opened(&self, packets: &[Packet]) -> Option<Arc<Session>> {
        let Traced::Open(handshake) = Traced::of(packets.first()?) else {
            return None;
        };
        let gate = gate::Shared::new((self.gates)());
        Some(self.sessions.open(handshake["sid"].as_str()?, gate))
    }

    /// Passes on a body, after each of its messages has been looked at.
    async fn body(
        &mut self,
        session: &Arc<Session>,
        seen: Seen,
        packets: Vec<Packet>,
    ) -> Result<bool, Stop> {
        let wire = self.take_held();
        let mut out = session.take_inserted(self.direction.side);
        let mut is_changed = !out.is_empty();
        for (message, parts) in messages(packets) {
            let fate = match message {
                Some(message) => {
                    let carrier = Carrier::Bodies(session);
                    let has_behind = session.has_behind(self.direction.side);
                    self.fate_of_packet(&session.gate, message, carrier, has_behind)
                        .await?
                }
                None => Fate::Pass,
            };
            is_changed |= !matches!(fate, Fate::Pass);
            match fate {
                Fate::Pass => out.extend(parts),
                Fate::Drop => continue,
                Fate::Twice => {
                    out.extend(parts.clone());
                    out.extend(parts);
                }
                Fate::Behind => {
                    session.put_behind(self.direction.side, parts);
                    continue;
                }
                Fate::Replace(text) => out.push(Packet::text(text)),
                Fate::Over => return Ok(false),
            }
            if let Some(behind) = session.take_behind(self.direction.side) {
                is_changed = true;
                out.extend(behind);
            }
        }
        if !is_changed {
            return self.pass_alone(wire, vec![seen]).await.map(|()| true);
        }
        let seen = match seen {
            Seen::Request(request) if out.is_empty() => {
                self.direction.scanner.withdraw(request.number);
                // Nobody listens any more if this fails.
                let _ = self.back.send(gate::packets_taken()).await;
                return Ok(true);
            }
            // The record has what the server got.
            Seen::Request(request) => Seen::Request(Box::new(Request {
                content: Content {
                    encoding: None,
                    bytes: Some(payload::encode(&out).into()),
                },
                ..*request
            })),
            // And what it sent.
            other => other,
        };
        if out.is_empty() {
            out.push(Packet::text(NOOP));
        }
        let wire = with_body(&wire, &payload::encode(&out)).unwrap_or(wire);
        self.pass_alone(wire, vec![seen]).await.map(|()| true)
    }
}

/// The packets of a body. Nothing where it is too large, or has none.
fn packets(content: &Content) -> Option<Vec<Packet>> {
    payload::decode(&text_of(content)?).ok()
}

/// Packets as messages: each with the binary packets that belong to it. Nobody decides about a part of one.
fn messages(packets: Vec<Packet>) -> Vec<(Option<Traced>, Vec<Packet>)> {
    let mut messages = Vec::new();
    let mut rest = packets.into_iter().peekable();
    while let Some(packet) = rest.next() {
        let traced = Traced::of(&packet);
        let count = super::attachments(&traced);
        let mut parts = vec![packet];
        while parts.len() <= count
            && let Some(binary) = rest.next_if(|next| matches!(next, Packet::Binary(_)))
        {
            parts.push(binary);
        }
        let is_whole = parts.len() == count + 1 && !matches!(traced, Traced::Binary { .. });
        messages.push((is_whole.then_some(traced), parts));
    }
    messages
}
