//! Faults that answer an HTTP request otherwise than its route.

use std::sync::Arc;
use std::time::Duration;

use axum::http::{Method, StatusCode, Uri};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use touchstone_reference_server::seams::{Account, HttpAnswer, HttpRequest, Seams, Server, Wait};

use crate::liberties::after;
use crate::{Fault, Faults};

/// The fault, the right status, the wrong one.
const STATUSES: &[(Fault, StatusCode, StatusCode)] = &[
    (
        Fault::BadBody500,
        StatusCode::BAD_REQUEST,
        StatusCode::INTERNAL_SERVER_ERROR,
    ),
    (
        Fault::MachineTaken500,
        StatusCode::CONFLICT,
        StatusCode::INTERNAL_SERVER_ERROR,
    ),
];

/// How long an upgrade takes with the fault `upgrade-slow`.
const UPGRADE: Duration = Duration::from_secs(3);

/// Whether a request opens a WebSocket for a connection that polls.
fn is_upgrade(request: &HttpRequest<'_>) -> bool {
    let query = request.uri.query().unwrap_or_default();
    request.is_socket && query.contains("transport=websocket") && query.contains("sid=")
}

/// What HTTP requests are answered.
#[derive(Debug)]
pub(crate) struct Http(pub(crate) Faults);

impl Seams for Http {
    fn request(&self, _server: &Server, request: &HttpRequest<'_>) -> Option<HttpAnswer> {
        let faults = &self.0;
        if is_upgrade(request) && faults.on(Fault::UpgradeRefused) {
            return Some(HttpAnswer {
                status: StatusCode::BAD_REQUEST,
                body: None,
            });
        }
        if let Some(token) = request.token
            && !request.is_socket
        {
            let count = faults.memory().count_request(token);
            if faults.strikes_at(Fault::HttpUnavailable, count) {
                return Some(HttpAnswer {
                    status: StatusCode::SERVICE_UNAVAILABLE,
                    body: Some(json!({ "error": "Service Unavailable" })),
                });
            }
        }
        let is_json = request.content_type == Some("application/json");
        if request.method == Method::DELETE && is_json && faults.on(Fault::DeleteNeedsBody) {
            let message = "Body cannot be empty when content-type is set to 'application/json'";
            return Some(HttpAnswer {
                status: StatusCode::BAD_REQUEST,
                body: Some(
                    json!({ "error": "Bad Request", "message": message, "statusCode": 400 }),
                ),
            });
        }
        let path = request.uri.path();
        if path.starts_with("/v1/kv/") && path.contains('%') && faults.on(Fault::KvKeyEncoded) {
            return Some(HttpAnswer {
                status: StatusCode::NOT_FOUND,
                body: Some(json!({ "error": "Key not found" })),
            });
        }
        let is_archive = path.ends_with("/archive");
        let is_refused = is_archive && faults.strikes(Fault::ArchiveLimited);
        is_refused.then(|| HttpAnswer {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            body: Some(json!({ "error": "Too many requests" })),
        })
    }

    fn before_request(&self, _server: &Server, request: &HttpRequest<'_>) -> Option<Wait> {
        let is_slow = is_upgrade(request) && self.0.on(Fault::UpgradeSlow);
        is_slow.then(|| after(UPGRADE))
    }

    fn redirect(&self, request: &HttpRequest<'_>) -> Option<Uri> {
        let faults = &self.0;
        let path = request.uri.path();
        if path == "/v2/sessions" && faults.on(Fault::ChangedSinceIgnored) {
            return changed(request.uri, |key, _| (key != "changedSince").then_some(0));
        }
        if path == "/v1/kv" && request.method == Method::GET && faults.on(Fault::KvPrefixShort) {
            let shorter = request.uri.to_string();
            return shorter[..shorter.len().checked_sub(1)?].parse().ok();
        }
        if path.starts_with("/v3/sessions/") && faults.on(Fault::MessagePageRepeats) {
            return changed(request.uri, |key, value| {
                Some(match (key, value.parse()) {
                    ("after_seq", Ok(1..)) => -1,
                    ("before_seq", Ok(0_i64..)) => 1,
                    _ => 0,
                })
            });
        }
        None
    }

    fn caller(
        &self,
        server: &Server,
        request: &HttpRequest<'_>,
        right: Option<Arc<Account>>,
    ) -> Option<Arc<Account>> {
        let faults = &self.0;
        let path = request.uri.path();
        if faults.on(Fault::MessagesForeign) && path.ends_with("/messages") {
            let id = path.split('/').rev().nth(1).unwrap_or_default();
            let mut all = server.accounts().into_iter();
            if let Some(owner) = all.find(|account| account.session(id).is_some()) {
                return Some(owner);
            }
        }
        if request.token.is_some_and(|token| faults.is_used_up(token)) {
            return None;
        }
        let unchecked = || {
            faults
                .on(Fault::TokenUnchecked)
                .then(|| faults.new_account(server))
        };
        right.or_else(unchecked)
    }

    fn body(
        &self,
        server: &Server,
        request: &HttpRequest<'_>,
        body: &mut Value,
    ) -> Option<HttpAnswer> {
        let faults = &self.0;
        match request.uri.path() {
            "/v1/auth" if faults.on(Fault::SignatureUnchecked) => {
                let key = STANDARD.decode(body["publicKey"].as_str()?).ok()?;
                let account = server.sign_in(key.try_into().ok()?);
                Some(ok(json!({ "success": true, "token": account.token() })))
            }
            "/v1/sessions" => {
                if let Some(metadata) = body["metadata"].as_str()
                    && faults.on(Fault::RestValuesTrimmed)
                {
                    body["metadata"] = metadata.trim().into();
                }
                let tag = body["tag"].as_str()?.to_owned();
                if faults.on(Fault::TagIgnored) {
                    body["tag"] = format!("{tag} {}", faults.memory().new_number()).into();
                }
                let account = server.account_of_token(request.token?)?;
                let owner = faults.owner(Fault::TagsShared, &tag, account.id())?;
                let mut all = server.accounts().into_iter();
                let other = all.find(|other| other.id() == owner && other.id() != account.id())?;
                let mut session = json!(other.look(|rows| rows.tagged(&tag))?);
                session["lastMessage"] = Value::Null;
                Some(ok(json!({ "session": session })))
            }
            "/v1/kv/bulk" if faults.on(Fault::KvBulkNulls) => {
                let account = server.account_of_token(request.token?)?;
                let keys = body["keys"].as_array()?.iter().filter_map(Value::as_str);
                let values: Vec<Value> = account.look(|rows| {
                    let shown = |key| match rows.kv(key).map(|entry| (&entry.value, entry.version))
                    {
                        Some((Some(value), version)) => {
                            json!({ "key": key, "value": value, "version": version })
                        }
                        _ => json!({ "key": key, "value": null, "version": -1 }),
                    };
                    keys.map(shown).collect()
                });
                Some(ok(json!({ "values": values })))
            }
            "/v1/kv" => {
                let account = server.account_of_token(request.token?)?;
                let keys = body["mutations"].as_array()?.iter();
                let mut keys = keys.filter_map(|mutation| mutation["key"].as_str());
                let is_foreign = keys.any(|key| {
                    let owner = faults.owner(Fault::KvKeysShared, key, account.id());
                    owner.is_some_and(|owner| owner != account.id())
                });
                is_foreign.then(|| HttpAnswer {
                    status: StatusCode::CONFLICT,
                    body: Some(json!({ "error": "Key belongs to another account" })),
                })
            }
            _ => None,
        }
    }

    fn response(&self, server: &Server, request: &HttpRequest<'_>, answer: &mut HttpAnswer) {
        let faults = &self.0;
        if request.is_socket && answer.status.is_client_error() && faults.on(Fault::UnknownSidOk) {
            answer.status = StatusCode::OK;
        }
        for (fault, right, wrong) in STATUSES {
            if faults.on(*fault) && answer.status == *right {
                answer.status = *wrong;
            }
        }
        let (path, is_get) = (request.uri.path(), request.method == Method::GET);
        let is_missing = answer.status == StatusCode::NOT_FOUND;
        let Some(body) = &mut answer.body else {
            return;
        };
        if is_missing {
            if body["error"] == "Not found" && faults.on(Fault::UnknownRouteOk) {
                answer.status = StatusCode::OK;
            }
            if path.starts_with("/v1/machines/") && is_get && faults.on(Fault::MachineUnknownOk) {
                *answer = ok(json!({ "machine": null }));
            }
            return;
        }
        if body["error"] == "version-mismatch" || body["errors"].is_array() {
            mismatch(faults, body);
        }
        if answer.status == StatusCode::OK {
            success(faults, server, path, is_get, body);
        }
    }
}

/// Adds to the numbers of a query what `add` says, and drops the parts for which it says nothing.
fn changed(uri: &Uri, add: impl Fn(&str, &str) -> Option<i64>) -> Option<Uri> {
    let query = uri.query()?;
    let parts: Vec<String> = query
        .split('&')
        .filter_map(|part| {
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            let added = add(key, value)?;
            Some(match value.parse::<i64>() {
                Ok(number) if added != 0 => format!("{key}={}", number + added),
                _ => part.to_owned(),
            })
        })
        .collect();
    format!("{}?{}", uri.path(), parts.join("&")).parse().ok()
}

fn ok(body: Value) -> HttpAnswer {
    HttpAnswer {
        status: StatusCode::OK,
        body: Some(body),
    }
}

fn mismatch(faults: &Faults, body: &mut Value) {
    if !faults.on(Fault::NoMismatchData) {
        return;
    }
    for value in [
        "currentData",
        "currentSettings",
        "currentHeader",
        "currentBody",
    ] {
        remove(body, value);
    }
    for error in each(&mut body["errors"]) {
        remove(error, "value");
    }
}

fn success(faults: &Faults, server: &Server, path: &str, is_get: bool, body: &mut Value) {
    match path {
        "/health" if faults.on(Fault::HealthDown) => body["status"] = "down".into(),
        "/v1/auth" if faults.on(Fault::SignInAnew) => {
            body["token"] = faults.new_account(server).token().into();
        }
        "/v1/auth/request" if faults.on(Fault::PairingTokenless) => remove(body, "token"),
        "/v1/feed" if faults.on(Fault::FeedEmpty) => {
            *body = json!({ "items": [], "hasMore": false });
        }
        "/v1/kv" if !is_get && faults.on(Fault::KvAnswersOld) => {
            for result in each(&mut body["results"]) {
                result["version"] = (result["version"].as_i64().unwrap_or(0) - 1).into();
            }
        }
        "/v1/machines" if !is_get => {
            let id = body["machine"]["id"].as_str().unwrap_or_default();
            if let Some(metadata) = faults.memory().overwritten.get(id) {
                body["machine"]["metadata"] = metadata.clone().into();
                body["machine"]["metadataVersion"] = 1.into();
            }
        }
        "/v1/friends/add"
            if body["user"]["status"] == "requested" && faults.on(Fault::FriendsAtOnce) =>
        {
            body["user"]["status"] = "friend".into();
        }
        "/v1/machines" if is_get && faults.on(Fault::MachineListStateless) => {
            for machine in each(body) {
                machine["daemonState"] = Value::Null;
            }
        }
        "/v1/sessions" if is_get && faults.on(Fault::SessionListStale) => {
            for session in each(&mut body["sessions"]) {
                session["metadataVersion"] = 0.into();
            }
        }
        path if path.starts_with("/v1/sessions/")
            && path.ends_with("/messages")
            && faults.on(Fault::MessagesOldestFirst) =>
        {
            if let Some(messages) = body["messages"].as_array_mut() {
                messages.reverse();
            }
        }
        _ => {}
    }
}

fn remove(fields: &mut Value, key: &str) {
    if let Some(fields) = fields.as_object_mut() {
        fields.shift_remove(key);
    }
}

fn each(list: &mut Value) -> impl Iterator<Item = &mut Value> {
    list.as_array_mut().into_iter().flatten()
}
