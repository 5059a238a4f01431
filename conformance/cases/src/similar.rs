//! Names that nearly are the same: they name different things.

use serde_json::{Value, json};

use super::{message, usage};
use touchstone_harness::{
    case::{Flow, case_table},
    ctx::Ctx,
    ledger::requirement_table,
    stage::{Role, Stage, Wanted},
};

requirement_table! {
    LOCAL_IDS = "message.similar-local-ids", Must, Decision,
        "Messages whose localIds differ in case, white space, length or form, or mean something in the \
         server's language, are different messages.";
    NAMES = "values.similar-names", Should, Decision,
        "Tags, machine ids, usage keys and keys of the store that differ in case, white space, length or \
         form name different things.";
}

case_table! {
    /// Sends messages with localIds that nearly are the same: upper and lower case, with a space at the end,
    /// longer by a letter, composed and decomposed, numbers with a zero before them; and some that mean
    /// something in programs, such as `constructor`.
    ///
    /// Accepted is that each of them arrives. Typical cause of a failure: a column that folds case or cuts,
    /// so that a message is taken for a repetition, and lost.
    "message.similar-local-ids" judges [LOCAL_IDS] => local_ids;

    /// Makes sessions by tags, machines by ids, usage reports by keys, and keys of the store that nearly are
    /// the same.
    ///
    /// Accepted is a row for each; a server may refuse a name, but not take it for another one. Typical cause
    /// of a failure: a column that folds case, cuts or trims.
    "values.similar-names" needs [Rest] judges [NAMES] => names;
}

/// Pairs of names that have been taken for each other, none shorter than `marker`; the longest pair has
/// `long` characters.
pub(super) fn pairs(marker: &str, long: usize) -> Vec<(String, String)> {
    let start = format!(
        "{marker}{}",
        "x".repeat(long.saturating_sub(marker.len() + 1))
    );
    vec![
        (format!("{marker}:read"), format!("{marker}:READ")),
        (format!("{marker}:list"), format!("{marker}:list ")),
        (format!("{marker}:open"), format!(" {marker}:open")),
        (format!("{start}a"), format!("{start}b")),
        (format!("{marker}:\u{e9}"), format!("{marker}:e\u{301}")),
        (format!("{marker}.stop"), format!("{marker}:stop")),
    ]
}

/// How long a name is that is to be stored: more than a UUID, and less than a column of text has.
const STORED: usize = 120;

async fn local_ids(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &[Role::U1, Role::U2]).await?;
    let marker = cx.marker("local");
    let mut ids: Vec<String> = pairs(&marker, STORED)
        .into_iter()
        .flat_map(|(one, other)| [one, other])
        .collect();
    let words = [
        "17",
        "017",
        "17.0",
        "17a",
        "constructor",
        "toString",
        "__proto__",
    ];
    ids.extend(words.map(str::to_owned));
    let mut sent = Vec::new();
    for id in ids {
        let text = cx.marker("text");
        let data = json!({"sid": stage.s1.id, "message": text, "localId": id});
        cx.emit(stage.peer(Role::U1), "message", data).await?;
        sent.push((id, Wanted::update("new-message", text)));
    }
    // A message of the same sender to the same session comes after those before it.
    let text = cx.marker("after");
    let data = json!({"sid": stage.s1.id, "message": text});
    message::delivered(cx, &stage, data, &text).await?;
    let listener = stage.peer(Role::U2);
    let lost: Vec<_> = sent
        .iter()
        .filter(|(_, wanted)| listener.all(|arrival| wanted.matches(arrival)).is_empty())
        .map(|(id, _)| json!(id).to_string())
        .collect();
    let expected = format!("{} messages, each with a localId of its own", sent.len());
    let told = format!("none with the localId {}", lost.join(", "));
    cx.check(&LOCAL_IDS, lost.is_empty(), expected, told);
    Ok(())
}

/// Judges that `one` and `other`, which are what was made under the names of a pair, are different things.
/// What was refused is no thing.
fn differ(cx: &mut Ctx, what: &str, (name, other_name): &(String, String), made: [&Value; 2]) {
    let [one, other] = made;
    let held = one.is_null() || other.is_null() || one != other;
    let expected = format!(
        "a {what} each for {} and {}",
        json!(name),
        json!(other_name)
    );
    cx.check(&NAMES, held, expected, format!("{one} for both"));
}

async fn names(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &[Role::U1]).await?;
    let (account, peer) = (&stage.account, stage.peer(Role::U1));
    let words = [("constructor", "toString"), ("__proto__", "prototype")];
    let words = words.map(|(one, other)| (one.to_owned(), other.to_owned()));
    for pair in pairs(&cx.marker("name"), STORED).into_iter().chain(words) {
        let mut made: [Vec<Value>; 3] = [Vec::new(), Vec::new(), Vec::new()];
        for name in [&pair.0, &pair.1] {
            let body = json!({"tag": name, "metadata": cx.marker("metadata")});
            let answer = cx.rest_any(account, "POST", "/v1/sessions", &body).await?;
            made[0].push(answer.body["session"]["id"].clone());
            // The row that is there already is answered as it is.
            let body = json!({"id": name, "metadata": cx.marker("metadata")});
            let answer = cx.rest_any(account, "POST", "/v1/machines", &body).await?;
            made[1].push(answer.body["machine"]["metadata"].clone());
            let report = usage::usage(name, Some(&stage.s1.id), 1);
            let answer = cx
                .call(&usage::ANSWER, peer, "usage-report", report)
                .await?;
            made[2].push(answer["reportId"].clone());
        }
        for (what, made) in ["session", "machine", "usage report"]
            .into_iter()
            .zip(&made)
        {
            differ(cx, what, &pair, [&made[0], &made[1]]);
        }
        stored(cx, &stage, &pair).await?;
    }
    Ok(())
}

/// The same for the store, where the target has one: what is written under each name is read under it.
async fn stored(cx: &mut Ctx, stage: &Stage, pair: &(String, String)) -> Flow {
    let mut values = Vec::new();
    for key in [&pair.0, &pair.1] {
        let value = cx.marker("value");
        let body = json!({"mutations": [{"key": key, "value": value, "version": -1}]});
        let answer = cx.rest_any(&stage.account, "POST", "/v1/kv", &body).await?;
        match answer.status {
            200..300 => values.push((key, value)),
            409 => {
                let told = format!("{} {}", answer.status, answer.body);
                cx.check(&NAMES, false, format!("{} as a new key", json!(key)), told);
            }
            _ => return Ok(()),
        }
    }
    let keys: Vec<_> = values.iter().map(|(key, _)| key).collect();
    let body = json!({"keys": keys});
    let path = "/v1/kv/bulk";
    let answer = cx.rest_any(&stage.account, "POST", path, &body).await?;
    let Some(rows) = answer.body["values"].as_array() else {
        return Ok(());
    };
    for (key, value) in &values {
        let row = rows.iter().find(|row| row["key"] == json!(key));
        let told = row.map_or(&Value::Null, |row| &row["value"]);
        let expected = format!("{value} under {}", json!(key));
        cx.check(&NAMES, *told == json!(value), expected, told);
    }
    Ok(())
}
