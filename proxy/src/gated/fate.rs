//! What becomes of one message: what its gate says, done as far as it has to do with nothing but the message.

use std::io;

use tokio::sync::oneshot;
use tokio::time::sleep;
use touchstone_client::Frame as Packet;
use touchstone_client::trace::{Kind, Record, Traced};

use super::sessions::Session;
use super::{Gated, frames};
use crate::gate::{self, Action, Decision, Shared};
use crate::hold::Verdict;
use crate::observe::label_token;
use crate::scan::{Seen, Side};
use crate::stream::Stop;

/// How many bytes may wait behind a message that somebody holds, before no more are read.
const MAX_BEHIND: usize = 1 << 20;

/// What becomes of a message.
pub(super) enum Fate {
    Pass,
    /// It does not go on.
    Drop,
    Twice,
    /// It goes on behind the next one.
    Behind,
    /// This packet goes on in its place.
    Replace(String),
    /// It does not go on, and its direction is over.
    Over,
}

/// What a message comes in.
#[derive(Clone, Copy)]
pub(super) enum Carrier<'a> {
    Socket,
    Bodies(&'a Session),
    /// It is a request.
    Itself,
}

impl Gated<'_> {
    /// What becomes of a packet. Records show a label in place of its token.
    pub(super) async fn fate_of_packet(
        &mut self,
        gate: &Shared,
        mut packet: Traced,
        carrier: Carrier<'_>,
        has_behind: bool,
    ) -> Result<Fate, Stop> {
        if let Traced::Connect(auth) = &mut packet {
            label_token(self.recorder, auth);
        }
        let kind = Kind::Packet(self.direction.side.direction(), packet);
        self.fate(gate, "link".to_owned(), kind, carrier, has_behind)
            .await
    }

    /// Asks what is to be done to a message, and does what has to do with nothing but it.
    pub(super) async fn fate(
        &mut self,
        gate: &Shared,
        conn: String,
        kind: Kind,
        carrier: Carrier<'_>,
        has_behind: bool,
    ) -> Result<Fate, Stop> {
        let record = Record {
            t_us: 0,
            conn,
            kind,
            recipients: None,
        };
        let Some(decision) = gate.decide(&record) else {
            return Ok(Fate::Pass);
        };
        let name = gate::name_of(&record.kind);
        let packet = match &record.kind {
            Kind::Packet(_, packet) => Some(packet),
            _ => None,
        };
        let action = match decision {
            Decision::Held(verdict) => return self.hold(&name, verdict).await,
            Decision::Act(action) => action,
        };
        let mark = action.mark(&name);
        Ok(match (action, packet) {
            (Action::Drop, _) => {
                self.mark(&mark);
                Fate::Drop
            }
            (Action::Delay(time), _) => {
                self.mark(&mark);
                sleep(time).await;
                Fate::Pass
            }
            (Action::Duplicate, Some(_)) => {
                self.mark(&mark);
                Fate::Twice
            }
            (Action::Reorder, Some(_)) if !has_behind => {
                self.mark(&mark);
                Fate::Behind
            }
            (Action::Corrupt, Some(packet)) if let Some(text) = gate::corrupted(packet) => {
                self.mark(&mark);
                Fate::Replace(text)
            }
            (Action::Answer(json), Some(Traced::Event { ack: Some(id), .. })) => {
                self.mark(&mark);
                self.reply(carrier, gate::answer(*id, &json)).await;
                Fate::Drop
            }
            (Action::Refuse, Some(Traced::Connect(_))) if self.direction.side == Side::Client => {
                self.mark(&mark);
                self.reply(carrier, gate::refusal()).await;
                Fate::Drop
            }
            (Action::Http(status), None) => {
                self.mark(&mark);
                // Nobody listens any more if this fails.
                let _ = self.back.send(gate::http_answer(status)).await;
                Fate::Drop
            }
            (Action::Close, _) => {
                self.mark(&mark);
                return Err(Stop::Clean);
            }
            (Action::CloseAbruptly, _) => {
                self.mark(&mark);
                let reset = io::Error::other("reset by a rule");
                return Err(Stop::Broken(self.direction.side, reset));
            }
            (Action::CloseHalf, _) => {
                self.mark(&mark);
                self.end().await;
                Fate::Over
            }
            (Action::Freeze, _) => {
                self.mark(&mark);
                return Err(self.freeze().await);
            }
            // It is no action for this kind of message.
            _ => Fate::Pass,
        })
    }

    /// Waits for the verdict on a message. Heartbeats go on meanwhile; what else comes waits.
    async fn hold(
        &mut self,
        name: &str,
        mut verdict: oneshot::Receiver<Verdict>,
    ) -> Result<Fate, Stop> {
        self.mark(&gate::mark("holds", name));
        let verdict = loop {
            self.pass_heartbeats().await?;
            let waiting: usize = self.state.queue.iter().map(|piece| piece.wire.len()).sum();
            let reads_on = !self.state.is_ended && waiting < MAX_BEHIND;
            tokio::select! {
                biased;
                verdict = &mut verdict => break verdict,
                Some(bytes) = self.inserted.recv() => self.direction.write(&bytes).await?,
                input = self.direction.read(), if reads_on => self.take_in(input?),
            }
        };
        Ok(match verdict {
            // Whoever held it has left.
            Ok(Verdict::Pass) | Err(_) => Fate::Pass,
            Ok(Verdict::Drop) => {
                self.mark(&gate::mark("drops", name));
                Fate::Drop
            }
            Ok(Verdict::Replace(packet)) => {
                self.mark(&gate::mark("changes", name));
                Fate::Replace(packet)
            }
        })
    }

    /// Lets heartbeats of a WebSocket overtake what waits before them.
    async fn pass_heartbeats(&mut self) -> Result<(), Stop> {
        let (mut start, mut at) = (0, 0);
        while let Some(piece) = self.state.queue.get(at) {
            at += 1;
            match &piece.seen {
                None => {}
                Some(Seen::Frame(frame)) if frame.is_heartbeat() => {
                    let pieces: Vec<_> = self.state.queue.drain(start..at).collect();
                    for piece in pieces {
                        self.pass_alone(piece.wire, piece.seen.into_iter().collect())
                            .await?;
                    }
                    at = start;
                }
                Some(_) => start = at,
            }
        }
        Ok(())
    }

    /// Reads on, and lets nothing through, until the sender ends.
    async fn freeze(&mut self) -> Stop {
        loop {
            match self.direction.read().await {
                Ok(input) if !input.is_empty() => {}
                Ok(_) => {
                    let end = io::Error::other("ended in a frozen direction");
                    return Stop::Broken(self.direction.side, end);
                }
                Err(stop) => return stop,
            }
        }
    }

    /// Sends a packet to whoever sent in this direction.
    async fn reply(&mut self, carrier: Carrier<'_>, packet: String) {
        let other = self.direction.side.other();
        match carrier {
            Carrier::Bodies(session) => session.insert(other, Packet::text(packet)),
            // Nobody listens any more if this fails.
            _ => _ = self.back.send(frames::text(&packet, other)).await,
        }
    }
}
