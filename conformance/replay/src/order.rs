//! The order that is promised: on each connection the `seq` of updates rises, the messages of one sender
//! come as they were sent, and the numbers of a session's messages have no more holes than they had.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::{Value, json};
use touchstone_client::trace::Traced;

use super::{
    heard::{Heard, What, type_of},
    payload::{Difference, shown},
    script::{Act, Recording},
};

/// A recorded thing and its counterpart.
pub(super) struct Pair<'a> {
    /// The place of the recorded one.
    pub(super) at: usize,
    pub(super) then: &'a Heard,
    pub(super) now: &'a Heard,
    /// The place of the one that came now.
    pub(super) place: u64,
}

/// The places of recorded things whose counterparts came in an order that is not kept to, where the
/// recorded server did.
pub(super) fn broken(recording: &Recording, pairs: &[Pair<'_>]) -> Vec<(usize, Difference)> {
    let mut found = backwards(recording, pairs);
    found.extend(holes(pairs));
    found
}

/// One thing in a row of things whose numbers rise.
struct InRow {
    at: usize,
    place: u64,
    then: u64,
    now: u64,
}

fn backwards(recording: &Recording, pairs: &[Pair<'_>]) -> Vec<(usize, Difference)> {
    let senders = senders(recording);
    let mut rows: HashMap<(&str, &str), Vec<InRow>> = HashMap::new();
    for pair in pairs {
        let Pair { at, place, .. } = *pair;
        let conn = pair.now.conn.as_str();
        if let (Some(then), Some(now)) = (update_seq(&pair.then.what), update_seq(&pair.now.what)) {
            let row = rows.entry((conn, "")).or_default();
            row.push(InRow {
                at,
                place,
                then,
                now,
            });
        }
        if let Some((sender, sent)) = sender_of(&senders, pair.then) {
            let row = rows.entry((conn, sender)).or_default();
            row.push(InRow {
                at,
                place,
                then: sent,
                now: sent,
            });
        }
    }
    let mut found = Vec::new();
    for ((_, sender), mut row) in rows {
        row.sort_by_key(|one| one.at);
        if row.windows(2).any(|two| two[1].then <= two[0].then) {
            continue;
        }
        row.sort_by_key(|one| one.place);
        for two in row.windows(2).filter(|two| two[1].now <= two[0].now) {
            found.push((two[1].at, backward(sender, &two[1], &two[0])));
        }
    }
    found
}

fn backward(sender: &str, this: &InRow, before: &InRow) -> Difference {
    if sender.is_empty() {
        return Difference {
            path: "/seq".into(),
            recorded: Some(this.then.into()),
            replayed: Some(this.now.into()),
        };
    }
    Difference {
        path: "order".into(),
        recorded: Some(json!(format!("message {} of {sender}", this.then))),
        replayed: Some(json!(format!("behind message {} of {sender}", before.then))),
    }
}

/// Where as many messages came as were recorded, with other numbers.
fn holes(pairs: &[Pair<'_>]) -> Vec<(usize, Difference)> {
    /// What was recorded of a session: its numbers, those of now, and where each of these came.
    #[derive(Default)]
    struct Numbers {
        then: BTreeSet<u64>,
        now: BTreeMap<u64, usize>,
    }
    let mut sessions: HashMap<String, Numbers> = HashMap::new();
    for pair in pairs {
        let (then, now) = (shown(&pair.then.what), shown(&pair.now.what));
        let number = |data: &Value| data.pointer("/body/message/seq")?.as_u64();
        let session = then.pointer("/body/sid").and_then(Value::as_str);
        if let (Some(session), Some(old), Some(new)) = (session, number(&then), number(&now)) {
            let numbers = sessions.entry(session.to_owned()).or_default();
            numbers.then.insert(old);
            let at = numbers.now.entry(new).or_insert(pair.at);
            *at = pair.at.min(*at);
        }
    }
    let first = |numbers: &Numbers| {
        if numbers.then.len() != numbers.now.len() {
            return None;
        }
        let mut both = numbers.then.iter().zip(&numbers.now);
        let (old, (new, at)) = both.find(|(old, (new, _))| old != new)?;
        let difference = Difference {
            path: "/body/message/seq".into(),
            recorded: Some((*old).into()),
            replayed: Some((*new).into()),
        };
        Some((*at, difference))
    };
    sessions.values().filter_map(first).collect()
}

fn update_seq(what: &What) -> Option<u64> {
    match what {
        What::Event { name, args, .. } if name == "update" => args.pointer("/0/seq")?.as_u64(),
        _ => None,
    }
}

/// Senders and the places of their messages, by session and text; nothing where several sent it.
type Senders<'a> = HashMap<(String, String), Option<(&'a str, u64)>>;

fn sender_of<'a>(senders: &Senders<'a>, heard: &Heard) -> Option<(&'a str, u64)> {
    let data = shown(&heard.what);
    let text = data.pointer("/body/message/content/c")?.as_str()?;
    let session = data.pointer("/body/sid")?.as_str()?;
    senders
        .get(&(session.to_owned(), text.to_owned()))
        .copied()?
}

/// Who sent which message as the how-manieth, by session and text, where only one did.
fn senders(recording: &Recording) -> Senders<'_> {
    let mut senders = HashMap::new();
    for (place, step) in (0_u64..).zip(&recording.steps) {
        let Act::Send(Traced::Event { name, args, .. }) = &step.act else {
            continue;
        };
        if name != "message" {
            continue;
        }
        let data = args.data().unwrap_or_default();
        if let (Some(session), Some(text)) = (data["sid"].as_str(), data["message"].as_str()) {
            senders
                .entry((session.to_owned(), text.to_owned()))
                .and_modify(|sender| *sender = None)
                .or_insert(Some((step.conn.as_str(), place)));
        }
    }
    senders
}

/// What tells messages of the same text apart: session, text and recipients.
pub(super) type Like = (String, String, Vec<String>);

/// The messages that were delivered, one payload of each, by what tells them apart.
pub(super) fn messages<'h>(
    heard: impl Iterator<Item = &'h Heard>,
    renamed: impl Fn(&str) -> String,
) -> HashMap<Like, Vec<Value>> {
    let mut by_id: HashMap<String, (Value, BTreeSet<String>)> = HashMap::new();
    let mut order = Vec::new();
    for one in heard {
        let What::Event { name, args, .. } = &one.what else {
            continue;
        };
        if type_of(name, args) != "new-message" {
            continue;
        }
        let payload = shown(&one.what);
        let Some(id) = payload["id"].as_str().map(str::to_owned) else {
            continue;
        };
        let (_, conns) = by_id.entry(id.clone()).or_insert_with(|| {
            order.push(id);
            (payload, BTreeSet::new())
        });
        conns.insert(one.conn.clone());
    }
    let mut like: HashMap<Like, Vec<Value>> = HashMap::new();
    for id in order {
        let Some((payload, conns)) = by_id.remove(&id) else {
            continue;
        };
        let text = |path| {
            payload
                .pointer(path)
                .and_then(Value::as_str)
                .unwrap_or_default()
        };
        let key = (
            renamed(text("/body/sid")),
            text("/body/message/content/c").to_owned(),
            conns.into_iter().collect(),
        );
        like.entry(key).or_default().push(payload);
    }
    like
}

#[cfg(test)]
mod tests {
    use crate::testing::{lines, otherwise};

    /// What is told of the same things that came in another order, or with other numbers. `v` sends the
    /// messages x and y, and `w` the message z.
    #[track_caller]
    fn check([then, now]: [&[String]; 2], expected: &[&str]) {
        let ran = |came: &[String]| {
            let text = r#"
                0 u > CONNECT {"token":"a1…"}
                1 u < CONNECT
                2 v > CONNECT {"token":"a1…"}
                3 v < CONNECT
                4 w > CONNECT {"token":"a1…"}
                5 w < CONNECT
                6 v > message {"sid":"s","message":"x"}
                7 v > message {"sid":"s","message":"y"}
                8 w > message {"sid":"s","message":"z"}"#;
            let numbered = (10..).zip(came).map(|(at, came)| format!("{at} {came}"));
            lines(text).into_iter().chain(numbered).collect::<Vec<_>>()
        };
        assert_eq!(otherwise(&ran(then), &ran(now)), expected);
    }

    fn update(seq: u64, text: &str) -> String {
        format!(r#"u < update {{"id":"{text}","seq":{seq},"createdAt":1,"body":{{"t":"{text}"}}}}"#)
    }

    #[test]
    fn the_numbers_of_updates_rise() {
        let two = |first, second| [update(first, "a"), update(second, "b")];
        check([&two(1, 2), &two(1, 2)], &[]);
        // They need not be the same, nor without holes, and whichever comes first has the lower one.
        check([&two(1, 2), &two(5, 9)], &[]);
        let crossed = [update(1, "b"), update(2, "a")];
        check([&two(1, 2), &crossed], &[]);
        check([&two(1, 2), &two(2, 1)], &["u update b: different /seq"]);
        check([&two(1, 2), &two(1, 1)], &["u update b: different /seq"]);
        // The recorded server did not keep to it either.
        check([&two(2, 1), &two(7, 7)], &[]);
        // Each connection counts what it receives.
        let other = update(1, "b").replacen('u', "v", 1);
        check(
            [&[update(2, "a"), other.clone()], &[other, update(2, "a")]],
            &[],
        );
    }

    fn message(number: u64, text: &str) -> String {
        format!(
            r#"u < update {{"id":"{text}","createdAt":1,"body":{{"t":"new-message","sid":"s","message":{{"id":"m{text}","seq":{number},"content":{{"t":"encrypted","c":"{text}"}}}}}}}}"#
        )
    }

    #[test]
    fn the_messages_of_a_sender_come_as_they_were_sent() {
        let xy = [message(1, "x"), message(2, "y")];
        check([&xy, &xy], &[]);
        let behind = "u update new-message: different order";
        check([&xy, &[message(1, "y"), message(2, "x")]], &[behind]);
        // Those of another sender come before or after.
        let xz = [message(1, "x"), message(2, "z")];
        check([&xz, &[message(1, "z"), message(2, "x")]], &[]);
        // Nobody knows who sent what several sent, nor how the recorded server mixed them up.
        check([&[xy[1].clone(), xy[0].clone()], &xy], &[]);
    }

    #[test]
    fn the_numbers_of_messages_have_no_other_holes() {
        let two = |first, second| [message(first, "x"), message(second, "y")];
        check([&two(1, 3), &two(1, 3)], &[]);
        check(
            [&two(1, 2), &two(1, 3)],
            &["u update new-message: different /body/message/seq"],
        );
        // A message that did not come leaves its number behind.
        check(
            [&two(1, 2), &two(1, 2)[1..]],
            &["u update new-message: missing"],
        );
    }
}
