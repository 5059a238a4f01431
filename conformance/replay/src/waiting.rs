//! What came in a replay and has not found its counterpart in the recording yet.

use std::collections::{HashMap, VecDeque};

use super::{
    chance::presence_of,
    heard::{Heard, What},
    names::Names,
};

/// How many deliveries of one kind ahead are looked through for the counterpart of one.
const AHEAD: usize = 256;

/// What was heard now, by connection and class, until it has found its counterpart.
pub(super) struct Waiting<'a> {
    queues: HashMap<(String, String), VecDeque<Came<'a>>>,
    /// When connections ended.
    pub(super) ended: HashMap<&'a str, u64>,
}

/// Something that came now, and the how-manieth of all it was.
#[derive(Clone, Copy)]
pub(super) struct Came<'a> {
    pub(super) place: u64,
    pub(super) heard: &'a Heard,
}

impl<'a> Waiting<'a> {
    pub(super) fn new(heard: &'a [Heard]) -> Self {
        let mut waiting = Self {
            queues: HashMap::new(),
            ended: HashMap::new(),
        };
        for (place, heard) in (0..).zip(heard) {
            let key = (heard.conn.clone(), heard.what.class());
            let queue = waiting.queues.entry(key).or_default();
            queue.push_back(Came { place, heard });
            if matches!(heard.what, What::Ended(_)) {
                waiting.ended.entry(&heard.conn).or_insert(heard.t_us);
            }
        }
        waiting
    }

    fn queue(&mut self, conn: &str, what: &What) -> Option<&mut VecDeque<Came<'a>>> {
        self.queues.get_mut(&(conn.to_owned(), what.class()))
    }

    pub(super) fn take_first(&mut self, like: &Heard) -> Option<Came<'a>> {
        self.queue(&like.conn, &like.what)?.pop_front()
    }

    /// One of the same kind about the same session, machine or artifact, or about none. That a machine
    /// has come says nothing of its going.
    pub(super) fn take_about(&mut self, like: &Heard, names: &Names) -> Option<Came<'a>> {
        let about = entity(&like.what).map(|id| names.renamed(id));
        let change = |what: &What| presence_of(what).map(|(_, change)| change);
        self.take_where(&like.conn, &like.what, |one| {
            entity(&one.what) == about.as_deref() && change(&one.what) == change(&like.what)
        })
    }

    pub(super) fn take_where(
        &mut self,
        conn: &str,
        what: &What,
        fits: impl Fn(&Heard) -> bool,
    ) -> Option<Came<'a>> {
        let queue = self.queue(conn, what)?;
        let found = queue.iter().take(AHEAD).position(|one| fits(one.heard))?;
        queue.remove(found)
    }

    /// Everything that waits, in order of arrival.
    pub(super) fn all(&self) -> impl Iterator<Item = Came<'a>> + use<'a> {
        let mut all: Vec<_> = self.queues.values().flatten().copied().collect();
        all.sort_by_key(|came| came.place);
        all.into_iter()
    }

    pub(super) fn take_rest(&mut self) -> Vec<&'a Heard> {
        let rest = self.queues.drain().flat_map(|(_, queue)| queue);
        rest.map(|one| one.heard).collect()
    }
}

fn entity(what: &What) -> Option<&str> {
    let What::Event { name, args, .. } = what else {
        return None;
    };
    let data = args.get(0)?;
    let body = if name == "update" {
        &data["body"]
    } else {
        data
    };
    ["sid", "machineId", "artifactId", "uid", "method", "id"]
        .into_iter()
        .find_map(|key| body.get(key)?.as_str())
}
