//! Artifacts under optimistic concurrency: stale writers, races, two parts that are written together.

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::artifact::{self, Artifact, READ, different, encoded, existing};
use touchstone_harness::{
    case::{Flow, Stop, case_table},
    ctx::{Ctx, same_json},
    ledger::{Requirement, requirement_table},
    peer::Peer,
    stage::{Delivery, Role, Stage, Wanted},
};

requirement_table! {
    STALE = "artifact.update.stale", Must, Specification,
        "artifact-update with a stale or future version is answered with version-mismatch.";
    ODD_VERSION = "artifact.update.odd-version", Should, Decision,
        "A negative or fractional expectedVersion of a part is a mismatch like any other.";
    CURRENT = "artifact.update.mismatch-returns-current", Must, Specification,
        "A mismatch tells currentVersion and currentData of the parts that mismatch.";
    ONLY_STALE = "artifact.update.mismatch-lists-stale", Should, Decision,
        "A mismatch lists the parts that mismatch and no other.";
    ATOMIC = "artifact.update.all-or-nothing", Must, Decision,
        "When one part mismatches, nothing is written and nothing is announced.";
    INDEPENDENT = "artifact.update.parts-independent", Must, Specification,
        "Header and body have a version each: a change of one leaves version and data of the other \
         alone.";
    RACE = "artifact.update.one-winner", Must, Decision,
        "Of several artifact-update with the same version at the same time exactly one succeeds.";
    RACE_LOSERS = "artifact.update.race-losers", Should, Decision,
        "Who loses a race for an artifact is told the winner's version and data.";
    ONE_BROADCAST = "artifact.update.one-broadcast", Must, Decision,
        "A race of writers announces one change of the artifact, the winner's.";
    CREATE_RACE = "artifact.create.race", Must, Decision,
        "Of several creations of one id at the same time one is announced, and each is answered with \
         success or an error.";
}

case_table! {
    /// Updates with stale, future, negative and fractional versions of the header, of the body and of
    /// both, and with one stale and one current version together.
    ///
    /// Accepted is `version-mismatch` with `currentVersion` and `currentData` of each stale part and of no
    /// other, and an artifact that is unchanged in both. Typical causes of a failure: versions are not
    /// compared, or those of one part only; the parts are written one after the other.
    "artifact.update-stale" judges [STALE, ODD_VERSION, CURRENT, ONLY_STALE, ATOMIC] => stale;

    /// Changes the header while the body stays, and the other way round.
    ///
    /// Accepted is that version and data of the part that was not written are what they were. Typical cause
    /// of a failure: header and body share one version, or an update writes the row as a whole.
    "artifact.parts-independent" judges [INDEPENDENT] => independent;

    /// Twenty updates with the same version at the same time: of the header, of the body, of both.
    ///
    /// Accepted is exactly one success each, nineteen mismatches that tell the winner's version and data,
    /// and one broadcast. Typical cause of a failure: versions are compared with a row that was read
    /// before, outside of the statement that writes; or losers answer that row instead of the winner's.
    "artifact.update-race" judges [RACE, RACE_LOSERS, ONE_BROADCAST] => race;

    /// Ten creations of one id at the same time, each with another header, over three connections.
    ///
    /// Accepted is success or an error for each, one `new-artifact`, and the same artifact for all who
    /// succeed. Typical cause of a failure: the id is looked up in one database call and inserted in
    /// another.
    "artifact.create-race" judges [CREATE_RACE, artifact::CREATE_AGAIN] => create_race;
}

const PARTS: [&str; 2] = ["header", "body"];

fn version(known: &Value, part: &str) -> i64 {
    known[format!("{part}Version")].as_i64().unwrap_or(0)
}

/// What the server has stored.
async fn stored(cx: &mut Ctx, peer: &Peer, artifact: &Artifact) -> Flow<Value> {
    let request = json!({"artifactId": artifact.id});
    let answer = cx.call(&READ, peer, "artifact-read", request).await?;
    Ok(answer["artifact"].clone())
}

async fn stale(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &[Role::U1, Role::U2]).await?;
    let peer = stage.peer(Role::U1);
    let (artifact, known) = existing(cx, peer).await?;
    let [header, body] = PARTS.map(|part| version(&known, part));
    let half = |version: i64| Some(json!(version as f64 + 0.5));
    let rows = [
        (Some(json!(header - 1)), None, &STALE),
        (Some(json!(header + 7)), None, &STALE),
        (None, Some(json!(body - 1)), &STALE),
        (None, Some(json!(body + 7)), &STALE),
        (Some(json!(header - 1)), Some(json!(body)), &STALE),
        (Some(json!(header)), Some(json!(body - 1)), &STALE),
        (Some(json!(header + 1)), Some(json!(body + 1)), &STALE),
        // The current versions to who looks at 32 bits of them.
        (Some(json!(header + (1 << 32))), None, &STALE),
        (None, Some(json!(body + (1 << 32))), &STALE),
        (half(header), None, &ODD_VERSION),
        (Some(json!(header)), half(body - 1), &ODD_VERSION),
        (None, Some(json!(-1)), &ODD_VERSION),
        (Some(json!(-header)), None, &ODD_VERSION),
    ];
    let marker = encoded(&cx.marker("refused"));
    for (of_header, of_body, by) in rows {
        let mut request = json!({"artifactId": artifact.id});
        let mut stale = Vec::new();
        for (part, expected, current) in [("header", of_header, header), ("body", of_body, body)] {
            if let Some(expected) = expected {
                if !same_json(&expected, &json!(current)) {
                    stale.push(part);
                }
                request[part] = json!({"data": marker, "expectedVersion": expected});
            }
        }
        refused(cx, peer, (&artifact, &known), request, &stale, by).await?;
    }
    let update = Wanted::update("update-artifact", &artifact.id);
    stage.observe_nothing(cx, &update, &ATOMIC).await
}

/// Sends an update of which the parts `stale` mismatch, and judges the answer and what is stored.
async fn refused(
    cx: &mut Ctx,
    peer: &Peer,
    (artifact, known): (&Artifact, &Value),
    request: Value,
    stale: &[&str],
    by: &'static Requirement,
) -> Flow {
    let told = format!("result version-mismatch for {request}");
    let answer = cx.call(by, peer, "artifact-update", request).await?;
    let is_mismatch = answer["result"] == "version-mismatch";
    let read = stored(cx, peer, artifact).await?;
    if is_mismatch || answer["result"] != "success" {
        cx.check(&ATOMIC, artifact.is(&read), artifact.request(), &read);
    }
    if !cx.check(by, is_mismatch, told, &answer) {
        // A server that writes such an update is not asked again: what is current has changed.
        return match answer["result"] == "success" {
            true => Err(Stop::Judged),
            false => Ok(()),
        };
    }
    for part in PARTS {
        let current = &answer[part];
        if stale.contains(&part) {
            let data = if part == "header" {
                &artifact.header
            } else {
                &artifact.body
            };
            let expected = json!({"currentVersion": version(known, part), "currentData": data});
            let tells = same_json(&current["currentVersion"], &expected["currentVersion"])
                && current["currentData"] == expected["currentData"];
            cx.check(&CURRENT, tells, format!("{part} {expected}"), &answer);
        } else {
            let listed = current.get("currentVersion").is_some();
            cx.check(
                &ONLY_STALE,
                !listed,
                format!("no {part} in the mismatch"),
                &answer,
            );
        }
    }
    Ok(())
}

async fn independent(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &[Role::U1]).await?;
    let peer = stage.peer(Role::U1);
    for (written, kept) in [("header", "body"), ("body", "header")] {
        let (artifact, known) = existing(cx, peer).await?;
        let data = encoded(&cx.marker(written));
        let part = json!({"data": data, "expectedVersion": version(&known, written)});
        let request = json!({"artifactId": artifact.id, written: part});
        cx.call(&artifact::UPDATE, peer, "artifact-update", request)
            .await?;
        let read = stored(cx, peer, &artifact).await?;
        for key in [kept.to_owned(), format!("{kept}Version")] {
            let what = format!("{key} after a change of the {written}");
            cx.equal(&INDEPENDENT, &what, &known[&key], &read[&key]);
        }
    }
    Ok(())
}

/// How many writers race, over these connections.
const WRITERS: usize = 20;
const RACERS: [Role; 3] = [Role::U1, Role::U2, Role::S1];

async fn race(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &RACERS).await?;
    for parts in [&["header"][..], &["body"], &["header", "body"]] {
        race_for(cx, &stage, parts).await?;
    }
    Ok(())
}

async fn race_for(cx: &mut Ctx, stage: &Stage, parts: &[&str]) -> Flow {
    let (artifact, known) = existing(cx, stage.peer(Role::U1)).await?;
    let told = parts.join(" and ");
    let calls = (0..WRITERS).map(|writer| {
        let mut request = json!({"artifactId": artifact.id});
        for part in parts {
            let data = encoded(&format!("{part} of writer {writer}"));
            request[*part] = json!({"data": data, "expectedVersion": version(&known, part)});
        }
        let peer = stage.peer(RACERS[writer % RACERS.len()]);
        cx.ask(peer, "artifact-update", request)
    });
    let mut answers = Vec::new();
    for answer in join_all(calls).await {
        answers.push(answer?.map_or(Value::Null, |answer| answer.data));
    }
    let of = |result: &str| -> Vec<&Value> {
        let found = answers.iter().filter(|answer| answer["result"] == result);
        found.collect()
    };
    let (winners, losers) = (of("success"), of("version-mismatch"));
    cx.require(
        &RACE,
        winners.len() == 1 && losers.len() == WRITERS - 1,
        format!("1 success and {} mismatches for the {told}", WRITERS - 1),
        format!(
            "{} successes and {} mismatches",
            winners.len(),
            losers.len()
        ),
    )?;
    let winner = winners[0];
    let is_outdated = |loser: &&&Value| {
        parts.iter().any(|part| {
            let (now, won) = (&loser[*part], &winner[*part]);
            // A mismatch without data is judged elsewhere.
            now.get("currentVersion")
                .is_some_and(|version| !same_json(version, &won["version"]))
                || now
                    .get("currentData")
                    .is_some_and(|data| *data != won["data"])
        })
    };
    let outdated = losers.iter().find(is_outdated);
    let shown = outdated.map_or_else(String::new, |loser| loser.to_string());
    cx.check(
        &RACE_LOSERS,
        outdated.is_none(),
        format!("what {winner} has written"),
        shown,
    );
    stage.prove_silence(cx).await?;
    let count = different(stage, "update-artifact", &artifact.id);
    let seen = format!("{count} broadcasts");
    cx.check(&ONE_BROADCAST, count <= 1, "one broadcast", seen);
    let wanted = Wanted::update("update-artifact", &artifact.id);
    for arrival in stage.peer(Role::U2).all(|arrival| wanted.matches(arrival)) {
        for part in parts {
            let told = &arrival.data["body"][*part]["value"];
            cx.equal(&ONE_BROADCAST, part, &winner[*part]["data"], told);
        }
    }
    Ok(())
}

async fn create_race(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &RACERS).await?;
    let artifact = Artifact::new(cx);
    let calls = (0..10).map(|writer| {
        let mut request = artifact.request();
        request["header"] = json!(encoded(&format!("header of writer {writer}")));
        let peer = stage.peer(RACERS[writer % RACERS.len()]);
        cx.ask(peer, "artifact-create", request)
    });
    let mut answers = Vec::new();
    for answer in join_all(calls).await {
        answers.push(answer?.map_or(Value::Null, |answer| answer.data));
    }
    for answer in &answers {
        let held = answer["result"] == "success" || answer["result"] == "error";
        cx.check(&CREATE_RACE, held, "success or an error", answer);
    }
    let created = Delivery {
        wanted: Wanted::update("new-artifact", &artifact.id),
        reaches: &[Role::U2],
        by: &CREATE_RACE,
        spares: &[],
    };
    stage.observe(cx, &[created]).await?;
    let read = stored(cx, stage.peer(Role::U1), &artifact).await?;
    for answer in answers
        .iter()
        .filter(|answer| answer["result"] == "success")
    {
        let told = &answer["artifact"]["header"];
        cx.equal(&artifact::CREATE_AGAIN, "header", &read["header"], told);
    }
    Ok(())
}
