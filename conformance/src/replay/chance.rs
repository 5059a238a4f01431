//! What a recording does not settle: things that happened at the same time, and of which either may
//! come first.

use std::collections::HashMap;

use serde_json::Value;
use touchstone_client::trace::Traced;

use super::{
    drive::Played,
    heard::{Heard, What, type_of},
    names::Names,
    script::{Act, Recording},
};

/// How long a recording has to go on after a step, in microseconds, for silence to mean that nothing
/// came.
const SILENCE_US: u64 = 500_000;

pub(super) const PRESENCE: &str =
    "a machine came or went while the connection was opened or closed";
pub(super) const LATER: &str = "it may have come then as well, after the recording had ended";
pub(super) const END: &str = "the connection ended at the same moment";
pub(super) const RACE: &str = "a race, which another has won";

/// What the recording leaves to chance.
pub(super) struct Chance {
    /// From CONNECT to its answer, and from the last step before its end to the end, by connection.
    changing: HashMap<String, Vec<(u64, u64)>>,
    /// The connections of machines, by machine.
    machines: HashMap<String, Vec<String>>,
    /// How long the recording went on after its last step.
    tail_us: u64,
    /// Since when what came on a connection met its end, by connection, and the step of that time.
    ending: HashMap<String, (u64, usize)>,
    /// Connections that their clients closed soon after something was sent.
    closed_soon: HashMap<String, bool>,
}

impl Chance {
    pub(super) fn new(recording: &Recording) -> Self {
        let mut chance = Self {
            changing: HashMap::new(),
            machines: HashMap::new(),
            tail_us: 0,
            ending: endings(recording),
            closed_soon: HashMap::new(),
        };
        let mut opening: HashMap<&str, u64> = HashMap::new();
        let mut last_step = 0;
        for step in &recording.steps {
            match &step.act {
                Act::Send(Traced::Connect(auth)) => {
                    opening.insert(&step.conn, step.t_us);
                    if let Some(machine) = auth["machineId"].as_str() {
                        let conns = chance.machines.entry(machine.to_owned()).or_default();
                        conns.push(step.conn.clone());
                    }
                }
                Act::Close => {
                    let soon = step.t_us.saturating_sub(last_step) < SILENCE_US;
                    chance.closed_soon.insert(step.conn.clone(), soon);
                    chance.change(&step.conn, (last_step, step.t_us + SILENCE_US));
                }
                _ => {}
            }
            if !matches!(step.act, Act::Close | Act::Do(_)) {
                last_step = step.t_us;
            }
        }
        for heard in &recording.heard {
            if matches!(heard.what, What::Admitted(_))
                && let Some(sent) = opening.remove(heard.conn.as_str())
            {
                chance.change(&heard.conn, (sent, heard.t_us));
            }
        }
        for (conn, sent) in opening {
            chance.change(conn, (sent, u64::MAX));
        }
        let last_heard = recording.heard.iter().map(|heard| heard.t_us).max();
        chance.tail_us = last_heard.unwrap_or(0).saturating_sub(last_step);
        chance
    }

    fn change(&mut self, conn: &str, span: (u64, u64)) {
        self.changing.entry(conn.to_owned()).or_default().push(span);
    }

    /// Whether this presence of a machine met its connection while both changed. `names` where it is of
    /// the replay.
    pub(super) fn is_presence(&self, heard: &Heard, names: Option<&Names>) -> bool {
        let What::Event { name, args, .. } = &heard.what else {
            return false;
        };
        if type_of(name, args) != "machine-activity" {
            return false;
        }
        let Some(id) = args.pointer("/0/id").and_then(Value::as_str) else {
            return false;
        };
        let is_it = |old: &str| names.map_or(old == id, |names| names.renamed(old) == id);
        let Some(own) = self.changing.get(&heard.conn) else {
            return false;
        };
        self.machines
            .iter()
            .filter(|(machine, _)| is_it(machine))
            .flat_map(|(_, conns)| conns)
            .filter_map(|conn| self.changing.get(conn))
            .flatten()
            .any(|other| own.iter().any(|own| own.0 <= other.1 && other.0 <= own.1))
    }

    /// Whether what was recorded met the end of its connection, which the server ended now as well.
    pub(super) fn met_its_end(&self, heard: &Heard, ended_now: bool) -> bool {
        let ending = self.ending.get(&heard.conn);
        ended_now && ending.is_some_and(|(since, _)| heard.t_us >= *since)
    }

    /// The same of what came now and had not come then.
    pub(super) fn meets_its_end(&self, heard: &Heard, played: &Played) -> bool {
        let ending = self.ending.get(&heard.conn);
        ending.is_some_and(|(_, step)| {
            played
                .sent_us
                .get(*step)
                .is_some_and(|sent| heard.t_us >= *sent)
        })
    }

    /// Whether what came in the replay may have come in the recording after that had ended: nothing of
    /// the recording came behind it on its connection (`is_last`), and the recording, or the
    /// connection, ended soon.
    pub(super) fn is_later(&self, heard: &Heard, played: &Played, is_last: bool) -> bool {
        let since_end = heard.t_us.saturating_sub(played.last_sent_us());
        let closed_soon = self.closed_soon.get(&heard.conn).copied().unwrap_or(false);
        is_last && (closed_soon || self.tail_us < SILENCE_US || since_end > self.tail_us)
    }
}

/// Of connections that the server ended: when the client began to send what nothing was received behind
/// but what met the end.
fn endings(recording: &Recording) -> HashMap<String, (u64, usize)> {
    let mut endings = HashMap::new();
    for end in &recording.heard {
        if !matches!(end.what, What::Ended(_)) {
            continue;
        }
        let on = |conn: &str| conn == end.conn;
        let sent: Vec<(usize, u64)> = recording
            .steps
            .iter()
            .enumerate()
            .filter(|(_, step)| on(&step.conn) && step.t_us <= end.t_us)
            .map(|(at, step)| (at, step.t_us))
            .collect();
        let heard: Vec<u64> = recording
            .heard
            .iter()
            .filter(|one| on(&one.conn) && one.t_us < end.t_us)
            .map(|one| one.t_us)
            .collect();
        let Some(&(mut first, mut since)) = sent.last() else {
            continue;
        };
        for &(at, sent_us) in sent.iter().rev() {
            if heard.iter().any(|came| (sent_us..since).contains(came)) {
                break;
            }
            (first, since) = (at, sent_us);
        }
        endings.insert(end.conn.clone(), (since, first));
    }
    endings
}
