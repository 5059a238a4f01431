//! What the creation and the deletion of a session announce.

use super::cast::{CAST, SCOPED};
use serde_json::{Value, json};
use touchstone_harness::{
    case::{Flow, case_table},
    ctx::Ctx,
    ledger::requirement_table,
    stage::{Delivery, Role, Stage, Wanted},
};

requirement_table! {
    CREATED = "session.created", Must, Decision,
        "A new session is announced to the user-scoped connections, once.";
    CREATED_BODY = "new-session.body", Must, Specification,
        "The body of new-session has the fields of the event, with the stored values.";
    CREATED_KEYS = "new-session.keys", Should, Decision,
        "The body of new-session names the session `id`.";
    CREATED_NARROW = "session.created-narrow", Should, Decision,
        "Creation and deletion of a session do not reach session- and machine-scoped connections.";
    SAME_TAG = "session.same-tag", Should, Decision,
        "Creating a session with a tag that exists answers the existing one unchanged and announces \
         nothing.";
    AGENT_STATE = "session.created-with-agent-state", Info, Decision,
        "An agentState given at creation may be ignored.";
    AGENT_STATE_KEPT = "session.agent-state-at-creation", Should, Decision,
        "An agentState given at creation is either ignored or stored as it was given.";
    DELETED = "session.deleted", Must, Decision,
        "The deletion of a session is announced to the user-scoped connections, once.";
    DELETED_KEYS = "delete-session.keys", Should, Decision,
        "The body of delete-session names the session `sid`.";
}

case_table! {
    /// Creates a session over HTTP while connections of every kind listen, then creates it again.
    ///
    /// Accepted is one `new-session` for user-scoped connections with the values that were given, none for
    /// others, and none for the second request, which answers the same session. Typical cause of a failure:
    /// the second request for the tag announces the session again, or the announcement goes to all
    /// connections of the account.
    "session.create" needs [Rest] judges [
        CREATED, CREATED_BODY, CREATED_KEYS, CREATED_NARROW, SAME_TAG
    ] => create;

    /// Creates a session with an agentState.
    ///
    /// Accepted is that the answer repeats it, or has null where it was ignored. Clients decrypt what the
    /// answer holds. Typical cause of a failure: the answer is built from the request while the row was
    /// written without the state.
    "session.create-with-agent-state" needs [Rest] judges [AGENT_STATE, AGENT_STATE_KEPT]
        => create_with_state;

    /// Deletes a session over HTTP while connections of every kind listen.
    ///
    /// Accepted is one `delete-session` for user-scoped connections, and none for others. Typical cause of
    /// a failure: the route deletes the row and does not know the event router, or the connections are
    /// looked up after the session's own ones were removed.
    "session.delete" needs [DeleteSession] judges [DELETED, DELETED_KEYS, CREATED_NARROW] => delete;
}

async fn create(cx: &mut Ctx) -> Flow {
    let cast = [
        Role::U1,
        Role::U2,
        Role::S1,
        Role::S2,
        Role::M1,
        Role::M2,
        Role::V1,
        Role::VS,
        Role::VM,
    ];
    let stage = Stage::set(cx, &cast).await?;
    let (tag, metadata) = (cx.marker("tag"), cx.marker("metadata"));
    let request = json!({"tag": tag, "metadata": metadata});
    let created = cx
        .rest(&CREATED, &stage.account, "POST", "/v1/sessions", &request)
        .await?;
    let spares = [(&SCOPED[..], &CREATED_NARROW)];
    let update = Delivery {
        wanted: Wanted::update("new-session", &metadata),
        reaches: &[Role::U1, Role::U2],
        by: &CREATED,
        spares: &spares,
    };
    let seen = stage.observe(cx, &[update]).await?;
    let body = &seen[0].data["body"];
    cx.schema(&CREATED_BODY, &CREATED_KEYS, "update/new-session", body)?;
    for key in ["metadata", "metadataVersion", "agentStateVersion", "active"] {
        cx.equal(&CREATED_BODY, key, &created["session"][key], &body[key]);
    }
    let again = json!({"tag": tag, "metadata": cx.marker("other")});
    let repeated = cx
        .rest(&SAME_TAG, &stage.account, "POST", "/v1/sessions", &again)
        .await?;
    for key in ["id", "metadata"] {
        let (first, second) = (&created["session"][key], &repeated["session"][key]);
        cx.equal(&SAME_TAG, key, first, second);
    }
    let id = created["session"]["id"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    stage.prove_silence(cx).await?;
    let announced = Wanted::update("new-session", id);
    let mut envelopes: Vec<_> = stage
        .peer(Role::U2)
        .all(|arrival| announced.matches(arrival))
        .iter()
        .map(|arrival| arrival.envelope_id().map(ToOwned::to_owned))
        .collect();
    envelopes.dedup();
    let count = envelopes.len();
    cx.check(
        &SAME_TAG,
        count <= 1,
        "no second new-session",
        format!("{count} in all"),
    );
    Ok(())
}

async fn create_with_state(cx: &mut Ctx) -> Flow {
    let account = cx.account().await?;
    let state = cx.marker("state");
    let request =
        json!({"tag": cx.marker("tag"), "metadata": cx.marker("metadata"), "agentState": state});
    let created = cx
        .rest(
            &AGENT_STATE_KEPT,
            &account,
            "POST",
            "/v1/sessions",
            &request,
        )
        .await?;
    let session = &created["session"];
    let ignored = session["agentState"].is_null();
    if ignored {
        cx.held(&AGENT_STATE_KEPT);
    } else {
        cx.equal(
            &AGENT_STATE_KEPT,
            "agentState",
            &json!(state),
            &session["agentState"],
        );
    }
    let told = if ignored { "ignored" } else { "stored" };
    cx.fact("session.agent-state-at-creation", told);
    cx.held(&AGENT_STATE);
    Ok(())
}

async fn delete(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &CAST).await?;
    let doomed = cx.session(&stage.account).await?;
    let path = format!("/v1/sessions/{}", doomed.id);
    cx.rest(&DELETED, &stage.account, "DELETE", &path, &Value::Null)
        .await?;
    let spares = [(&SCOPED[..], &CREATED_NARROW)];
    let update = Delivery {
        wanted: Wanted::update("delete-session", &doomed.id),
        reaches: &[Role::U1, Role::U2],
        by: &DELETED,
        spares: &spares,
    };
    let seen = stage.observe(cx, &[update]).await?;
    let body = &seen[0].data["body"];
    cx.schema(&DELETED, &DELETED_KEYS, "update/delete-session", body)?;
    Ok(())
}
