//! Sessions over HTTP: made once, listed as they are now, archived, deleted.

use crate::{presence, session};
use futures_util::future::join_all;
use serde_json::{Value, json};
use touchstone_client::provision::rest::Answer;

use super::{different, find, status, told};
use crate::cast::{CAST, SCOPED, USERS};
use crate::session_life;
use touchstone_harness::{
    case::{Flow, Stop, case_table},
    ctx::Ctx,
    ledger::requirement_table,
    stage::{Delivery, Role, Stage, Wanted},
};

requirement_table! {
    TAG_RACE = "rest.session.same-tag-race", Should, Decision,
        "Requests for a new tag that come at the same time make one session and one new-session.";
    ANNOUNCED_STATE = "rest.session.announced-state", Should, Decision,
        "new-session tells the agent state and the key that the session was made with.";
    ECHO = "rest.session.echo", Should, Decision,
        "What was stored is answered exactly, since clients decrypt it.";
    LISTED = "rest.session.listed", Should, Decision,
        "GET /v1/sessions lists a session with its present values and versions.";
    ACTIVE = "rest.session.active-list", Should, Decision,
        "GET /v2/sessions/active lists the sessions that are active, and no ended one.";
    PAGES = "rest.session.pages", Should, Decision,
        "The pages of GET /v2/sessions hold every session once, and end.";
    CHANGED_SINCE = "rest.session.changed-since", Should, Decision,
        "changedSince leaves out sessions that were last changed before it.";
    DELETED_GONE = "rest.session.deleted-gone", Should, Decision,
        "A deleted session is not listed any more, cannot be deleted again, and is unknown to the socket.";
    DELETE_TYPED = "rest.delete-with-content-type", Should, Decision,
        "A DELETE that announces JSON and has no body is carried out like any other.";
    ARCHIVED = "rest.session.archived", Should, Decision,
        "Archiving a session announces to user-scoped connections that it is not active.";
    NO_REVIVAL = "rest.session.archived-stays", Should, Decision,
        "A heartbeat never brings an archived session back.";
}

case_table! {
    /// Twenty requests with one new tag at the same time.
    ///
    /// Accepted is one id in all answers, and one `new-session`. Typical cause of a failure: looking for
    /// the tag and making the session are two steps.
    "rest.session.same-tag-race" needs [Rest] judges [TAG_RACE] => tag_race;

    /// Makes a session with an agent state, a key, and metadata in many scripts, while others listen.
    ///
    /// Accepted is that the answer and `new-session` hold just these values. Typical cause of a failure:
    /// the agent state is not stored at creation, or texts are normalised or cut by a column.
    "rest.session.values" needs [Rest] judges [ECHO, ANNOUNCED_STATE] => values;

    /// Changes a session over the socket, then lists sessions.
    ///
    /// Accepted is the changed value with its version. Typical cause of a failure: the list comes from a
    /// cache, or from another row than the one that socket events change.
    "rest.session.list" needs [Rest] judges [LISTED] => list;

    /// Makes five sessions and reads them two at a time; ends one, and reads the active ones.
    ///
    /// Accepted is each of them once over all pages, with `hasNext` false on the last, and a list of active
    /// ones without the one that ended. Typical cause of a failure: pages are cut by offset while rows move
    /// in the order, or the page is full and `hasNext` is therefore true.
    "rest.session.pages" needs [Rest, SessionPages] judges [PAGES, ACTIVE, CHANGED_SINCE] => pages;

    /// Deletes a session, then lists, deletes it again, and changes it over the socket. Makes another one with
    /// the tag of a deleted one.
    ///
    /// Accepted is that it is gone everywhere, and that the other one is new. Typical cause of a failure: the
    /// row is only marked, and not every read and write looks at the mark; or socket handlers keep a cache of
    /// sessions.
    "rest.session.deleted" needs [Rest, DeleteSession] judges [DELETED_GONE] => deleted;

    /// Deletes two sessions, one of them with the header `Content-Type: application/json` and without a body.
    ///
    /// Accepted is success for both: HTTP clients of browsers and phones set the header for every request.
    /// Typical cause of a failure: a framework that parses the body of each request which announces JSON.
    "rest.delete-with-content-type" needs [Rest, DeleteSession] judges [DELETE_TYPED] => delete_typed;

    /// Archives a session, then sends heartbeats for it.
    ///
    /// Accepted is one `activity` with `active: false` for user-scoped connections, and silence after the
    /// heartbeats: those that were under way when it ended must not bring it back. Typical cause of a
    /// failure: a heartbeat sets the session active again without a look at whether it was archived.
    "rest.session.archive" needs [Rest, Archive] judges [ARCHIVED, NO_REVIVAL, presence::NARROW] => archive;
}

async fn tag_race(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &[Role::U1, Role::U2]).await?;
    let metadata = cx.marker("metadata");
    let request = json!({"tag": cx.marker("tag"), "metadata": metadata});
    let requests = (0..20).map(|_| cx.rest_any(&stage.account, "POST", "/v1/sessions", &request));
    let mut ids = std::collections::BTreeSet::new();
    let mut failed = Vec::new();
    for answer in join_all(requests).await {
        let answer = answer?;
        match answer.body["session"]["id"].as_str() {
            Some(id) if answer.status < 300 => {
                ids.insert(id.to_owned());
            }
            _ => failed.push(told(&answer)),
        }
    }
    let expected = "20 answers with one id";
    cx.check(&TAG_RACE, failed.is_empty(), expected, failed.join("; "));
    cx.check(
        &TAG_RACE,
        ids.len() == 1,
        expected,
        format!("{} ids", ids.len()),
    );
    let wanted = Wanted::update("new-session", &metadata);
    let update = Delivery {
        wanted: wanted.clone(),
        reaches: &USERS,
        by: &session_life::CREATED,
        spares: &[],
    };
    stage.observe(cx, &[update]).await?;
    let count = different(&stage, Role::U2, &wanted);
    cx.check(
        &TAG_RACE,
        count == 1,
        "one new-session",
        format!("{count} of them"),
    );
    Ok(())
}

async fn values(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &CAST).await?;
    let metadata = format!(
        "{} \u{4e16}\u{754c} \u{1F980} \"quoted\" \\ \n",
        cx.marker("metadata")
    );
    let marker = metadata.split(' ').next().unwrap_or_default().to_owned();
    let sent = json!({
        "tag": cx.marker("tag"),
        "metadata": metadata,
        "agentState": cx.marker("state"),
        "dataEncryptionKey": "AAECAwQFBgcICQoLDA0ODw==",
    });
    let made = cx
        .rest(&ECHO, &stage.account, "POST", "/v1/sessions", &sent)
        .await?;
    let update = Delivery {
        wanted: Wanted::update("new-session", marker),
        reaches: &USERS,
        by: &session_life::CREATED,
        spares: &[(&SCOPED, &session_life::CREATED_NARROW)],
    };
    let seen = stage.observe(cx, &[update]).await?;
    let body = &seen[0].data["body"];
    for key in ["metadata", "dataEncryptionKey"] {
        cx.equal(&ECHO, key, &sent[key], &made["session"][key]);
    }
    cx.equal(&ECHO, "metadata", &sent["metadata"], &body["metadata"]);
    // Some servers ignore the state at creation, which session.created-with-agent-state notes; the
    // announcement has to agree with the answer in any case.
    for key in ["agentState", "agentStateVersion", "dataEncryptionKey"] {
        cx.equal(&ANNOUNCED_STATE, key, &made["session"][key], &body[key]);
    }
    Ok(())
}

async fn list(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &[Role::U1]).await?;
    let value = json!(cx.marker("changed"));
    let version = session::METADATA
        .write(cx, stage.peer(Role::U1), &stage.s1.id, &value)
        .await?;
    let listed = cx
        .rest(&LISTED, &stage.account, "GET", "/v1/sessions", &Value::Null)
        .await?;
    let Some(row) = find(&listed["sessions"], "id", &stage.s1.id) else {
        cx.broken(&LISTED, format!("session {}", stage.s1.id), listed);
        return Ok(());
    };
    cx.equal(&LISTED, "metadata", &value, &row["metadata"]);
    cx.equal(
        &LISTED,
        "metadataVersion",
        &json!(version),
        &row["metadataVersion"],
    );
    Ok(())
}

/// Reads all sessions, `limit` on a page: the last page says that it is, also when it is full.
async fn page_through(cx: &mut Ctx, stage: &Stage, limit: usize, expected: &[String]) -> Flow {
    let mut seen = Vec::new();
    let first = format!("/v2/sessions?limit={limit}");
    let mut path = first.clone();
    // Five sessions are three pages at most; a server whose pages never end is stopped at ten.
    for _ in 0..10 {
        let page = cx
            .rest(&PAGES, &stage.account, "GET", &path, &Value::Null)
            .await?;
        let rows = page["sessions"].as_array().cloned().unwrap_or_default();
        let fits = rows.len() <= limit;
        let told = format!("{} of them", rows.len());
        cx.check(&PAGES, fits, format!("{limit} sessions on a page"), told);
        let ids = rows.iter().filter_map(|row| row["id"].as_str());
        seen.extend(ids.map(str::to_owned));
        let more = page["hasNext"] == true;
        let left = seen.len() < expected.len();
        let known = seen.len();
        let told = format!(
            "hasNext {left} after {known} of {} sessions",
            expected.len()
        );
        cx.check(
            &PAGES,
            more == left,
            told,
            format!("hasNext {}", page["hasNext"]),
        );
        match page["nextCursor"].as_str().filter(|_| more) {
            Some(cursor) => path = format!("{first}&cursor={cursor}"),
            None => break,
        }
    }
    seen.sort();
    cx.check(&PAGES, seen == expected, json!(expected), json!(seen));
    Ok(())
}

async fn pages(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &[Role::U1]).await?;
    let mut expected = vec![stage.s1.id.clone()];
    for _ in 0..4 {
        expected.push(cx.session(&stage.account).await?.id);
    }
    expected.sort();
    for limit in [2, expected.len()] {
        page_through(cx, &stage, limit, &expected).await?;
    }

    let ended = stage.s1.id.clone();
    let time = cx.recent_time();
    let data = json!({"sid": ended, "time": time});
    cx.emit(stage.peer(Role::U1), "session-end", data).await?;
    // It has no answer, and other events may be handled before it: what it announces shows that it is done.
    let end = Delivery {
        wanted: Wanted::ephemeral("activity", &ended),
        reaches: &[Role::U1],
        by: &presence::ENDED,
        spares: &[],
    };
    stage.observe(cx, &[end]).await?;
    let path = "/v2/sessions/active";
    let active = cx
        .rest(&ACTIVE, &stage.account, "GET", path, &Value::Null)
        .await?;
    let rows = &active["sessions"];
    let told = "the sessions without the one that ended";
    let others = rows
        .as_array()
        .is_some_and(|rows| rows.len() == expected.len() - 1);
    let held = others && find(rows, "id", &ended).is_none();
    cx.check(&ACTIVE, held, told, &active);

    let path = format!("/v2/sessions?changedSince={}", time + 3_600_000);
    let later = cx
        .rest(&CHANGED_SINCE, &stage.account, "GET", &path, &Value::Null)
        .await?;
    let none = later["sessions"].as_array().is_some_and(Vec::is_empty);
    cx.check(
        &CHANGED_SINCE,
        none,
        "no session that changed in the future",
        &later,
    );
    let path = format!("/v2/sessions?changedSince={}", time - 3_600_000);
    let all = cx
        .rest(&CHANGED_SINCE, &stage.account, "GET", &path, &Value::Null)
        .await?;
    let count = all["sessions"].as_array().map_or(0, Vec::len);
    cx.check(
        &CHANGED_SINCE,
        count == expected.len(),
        "the sessions of this hour",
        &all,
    );
    Ok(())
}

async fn deleted(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &[Role::U1]).await?;
    let doomed = cx.session(&stage.account).await?;
    let path = format!("/v1/sessions/{}", doomed.id);
    cx.rest(
        &session_life::DELETED,
        &stage.account,
        "DELETE",
        &path,
        &Value::Null,
    )
    .await?;
    let listed = cx
        .rest(
            &DELETED_GONE,
            &stage.account,
            "GET",
            "/v1/sessions",
            &Value::Null,
        )
        .await?;
    let gone = find(&listed["sessions"], "id", &doomed.id).is_none();
    cx.check(&DELETED_GONE, gone, "a list without the session", &listed);
    let again = cx
        .rest_any(&stage.account, "DELETE", &path, &Value::Null)
        .await?;
    cx.check(
        &DELETED_GONE,
        again.status == 404,
        "404 for a second deletion",
        told(&again),
    );
    let data = session::METADATA.data(&doomed.id, &json!(cx.marker("ghost")), &json!(0));
    // Whether an unknown session is answered at all is judged by session.unknown.
    if let Ok(answer) = cx
        .ask(stage.peer(Role::U1), "update-metadata", data)
        .await?
    {
        let refused = answer.data["result"] == "error";
        cx.check(
            &DELETED_GONE,
            refused,
            "result error for a change",
            &answer.data,
        );
    }
    let tag = cx.marker("tag");
    let mut body = json!({"tag": tag, "metadata": cx.marker("metadata")});
    let account = &stage.account;
    let path = "/v1/sessions";
    let made = cx
        .rest(&session_life::DELETED, account, "POST", path, &body)
        .await?;
    let doomed = made["session"]["id"].as_str().unwrap_or_default();
    let route = format!("{path}/{doomed}");
    cx.rest(
        &session_life::DELETED,
        account,
        "DELETE",
        &route,
        &Value::Null,
    )
    .await?;
    body["metadata"] = json!(cx.marker("metadata"));
    let made = cx.rest(&DELETED_GONE, account, "POST", path, &body).await?;
    let told = &made["session"]["metadata"];
    let what = "metadata of a new session with the tag of a deleted one";
    cx.equal(&DELETED_GONE, what, &body["metadata"], told);
    Ok(())
}

async fn delete_typed(cx: &mut Ctx) -> Flow {
    let account = cx.account().await?;
    let mut answers = Vec::new();
    for header in [None, Some(("Content-Type", "application/json"))] {
        let session = cx.session(&account).await?;
        let path = format!("/v1/sessions/{}", session.id);
        answers.push(cx.rest_with(header, &account, "DELETE", &path).await?);
    }
    let succeeds = |answer: &Answer| (200..300).contains(&answer.status);
    if !succeeds(&answers[0]) {
        return Err(Stop::Blocked {
            parent: &session_life::DELETED,
            reason: format!("DELETE is answered with {}", told(&answers[0])),
        });
    }
    let expected = format!("{}, as without the header", answers[0].status);
    let actual = told(&answers[1]);
    cx.check(&DELETE_TYPED, succeeds(&answers[1]), expected, actual);
    Ok(())
}

async fn archive(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &CAST).await?;
    let session = cx.session(&stage.account).await?;
    let path = format!("/v1/sessions/{}/archive", session.id);
    cx.rest(&ARCHIVED, &stage.account, "POST", &path, &json!({}))
        .await?;
    let wanted = Wanted::ephemeral("activity", &session.id);
    let activity = Delivery {
        wanted: wanted.clone(),
        reaches: &USERS,
        by: &ARCHIVED,
        spares: &[(&SCOPED, &presence::NARROW)],
    };
    let seen = stage.observe(cx, &[activity]).await?;
    cx.equal(&ARCHIVED, "active", &json!(false), &seen[0].data["active"]);
    let now = cx.shared.clock.unix_ms();
    for time in [now - 2_000, now, now + 2_000] {
        let data = json!({"sid": session.id, "time": time, "thinking": true});
        cx.emit(stage.peer(Role::S1), "session-alive", data).await?;
    }
    let other = cx.session(&stage.account).await?;
    presence::heard(cx, &stage, Role::S1, &other.id, Role::U1).await?;
    stage.prove_silence(cx).await?;
    let revived = stage
        .peer(Role::U1)
        .all(|arrival| wanted.matches(arrival) && arrival.data["active"] == true);
    let told = revived
        .first()
        .map_or_else(String::new, |arrival| arrival.raw.clone());
    cx.check(
        &NO_REVIVAL,
        revived.is_empty(),
        "no activity with active true",
        told,
    );
    let unknown = format!("/v1/sessions/{}/archive", cx.marker("no-such-session"));
    let body = json!({});
    status(
        cx,
        &ARCHIVED,
        &stage.account,
        ("POST", &unknown, &body),
        404,
    )
    .await?;
    Ok(())
}
