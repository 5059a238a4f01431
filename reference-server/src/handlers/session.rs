//! `sessionUpdateHandler`: metadata and state of sessions, their presence, and messages.

use serde_json::{Value, json};

use super::{Answer, Call, cas};
use crate::builders;
use crate::faults::Fault;
use crate::presence::heartbeat_time;
use crate::router::{ConnectionId, RecipientFilter, Routed as _, Scope};
use crate::store::{Account, AccountState, Posted};

use crate::app::App;

/// Why events are refused or ignored, for the log.
const WRONG_FIELDS: &str = "a field is missing or of a wrong type";
const NO_SESSION: &str = "the account has no session of this id";
const NO_TIME: &str = "sid or time is missing, of a wrong type, or too old";

/// The error answer of this handler's events; the interface gives it no message.
pub(super) fn error() -> Value {
    json!({ "result": "error" })
}

/// `update-metadata`.
pub(super) fn update_metadata(call: &Call<'_>) -> Answer {
    let value = call.data.text("metadata").map(|text| Some(text.to_owned()));
    change(call, "metadata", value)
}

/// `update-state`: null clears the state.
pub(super) fn update_state(call: &Call<'_>) -> Answer {
    let value = match call.data.get("agentState") {
        Some(Value::Null) => Some(None),
        _ => call
            .data
            .text("agentState")
            .map(|text| Some(text.to_owned())),
    };
    change(call, "agentState", value)
}

fn change(call: &Call<'_>, field: &str, value: Option<Option<String>>) -> Answer {
    let (Some(id), Some(value), Some(expected)) = (
        call.data.text("sid"),
        value,
        call.data.number("expectedVersion"),
    ) else {
        return Answer::Refused(error(), WRONG_FIELDS);
    };
    let faults = call.faults();
    let mut state = call.account().lock();
    let Some(session) = state.sessions.get_mut(id) else {
        return if faults.on(Fault::UnknownSilent) {
            Answer::Never
        } else {
            Answer::Refused(error(), NO_SESSION)
        };
    };
    let is_metadata = field == "metadata";
    let (cell, other) = if is_metadata {
        (&mut session.metadata, &mut session.agent_state)
    } else {
        (&mut session.agent_state, &mut session.metadata)
    };
    let change = cas::change(cell, field, value, expected, faults);
    if let Some(part) = change.written {
        session.updated_at = call.app.now();
        if faults.on(Fault::VersionsShared) {
            other.raise();
        }
        let filter = RecipientFilter::AllInterestedInSession {
            session_id: id.to_owned(),
        };
        call.app.update(
            call.account(),
            &mut state,
            filter,
            call.skipped(),
            |stamp| {
                let (metadata, agent_state) = if is_metadata {
                    (Some(&part), None)
                } else {
                    (None, Some(&part))
                };
                builders::update_session(id, metadata, agent_state, stamp)
            },
        );
    }
    Answer::Now(change.answer)
}

/// `session-alive`: a heartbeat. One that is missing its time, too old, or of an ended session is
/// ignored.
///
/// A session that was ended or archived stays so: nothing in the interface reopens it, posting its
/// tag again answers it unchanged, and clients start a new session with a new tag. Heartbeats that
/// were under way when it ended must not bring it back.
pub(super) fn alive(call: &Call<'_>) -> Answer {
    let now = call.app.now();
    let faults = call.faults();
    let timeout = call.app.config.presence_timeout;
    let time = heartbeat_time(call.data.number("time"), now, timeout, faults);
    let (Some(id), Some(time)) = (call.data.text("sid"), time) else {
        return Answer::Ignored(NO_TIME);
    };
    let thinking = is_truthy(call.data.get("thinking"));
    let mut state = call.account().lock();
    let Some(session) = state.sessions.get_mut(id) else {
        return Answer::Ignored(NO_SESSION);
    };
    if session.ended && !faults.on(Fault::ReviveEnded) {
        return Answer::Ignored("the session has ended");
    }
    session.active = true;
    session.active_at = time;
    let payload = builders::session_activity(id, true, time, Some(thinking));
    call.app.ephemeral(call.account(), &state, payload);
    Answer::Never
}

/// `session-end`: the session is inactive from now on.
pub(super) fn end(call: &Call<'_>) -> Answer {
    let timeout = call.app.config.presence_timeout;
    let time = heartbeat_time(
        call.data.number("time"),
        call.app.now(),
        timeout,
        call.faults(),
    );
    let (Some(id), Some(time)) = (call.data.text("sid"), time) else {
        return Answer::Ignored(NO_TIME);
    };
    let (account, rows) = (call.account(), &mut call.account().lock());
    if end_session(call.app, account, rows, id, time) {
        Answer::Never
    } else {
        Answer::Ignored(NO_SESSION)
    }
}

/// Ends a session and announces it; false if the account has none of this id.
pub(crate) fn end_session(
    app: &App,
    account: &Account,
    state: &mut AccountState,
    id: &str,
    time: i64,
) -> bool {
    let Some(session) = state.sessions.get_mut(id) else {
        return false;
    };
    session.active = false;
    session.ended = true;
    session.active_at = time;
    app.ephemeral(
        account,
        state,
        builders::session_activity(id, false, time, None),
    );
    true
}

/// `message`: stores a message and sends it to everyone interested but its sender.
pub(super) fn message(call: &Call<'_>) -> Answer {
    let (Some(id), Some(text)) = (call.data.text("sid"), call.data.text("message")) else {
        return Answer::Ignored(WRONG_FIELDS);
    };
    let local_id = call.data.text("localId").map(str::to_owned);
    let mut state = call.account().lock();
    let sender = (!call.faults().on(Fault::EchoToSender)).then(|| call.connection.id());
    let posted = post_message(
        call.app,
        call.account(),
        &mut state,
        id,
        text,
        local_id,
        sender,
    );
    match posted {
        None => Answer::Ignored(NO_SESSION),
        Some(Posted::Known(_)) => Answer::Ignored("a message with this localId is there already"),
        Some(Posted::New(_)) => Answer::Never,
    }
}

/// Stores a message and sends it, unless one with its localId is there already. `None` if the
/// account has no such session.
pub(crate) fn post_message(
    app: &App,
    account: &Account,
    state: &mut AccountState,
    session_id: &str,
    text: &str,
    local_id: Option<String>,
    skip: Option<ConnectionId>,
) -> Option<Posted> {
    let faults = app.faults();
    if faults.on(Fault::DedupeWide) && is_known_anywhere(state, session_id, local_id.as_deref()) {
        return None;
    }
    if faults.any() && is_dropped(app, account, state, local_id.as_deref()) {
        return None;
    }
    let session = state.sessions.get_mut(session_id)?;
    let content = json!({ "t": "encrypted", "c": text });
    let posted = session.post(
        content,
        local_id,
        &app.config.clock,
        &app.config.ids,
        faults,
    );
    if faults.on(Fault::DedupeSeq) && matches!(posted, Posted::Known(_)) {
        state.next_seq(faults);
        return Some(posted);
    }
    if let Posted::New(index) = posted {
        if faults.on(Fault::MessageSeqAccount) {
            number_by_account(state, session_id, index);
        }
        let session = state.sessions.get(session_id)?;
        let message = session.messages[index].clone();
        let mut filter = RecipientFilter::AllInterestedInSession {
            session_id: session_id.to_owned(),
        };
        let from_session = skip
            .and_then(|id| state.registry.get(id))
            .is_some_and(|sender| matches!(sender.scope(), Scope::Session(id) if id == session_id));
        if faults.on(Fault::SkipSession) && from_session {
            filter = RecipientFilter::UserScopedOnly;
        }
        app.update(account, state, filter, skip, |stamp| {
            builders::new_message(&message, session_id, stamp)
        });
    }
    Some(posted)
}

/// How many connections must have left for the fault `leavers-silence`.
const LEAVERS: u64 = 5;
/// How many events of one connection are too many for the fault `flood-silence`.
const FLOOD: u64 = 1_000;
/// How many bytes of messages are too many for the fault `buffer-full`.
const BUFFER: usize = 5_000_000;

/// Whether a fault drops a message, whatever it says.
fn is_dropped(app: &App, account: &Account, state: &AccountState, local_id: Option<&str>) -> bool {
    let faults = app.faults();
    let stored = || {
        let messages = state
            .sessions
            .values()
            .flat_map(|session| &session.messages);
        let sizes = messages.map(|message| message.content["c"].as_str().map_or(0, str::len));
        sizes.sum::<usize>()
    };
    let owner = local_id.and_then(|id| faults.owner(Fault::LocalIdsShared, id, account.id()));
    owner.is_some_and(|owner| owner != account.id())
        || faults.on(Fault::LeaversSilence) && state.methods.leavers() >= LEAVERS
        || faults.on(Fault::FloodSilence)
            && state.registry.iter().any(|other| other.events() > FLOOD)
        || faults.on(Fault::BufferFull) && stored() > BUFFER
}

/// Gives a message the number that it has among those of all sessions.
fn number_by_account(state: &mut AccountState, session_id: &str, index: usize) {
    let count: usize = state
        .sessions
        .values()
        .map(|session| session.messages.len())
        .sum();
    if let Some(session) = state.sessions.get_mut(session_id) {
        session.messages[index].seq = count as u64;
    }
}

fn is_known_anywhere(state: &AccountState, session_id: &str, local_id: Option<&str>) -> bool {
    local_id.is_some()
        && state.sessions.values().any(|session| {
            session.id != session_id
                && session
                    .messages
                    .iter()
                    .any(|message| message.local_id.as_deref() == local_id)
        })
}

/// Whether JavaScript, in which the clients are written, would take a value for true.
fn is_truthy(value: Option<&Value>) -> bool {
    match value {
        None | Some(Value::Null | Value::Bool(false)) => false,
        Some(Value::Number(number)) => number.as_f64().is_some_and(|number| number != 0.0),
        Some(Value::String(text)) => !text.is_empty(),
        Some(_) => true,
    }
}
