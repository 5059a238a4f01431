//! `POST /v1/sessions`: the session of a tag, made and announced at first sight.

use std::collections::HashMap;

use super::{Context, Outcome};
use crate::announce::{Event, Update};
use crate::builders::SessionRow;
use crate::router::RecipientFilter;
use crate::store::{Cell, Change, Session};

pub(crate) struct Create {
    pub(crate) tag: String,
    pub(crate) metadata: String,
    pub(crate) agent_state: Option<String>,
    pub(crate) key: Option<String>,
}

pub(crate) fn decide(cx: &Context<'_>, asked: Create) -> Outcome<SessionRow> {
    if let Some(known) = cx.rows.tagged(&asked.tag) {
        return Outcome::of(known);
    }
    let agent_state = asked.agent_state.filter(|_| cx.policy().state_at_creation);
    let session = Session {
        id: cx.new_id(),
        tag: asked.tag,
        metadata: Cell::new(Some(asked.metadata), cx.policy().first_versions_above),
        agent_state: cx.new_cell(agent_state),
        data_encryption_key: asked.key,
        active: true,
        ended: false,
        active_at: cx.now,
        created_at: cx.now,
        updated_at: cx.now,
        messages: Vec::new(),
        local_ids: HashMap::new(),
    };
    let row = session.row();
    let told = Update::NewSession(row.clone());
    Outcome::of(row)
        .change(Change::SessionCreated(Box::new(session)))
        .event(Event::update(told, RecipientFilter::UserScopedOnly))
}
