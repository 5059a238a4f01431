//! Faults that change what is understood of an event, or keep it from being handled.

use serde_json::value::RawValue;
use serde_json::{Map, Value};
use touchstone_reference_server::seams::{Call, Flow, Routed as _, Scope, Seams, Server};

use crate::{Fault, Faults, calls};

/// Fields that hold what a client wants kept as it is.
const KEPT: &[&str] = &["metadata", "agentState", "daemonState", "message"];

/// Every field that some event knows.
const KNOWN: &[&str] = &[
    "sid",
    "metadata",
    "agentState",
    "daemonState",
    "expectedVersion",
    "message",
    "localId",
    "time",
    "thinking",
    "machineId",
    "sessionId",
    "artifactId",
    "id",
    "header",
    "body",
    "dataEncryptionKey",
    "key",
    "tokens",
    "cost",
    "method",
    "params",
];

/// The length, in characters, that the fault `values-short` cuts values to.
const SHORT: usize = 64 * 1024;

/// Puts what the faults that are on understand in the place of an event's data.
fn rewrite(faults: &Faults, fields: &mut Map<String, Value>) {
    if faults.on(Fault::ExtraRefused) && fields.keys().any(|key| !KNOWN.contains(&key.as_str())) {
        fields.clear();
    }
    for key in KEPT {
        let Some(Value::String(text)) = fields.get_mut(*key) else {
            continue;
        };
        if faults.on(Fault::ValuesTrimmed) {
            *text = text.trim().to_owned();
        }
        if faults.on(Fault::ValuesNulCut) {
            text.retain(|letter| letter != '\0');
        }
        if faults.on(Fault::ValuesAscii) {
            *text = text
                .chars()
                .map(|c| if c.is_ascii() { c } else { '?' })
                .collect();
        }
        if faults.on(Fault::ValuesShort) && text.len() > SHORT {
            *text = text.chars().take(SHORT).collect();
        }
    }
}

/// How many bytes of data are too many for the fault `large-ignored`.
const LARGE: usize = 700_000;
/// How many lists within each other are too many for the fault `deep-kills`.
const DEEP: usize = 400;

/// Events that are never acknowledged, or that need no callback to make sense.
const UNACKNOWLEDGED: &[&str] = &[
    "rpc-register",
    "rpc-unregister",
    "rpc-call",
    "message",
    "ping",
    "session-alive",
    "session-end",
    "machine-alive",
];

/// Every event that the server handles, besides those.
const ACKNOWLEDGED: &[&str] = &[
    "access-key-get",
    "artifact-read",
    "artifact-update",
    "artifact-create",
    "artifact-delete",
    "machine-update-metadata",
    "machine-update-state",
    "update-metadata",
    "update-state",
    "usage-report",
];

/// What comes in.
#[derive(Debug)]
pub(crate) struct Calls(pub(crate) Faults);

impl Seams for Calls {
    fn call(&self, server: &Server, call: &mut Call<'_>) -> Flow {
        let faults = &self.0;
        let is_first = faults.memory().count_event(call.connection.id());
        if faults.memory().is_deaf {
            return Flow::Ignore;
        }
        let sent = faults.memory().events(call.connection.id());
        if faults.on(Fault::ConnectionDropped) && sent == faults.argument(Fault::ConnectionDropped)
        {
            call.connection.end();
            return Flow::Ignore;
        }
        assert!(
            !faults.on(Fault::HandlerFails),
            "the fault handler-fails is on"
        );
        if faults.on(Fault::LateHandlers) && faults.memory().admitted.lately(call.connection) {
            return Flow::Ignore;
        }
        if is_ignored(faults, server, call, is_first) {
            return Flow::Ignore;
        }
        faults.records().call(faults, call);
        if call.event == "rpc-register" {
            calls::register(faults, call.data);
        }
        calls::version(faults, call.data);
        if faults.on(Fault::SurrogateEnds)
            && call.raw.is_some_and(|raw| raw.get().contains(r"\ud83da"))
        {
            for connection in call.account.connections() {
                connection.end();
            }
        }
        rewrite(faults, call.data);
        heartbeat(faults, server, call);
        if faults.on(Fault::ForeignRows) {
            let id = |field: &str| {
                call.data
                    .get(field)
                    .and_then(Value::as_str)
                    .unwrap_or_default()
            };
            let owner = server.accounts().into_iter().find(|account| {
                account.look(|rows| {
                    rows.session(id("sid")).is_some()
                        || rows.session(id("sessionId")).is_some()
                        || rows.machine(id("machineId")).is_some()
                        || rows.artifact(id("artifactId")).is_some()
                })
            });
            if let Some(owner) = owner {
                *call.account = owner;
            }
        }
        match call.event {
            "usage-report" if faults.on(Fault::UsageTotalOptional) => {
                for figures in ["tokens", "cost"] {
                    if let Some(Value::Object(figures)) = call.data.get_mut(figures) {
                        figures.entry("total").or_insert_with(|| 0.into());
                    }
                }
            }
            "update-state" if faults.on(Fault::NullState) => {
                call.data
                    .retain(|key, value| key != "agentState" || !value.is_null());
            }
            "usage-report" if faults.on(Fault::UsageKeysFolded) => {
                if let Some(Value::String(key)) = call.data.get_mut("key") {
                    *key = key.to_lowercase();
                }
            }
            "message" => message(faults, call.data),
            "rpc-register" if faults.on(Fault::RpcNamesPlain) => {
                call.data
                    .retain(|key, value| key != "method" || value.as_str().is_some_and(is_plain));
            }
            _ => {}
        }
        Flow::Handle
    }
}

fn is_ignored(faults: &Faults, server: &Server, call: &Call<'_>, is_first: bool) -> bool {
    let raw = call.raw.map(RawValue::get);
    let (connection, event) = (call.connection, call.event);
    let is_acknowledged = ACKNOWLEDGED.contains(&event);
    if !is_acknowledged && !UNACKNOWLEDGED.contains(&event) {
        if faults.on(Fault::UnknownEnds) {
            connection.end();
        }
        return false;
    }
    if raw.is_some_and(|raw| !raw.starts_with('{')) && faults.on(Fault::MalformedEnds) {
        connection.end();
        return true;
    }
    if raw.is_some_and(|raw| raw.matches('[').count() > DEEP) {
        if faults.on(Fault::DeepKills) {
            server.end();
        }
        faults.memory().is_deaf |= faults.on(Fault::DeepDeafens);
    }
    is_first && event == "rpc-register" && faults.on(Fault::EarlyLost)
        || raw.is_some_and(|raw| raw.len() > LARGE) && faults.on(Fault::LargeIgnored)
        || faults.on(Fault::UnknownIdDropped) && !is_known(call)
        || call.ack.is_none() && is_acknowledged && faults.on(Fault::CallbackRequired)
        || call.ack.is_none() && event == "rpc-call" && faults.on(Fault::RpcCallbackRequired)
        || raw.is_some() && event == "ping" && faults.on(Fault::PingDataless)
        || event == "machine-alive" && faults.on(Fault::HeartbeatIgnored)
}

/// Gives a heartbeat another time.
fn heartbeat(faults: &Faults, server: &Server, call: &mut Call<'_>) {
    if !["session-alive", "session-end", "machine-alive"].contains(&call.event) {
        return;
    }
    let (Some(time), now) = (call.data.get("time").and_then(Value::as_f64), server.now()) else {
        return;
    };
    let timeout = i64::try_from(server.config().presence_timeout.as_millis()).unwrap_or(i64::MAX);
    #[expect(clippy::cast_precision_loss, reason = "times stay far below 2^53")]
    let is_old = time < now.saturating_sub(timeout) as f64;
    if is_old && faults.on(Fault::StaleHeartbeat) {
        call.data
            .insert("time".to_owned(), (now - timeout / 2).into());
    }
}

fn message(faults: &Faults, data: &mut Map<String, Value>) {
    if faults.on(Fault::MessageContentless) && data.get("message").is_none_or(Value::is_null) {
        data.insert("message".to_owned(), "".into());
    }
    if let Some(Value::Number(number)) = data.get("localId")
        && faults.on(Fault::DedupeNumber)
    {
        let text = number.to_string();
        data.insert("localId".to_owned(), text.into());
    }
}

/// Whether a name consists of letters, digits and punctuation that some language allows in names.
fn is_plain(method: &str) -> bool {
    let mut letters = method.chars();
    letters.all(|letter| letter.is_ascii_alphanumeric() || "_.:-".contains(letter))
}

/// Whether the account has the session or machine that a connection is there for.
fn is_known(call: &Call<'_>) -> bool {
    let account = &*call.account;
    match call.connection.scope() {
        Scope::User => true,
        Scope::Session(id) => account.session(id).is_some(),
        Scope::Machine(id) => account.machine(id).is_some(),
    }
}
