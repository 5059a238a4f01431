//! `message`, and `POST /v3/sessions/:id/messages`: stores messages and sends each to everyone
//! interested but its sender. A localId that the session knows is stored and sent once.

use std::collections::HashMap;

use serde_json::json;

use super::session_update::{NO_SESSION, WRONG_FIELDS};
use super::{Call, Context, Outcome};
use crate::announce::{Event, Update};
use crate::builders::MessageRow;
use crate::router::{ConnectionId, RecipientFilter, Routed as _};
use crate::seams::Reply;
use crate::store::Change;

/// A message that is to be stored.
pub(crate) struct Post<'a> {
    pub(crate) text: &'a str,
    pub(crate) local_id: Option<String>,
}

pub(super) fn on_event(cx: &Context<'_>, call: &Call<'_>) -> Outcome<Reply> {
    let (Some(id), Some(text)) = (call.data.text("sid"), call.data.text("message")) else {
        return Outcome::of(Reply::Ignored(WRONG_FIELDS));
    };
    let local_id = call.data.text("localId").map(str::to_owned);
    let outcome = decide(
        cx,
        id,
        vec![Post { text, local_id }],
        Some(call.connection.id()),
    );
    let is_known = outcome.effects.changes.is_empty();
    outcome.map(|rows| match rows {
        None => Reply::Ignored(NO_SESSION),
        Some(_) if is_known => Reply::Ignored("a message with this localId is there already"),
        Some(_) => Reply::Nothing,
    })
}

/// The rows of the messages, each once, in their order; `None` if the account has no such session.
pub(crate) fn decide(
    cx: &Context<'_>,
    session_id: &str,
    batch: Vec<Post<'_>>,
    sender: Option<ConnectionId>,
) -> Outcome<Option<Vec<MessageRow>>> {
    let Some(session) = cx.rows.sessions.get(session_id) else {
        return Outcome::of(None);
    };
    let seams = cx.config.seams.as_ref();
    let mut outcome = Outcome::of(());
    let (mut rows, mut new) = (Vec::<MessageRow>::new(), HashMap::new());
    let mut last = session.messages.len() as u64;
    for Post { text, local_id } in batch {
        let content = json!({ "t": "encrypted", "c": text });
        let known = |id: &String| session.known(id).or_else(|| new.get(id)).cloned();
        let mut known = local_id.as_ref().and_then(known);
        if let Some(seams) = seams {
            let local_id = local_id.as_deref();
            known = seams.known_message(cx.rows, session_id, local_id, &content, known);
        }
        if let Some(known) = known {
            if rows.iter().all(|row| row.id != known.id) {
                rows.push(known);
            }
            continue;
        }
        last += 1;
        let message = MessageRow {
            id: cx.new_id(),
            seq: seams.map_or(last, |seams| seams.message_seq(cx.rows, session_id, last)),
            content,
            local_id,
            created_at: cx.now,
            updated_at: cx.now,
        };
        if let Some(id) = &message.local_id {
            new.insert(id.clone(), message.clone());
        }
        rows.push(message.clone());
        let session_id = session_id.to_owned();
        let filter = RecipientFilter::AllInterestedInSession {
            session_id: session_id.clone(),
        };
        let change = Change::MessagePosted {
            session: session_id.clone(),
            message: message.clone(),
        };
        let told = Update::NewMessage {
            session_id,
            message,
        };
        outcome = outcome.change(change).event(Event {
            skip: sender,
            ..Event::update(told, filter)
        });
    }
    outcome.map(|()| Some(rows))
}
