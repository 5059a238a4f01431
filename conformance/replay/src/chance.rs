//! What a recording does not settle: things that happened at the same time, and of which either may
//! come first.

use std::{collections::HashMap, ops::RangeInclusive};

use serde_json::Value;
use touchstone_client::trace::Traced;

use super::{
    drive::Played,
    heard::{Heard, What, type_of},
    names::Names,
    script::{Act, Recording, Step},
};

/// How long a recording has to go on after a step, in microseconds, for silence to mean that nothing
/// came; and how much later than its cause something still is of its time.
const SILENCE_US: u64 = 500_000;

pub(super) const PRESENCE: &str =
    "a machine came or went while the connection was opened or closed";
pub(super) const LATER: &str = "it may have come then as well, after the recording had ended";
pub(super) const END: &str = "the connection ended at the same moment";
pub(super) const RACE: &str = "a race, which another has won";

/// What the recording leaves to chance.
pub(super) struct Chance {
    /// When connections were opened and closed.
    changes: Changes,
    /// The connections of machines, by machine.
    machines: HashMap<String, Vec<String>>,
    /// When steps were sent, in order.
    step_us: Vec<u64>,
    /// When the recording ended.
    end_us: u64,
    /// When clients closed their connections, by connection.
    closed_us: HashMap<String, u64>,
    /// Of connections that the server ended: since when what came on them met the end.
    ending: HashMap<String, Ending>,
}

impl Chance {
    pub(super) fn new(recording: &Recording) -> Self {
        let mut machines: HashMap<String, Vec<String>> = HashMap::new();
        let mut closed_us = HashMap::new();
        for step in &recording.steps {
            match &step.act {
                Act::Send(Traced::Connect(auth)) => {
                    if let Some(machine) = auth["machineId"].as_str() {
                        let conns = machines.entry(machine.to_owned()).or_default();
                        conns.push(step.conn.clone());
                    }
                }
                Act::Close => {
                    closed_us.insert(step.conn.clone(), step.t_us);
                }
                _ => {}
            }
        }
        let step_us: Vec<u64> = recording.steps.iter().map(|step| step.t_us).collect();
        let last_step = step_us.last().copied();
        let last_heard = recording.heard.iter().map(|heard| heard.t_us).max();
        Self {
            changes: Changes::new(recording, &step_us, &recording.heard),
            machines,
            end_us: last_heard.max(last_step).unwrap_or_default(),
            step_us,
            closed_us,
            ending: endings(recording),
        }
    }

    /// Whether this presence of the recording met its connection, or its machine's, while both changed.
    pub(super) fn is_presence(&self, heard: &Heard) -> bool {
        self.presence(heard, &self.changes, |machine, id| machine == id)
    }

    /// The same of presence that came now and had not come then. `changes` are those of the replay.
    pub(super) fn is_new_presence(&self, heard: &Heard, changes: &Changes, names: &Names) -> bool {
        self.presence(heard, changes, |machine, id| names.renamed(machine) == id)
    }

    fn presence(
        &self,
        heard: &Heard,
        changes: &Changes,
        is_it: impl Fn(&str, &str) -> bool,
    ) -> bool {
        let Some((id, kind)) = presence_of(&heard.what) else {
            return false;
        };
        let mut machines = self
            .machines
            .iter()
            .filter(|(machine, _)| is_it(machine, id));
        let mut conns = machines.by_ref().flat_map(|(_, conns)| conns);
        conns.any(|conn| {
            let met = self.changes.met(&heard.conn, conn, kind);
            met.into_iter().any(|(own, other)| {
                changes
                    .span(&heard.conn, own, conn, other)
                    .is_some_and(|span| span.contains(&heard.t_us))
            })
        })
    }

    /// Whether what was recorded met the end of its connection, which the server ended now as well.
    pub(super) fn met_its_end(&self, heard: &Heard, ended_now: bool) -> bool {
        let ending = self.ending.get(&heard.conn);
        ended_now && ending.is_some_and(|end| is_met(end.since_us, heard.t_us, end.end_us))
    }

    /// The same of what came now and had not come then. `ended_us` is when the connection ended now.
    pub(super) fn meets_its_end(
        &self,
        heard: &Heard,
        played: &Played,
        ended_us: Option<u64>,
    ) -> bool {
        let ending = self.ending.get(&heard.conn);
        let since = ending.and_then(|end| played.sent_us.get(end.step));
        since
            .zip(ended_us)
            .is_some_and(|(since, end)| is_met(*since, heard.t_us, end))
    }

    /// Whether what came in the replay may have come in the recording after that had ended: nothing of
    /// the recording came behind it on its connection that takes the same road (`is_last`), and the
    /// recording of the connection ended soon after whatever can have caused it.
    pub(super) fn is_later(&self, heard: &Heard, played: &Played, is_last: bool) -> bool {
        let sent = played.sent_us.partition_point(|sent| *sent <= heard.t_us);
        let cause_us = sent.checked_sub(1).map_or(0, |step| self.step_us[step]);
        let end_us = self.closed_us.get(&heard.conn).unwrap_or(&self.end_us);
        let tail_us = end_us.saturating_sub(cause_us);
        let since_last = heard.t_us.saturating_sub(played.last_sent_us());
        is_last && (tail_us < SILENCE_US || since_last > tail_us)
    }
}

/// When connections were opened and closed, in the times of the recording or of the replay.
pub(super) struct Changes(HashMap<String, Vec<Change>>);

/// A connection is opened from CONNECT to its answer, and closed from the last step before it is.
struct Change {
    kind: Changing,
    from_us: u64,
    until_us: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Changing {
    Opens,
    Closes,
}

impl Changes {
    /// Steps are those of the recording, at the times of `sent_us`.
    pub(super) fn new(recording: &Recording, sent_us: &[u64], heard: &[Heard]) -> Self {
        let mut admitted: HashMap<&str, u64> = HashMap::new();
        for one in heard {
            if matches!(one.what, What::Admitted(_)) {
                admitted.entry(&one.conn).or_insert(one.t_us);
            }
        }
        let mut changes: HashMap<String, Vec<Change>> = HashMap::new();
        let mut last_us = 0;
        for (step, sent) in recording.steps.iter().zip(sent_us) {
            if let Some(change) = change(step, *sent, last_us, admitted.get(step.conn.as_str())) {
                changes.entry(step.conn.clone()).or_default().push(change);
            }
            if !matches!(step.act, Act::Close | Act::Do(_)) {
                last_us = *sent;
            }
        }
        Self(changes)
    }

    fn of(&self, conn: &str) -> &[Change] {
        self.0.get(conn).map_or(&[], Vec::as_slice)
    }

    /// The changes of `own` that met a change of this kind of `other`, as pairs of places.
    fn met(&self, own: &str, other: &str, kind: Changing) -> Vec<(usize, usize)> {
        let mut met = Vec::new();
        for (at, one) in self.of(own).iter().enumerate() {
            for (place, two) in self.of(other).iter().enumerate() {
                let overlap = one.from_us <= two.until_us && two.from_us <= one.until_us;
                if two.kind == kind && overlap && own != other {
                    met.push((at, place));
                }
            }
        }
        met
    }

    /// From the beginning of either change to when nothing of both can come any more.
    fn span(&self, own: &str, at: usize, other: &str, place: usize) -> Option<RangeInclusive<u64>> {
        let (one, two) = (self.of(own).get(at)?, self.of(other).get(place)?);
        let until = one.until_us.max(two.until_us).saturating_add(SILENCE_US);
        Some(one.from_us.min(two.from_us)..=until)
    }
}

fn change(step: &Step, sent_us: u64, last_us: u64, admitted: Option<&u64>) -> Option<Change> {
    let (kind, from_us, until_us) = match &step.act {
        Act::Send(Traced::Connect(_)) => (
            Changing::Opens,
            sent_us,
            admitted.copied().unwrap_or(u64::MAX),
        ),
        Act::Close => (Changing::Closes, last_us, sent_us + SILENCE_US),
        _ => return None,
    };
    Some(Change {
        kind,
        from_us,
        until_us,
    })
}

/// The machine whose presence this tells, and what its connection did.
pub(super) fn presence_of(what: &What) -> Option<(&str, Changing)> {
    let What::Event { name, args, .. } = what else {
        return None;
    };
    if type_of(name, args) != "machine-activity" {
        return None;
    }
    let id = args.pointer("/0/id")?.as_str()?;
    let kind = match args.pointer("/0/active").and_then(Value::as_bool)? {
        true => Changing::Opens,
        false => Changing::Closes,
    };
    Some((id, kind))
}

/// The end of a connection that the server ended.
struct Ending {
    /// When the client began to send what nothing was received behind but what met the end.
    since_us: u64,
    /// The step of that time.
    step: usize,
    end_us: u64,
}

/// Whether something came at the same moment as an end.
fn is_met(since_us: u64, at_us: u64, end_us: u64) -> bool {
    at_us >= since_us && end_us.saturating_sub(at_us) < SILENCE_US
}

fn endings(recording: &Recording) -> HashMap<String, Ending> {
    let mut endings = HashMap::new();
    for end in &recording.heard {
        if !matches!(end.what, What::Ended(_)) {
            continue;
        }
        let on = |conn: &str| conn == end.conn;
        // That the client lets go of it then is no cause.
        let sent: Vec<(usize, u64)> = recording
            .steps
            .iter()
            .enumerate()
            .filter(|(_, step)| on(&step.conn) && !matches!(step.act, Act::Close))
            .map(|(at, step)| (at, step.t_us))
            .filter(|(_, sent)| *sent <= end.t_us)
            .collect();
        let heard: Vec<u64> = recording
            .heard
            .iter()
            .filter(|one| on(&one.conn) && one.t_us < end.t_us)
            .map(|one| one.t_us)
            .collect();
        let Some(&(mut step, mut since_us)) = sent.last() else {
            continue;
        };
        for &(at, sent_us) in sent.iter().rev() {
            if heard.iter().any(|came| (sent_us..since_us).contains(came)) {
                break;
            }
            (step, since_us) = (at, sent_us);
        }
        let ending = Ending {
            since_us,
            step,
            end_us: end.t_us,
        };
        endings.insert(end.conn.clone(), ending);
    }
    endings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{lines, otherwise};

    /// What is told where `now` came in place of `then`, in recordings that are else alike.
    #[track_caller]
    fn check(text: &str, [then, now]: [&str; 2], expected: &[String]) {
        let [then, now] = [then, now].map(|more| {
            let mut all = lines(&format!("{text}\n{more}"));
            all.sort_by_key(|line| line.split(' ').next().and_then(|at| at.parse::<u64>().ok()));
            all
        });
        assert_eq!(otherwise(&then, &now), expected);
    }

    const PRESENT: &str = r#"u < ephemeral {"type":"machine-activity","id":"m","active":true}"#;
    const ABSENT: &str = r#"u < ephemeral {"type":"machine-activity","id":"m","active":false}"#;

    /// What is told of presence that came then and not now, and now and not then.
    #[track_caller]
    fn presence(text: &str, came: &str, expected: [&str; 2]) {
        let told = expected.map(|outcome| vec![format!("u ephemeral machine-activity: {outcome}")]);
        check(text, [came, ""], &told[0]);
        check(text, ["", came], &told[1]);
    }

    #[test]
    fn presence_is_left_to_chance_while_both_connections_change() {
        // Whatever comes on `u` before the last line is not what may have come later.
        let end = "\n2000 u > ping#9\n2001 u < #9 {}";
        let opened = |u: u64, m: u64| {
            let (u_admitted, m_admitted) = (u + 5, m + 5);
            format!(
                "{u} u > CONNECT {{\"token\":\"a1…\"}}\n{u_admitted} u < CONNECT\n{m} m > CONNECT \
                 {{\"token\":\"a1…\",\"machineId\":\"m\"}}\n{m_admitted} m < CONNECT{end}"
            )
        };
        let settled = ["missing", "extra"];
        presence(&opened(0, 3), &format!("9 {PRESENT}"), [PRESENCE, PRESENCE]);
        presence(&opened(3, 0), &format!("9 {PRESENT}"), [PRESENCE, PRESENCE]);
        // The connection was open before the machine came.
        presence(&opened(0, 7), &format!("13 {PRESENT}"), settled);
        // It is another machine, it goes and does not come, and it comes when both have long been there.
        let other = PRESENT.replace(r#""m""#, r#""n""#);
        presence(&opened(0, 3), &format!("9 {other}"), settled);
        presence(&opened(0, 3), &format!("9 {ABSENT}"), settled);
        presence(&opened(0, 3), &format!("900 {PRESENT}"), settled);
        // It goes while the connection is opened.
        let left = |at: u64| format!("{}\n{at} m closes", opened(1000, 0));
        presence(&left(1002), &format!("1006 {ABSENT}"), [PRESENCE, PRESENCE]);
        presence(&left(1002), &format!("1006 {PRESENT}"), settled);
        let stays = format!(
            "{}\n1100 v > CONNECT {{}}\n1101 v < CONNECT\n1102 m closes",
            opened(1000, 0)
        );
        presence(&stays, &format!("1106 {ABSENT}"), settled);
    }

    /// Each is left to chance by itself: one had come before the connection was there, the other was
    /// not waited for.
    #[test]
    fn coming_is_no_counterpart_of_going() {
        let text = "0 u > CONNECT {\"token\":\"a1…\"}\n3 m > CONNECT \
                    {\"token\":\"a1…\",\"machineId\":\"m\"}\n5 u < CONNECT\n8 m < CONNECT\n\
                    10 u > ping#1\n12 u < #1 {}\n20 m closes";
        let came = [format!("9 {PRESENT}"), format!("22 {ABSENT}")];
        let told = [PRESENCE, LATER].map(|why| format!("u ephemeral machine-activity: {why}"));
        check(text, [&came[0], &came[1]], &told);
    }

    /// A connection that is opened, pings at 10 ms, and whatever else happens.
    fn pinged(text: &str) -> String {
        let text = lines(text).join("\n");
        format!(
            "0 u > CONNECT {{\"token\":\"a1…\"}}\n1 u < CONNECT\n10 u > ping#1\n11 u < #1 {{}}\n{text}"
        )
    }

    #[test]
    fn what_came_after_the_recording_had_ended_is_no_difference() {
        #[track_caller]
        fn extra(text: &str, came: &str, outcome: &str) {
            let told = format!("u update: {outcome}");
            check(
                &pinged(text),
                ["", &format!("{came} u < update {{}}")],
                &[told],
            );
        }
        extra("", "12", LATER);
        extra("20 u closes", "12", LATER);
        // Half a second without it, on this connection or as a whole, says that it did not come.
        extra("511 v > CONNECT {}\n512 v < CONNECT", "12", "extra");
        extra(
            "20 u closes\n511 v > CONNECT {}\n512 v < CONNECT",
            "12",
            LATER,
        );
        extra("511 u closes", "12", "extra");
        extra("505 v > CONNECT {}\n506 v < CONNECT", "12", LATER);
        extra("511 v > CONNECT {}\n512 v < CONNECT", "513", LATER);
        // Something of the recording came behind it, on the same road.
        extra("21 u < update {\"n\":1}", "12", "extra");
        extra("20 u > ping#2\n21 u < #2 {}", "12", LATER);
        // It came longer after the last step than the recording went on.
        extra("611 u < update {\"n\":1}", "600", "extra");
    }

    #[test]
    fn what_meets_the_end_of_its_connection_is_left_to_chance() {
        let answer = "21 u < #2 {}";
        let told = |outcome: &str| [format!("u answer to x #2: {outcome}")];
        let ended = pinged("20 u > x#2 {}\n30 u ended\n2000 v > CONNECT {}\n2001 v < CONNECT");
        check(&ended, [answer, ""], &told(END));
        check(&ended, ["", answer], &told(END));
        // What had been answered before the last step did not meet it.
        let pong =
            pinged("20 u > x#2 {}\n22 u > y#3\n30 u ended\n2000 v > CONNECT {}\n2001 v < CONNECT");
        check(&pong, [answer, ""], &told("missing"));
        // It came long before the end.
        let late = pinged("20 u > x#2 {}\n600 u ended\n2000 v > CONNECT {}\n2001 v < CONNECT");
        check(&late, [answer, ""], &told("missing"));
        // The connection has not ended now.
        let open = pinged("20 u > x#2 {}\n22 u < update {}\n2000 v > CONNECT {}\n2001 v < CONNECT");
        let end = "u end of the connection: missing".to_owned();
        let [told] = told("extra");
        check(&open, ["30 u ended", answer], &[told, end]);
    }
}
