//! Requests and what was answered: those of Engine.IO's transports, and all others.

use std::collections::VecDeque;

use serde_json::Value;
use tokio::time::Instant;
use touchstone_client::codec::payload;
use touchstone_client::trace::Exchange;
use touchstone_client::{Frame, Secret};

use super::{content, secrets};
use crate::engine::Engine;
use crate::scan::{Request, Response};

/// The exchanges of a connection.
#[derive(Debug, Default)]
pub(super) struct Exchanges {
    waiting: VecDeque<(Instant, Request)>,
}

/// What a request means at once.
pub(super) enum Meaning {
    /// Packets for this Engine.IO session.
    Posted(String, Vec<Frame>),
    /// What comes of it shows with the answer.
    Open,
}

/// What an answer means.
pub(super) enum Answer {
    Nothing,
    /// Packets of this Engine.IO session, or of a new one.
    Polled(Option<String>, Vec<Frame>),
    /// The connection is a WebSocket now, of this session or of a new one, with these extensions.
    Switched(Option<String>, Option<String>),
    Exchange(Option<Secret>, Exchange),
}

impl Exchanges {
    pub(super) fn ask(&mut self, at: Instant, request: Request) -> Meaning {
        let posted = Engine::of(&request.target)
            .filter(|engine| engine.is_polling && request.method == "POST")
            .and_then(|engine| {
                let frames = payload::decode(&content::text(&request.content)?).ok()?;
                Some(Meaning::Posted(engine.sid?, frames))
            });
        self.waiting.push_back((at, request));
        posted.unwrap_or(Meaning::Open)
    }

    pub(super) fn answer(&mut self, at: Instant, response: &Response) -> Answer {
        // Requests whose answers nobody saw are left behind.
        while let Some((began, request)) = self.waiting.pop_front() {
            if request.number < response.number {
                continue;
            }
            if request.number > response.number {
                self.waiting.push_front((began, request));
                break;
            }
            return meaning(at, began, &request, response);
        }
        Answer::Nothing
    }

    /// What was asked and never answered, when the connection ends at `at`.
    pub(super) fn unanswered(
        self,
        at: Instant,
    ) -> impl Iterator<Item = (Option<Secret>, Exchange)> {
        self.waiting
            .into_iter()
            .filter(|(_, request)| Engine::of(&request.target).is_none())
            .map(move |(began, request)| exchange(at, began, &request, None))
    }
}

fn meaning(at: Instant, began: Instant, request: &Request, response: &Response) -> Answer {
    let told = || {
        let (token, exchange) = exchange(at, began, request, Some(response));
        Answer::Exchange(token, exchange)
    };
    let Some(engine) = Engine::of(&request.target) else {
        return told();
    };
    match (response.status, engine.is_polling, request.method.as_str()) {
        (101, false, _) => Answer::Switched(engine.sid, response.extensions.clone()),
        (200, true, "POST" | "OPTIONS") => Answer::Nothing,
        (200 | 204, true, "GET") => {
            let text = content::text(&response.content).unwrap_or_default();
            match payload::decode(&text) {
                Ok(frames) => Answer::Polled(engine.sid, frames),
                Err(_) => told(),
            }
        }
        // A refusal shows its reason.
        _ => told(),
    }
}

/// The exchange without anything that is secret.
fn exchange(
    at: Instant,
    began: Instant,
    request: &Request,
    response: Option<&Response>,
) -> (Option<Secret>, Exchange) {
    let took = at.saturating_duration_since(began);
    let body = |content| {
        let text = content::text(content).filter(|text| !text.is_empty())?;
        let Ok(mut body) = serde_json::from_str(&text) else {
            return Some(Value::String(secrets::hidden_text(&request.target, text)));
        };
        secrets::hide_in_body(&request.target, &mut body);
        Some(body)
    };
    let exchange = Exchange {
        method: request.method.clone(),
        url: secrets::hidden_in_target(&request.target),
        status: response.map(|response| response.status),
        request: body(&request.content),
        response: response.and_then(|response| body(&response.content)),
        ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        us: u64::try_from(took.as_micros()).ok(),
    };
    (request.token.clone(), exchange)
}
