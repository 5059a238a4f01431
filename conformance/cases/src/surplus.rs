//! Ids where they do not belong: beside those of a connection's scope, of another account, and of a kind
//! that could match more than one row. And tokens that are nearly right.

use crate::readback::Watched;
use futures_util::{FutureExt as _, future::join_all};
use serde_json::{Value, json};
use touchstone_client::Secret;

use super::{
    admission::{Admission, attempt},
    artifact, handshake, machine,
    own_rows::OwnRows,
    rest, session, usage,
};
use touchstone_harness::{
    case::{Flow, case_table},
    ctx::{Ctx, Scope},
    ledger::requirement_table,
    peer::{Arrival, Peer},
    stage::{Role, Stage, Wanted},
};

requirement_table! {
    SURPLUS_FOREIGN = "handshake.surplus-ids-foreign", Must, Decision,
        "A connection whose handshake names ids of another account, beside those of its scope or as \
         those, receives nothing of that account.";
    SURPLUS_ONCE = "handshake.surplus-ids-once", Must, Decision,
        "A connection whose handshake names more ids than its scope needs receives nothing twice.";
    SURPLUS_HEARD = "handshake.surplus-ids-heard", Should, Decision,
        "A user-scoped connection receives all that concerns its account, whatever ids its handshake \
         names.";
    CONDITIONS = "isolation.ids-as-conditions", Must, Decision,
        "An id that is an object, a list or a pattern never stands for a row of another account.";
}

case_table! {
    /// Connects user-, session- and machine-scoped with a session and a machine id too many, of the same
    /// account and of another one; and with the ids of another account's machine, session and of that account
    /// itself in the place of an id of another kind. Then that account and the other one change sessions and
    /// machines, send messages, heartbeats and usage, and create an artifact.
    ///
    /// A server may refuse such connections. Accepted is that those it admits receive nothing of the other
    /// account, and nothing twice, and that the user-scoped ones receive what any user-scoped one does.
    /// Typical cause of a failure: a connection joins a room for each id that it names, whatever its scope
    /// and whoever owns the id; or rooms of accounts, sessions and machines are named by the bare id.
    "handshake.surplus-ids" judges [SURPLUS_FOREIGN, SURPLUS_ONCE, SURPLUS_HEARD] => surplus_ids;

    /// Sends every event with an object, a list or a pattern in the place of an id, such as
    /// `{"not": ""}`, `{"contains": ""}` and `%`, and connects session- and machine-scoped with such ids, while
    /// another account has rows that they would match.
    ///
    /// Accepted is any error, silence or refusal. Nothing of the other account is answered, announced or
    /// changed. Typical cause of a failure: the id is handed to the database as a condition.
    "isolation.ids-as-conditions" judges [CONDITIONS] => ids_as_conditions;

    /// Connects with tokens that differ from a valid one by a single character: in the middle of each part that
    /// dots divide, at half of its length, near its end, and by the case of a letter; without its last part,
    /// quarter or four characters; and with four characters more.
    ///
    /// Accepted is a refusal each time. Typical cause of a failure: only a part of the token is looked at, its
    /// signature is not checked, or it is looked up in a column that folds case or cuts.
    "handshake.changed-token" judges [
        handshake::INVALID_TOKEN, handshake::TELLS_WHY, handshake::REFUSAL_TEXT
    ] => changed_token;

    /// Asks over HTTP with tokens that differ from a valid one by a single character, or lack their end.
    ///
    /// Accepted is a refusal each time. Typical cause of a failure: the token is decoded without its
    /// signature being verified, or a cache of tokens compares only a part of them.
    "rest.changed-token" needs [Rest] judges [rest::auth::TOKEN_REQUIRED] => changed_rest_token;
}

/// One event of each kind, by what tells it: all that an account may receive.
async fn traffic(cx: &mut Ctx, stage: &Stage) -> Flow<Vec<Wanted>> {
    let peer = stage.peer(Role::U1);
    let (sid, machine) = (stage.s1.id.clone(), stage.m1_id().to_owned());
    let mut caused = Vec::new();
    for (cas, id) in [
        (&session::METADATA, &sid),
        (&session::STATE, &sid),
        (&machine::METADATA, &machine),
        (&machine::STATE, &machine),
    ] {
        let marker = cx.marker("changed");
        cas.write(cx, peer, id, &json!(marker)).await?;
        caused.push(Wanted::update(cas.update, marker));
    }
    let marker = cx.marker("message");
    let data = json!({"sid": sid, "message": marker});
    cx.emit(peer, "message", data).await?;
    caused.push(Wanted::update("new-message", marker));
    let alive = cx.session(&stage.account).await?.id;
    let beat = json!({"sid": alive, "time": cx.recent_time()});
    cx.emit(peer, "session-alive", beat).await?;
    caused.push(Wanted::ephemeral("activity", alive));
    let key = cx.marker("usage");
    let report = usage::usage(&key, Some(&sid), 1);
    cx.emit(peer, "usage-report", report).await?;
    caused.push(Wanted::ephemeral("usage", key));
    let new = artifact::Artifact::new(cx);
    cx.emit(peer, "artifact-create", new.request()).await?;
    caused.push(Wanted::update("new-artifact", new.id));
    // Events without an answer have been handled when another connection of the account has heard of them.
    let (waiting, listener) = (&*cx, stage.peer(Role::U2));
    let arrivals = caused.iter().map(|wanted| async move {
        let heard = |arrival: &Arrival| wanted.matches(arrival);
        waiting.arrival(listener, &wanted.named(), heard).await
    });
    join_all(arrivals).await;
    Ok(caused)
}

/// The id of the stage's account, and the name that a room of its connections often has; none where the
/// server does not tell the id.
async fn account_id(cx: &mut Ctx, stage: &Stage) -> Flow<Option<(String, String)>> {
    let profile = cx
        .rest_any(&stage.account, "GET", "/v1/account/profile", &Value::Null)
        .await?;
    let id = profile.body["id"].as_str().filter(|id| !id.is_empty());
    Ok(id.map(|id| (id.to_owned(), format!("user:{id}"))))
}

async fn surplus_ids(cx: &mut Ctx) -> Flow {
    let own = Stage::set(cx, &[Role::U1, Role::U2, Role::M1]).await?;
    let foreign = Stage::set(cx, &[Role::U1, Role::U2, Role::M1]).await?;
    let token = own.account.token();
    let (s, m) = (own.s1.id.as_str(), own.m1_id());
    let (fs, fm) = (foreign.s1.id.as_str(), foreign.m1_id());
    let (account, its_room) = account_id(cx, &foreign).await?.unwrap_or_default();
    let (fa, room) = (account.as_str(), its_room.as_str());
    let (user, daemon) = (Some(Role::U1), Some(Role::M1));
    let scopes = [
        ("user-own", user, Scope::User, s, m),
        ("user-foreign", user, Scope::User, fs, fm),
        ("user-mixed", user, Scope::User, s, fm),
        // The sentinel of users is a change of the session.
        ("session-own", user, Scope::Session(s), s, m),
        ("session-foreign-machine", user, Scope::Session(s), s, fm),
        ("session-foreign", None, Scope::Session(fs), fs, m),
        ("machine-own", daemon, Scope::Machine(m), s, m),
        ("machine-foreign-session", daemon, Scope::Machine(m), fs, m),
        ("machine-foreign", None, Scope::Machine(fm), s, fm),
        ("session-by-machine", None, Scope::Session(fm), fm, m),
        ("machine-by-session", None, Scope::Machine(fs), s, fs),
        ("session-by-account", None, Scope::Session(fa), fa, m),
        ("machine-by-account", None, Scope::Machine(fa), s, fa),
        ("session-by-room", None, Scope::Session(room), room, m),
    ];
    let mut surplus: Vec<(Peer, Option<Role>)> = Vec::new();
    for (name, hears_as, scope, session, machine) in scopes {
        if session.is_empty() || machine.is_empty() {
            continue;
        }
        let mut auth = scope.auth(token);
        auth["sessionId"] = json!(session);
        auth["machineId"] = json!(machine);
        match attempt(cx, name, Some(auth)).await? {
            Admission::Admitted(peer) => surplus.push((peer, hears_as)),
            refused => cx.note(format!("{name}: {}, which a server may do", refused.told())),
        }
    }
    let caused = [traffic(cx, &own).await?, traffic(cx, &foreign).await?];
    // Twice: what is late for one event has come when the next one of its kind has.
    for stage in [&own, &foreign] {
        stage.prove_silence(cx).await?;
        stage.prove_silence(cx).await?;
    }
    let beside: Vec<_> = surplus.iter().map(|(peer, role)| (peer, *role)).collect();
    own.prove_silence_beside(cx, &beside).await?;
    for (peer, _) in &surplus {
        let received = |wanted: &Wanted| peer.all(|arrival| wanted.matches(arrival));
        let leaked: Vec<_> = caused[1].iter().flat_map(received).collect();
        let shown = leaked
            .first()
            .map_or_else(String::new, |one| one.raw.clone());
        let expected = format!("nothing of the other account for {}", peer.name);
        cx.check(&SURPLUS_FOREIGN, leaked.is_empty(), expected, shown);
        let twice: Vec<_> = caused[0]
            .iter()
            .map(received)
            .filter(|copies| copies.len() > 1)
            .collect();
        let shown = twice.first().map_or_else(String::new, |copies| {
            format!("{} times {}", copies.len(), copies[0].raw)
        });
        let expected = format!("each event at most once for {}", peer.name);
        cx.check(&SURPLUS_ONCE, twice.is_empty(), expected, shown);
        if !peer.name.starts_with("user-") {
            continue;
        }
        // What the other user-scoped connection has received, this one was sent as well.
        let heard = |wanted: &&Wanted| {
            let other = own.peer(Role::U2).all(|arrival| wanted.matches(arrival));
            !other.is_empty()
        };
        let missing: Vec<_> = caused[0]
            .iter()
            .filter(heard)
            .filter(|wanted| received(wanted).is_empty())
            .map(Wanted::named)
            .collect();
        let expected = format!("each event of its account for {}", peer.name);
        let told = format!("no {}", missing.join(", no "));
        cx.check(&SURPLUS_HEARD, missing.is_empty(), expected, told);
    }
    cx.held(&SURPLUS_FOREIGN);
    cx.held(&SURPLUS_ONCE);
    cx.held(&SURPLUS_HEARD);
    Ok(())
}

/// Values that a database or a matcher could take for more than one id.
fn conditions() -> Vec<Value> {
    vec![
        json!({"not": ""}),
        json!({"contains": ""}),
        json!({"startsWith": ""}),
        json!({"$ne": null}),
        json!({"$gt": ""}),
        json!({"$regex": ".*"}),
        json!("%"),
        json!("*"),
        json!(".*"),
        json!("' OR '1'='1"),
    ]
}

async fn ids_as_conditions(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &[Role::U1, Role::S1, Role::M1, Role::V1]).await?;
    let owner = stage.peer(Role::U1);
    let secret = cx.marker("secret");
    let (sid, machine) = (stage.s1.id.clone(), stage.m1_id().to_owned());
    for (cas, id) in [(&session::STATE, &sid), (&machine::STATE, &machine)] {
        cas.write(cx, owner, id, &json!(secret)).await?;
    }
    let mut new = artifact::Artifact::new(cx);
    new.body = artifact::encoded(&secret);
    // Whether artifacts can be made is judged elsewhere; an absent one is no less foreign.
    let made = cx
        .ask(owner, "artifact-create", new.request())
        .await?
        .is_ok();
    let watched = Watched {
        account: &stage.account,
        owner,
        session: &sid,
        machine: Some(&machine),
        artifact: made.then_some(new.id.as_str()),
    };
    let own = OwnRows::make(cx, &stage).await?;
    let before = watched.read(cx).await?;
    let stranger = stage.peer(Role::V1);
    let marker = cx.marker("foreign");
    let time = cx.recent_time();
    let total = json!({"total": 1});
    let part = json!({"data": artifact::encoded(&marker), "expectedVersion": 1});
    let mut pending = Vec::new();
    for id in conditions() {
        let events = [
            (
                "update-metadata",
                json!({"sid": id, "metadata": marker, "expectedVersion": 0}),
            ),
            (
                "update-state",
                json!({"sid": id, "agentState": marker, "expectedVersion": 1}),
            ),
            (
                "session-alive",
                json!({"sid": id, "time": time, "thinking": true}),
            ),
            ("session-end", json!({"sid": id, "time": time})),
            ("message", json!({"sid": id, "message": marker})),
            ("machine-alive", json!({"machineId": id, "time": time})),
            (
                "machine-update-state",
                json!({"machineId": id, "daemonState": marker, "expectedVersion": 1}),
            ),
            ("access-key-get", json!({"sessionId": id, "machineId": id})),
            ("artifact-read", json!({"artifactId": id})),
            ("artifact-update", json!({"artifactId": id, "body": part})),
            ("artifact-delete", json!({"artifactId": id})),
            (
                "usage-report",
                json!({"key": marker, "sessionId": id, "tokens": total, "cost": total}),
            ),
        ];
        for (event, data) in events {
            let asked = stranger.socket.request(event, data.clone()).await;
            let asked = asked.map_err(|end| cx.dropped(stranger, &end))?;
            pending.push((event, data, asked));
        }
    }
    own.each_event(cx, &stage).await?;
    let held = |raw: &str| raw.contains(&secret) || raw.contains(&new.body);
    for wanted in [
        Wanted::update("update-session", &marker),
        Wanted::update("new-message", &marker),
        Wanted::update("update-machine", &marker),
        Wanted::ephemeral("usage", &marker),
        Wanted::update("delete-artifact", &new.id),
    ] {
        stage.observe_nothing(cx, &wanted, &CONDITIONS).await?;
    }
    let mut leaks = Vec::new();
    for (event, data, asked) in pending {
        // Whether these are answered is judged elsewhere; most have been by now.
        if let Some(Ok(reply)) = asked.now_or_never() {
            let answer = reply.args.as_str();
            if held(answer) {
                leaks.push(format!("{event} {data} is answered with {answer}"));
            }
        }
    }
    watched.unchanged(cx, &before, &CONDITIONS).await?;
    let mut admitted = Vec::new();
    for id in conditions() {
        for (client_type, key) in [
            ("session-scoped", "sessionId"),
            ("machine-scoped", "machineId"),
        ] {
            let auth = json!({"token": stage.other_token(), "clientType": client_type, key: id});
            if let Admission::Admitted(peer) = attempt(cx, "condition", Some(auth)).await? {
                admitted.push((peer, format!("{client_type} {id}")));
            }
        }
    }
    for (cas, id) in [(&session::STATE, &sid), (&machine::STATE, &machine)] {
        cas.write(cx, owner, id, &json!(secret)).await?;
    }
    // Nothing can be addressed to them.
    let beside: Vec<_> = admitted.iter().map(|(peer, _)| (peer, None)).collect();
    stage.prove_silence_beside(cx, &beside).await?;
    for (peer, named) in &admitted {
        let log = peer.all(|arrival| held(&arrival.raw));
        leaks.extend(log.iter().map(|one| format!("{named}: {}", one.raw)));
    }
    let expected = "nothing of the other account";
    cx.check(&CONDITIONS, leaks.is_empty(), expected, leaks.join("; "));
    Ok(())
}

/// `text` with another letter or digit at `place`.
fn changed(text: &str, place: usize) -> String {
    let other = |letter: char| if letter == 'm' { 'n' } else { 'm' };
    let letters = text.chars().enumerate();
    letters
        .map(|(at, letter)| if at == place { other(letter) } else { letter })
        .collect()
}

/// Tokens that are nearly `token`, each with what is wrong.
fn nearly(token: &str) -> Vec<(String, String)> {
    let length = token.chars().count();
    let mut all = vec![(
        "with the character in its middle changed".to_owned(),
        changed(token, length / 2),
    )];
    let parts: Vec<_> = token.split('.').collect();
    let mut start = 0;
    for (number, part) in parts.iter().enumerate() {
        let size = part.chars().count();
        if size > 0 && parts.len() > 1 {
            let told = format!("with a character of part {} changed", number + 1);
            all.push((told, changed(token, start + size / 2)));
        }
        start += size + 1;
    }
    // Not the very last ones: where they encode bytes, some of their bits may mean nothing.
    if length > NEAR_END {
        let told = "with a character near its end changed".to_owned();
        all.push((told, changed(token, length - NEAR_END)));
    }
    // A token in letters of one case may be a number, whose letters mean the same in both.
    let mixed = token.contains(|c: char| c.is_ascii_uppercase())
        && token.contains(|c: char| c.is_ascii_lowercase());
    let letter = |c: char| c.is_ascii_alphabetic();
    if let Some(place) = token.rfind(letter).filter(|_| mixed) {
        let other: String = token[place..].chars().map(in_other_case).collect();
        let told = "with a letter in the other case".to_owned();
        all.push((told, format!("{}{other}", &token[..place])));
    }
    if let Some((rest, _)) = token.rsplit_once('.') {
        all.push(("without its last part".to_owned(), rest.to_owned()));
    }
    let short = |size| token.chars().take(size).collect();
    all.push(("without its last quarter".to_owned(), short(length * 3 / 4)));
    let end = length.saturating_sub(4);
    all.push(("without its last four characters".to_owned(), short(end)));
    all.push((
        "with four more characters".to_owned(),
        format!("{token}mmmm"),
    ));
    all
}

/// How far before the end of a token a character is changed.
const NEAR_END: usize = 5;

fn in_other_case(letter: char) -> char {
    if letter.is_ascii_lowercase() {
        letter.to_ascii_uppercase()
    } else {
        letter.to_ascii_lowercase()
    }
}

async fn changed_token(cx: &mut Ctx) -> Flow {
    let account = cx.account().await?;
    // The valid one first: what a server remembers of it must not open the door to others.
    let _valid = cx.connect("valid", account.token(), Scope::User).await?;
    for (wrong, token) in nearly(account.token()) {
        cx.step(&format!("a token {wrong}"));
        let auth = Some(Scope::User.auth(&token));
        let text = "Invalid authentication token";
        handshake::refused(cx, "nearly", auth, &handshake::INVALID_TOKEN, text).await?;
    }
    Ok(())
}

async fn changed_rest_token(cx: &mut Ctx) -> Flow {
    let account = cx.account().await?;
    for (wrong, token) in nearly(account.token()) {
        let secret = Secret::new(token);
        let answer = cx
            .rest_as(Some(&secret), "GET", "/v1/sessions", &Value::Null)
            .await?;
        let expected = format!("a refusal of GET /v1/sessions for a token {wrong}");
        let told = format!("{} {}", answer.status, answer.body);
        let refused = answer.status >= 400;
        cx.check(&rest::auth::TOKEN_REQUIRED, refused, expected, told);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_nearly_right() {
        let told: Vec<_> = nearly("Abcdef.ghi")
            .into_iter()
            .map(|(_, token)| token)
            .collect();
        assert_eq!(
            told,
            [
                "Abcdem.ghi",
                "Abcmef.ghi",
                "Abcdef.gmi",
                "Abcdem.ghi",
                "Abcdef.ghI",
                "Abcdef",
                "Abcdef.",
                "Abcdef",
                "Abcdef.ghimmmm",
            ]
        );
        assert_eq!(changed("mmm", 1), "mnm");
    }
}
