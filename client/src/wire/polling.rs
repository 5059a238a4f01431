//! The long-polling transport: packets in the bodies of GET and POST.
//!
//! One GET hangs until the server has something; meanwhile one POST at a time carries what is to
//! be sent. Both are futures that the connection's task polls, so there is no task besides it.

use std::{
    collections::VecDeque,
    task::{Context, Poll, ready},
};

use futures_util::future::{BoxFuture, FutureExt};
use reqwest::{Client, header::CONTENT_TYPE};

use super::StageCell;
use crate::{
    codec::{DecodeError, Frame, Problem, payload},
    error::{ConnectError, End, Stage, excerpt, shown_body},
    handshake::Handshake,
    http::{self, BodyError},
    options::ConnectOptions,
};

/// How many frames may wait for the next POST before senders have to.
const OUTBOX: usize = 256;
/// How much of an error's body is shown.
const SHOWN: usize = 512;

pub(super) struct Polling {
    http: Http,
    inbox: VecDeque<Frame>,
    outbox: VecDeque<Frame>,
    get: Option<BoxFuture<'static, Result<Vec<Frame>, End>>>,
    post: Option<BoxFuture<'static, Result<(), End>>>,
    /// No new requests: another transport is about to take over.
    paused: bool,
    said_goodbye: bool,
    /// The largest POST body that the server accepts.
    max_payload: usize,
}

#[derive(Clone)]
struct Http {
    client: Client,
    /// What errors show.
    url: String,
    /// What is asked for, with what the user wants in each query.
    target: String,
    max_message: usize,
}

/// Makes the first poll, whose answer holds the Engine.IO handshake.
pub(super) async fn open(
    options: &ConnectOptions,
    stage: &StageCell,
) -> Result<Polling, ConnectError> {
    crate::net::address_of(options)?;
    stage.enter(Stage::Upgrading);
    let url = options.endpoint("EIO=4&transport=polling");
    let http = Http {
        client: http::client(options)?,
        target: http::requested(options, &url) + &options.extra_query(),
        url,
        max_message: options.max_message,
    };
    let url = &http.url;
    let response = http.client.get(&http.target).send().await;
    let response = response.map_err(|error| http::connect_error(options, url, &error))?;
    let status = response.status();
    if !status.is_success() {
        let body = http.shown_body(response).await;
        return Err(ConnectError::Http {
            url: url.clone(),
            status: status.as_u16(),
            body,
        });
    }
    stage.enter(Stage::EngineHandshake);
    let frames = http.frames(response).await.map_err(|end| match end {
        End::ParseError { packet, source } => ConnectError::NotEngineIo {
            url: url.clone(),
            reason: format!("its answer {packet:?} is no payload: {source}"),
        },
        end => ConnectError::Ended(end),
    })?;
    Ok(Polling {
        http,
        inbox: frames.into(),
        outbox: VecDeque::new(),
        get: None,
        post: None,
        paused: false,
        said_goodbye: false,
        max_payload: usize::MAX,
    })
}

impl Http {
    async fn poll(self) -> Result<Vec<Frame>, End> {
        let response = self
            .client
            .get(&self.target)
            .send()
            .await
            .map_err(|e| failed("poll", &e))?;
        let response = self.accepted("poll", response).await?;
        self.frames(response).await
    }

    async fn post(self, body: String) -> Result<(), End> {
        let request = self
            .client
            .post(&self.target)
            .header(CONTENT_TYPE, "text/plain;charset=UTF-8");
        let response = request
            .body(body)
            .send()
            .await
            .map_err(|e| failed("POST", &e))?;
        let response = self.accepted("POST", response).await?;
        // The answer says nothing, but reading it lets the connection be used again.
        http::body(response, self.max_message)
            .await
            .map(|_| ())
            .map_err(|e| self.broken(e))
    }

    async fn accepted(
        &self,
        what: &str,
        response: reqwest::Response,
    ) -> Result<reqwest::Response, End> {
        let status = response.status().as_u16();
        if response.status().is_success() {
            return Ok(response);
        }
        let body = shown_body(&self.shown_body(response).await);
        Err(End::TransportError {
            reason: format!("{what} answered HTTP {status}{body}"),
        })
    }

    async fn frames(&self, response: reqwest::Response) -> Result<Vec<Frame>, End> {
        let body = http::body(response, self.max_message)
            .await
            .map_err(|e| self.broken(e))?;
        let text = String::from_utf8(body).map_err(|error| {
            let at = error.utf8_error().valid_up_to();
            let shown = String::from_utf8_lossy(error.as_bytes()).into_owned();
            parse_error(
                &shown,
                DecodeError {
                    at,
                    problem: Problem::Utf8,
                },
            )
        })?;
        payload::decode(&text).map_err(|source| parse_error(&text, source))
    }

    async fn shown_body(&self, response: reqwest::Response) -> String {
        let body = http::body(response, self.max_message)
            .await
            .unwrap_or_default();
        excerpt(&String::from_utf8_lossy(&body), SHOWN)
    }

    fn broken(&self, error: BodyError) -> End {
        match error {
            BodyError::TooLarge(size) => End::TooLarge {
                size,
                limit: self.max_message,
            },
            BodyError::Broken(reason) => End::TransportError { reason },
        }
    }
}

fn failed(what: &str, error: &reqwest::Error) -> End {
    End::TransportError {
        reason: format!("{what} failed: {}", http::root_cause(error)),
    }
}

fn parse_error(text: &str, source: DecodeError) -> End {
    End::ParseError {
        packet: excerpt(text, 120),
        source,
    }
}

impl Polling {
    /// From now on requests name the session, and bodies respect the server's limit.
    pub(super) fn handshaken(&mut self, handshake: &Handshake) {
        self.http.target = format!("{}&sid={}", self.http.target, handshake.sid);
        let limit = handshake.max_payload.unwrap_or(u64::MAX);
        self.max_payload = usize::try_from(limit).unwrap_or(usize::MAX);
    }

    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Frame, End>> {
        loop {
            if let Some(frame) = self.inbox.pop_front() {
                return Poll::Ready(Ok(frame));
            }
            if self.paused && self.get.is_none() {
                return Poll::Pending;
            }
            let http = &self.http;
            let get = self.get.get_or_insert_with(|| http.clone().poll().boxed());
            let polled = ready!(get.poll_unpin(cx));
            self.get = None;
            self.inbox.extend(polled?);
        }
    }

    pub(super) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), End>> {
        if self.paused {
            return Poll::Pending;
        }
        if self.outbox.len() >= OUTBOX {
            return self.poll_flush(cx);
        }
        Poll::Ready(Ok(()))
    }

    pub(super) fn start_send(&mut self, frame: Frame) {
        self.outbox.push_back(frame);
    }

    /// Ready when no POST is under way and, unless paused, none is due.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), End>> {
        loop {
            if let Some(post) = &mut self.post {
                let posted = ready!(post.poll_unpin(cx));
                self.post = None;
                posted?;
            }
            if self.paused || self.outbox.is_empty() {
                return Poll::Ready(Ok(()));
            }
            let body = self.next_body();
            self.post = Some(self.http.clone().post(body).boxed());
        }
    }

    /// As many waiting frames as the server accepts in one body, but at least one: a frame that
    /// is too large by itself is the sender's wish.
    fn next_body(&mut self) -> String {
        let mut size = 0;
        let mut count = 0;
        for frame in &self.outbox {
            size += payload::encoded_len(frame);
            if count > 0 && size > self.max_payload {
                break;
            }
            count += 1;
        }
        let frames: Vec<Frame> = self.outbox.drain(..count).collect();
        payload::encode(&frames)
    }

    /// A failure to say goodbye is no news: the connection is over either way.
    pub(super) fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.said_goodbye {
            self.said_goodbye = true;
            self.paused = false;
            self.outbox.push_back(Frame::text("1"));
        }
        self.poll_flush(cx).map(|_| ())
    }

    /// Starts no more requests.
    pub(super) fn pause(&mut self) {
        self.paused = true;
    }

    /// Whether, after [`pause`](Self::pause), the last request is answered and everything it
    /// brought has been taken by [`poll_next`](Self::poll_next).
    pub(super) fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), End>> {
        ready!(self.poll_flush(cx))?;
        if self.get.is_none() && self.inbox.is_empty() {
            return Poll::Ready(Ok(()));
        }
        Poll::Pending
    }

    /// What had not been sent when polling was paused.
    pub(super) fn take_outbox(&mut self) -> VecDeque<Frame> {
        std::mem::take(&mut self.outbox)
    }
}
