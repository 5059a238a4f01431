//! The server that is explored.

use std::{
    collections::{HashMap, HashSet},
    sync::Mutex,
    time::Duration,
};

use touchstone_client::{
    ConnectOptions,
    provision::{Provisioner, Rest},
};
use url::Url;

use crate::{crash::Crash, world::lock};

/// How long an answer or a sentinel may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// The same at least, once it is known that this server leaves things of its kind out.
const BRIEF: Duration = Duration::from_millis(700);
/// How many times longer than the slowest of its kind that did come.
const MARGIN: u32 = 10;
/// In how many rounds something is waited for in full that is left out, and that the judge has nothing
/// against.
const UNACCUSED: u32 = 2;

/// A server, and how it is reached.
#[derive(Debug)]
pub struct Target {
    /// Its nodes, at least one. Connections are spread over them.
    pub urls: Vec<Url>,
    /// How the first of them is reached.
    pub options: ConnectOptions,
    /// What makes accounts exist.
    pub provisioner: Provisioner,
    /// Its REST surface.
    pub rest: Rest,
    /// How long the server lets a callee be silent.
    pub rpc_timeout: Duration,
    /// How it is killed and started again in each round, if it is.
    pub crash: Option<Crash>,
    /// Whether connections may end for no fault of the server: a round that could not be run is tried again.
    pub is_unsteady: bool,
    waits: Mutex<HashMap<String, Wait>>,
}

impl Target {
    /// The server of `options`, all of whose nodes are `urls`.
    ///
    /// # Errors
    /// HTTP cannot be set up.
    pub fn new(
        urls: Vec<Url>,
        options: ConnectOptions,
        provisioner: Provisioner,
        rpc_timeout: Duration,
    ) -> Result<Self, touchstone_client::provision::ProvisionError> {
        let rest = Rest::new(&options)?;
        Ok(Self {
            urls,
            options,
            provisioner,
            rest,
            rpc_timeout,
            crash: None,
            is_unsteady: false,
            waits: Mutex::default(),
        })
    }

    /// How long something of this kind is waited for: in full, and briefly where it is known to be left out,
    /// by this server or in this round.
    pub(crate) fn patience(&self, kind: &str, is_missed: bool) -> Duration {
        let wait = lock(&self.waits).get(kind).copied().unwrap_or_default();
        let more = match is_missed || wait.is_omitted || wait.unaccused >= UNACCUSED {
            true => (wait.slowest * MARGIN).clamp(BRIEF, PATIENCE),
            false => PATIENCE,
        };
        match kind.starts_with("rpc-call") {
            true => self.rpc_timeout + more,
            false => more,
        }
    }

    /// Something of this kind came after it had been waited for so long.
    pub(crate) fn came(&self, kind: &str, after: Duration) {
        let mut waits = lock(&self.waits);
        match waits.get_mut(kind) {
            Some(wait) => wait.slowest = wait.slowest.max(after),
            None => {
                let wait = Wait {
                    slowest: after,
                    ..Wait::default()
                };
                waits.insert(kind.to_owned(), wait);
            }
        }
    }

    /// A round ended without things of these kinds. What only came late once must not be taken for left out:
    /// whoever is waited for briefly is accused of what the next stall delays.
    pub(crate) fn missed(&self, kinds: &HashSet<String>, is_accused: bool) {
        let mut waits = lock(&self.waits);
        for kind in kinds {
            let wait = waits.entry(kind.clone()).or_default();
            wait.is_omitted |= is_accused;
            wait.unaccused += 1;
        }
    }
}

/// What is known of a kind of things that are waited for.
#[derive(Debug, Clone, Copy, Default)]
struct Wait {
    /// Whether the judge said that one was left out.
    is_omitted: bool,
    /// In how many rounds one did not come.
    unaccused: u32,
    /// How long the slowest took that came.
    slowest: Duration,
}
