//! Who is to blame: missing, doubled and misdirected events of one action.

use std::time::Duration;

use super::{Delivery, Role, Stage, Wanted};
use crate::{
    case::{Flow, Stop},
    ctx::Ctx,
    ledger::Requirement,
    own,
    peer::Arrival,
};

/// How many updates tell whether a server loses some of them: enough that one which loses each tenth
/// of all its updates is caught, though other cases cause updates at the same time.
const PROBE_UPDATES: u32 = 40;

impl Stage {
    /// `waited` is how long it was waited for everyone to have it.
    pub(super) async fn judge(
        &self,
        cx: &mut Ctx,
        delivery: &Delivery<'_>,
        waited: Duration,
    ) -> Flow<Arrival> {
        let wanted = &delivery.wanted;
        let received = |role: &Role| self.peer(*role).all(|arrival| wanted.matches(arrival));
        let logs: Vec<_> = delivery
            .reaches
            .iter()
            .map(|role| (*role, received(role)))
            .collect();
        let missing: Vec<_> = logs
            .iter()
            .filter(|(_, log)| log.is_empty())
            .map(|(role, _)| role.described())
            .collect();
        let deaf = logs.iter().filter(|(_, log)| log.is_empty());
        let clue = wanted.clue().missing(deaf.map(|(role, _)| role.name()));
        let everyone: Vec<_> = delivery
            .reaches
            .iter()
            .map(|role| role.described())
            .collect();
        let expected = format!("{} for {}", wanted.kind, everyone.join(", "));
        let Some(first) = logs.iter().find_map(|(_, log)| log.first().cloned()) else {
            self.blame_absence(cx, delivery, &expected, waited).await?;
            return Err(Stop::Judged);
        };
        cx.check_by(
            clue,
            delivery.by,
            missing.is_empty(),
            &expected,
            format!("nothing for {}", missing.join(", ")),
        );
        self.judge_duplicates(cx, delivery, &logs);
        for &(roles, by) in delivery.spares {
            self.judge_spared(cx, wanted, roles, by);
        }
        let foreign: Vec<_> = Role::ALL
            .into_iter()
            .filter(|role| role.is_foreign())
            .collect();
        if foreign.iter().any(|&role| self.find(role).is_some()) {
            self.judge_spared(cx, wanted, &foreign, &own::ISOLATED);
        }
        Ok(first)
    }

    fn judge_spared(
        &self,
        cx: &mut Ctx,
        wanted: &Wanted,
        roles: &[Role],
        by: &'static Requirement,
    ) {
        let has = |role: &&Role| {
            self.find(**role)
                .is_some_and(|peer| !peer.all(|arrival| wanted.matches(arrival)).is_empty())
        };
        let wrong: Vec<_> = roles.iter().filter(has).collect();
        let reached: Vec<_> = wrong.iter().map(|role| role.described()).collect();
        let spared: Vec<_> = roles.iter().map(|role| role.described()).collect();
        cx.check_by(
            wanted.clue().wrong(wrong.iter().map(|role| role.name())),
            by,
            reached.is_empty(),
            format!("no {} for {}", wanted.kind, spared.join(", ")),
            format!("{} for {}", wanted.kind, reached.join(", ")),
        );
    }

    /// The same envelope twice is a fault of delivery; two envelopes for one cause are a fault of what
    /// caused them.
    fn judge_duplicates(
        &self,
        cx: &mut Ctx,
        delivery: &Delivery<'_>,
        logs: &[(Role, Vec<Arrival>)],
    ) {
        let Some((role, log)) = logs.iter().find(|(_, log)| log.len() > 1) else {
            cx.held(&own::NO_DUPLICATE);
            return;
        };
        let kind = delivery.wanted.kind;
        let count = log.len();
        let same = log[0].envelope_id().is_some() && log[0].envelope_id() == log[1].envelope_id();
        let by = if same {
            &own::NO_DUPLICATE
        } else {
            delivery.by
        };
        let again = if same {
            "with the same id"
        } else {
            "with different ids"
        };
        cx.broken_by(
            delivery.wanted.clue().wrong([role.name()]),
            by,
            format!("{kind} exactly once"),
            format!("{count} times for {}, {again}", role.described()),
        );
    }

    /// An event reached nobody. Either the server does not send it, or it loses updates now and then:
    /// a series of updates that certainly exist tells the two apart.
    async fn blame_absence(
        &self,
        cx: &mut Ctx,
        delivery: &Delivery<'_>,
        expected: &str,
        waited: Duration,
    ) -> Flow {
        let lost = match delivery.wanted.event {
            "update" => self.lost_of_series(cx).await?,
            _ => 0,
        };
        let (by, mut actual) = match lost {
            0 => {
                let waited = waited.as_secs_f64();
                let actual = format!("nothing for anyone within {waited:.1} s");
                (delivery.by, actual)
            }
            _ => {
                let series = format!("of {PROBE_UPDATES} further updates {lost} got lost");
                (&own::NO_LOSS, format!("nothing for anyone; {series}"))
            }
        };
        // What came to them in a shape that nobody knows is what a reader has to see.
        let instead = |role: &Role| {
            let came = self.peer(*role);
            let came = came.all(|arrival| delivery.wanted.resembles(arrival));
            came.into_iter().next().map(|arrival| (*role, arrival))
        };
        let instead: Vec<_> = delivery.reaches.iter().filter_map(instead).collect();
        if let Some((role, arrival)) = instead.first() {
            let (who, name) = (role.described(), &arrival.name);
            actual.push_str(&format!("; instead {who} received {name} {}", arrival.raw));
        }
        let has_other = |role: &Role| instead.iter().any(|(other, _)| other == role);
        let (wrong, missing): (Vec<Role>, Vec<Role>) =
            delivery.reaches.iter().partition(|role| has_other(role));
        let clue = delivery.wanted.clue();
        let clue = clue.missing(missing.iter().map(|role| role.name()));
        let clue = clue.wrong(wrong.iter().map(|role| role.name()));
        cx.broken_by(clue, by, expected, actual);
        Ok(())
    }

    /// Causes a series of updates of session S1, and counts those that did not arrive.
    async fn lost_of_series(&self, cx: &mut Ctx) -> Flow<u32> {
        let Some(sentinel) = self.sentinels().into_iter().next() else {
            return Ok(0);
        };
        let Some(listener) = sentinel.reaches.first().map(|&role| self.peer(role)) else {
            return Ok(0);
        };
        cx.step("a series of updates, to see whether some get lost");
        let mut markers = Vec::new();
        for _ in 0..PROBE_UPDATES {
            let marker = cx.marker("series");
            if !self
                .bump(cx, sentinel.driver, sentinel.subject, &marker)
                .await?
            {
                return Ok(0);
            }
            markers.push(marker);
        }
        // The last one may be lost as well, so more are sent until one arrives.
        self.prove_silence(cx).await?;
        let kind = sentinel.subject.kind();
        let count = |log: &[Arrival]| {
            let arrived = log.iter().filter(|arrival| arrival.kind() == Some(kind));
            let arrived: Vec<_> = arrived.map(|arrival| &arrival.raw).collect();
            let has = |marker: &&String| arrived.iter().any(|raw| raw.contains(*marker));
            markers.iter().filter(has).count()
        };
        let patience = cx.shared.pace.sentinel();
        let arrived = listener
            .wait_while_coming(patience, markers.len(), count)
            .await;
        // A server that sends none of them does not lose some.
        if arrived == 0 {
            Ok(0)
        } else {
            Ok(u32::try_from(markers.len() - arrived).unwrap_or(u32::MAX))
        }
    }
}
