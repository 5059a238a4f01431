//! Values are opaque: what is stored comes back as it was sent, whatever its characters and its size.
//!
//! Clients encrypt and sign what they store. One character that was normalised, trimmed or escaped
//! twice, and they cannot read it any more.

use serde_json::{Value, json};

use super::{
    artifact::{self, Artifact, encoded},
    machine, message, session, usage,
    versioned::Cas,
};
use touchstone_harness::{
    case::{Flow, case_table},
    ctx::Ctx,
    ledger::{Requirement, requirement_table},
    stage::{Delivery, Role, Series, Stage, Wanted},
};

requirement_table! {
    EXACT = "values.exact", Must, Specification,
        "A text is answered, stored and announced exactly as it was sent: no character is changed, \
         dropped, trimmed or normalised.";
    LARGE = "values.large", Should, Decision,
        "Values of 500 kB, or of half of what the server says that it takes, are taken.";
    UNALTERED = "values.refused-or-kept", Should, Decision,
        "A text that is empty or holds a NUL character is either refused or kept as it is, and never \
         kept as something else.";
}

case_table! {
    /// Stores texts with emoji, combining and invisible characters, quotes, backslashes, control
    /// characters, markup, text that looks like JSON or a number, and blanks at both ends: as metadata and state of a
    /// session and a machine, as a message with its localId, as the key of a usage report.
    ///
    /// Accepted is the same text in the answer, in the event that others receive, and when it is read
    /// again. Typical causes of a failure: Unicode normalisation, a trim in a validator, escaping for HTML,
    /// a text that is parsed as JSON on its way.
    "values.exact" judges [EXACT] => exact;

    /// Stores 500 kB of text as metadata of a session, as a message, and as the body of an artifact; less
    /// where the handshake says that packets have to be smaller.
    ///
    /// Accepted is success, and the whole text in the answer and in the event that others receive. Typical
    /// cause of a failure: a limit of the transport or of a column below what clients send.
    "values.large" judges [LARGE, EXACT] => large;

    /// Stores empty texts as metadata and state, as a message, and as the parts of an artifact.
    ///
    /// Accepted is an error, for a message silence, or the empty text in the answer and in the event.
    /// Typical cause of a failure: an empty text that is stored as null.
    "values.empty" judges [UNALTERED] => empty;

    /// Stores texts with a NUL character as metadata and state, and as a message.
    ///
    /// Accepted is an error, for a message silence, or the same text in the answer and in the event. Some
    /// databases cannot store it, and servers have ended there. Typical cause of a failure: the database
    /// cannot store a NUL character, and its exception is caught by nobody or the text is cut there.
    "values.nul", hazardous judges [UNALTERED] => nul;
}

/// Characters that have been lost, changed or doubled on the way through real programs.
const ODD: &str = "  \u{feff}\u{e9}e\u{301}\u{fb01} \u{1f469}\u{200d}\u{1f4bb}\u{10ffff} \u{202e}rtl \
    \u{2028}\u{2029}\u{a0}\u{fffd} \"quoted\" 'single' \\back\\ %2F%00 &amp;<script>alert(1)</script> \
    ${x} \u{1}\u{1f}\u{7f}\u{85}\t\r\n {\"t\":\"json\",\"a\":[1]} \u{3a9} ''\\\\ ";

/// Texts that have been taken for something else, and what is lost at the ends of a text alone.
const EDGES: [&str; 2] = ["0017.0", "\u{feff}edges\r\n\n"];

/// How long a large text is at most.
const LARGE_BYTES: usize = 500_000;

/// What becomes of a text that a server need not take.
#[derive(Clone, Copy)]
enum Taken {
    Kept,
    Refused,
}

/// A text as a report can show it: whole, or its size and where it goes wrong.
pub(super) fn shown(expected: &str, actual: &Value) -> String {
    match actual.as_str() {
        Some(text) if expected.len().max(text.len()) > 2_000 => {
            let same = expected.bytes().zip(text.bytes());
            let place = same.take_while(|(a, b)| a == b).count();
            format!("{} bytes, different from byte {place} on", text.len())
        }
        _ => actual.to_string(),
    }
}

/// A text as a report names what was sent.
pub(super) fn sent(text: &str) -> String {
    match text.len() {
        long if long > 2_000 => format!("the same {long} bytes"),
        _ => json!(text).to_string(),
    }
}

/// Checks that `actual` is the text that was sent.
fn same(cx: &mut Ctx, by: &'static Requirement, place: &str, text: &str, actual: &Value) {
    let expected = format!("{} {place}", sent(text));
    cx.check(by, actual == text, expected, shown(text, actual));
}

/// The body of the one event that `wanted` names, as `u2` receives it; `by` judges that it comes.
async fn heard(
    cx: &mut Ctx,
    stage: &Stage,
    by: &'static Requirement,
    wanted: Wanted,
) -> Flow<Value> {
    let delivery = Delivery {
        wanted,
        reaches: &[Role::U2],
        by,
        spares: &[],
    };
    let seen = stage.observe(cx, &[delivery]).await?;
    let data = &seen[0].data;
    Ok(data.get("body").unwrap_or(data).clone())
}

/// The four versioned texts, with what they belong to.
fn versioned(stage: &Stage) -> Vec<(&'static Cas, String)> {
    let mut all = vec![
        (&session::METADATA, stage.s1.id.clone()),
        (&session::STATE, stage.s1.id.clone()),
    ];
    if stage.m1.is_some() {
        all.push((&machine::METADATA, stage.m1_id().to_owned()));
        all.push((&machine::STATE, stage.m1_id().to_owned()));
    }
    all
}

/// Writes `text`, which `marker` tells from all others, and judges the answer, what `u2` receives, and
/// what a reader is told. With `optional`, an error is fine as well.
async fn write(
    cx: &mut Ctx,
    stage: &Stage,
    by: &'static Requirement,
    (cas, id): (&Cas, &str),
    text: &str,
    optional: bool,
) -> Flow<Taken> {
    let peer = stage.peer(Role::U1);
    let start = json!(cx.marker("before"));
    let version = cas.write(cx, peer, id, &start).await?;
    let data = cas.data(id, &json!(text), &json!(version));
    let answer = cx.call(by, peer, cas.event, data).await?;
    if optional && answer["result"] == "error" {
        cx.held(by);
        return Ok(Taken::Refused);
    }
    let what = format!("success for {}", cas.event);
    let succeeded = answer["result"] == "success";
    cx.require(by, succeeded, what, shown(text, &answer))?;
    let by = if optional { by } else { &EXACT };
    let place = format!("in the answer to {}", cas.event);
    same(cx, by, &place, text, &answer[cas.field]);
    // The new version names the change where the text itself has no marker.
    let version = &answer["version"];
    let changed = |arrival: &touchstone_harness::peer::Arrival| {
        let part = &arrival.data["body"][cas.field];
        arrival.kind() == Some(cas.update)
            && arrival.raw.contains(id)
            && touchstone_harness::ctx::same_json(&part["version"], version)
    };
    let listener = stage.peer(Role::U2);
    if let Some(arrival) = listener.wait_for(cx.deadline(), changed).await {
        let place = format!("in {}", cas.update);
        same(
            cx,
            by,
            &place,
            text,
            &arrival.data["body"][cas.field]["value"],
        );
    }
    let stale = cas.data(id, &json!(cx.marker("refused")), &json!(-1));
    let told = cx.call(by, peer, cas.event, stale).await?;
    let place = format!("in the mismatch of {}", cas.event);
    // A server that writes it all the same, or tells no value, is judged elsewhere.
    if told["result"] == "version-mismatch"
        && let Some(current) = told.get(cas.field)
    {
        same(cx, by, &place, text, current);
    }
    Ok(Taken::Kept)
}

async fn exact(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &[Role::U1, Role::U2, Role::M1]).await?;
    let mut end = Ok(());
    for (cas, id) in versioned(&stage) {
        for text in [ODD, EDGES[0], EDGES[1]] {
            let written = write(cx, &stage, &EXACT, (cas, &id), text, false).await;
            Ctx::part(&mut end, written)?;
        }
    }
    for text in EDGES {
        let local_id = cx.marker("edge");
        let data = json!({"sid": stage.s1.id, "message": text, "localId": local_id});
        cx.emit(stage.peer(Role::U1), "message", data).await?;
        let wanted = Wanted::update("new-message", local_id);
        let body = heard(cx, &stage, &message::REACHES, wanted).await?;
        let told = &body["message"]["content"]["c"];
        same(cx, &EXACT, "as content of new-message", text, told);
    }
    let peer = stage.peer(Role::U1);
    let marker = cx.marker("message");
    let (text, local_id) = (format!("{ODD}{marker}{ODD}"), format!("{ODD}{marker}"));
    let data = json!({"sid": stage.s1.id, "message": text, "localId": local_id});
    cx.emit(peer, "message", data).await?;
    let body = heard(
        cx,
        &stage,
        &message::REACHES,
        Wanted::update("new-message", marker),
    )
    .await?;
    same(
        cx,
        &EXACT,
        "as content of new-message",
        &text,
        &body["message"]["content"]["c"],
    );
    same(
        cx,
        &EXACT,
        "as localId of new-message",
        &local_id,
        &body["message"]["localId"],
    );
    let marker = cx.marker("usage");
    let key = format!("{ODD}{marker}{ODD}");
    let report = usage::usage(&key, Some(&stage.s1.id), 1);
    let answer = cx
        .call(&usage::ANSWER, peer, "usage-report", report)
        .await?;
    cx.require(
        &EXACT,
        answer["success"] == true,
        "success for usage-report",
        answer,
    )?;
    let body = heard(
        cx,
        &stage,
        &usage::REACHES,
        Wanted::ephemeral("usage", marker),
    )
    .await?;
    same(cx, &EXACT, "as key of usage", &key, &body["key"]);
    end
}

async fn large(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &[Role::U1, Role::U2]).await?;
    let peer = stage.peer(Role::U1);
    let announced = peer.socket.handshake().max_payload.unwrap_or(u64::MAX);
    let bytes = usize::try_from(announced / 2).map_or(LARGE_BYTES, |half| half.min(LARGE_BYTES));
    let filler = "0123456789abcdef".repeat(bytes / 16);
    let text = format!("{}{filler}", cx.marker("metadata"));
    let cas = &session::METADATA;
    let mut end = Ok(());
    let written = write(cx, &stage, &LARGE, (cas, &stage.s1.id), &text, false).await;
    Ctx::part(&mut end, written)?;
    let marker = cx.marker("message");
    let text = format!("{marker}{filler}");
    let data = json!({"sid": stage.s1.id, "message": text});
    cx.emit(peer, "message", data).await?;
    let body = heard(cx, &stage, &LARGE, Wanted::update("new-message", marker)).await;
    if let Some(body) = Ctx::part(&mut end, body)? {
        let told = &body["message"]["content"]["c"];
        same(cx, &EXACT, "as content of new-message", &text, told);
    }
    let mut new = Artifact::new(cx);
    new.body = encoded(&filler[..bytes / 16 * 12]);
    let answer = cx
        .call(&artifact::CREATE, peer, "artifact-create", new.request())
        .await?;
    let what = "success for artifact-create";
    cx.require(
        &LARGE,
        answer["result"] == "success",
        what,
        shown(&new.body, &answer),
    )?;
    same(
        cx,
        &EXACT,
        "as body of the artifact",
        &new.body,
        &answer["artifact"]["body"],
    );
    let body = heard(
        cx,
        &stage,
        &artifact::CREATE_REACHES,
        Wanted::update("new-artifact", &new.id),
    )
    .await?;
    same(
        cx,
        &EXACT,
        "as body of new-artifact",
        &new.body,
        &body["body"],
    );
    end
}

/// Stores `text` wherever a text can be stored, and notes whether it is taken.
async fn optional(cx: &mut Ctx, stage: &Stage, name: &str, text: &str) -> Flow {
    let note = |cx: &mut Ctx, taken: Taken| {
        cx.fact(
            name,
            match taken {
                Taken::Kept => "kept",
                Taken::Refused => "refused",
            },
        );
    };
    for (cas, id) in versioned(stage) {
        let taken = write(cx, stage, &UNALTERED, (cas, &id), text, true).await?;
        note(cx, taken);
    }
    let peer = stage.peer(Role::U1);
    let marker = cx.marker("local");
    let data = json!({"sid": stage.s1.id, "message": text, "localId": marker});
    cx.emit(peer, "message", data).await?;
    // A message of the same sender to the same session comes after it.
    let mut after = Series::new(cx, "after");
    after.send(cx, peer, &stage.s1.id).await?;
    let receiver = stage.peer(Role::U2);
    after.arrived(cx, peer, &stage.s1.id, receiver).await?;
    let wanted = Wanted::update("new-message", marker);
    let seen = stage.peer(Role::U2).all(|arrival| wanted.matches(arrival));
    match seen.first() {
        Some(arrival) => {
            let told = &arrival.data["body"]["message"]["content"]["c"];
            same(cx, &UNALTERED, "as content of new-message", text, told);
            note(cx, Taken::Kept);
        }
        None => note(cx, Taken::Refused),
    }
    Ok(())
}

async fn empty(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &[Role::U1, Role::U2, Role::M1]).await?;
    optional(cx, &stage, "values.empty", "").await?;
    let mut new = Artifact::new(cx);
    (new.header, new.body) = (String::new(), String::new());
    let peer = stage.peer(Role::U1);
    let answer = cx
        .call(&artifact::CREATE, peer, "artifact-create", new.request())
        .await?;
    if answer["result"] == "error" {
        cx.fact("values.empty", "refused");
        return Ok(());
    }
    cx.fact("values.empty", "kept");
    for part in ["header", "body"] {
        same(
            cx,
            &UNALTERED,
            "as a part of the artifact",
            "",
            &answer["artifact"][part],
        );
    }
    Ok(())
}

async fn nul(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &[Role::U1, Role::U2, Role::M1]).await?;
    let text = format!("before\u{0}{}", cx.marker("after"));
    optional(cx, &stage, "values.nul", &text).await
}
