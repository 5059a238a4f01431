//! Optimistic concurrency, in the form that four events share: `{id, value, expectedVersion}`, answered
//! with success, version-mismatch or error.
//!
//! The judgments are written once and take the requirements of the event that they are made for.

use crate::{malformed, readback::Watched, versioned::Cas};
use futures_util::future::join_all;
use serde_json::{Value, json};

use touchstone_harness::{
    case::{Flow, Stop},
    ctx::{Ctx, same_json},
    ledger::Requirement,
    opaque,
    peer::{Arrival, Peer},
    stage::{Role, Stage, Wanted},
};

/// How many writers race.
const WRITERS: usize = 20;

impl Cas {
    /// A write with the current version: the answer has the value and the next version. Gives that
    /// version.
    pub(crate) async fn succeed(
        &self,
        cx: &mut Ctx,
        peer: &Peer,
        id: &str,
        value: &Value,
    ) -> Flow<i64> {
        let before = cx.marker("before");
        let before = self.write(cx, peer, id, &json!(before)).await?;
        let data = self.data(id, value, &json!(before));
        let answer = cx.call(self.answers, peer, self.event, data).await?;
        let schema = format!("ack/{}.success", self.event);
        cx.schema(self.answers, self.answers, &schema, &answer)?;
        let echoed = same_json(&answer[self.field], value);
        cx.check(
            self.answers,
            echoed,
            format!("{} {value}", self.field),
            &answer,
        );
        let expected = before + 1;
        cx.equal(
            self.increments,
            "version",
            &json!(expected),
            &answer["version"],
        );
        let version = answer["version"].as_i64().unwrap_or(expected);
        cx.saw_version(id, self.field, version);
        Ok(version)
    }

    /// Writes with versions that are not the current one: each is a mismatch that tells the current
    /// version and value, and changes and announces nothing.
    pub(crate) async fn mismatch(&self, cx: &mut Ctx, stage: &Stage, id: &str) -> Flow {
        let peer = stage.peer(Role::U1);
        let value = json!(cx.marker("current"));
        self.write(cx, peer, id, &value).await?;
        // One more, so that a stale version is one that existed.
        let value = json!(cx.marker("current"));
        let current = self.write(cx, peer, id, &value).await?;
        let marker = cx.marker("refused");
        let watched = Watched::of(stage);
        let before = watched.read(cx).await?;
        let rows = [
            (json!(current - 1), self.refuses_stale),
            (json!(current + 5), self.refuses_stale),
            // The current version to who looks at 32 bits of it.
            (json!(current + (1 << 32)), self.refuses_stale),
            (json!(-1), self.refuses_odd),
            (json!(-current), self.refuses_odd),
            (json!(0.5), self.refuses_odd),
            (current_fraction(current), self.refuses_odd),
        ];
        let schema = format!("ack/{}.mismatch", self.event);
        for (expected, refuses) in rows {
            let data = self.data(id, &json!(marker), &expected);
            let answer = cx.call(refuses, peer, self.event, data).await?;
            let told = format!("result version-mismatch for {expected}, current is {current}");
            let refused = answer["result"] == "version-mismatch";
            if !cx.check(refuses, refused, told, &answer) {
                // What was written all the same is the current value from now on.
                if answer["result"] == "success" {
                    return Ok(());
                }
                continue;
            }
            let tells = same_json(&answer["version"], &json!(current))
                && answer
                    .get(self.field)
                    .is_some_and(|told| same_json(told, &value));
            let told = json!({"version": current, self.field: value});
            // What does not tell them at all need not be told that its shape is wrong as well.
            if cx.check(self.returns_current, tells, told, &answer) {
                cx.schema(self.returns_current, self.returns_current, &schema, &answer)?;
            }
        }
        let wanted = Wanted::update(self.update, marker);
        stage
            .observe_nothing(cx, &wanted, self.silent_mismatch)
            .await?;
        watched.unchanged(cx, &before, self.silent_mismatch).await
    }

    /// Many writers with the same expected version at the same time, over several connections.
    pub(crate) async fn race(&self, cx: &mut Ctx, stage: &Stage, id: &str) -> Flow {
        let start = json!(cx.marker("before"));
        let before = self.write(cx, stage.peer(Role::U1), id, &start).await?;
        let race = cx.marker("race");
        let roles = [Role::U1, Role::U2, Role::S1];
        let mut calls = Vec::new();
        for writer in 0..WRITERS {
            let peer = stage.peer(roles[writer % roles.len()]);
            let value = opaque::numbered(&race, writer);
            calls.push(cx.ask(
                peer,
                self.event,
                self.data(id, &json!(value), &json!(before)),
            ));
        }
        let mut answers = Vec::new();
        for answer in join_all(calls).await {
            match answer? {
                Ok(answer) => answers.push(answer.data),
                Err(silent) => {
                    let after = silent.after.as_secs_f64();
                    let expected = format!("{WRITERS} answers");
                    cx.broken(
                        self.one_winner,
                        expected,
                        format!("one missing after {after} s"),
                    );
                    return Err(Stop::Judged);
                }
            }
        }
        let of = |result: &str| -> Vec<&Value> {
            answers
                .iter()
                .filter(|answer| answer["result"] == result)
                .collect()
        };
        let (winners, losers) = (of("success"), of("version-mismatch"));
        cx.require(
            self.one_winner,
            winners.len() == 1 && losers.len() == WRITERS - 1,
            format!("1 success and {} mismatches", WRITERS - 1),
            format!(
                "{} successes and {} mismatches",
                winners.len(),
                losers.len()
            ),
        )?;
        let winner = winners[0];
        if let Some(version) = winner["version"].as_i64() {
            cx.saw_version(id, self.field, version);
        }
        // A mismatch without data is judged elsewhere; here it is about being out of date.
        let outdated = losers.iter().find(|loser| {
            !same_json(&loser["version"], &winner["version"])
                || loser
                    .get(self.field)
                    .is_some_and(|v| !same_json(v, &winner[self.field]))
        });
        let shown = outdated.map_or_else(String::new, |loser| loser.to_string());
        let expected = json!({"version": winner["version"], self.field: winner[self.field]});
        cx.check(self.losers_see_winner, outdated.is_none(), expected, shown);
        stage.prove_silence(cx).await?;
        let wanted = Wanted::update(self.update, race);
        let mut ids: Vec<_> = stage
            .peer(Role::U2)
            .all(|arrival| wanted.matches(arrival))
            .iter()
            .map(|arrival| arrival.envelope_id().map(ToOwned::to_owned))
            .collect();
        // Deliveries of the same envelope are not judged here, nor is a lost one.
        ids.dedup();
        let count = ids.len();
        cx.check(
            self.one_broadcast,
            count <= 1,
            "one broadcast",
            format!("{count} broadcasts"),
        );
        let heard = stage.peer(Role::U2).all(|arrival| wanted.matches(arrival));
        for arrival in heard {
            let told = &arrival.data["body"][self.field]["value"];
            cx.equal(self.one_broadcast, self.field, &winner[self.field], told);
        }
        // The sentinels change the metadata of sessions and machines after the race.
        if self.field != "metadata" {
            let (_, value) = self.peek(cx, stage.peer(Role::U1), id).await?;
            let held = value.is_null() || same_json(&value, &winner[self.field]);
            let expected = format!("{} to be stored", winner[self.field]);
            cx.check(self.one_winner, held, expected, value);
        }
        Ok(())
    }

    /// Writers on several connections, each of which writes again with the current version until it has
    /// succeeded `TURNS` times. There are as many versions and as many announcements as successes.
    pub(crate) async fn contention(
        &self,
        cx: &mut Ctx,
        stage: &Stage,
        id: &str,
        counted: &'static Requirement,
    ) -> Flow {
        const TURNS: usize = 8;
        /// A writer that loses each time gives up: that somebody wins is judged by the race.
        const ATTEMPTS: usize = 40 * TURNS;
        let start = json!(cx.marker("before"));
        let before = self.write(cx, stage.peer(Role::U1), id, &start).await?;
        let marker = cx.marker("contention");
        let (cx_ref, marker_ref) = (&*cx, &marker);
        let writers = [Role::U1, Role::U2, Role::S1, Role::U1];
        let write = |(writer, role): (usize, Role)| async move {
            let peer = stage.peer(role);
            let (mut version, mut won) = (json!(before), 0);
            for _ in 0..ATTEMPTS {
                if won == TURNS {
                    break;
                }
                let value = json!(opaque::numbered(marker_ref, writer * TURNS + won));
                let data = self.data(id, &value, &version);
                let Ok(answer) = cx_ref.ask(peer, self.event, data).await? else {
                    return Ok(None);
                };
                won += usize::from(answer.data["result"] == "success");
                version = answer.data["version"].clone();
            }
            Flow::Ok(Some(won))
        };
        let won = join_all(writers.into_iter().enumerate().map(write)).await;
        let won: Option<Vec<usize>> = won.into_iter().collect::<Flow<_>>()?;
        let Some(won) = won else {
            return Err(Stop::Blocked {
                parent: self.answers,
                reason: format!("{} is not answered while others write", self.event),
            });
        };
        let successes: usize = won.iter().sum();
        let listener = stage.peer(Role::U2);
        let wanted = Wanted::update(self.update, &marker);
        let announced = |log: &[Arrival]| log.iter().filter(|one| wanted.matches(one)).count();
        let patience = cx.shared.pace.sentinel();
        listener
            .wait_while_coming(patience, successes, announced)
            .await;
        stage.prove_silence(cx).await?;
        let count = announced(&listener.all(|_| true));
        let expected = format!("{successes} announcements of as many successes");
        cx.check(
            counted,
            count == successes,
            expected,
            format!("{count} of them"),
        );
        let (version, _) = self.peek(cx, stage.peer(Role::U1), id).await?;
        let raised = version.as_i64().map(|version| version - before);
        let held = raised.is_some_and(|raised| usize::try_from(raised) == Ok(successes));
        let expected = format!("version {before} raised by {successes}");
        cx.check(counted, held, expected, &version);
        if let Some(version) = version.as_i64() {
            cx.saw_version(id, self.field, version);
        }
        Ok(())
    }

    /// Sends data that is wrong in each way that `rows` makes of right ones: each is answered with an error,
    /// and nothing is written or announced.
    pub(crate) async fn malformed(
        &self,
        cx: &mut Ctx,
        stage: &Stage,
        id: &str,
        rows: impl Fn(&Value) -> Vec<Value>,
        by: &'static Requirement,
    ) -> Flow {
        let peer = stage.peer(Role::U1);
        // The right version, so that only what is wrong keeps it from being written.
        let start = json!(cx.marker("before"));
        let version = self.write(cx, peer, id, &start).await?;
        let marker = cx.marker("malformed");
        let rows = rows(&self.data(id, &json!(marker), &json!(version)));
        let watched = Watched::of(stage);
        let before = watched.read(cx).await?;
        malformed::check(cx, by, peer, self.event, rows).await?;
        let wanted = Wanted::update(self.update, marker);
        stage.observe_nothing(cx, &wanted, by).await?;
        watched.unchanged(cx, &before, by).await
    }

    /// Changes this value while `other`, of the same record, has to stay as it is.
    pub(crate) async fn leaves_alone(
        &self,
        cx: &mut Ctx,
        peer: &Peer,
        id: &str,
        other: &Self,
        by: &'static Requirement,
    ) -> Flow {
        let kept = json!(cx.marker("kept"));
        let version = other.write(cx, peer, id, &kept).await?;
        for _ in 0..2 {
            let changed = json!(cx.marker("changed"));
            self.write(cx, peer, id, &changed).await?;
        }
        // What a mismatch tells is judged elsewhere; that the version is the same, a write shows.
        let (_, value) = other.peek(cx, peer, id).await?;
        let what = format!("{} {kept} after {}", other.field, self.event);
        cx.check(by, value.is_null() || value == kept, what, value);
        let again = json!(cx.marker("again"));
        let data = other.data(id, &again, &json!(version));
        let answer = cx.call(other.answers, peer, other.event, data).await?;
        let what = format!("success for {} with version {version}", other.event);
        cx.check(by, answer["result"] == "success", what, &answer);
        if let Some(version) = answer["version"].as_i64() {
            cx.saw_version(id, other.field, version);
        }
        Ok(())
    }
}

/// A version between the current one and the next.
fn current_fraction(current: i64) -> Value {
    serde_json::from_str(&format!("{current}.5")).unwrap_or(Value::Null)
}

/// Another account writes these parts of a row, with the right version: nothing is written or announced. `rows`
/// are the row and one of the other account.
pub(crate) async fn foreign(
    cx: &mut Ctx,
    stage: &Stage,
    parts: [&Cas; 2],
    [id, strangers]: [&str; 2],
    by: &'static Requirement,
) -> Flow {
    let (owner, stranger) = (stage.peer(Role::U1), stage.peer(Role::V1));
    let watched = Watched::of(stage);
    for cas in parts {
        let value = json!(cx.marker("own"));
        let version = cas.write(cx, owner, id, &value).await?;
        let before = watched.read(cx).await?;
        let marker = cx.marker("foreign");
        // Whether it is answered at all is judged elsewhere, so this does not wait for it: the same event for
        // a row of its own shows that it was handled.
        let data = cas.data(id, &json!(marker), &json!(version));
        cx.emit(stranger, cas.event, data).await?;
        let own = json!(cx.marker("own"));
        cas.write(cx, stranger, strangers, &own).await?;
        let wanted = Wanted::update(cas.update, &marker);
        stage.observe_nothing(cx, &wanted, by).await?;
        watched.unchanged(cx, &before, by).await?;
    }
    Ok(())
}
