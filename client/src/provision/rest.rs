//! Provisioning through the REST surface that real servers of this family have
//! (decisions.md section 7), and a thin JSON request for suites that test that surface.

use std::{io, time::Duration};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use ed25519_dalek::{Signer, SigningKey};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use reqwest::{Client, Method, Response, header::DATE};
use serde_json::{Map, Value, json};
use tokio::time::{Instant, timeout};

use super::{Account, Made, NewMachine, NewSession, ProvisionError};
use crate::{
    ConnectOptions, Secret,
    codec::whole,
    error::excerpt,
    http::{self, BodyError},
    trace::{Exchange, Recorder},
};

/// How long a request may take.
const TIMEOUT: Duration = Duration::from_secs(30);
/// How much of an answer is shown in an error.
const SHOWN: usize = 200;

/// A client of a server's REST surface.
#[derive(Debug, Clone)]
pub struct Rest {
    client: Client,
    /// What errors show.
    base: String,
    /// What requests begin with.
    requested: String,
    max_body: usize,
    recorder: Option<Recorder>,
}

/// A server's answer to a REST request.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The body as JSON; a string where it is no JSON, `null` where it is empty.
    pub body: Value,
    /// The header `Date`.
    pub date: Option<String>,
}

/// The body of an answer that has no end, see [`Rest::stream`].
#[derive(Debug)]
pub struct Chunks {
    response: Response,
}

impl Chunks {
    /// The next piece, as it came; nothing at the end. Cancel safe.
    ///
    /// # Errors
    /// The connection broke.
    pub async fn next(&mut self) -> io::Result<Option<Bytes>> {
        let chunk = self.response.chunk().await;
        chunk.map_err(|error| io::Error::other(http::root_cause(&error)))
    }
}

impl Rest {
    /// A client for the server of `options`, with their headers, roots and source address.
    ///
    /// # Errors
    /// The options cannot be used for HTTP.
    pub fn new(options: &ConnectOptions) -> Result<Self, ProvisionError> {
        crate::net::address_of(options).map_err(ProvisionError::Setup)?;
        let client = http::client(options).map_err(ProvisionError::Setup)?;
        Ok(Self {
            client,
            requested: http::requested(options, &options.base()),
            base: options.base(),
            max_body: options.max_message,
            recorder: None,
        })
    }

    /// The same client, whose exchanges are noted by `recorder`.
    pub fn recorded(&self, recorder: &Recorder) -> Self {
        Self {
            recorder: Some(recorder.clone()),
            ..self.clone()
        }
    }

    /// Sends a request and returns the answer, whatever its status. `path` begins with a slash.
    ///
    /// # Errors
    /// [`ProvisionError::NoAnswer`] only.
    pub async fn request(
        &self,
        method: &str,
        path: &str,
        token: Option<&Secret>,
        body: Option<&Value>,
    ) -> Result<Answer, ProvisionError> {
        let url = format!("{}{path}", self.base);
        let no_answer = |reason: String| ProvisionError::NoAnswer {
            method: method.to_owned(),
            url: url.clone(),
            reason,
        };
        let verb = Method::from_bytes(method.as_bytes()).map_err(|e| no_answer(e.to_string()))?;
        let mut request = self
            .client
            .request(verb, format!("{}{path}", self.requested));
        if let Some(token) = token {
            request = request.bearer_auth(token.expose());
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let started = Instant::now();
        let answered = timeout(TIMEOUT, async {
            let response = request
                .send()
                .await
                .map_err(|e| no_answer(http::root_cause(&e)))?;
            let status = response.status().as_u16();
            let date = response.headers().get(DATE);
            let date = date.and_then(|date| date.to_str().ok()).map(str::to_owned);
            let body = http::body(response, self.max_body).await.map_err(|error| {
                no_answer(match error {
                    BodyError::TooLarge(size) => format!("a body of {size} bytes is too large"),
                    BodyError::Broken(reason) => reason,
                })
            })?;
            Ok(Answer {
                status,
                body: json_or_text(&body),
                date,
            })
        });
        let answered = answered
            .await
            .map_err(|_| no_answer(format!("nothing within {TIMEOUT:?}")))
            .flatten();
        if let Some(recorder) = &self.recorder {
            let answer = answered.as_ref().ok();
            // One moment for both: else it would seem to have begun later than it did.
            let ended = Instant::now();
            let took = ended - started;
            let exchange = Exchange {
                method: method.to_owned(),
                url: path.to_owned(),
                status: answer.map(|answer| answer.status),
                request: body.cloned(),
                response: answer.map(|answer| answer.body.clone()),
                ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
                us: u64::try_from(took.as_micros()).ok(),
            };
            recorder.http_at(ended, token, exchange);
        }
        answered
    }

    /// Sends a GET whose answer has no end, such as server-sent events, and returns when its head is
    /// here.
    ///
    /// # Errors
    /// No answer, or another status than 200.
    pub async fn stream(
        &self,
        path: &str,
        token: Option<&Secret>,
    ) -> Result<Chunks, ProvisionError> {
        let url = format!("{}{path}", self.base);
        let no_answer = |reason: String| ProvisionError::NoAnswer {
            method: "GET".to_owned(),
            url: url.clone(),
            reason,
        };
        let mut request = self.client.get(format!("{}{path}", self.requested));
        if let Some(token) = token {
            request = request.bearer_auth(token.expose());
        }
        let answered = timeout(TIMEOUT, request.send()).await;
        let response = answered
            .map_err(|_| no_answer(format!("nothing within {TIMEOUT:?}")))?
            .map_err(|error| no_answer(http::root_cause(&error)))?;
        match response.status().as_u16() {
            200 => Ok(Chunks { response }),
            404 | 501 => Err(ProvisionError::Unsupported {
                what: format!("GET {path}"),
                reason: format!("{} answered HTTP {}", self.base, response.status().as_u16()),
            }),
            status => Err(ProvisionError::Http {
                method: "GET".to_owned(),
                url,
                status,
                body: String::new(),
            }),
        }
    }

    /// Signs in with the Ed25519 key that `seed` gives, which makes the account on first use.
    ///
    /// # Errors
    /// See [`ProvisionError`].
    pub async fn account(&self, seed: [u8; 32]) -> Result<Account, ProvisionError> {
        let mut random = StdRng::from_seed(seed);
        let key = SigningKey::from_bytes(&random.random());
        let challenge: [u8; 32] = random.random();
        let body = json!({
            "publicKey": BASE64_STANDARD.encode(key.verifying_key()),
            "challenge": BASE64_STANDARD.encode(challenge),
            "signature": BASE64_STANDARD.encode(key.sign(&challenge).to_bytes()),
        });
        let answer = self.make("/v1/auth", None, &body).await?;
        let token = self.text("/v1/auth", &answer, "/token", "a token")?;
        Ok(Account {
            token: token.into(),
            id: None,
        })
    }

    /// Makes a session, or finds the one with the same tag.
    ///
    /// # Errors
    /// See [`ProvisionError`].
    pub async fn session(
        &self,
        account: &Account,
        new: &NewSession,
    ) -> Result<Made, ProvisionError> {
        let mut body = json!({"tag": new.tag, "metadata": new.metadata});
        set(&mut body, "agentState", new.agent_state.as_ref());
        set(
            &mut body,
            "dataEncryptionKey",
            new.data_encryption_key.as_ref(),
        );
        self.made("/v1/sessions", account, &body, "session", "session.id")
            .await
    }

    /// Makes a machine, or finds the one with the same id.
    ///
    /// # Errors
    /// See [`ProvisionError`].
    pub async fn machine(
        &self,
        account: &Account,
        new: &NewMachine,
    ) -> Result<Made, ProvisionError> {
        let mut body = json!({"id": new.id, "metadata": new.metadata});
        set(&mut body, "daemonState", new.daemon_state.as_ref());
        set(
            &mut body,
            "dataEncryptionKey",
            new.data_encryption_key.as_ref(),
        );
        self.made("/v1/machines", account, &body, "machine", "machine.id")
            .await
    }

    /// Stores an access key for a session and a machine.
    ///
    /// # Errors
    /// See [`ProvisionError`].
    pub async fn access_key(
        &self,
        account: &Account,
        session: &str,
        machine: &str,
        data: &str,
    ) -> Result<String, ProvisionError> {
        let path = format!("/v1/access-keys/{}/{}", escaped(session), escaped(machine));
        self.make(&path, Some(&account.token), &json!({"data": data}))
            .await?;
        Ok(data.to_owned())
    }

    async fn made(
        &self,
        path: &str,
        account: &Account,
        body: &Value,
        key: &str,
        missing: &'static str,
    ) -> Result<Made, ProvisionError> {
        let mut answer = self.make(path, Some(&account.token), body).await?;
        let id = self.text(path, &answer, &format!("/{key}/id"), missing)?;
        Ok(Made {
            id,
            record: answer[key].take(),
        })
    }

    /// A POST that must succeed.
    async fn make(
        &self,
        path: &str,
        token: Option<&Secret>,
        body: &Value,
    ) -> Result<Value, ProvisionError> {
        let answer = self.request("POST", path, token, Some(body)).await?;
        if (200..300).contains(&answer.status) {
            return Ok(answer.body);
        }
        let shown = excerpt(&answer.body.to_string(), SHOWN);
        if is_missing_route(&answer) {
            let shown = match &answer.body {
                Value::Null => String::new(),
                _ => format!(": {shown}"),
            };
            return Err(ProvisionError::Unsupported {
                what: format!("POST {path}"),
                reason: format!("{} answered HTTP {}{shown}", self.base, answer.status),
            });
        }
        Err(ProvisionError::Http {
            method: "POST".to_owned(),
            url: format!("{}{path}", self.base),
            status: answer.status,
            body: shown,
        })
    }

    fn text(
        &self,
        path: &str,
        body: &Value,
        pointer: &str,
        missing: &'static str,
    ) -> Result<String, ProvisionError> {
        let found = body
            .pointer(pointer)
            .and_then(Value::as_str)
            .map(str::to_owned);
        found.ok_or_else(|| ProvisionError::Unexpected {
            method: "POST".to_owned(),
            url: format!("{}{path}", self.base),
            missing,
            body: excerpt(&keys_only(body).to_string(), SHOWN),
        })
    }
}

/// A route that is there also answers 404, about the session or machine that was named
/// (decisions.md section 5, access-key-get); a missing one does not know these.
fn is_missing_route(answer: &Answer) -> bool {
    let error = answer.body["error"].as_str().unwrap_or_default();
    matches!(answer.status, 404 | 501) && !error.contains("Session") && !error.contains("Machine")
}

fn json_or_text(body: &[u8]) -> Value {
    if body.is_empty() {
        return Value::Null;
    }
    let Ok(mut value) = serde_json::from_slice(body) else {
        return Value::String(String::from_utf8_lossy(body).into_owned());
    };
    whole(&mut value);
    value
}

/// An unexpected answer may hold a token under another key, so only its shape is shown.
fn keys_only(body: &Value) -> Value {
    match body {
        Value::Object(map) => map
            .keys()
            .map(|key| (key.clone(), json!("…")))
            .collect::<Map<_, _>>()
            .into(),
        other => other.clone(),
    }
}

fn set(body: &mut Value, key: &str, value: Option<&String>) {
    if let Some(value) = value {
        body[key] = json!(value);
    }
}

/// An id as one segment of a path, whatever it holds.
fn escaped(segment: &str) -> String {
    let mut escaped = String::with_capacity(segment.len());
    for byte in segment.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}
