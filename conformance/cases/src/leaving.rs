//! What a client sends before it leaves.

use serde_json::{Value, json};

use super::message;
use touchstone_harness::{
    case::{Flow, Stop, case_table},
    ctx::{Ctx, Scope},
    ledger::requirement_table,
    peer::{Arrival, Peer},
    stage::{Role, Stage, Wanted},
    words,
};

requirement_table! {
    LAST_EVENTS = "connection.last-events", Should, Decision,
        "What a client sends before it closes its transport takes effect.";
}

case_table! {
    /// A session's connection sends a message, a new state and the end of the session, and closes its transport
    /// at once, without a DISCONNECT. Another connection has done the same before, and stayed.
    ///
    /// Accepted is that what took effect of the one that stayed takes effect of the one that left. A process
    /// that ends says its last words like that. Typical cause of a failure: a handler that waits for the
    /// database, and then gives up since its connection is gone.
    "connection.last-events" judges [LAST_EVENTS] => last_events;
}

/// What a process sends at its end, and what tells that it took effect.
struct LastEvents {
    sent: [(&'static str, Value); 3],
    effects: [Wanted; 3],
}

impl LastEvents {
    fn of(cx: &mut Ctx, session: &str) -> Self {
        let (message, state) = (cx.marker("message"), cx.marker("state"));
        let version = cx.version(session, "agentState");
        let state_data = json!({"sid": session, "agentState": state, "expectedVersion": version});
        Self {
            sent: [
                ("message", json!({"sid": session, "message": message})),
                ("update-state", state_data),
                (
                    "session-end",
                    json!({"sid": session, "time": cx.recent_time()}),
                ),
            ],
            effects: [
                Wanted::update("new-message", message),
                Wanted::update("update-session", state),
                Wanted::ephemeral("activity", session),
            ],
        }
    }

    async fn send(&self, cx: &Ctx, peer: &Peer) -> Flow {
        for (event, data) in &self.sent {
            cx.emit(peer, event, data.clone()).await?;
        }
        Ok(())
    }

    /// Whether `arrival` tells that the event at `place` took effect.
    fn shows(&self, place: usize, arrival: &Arrival) -> bool {
        let ended = || arrival.data["active"] == false;
        self.effects[place].matches(arrival) && (!self.effects[place].is("activity") || ended())
    }

    /// The places of what took effect, as `listener` hears of it.
    async fn seen(&self, cx: &Ctx, listener: &Peer, expected: &[usize]) -> Vec<usize> {
        let mut seen = Vec::new();
        for &place in expected {
            let kind = self.effects[place].named();
            let shown = cx.arrival(listener, &kind, |arrival| self.shows(place, arrival));
            if shown.await.is_some() {
                seen.push(place);
            }
        }
        seen
    }
}

async fn last_events(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &[Role::U1]).await?;
    let (user, token) = (stage.peer(Role::U1), stage.account.token());
    let mut effective: Vec<usize> = vec![0, 1, 2];
    for name in ["staying", "leaving"] {
        let session = cx.session(&stage.account).await?;
        let peer = cx.connect(name, token, Scope::Session(&session.id)).await?;
        let last = LastEvents::of(cx, &session.id);
        last.send(cx, &peer).await?;
        if name == "staying" {
            effective = last.seen(cx, user, &effective).await;
            if effective.is_empty() {
                return Err(Stop::Blocked {
                    parent: &message::REACHES,
                    reason: "nothing that a session's connection sends takes effect".into(),
                });
            }
            continue;
        }
        peer.socket.close().await;
        let seen = last.seen(cx, user, &effective).await;
        let lost = effective.iter().filter(|place| !seen.contains(place));
        let lost: Vec<_> = lost.map(|&place| last.sent[place].0).collect();
        let expected = "the effect of everything that was sent before the transport was closed";
        cx.check(
            &LAST_EVENTS,
            lost.is_empty(),
            expected,
            format!("none of {}", words::list(lost.iter())),
        );
    }
    Ok(())
}
