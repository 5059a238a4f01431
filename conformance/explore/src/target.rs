//! The server that is explored.

use std::{collections::HashSet, sync::Mutex, time::Duration};

use touchstone_client::{
    ConnectOptions,
    provision::{Provisioner, Rest},
};
use url::Url;

use crate::world::lock;

/// How long an answer or a sentinel may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// The same, once it is known that this server leaves things of its kind out.
const BRIEF: Duration = Duration::from_millis(700);

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
    omits: Mutex<HashSet<String>>,
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
            omits: Mutex::default(),
        })
    }

    /// How long something of this kind is waited for: in full, and briefly where it is known to be left out.
    pub(crate) fn patience(&self, kind: &str) -> Duration {
        match lock(&self.omits).contains(kind) {
            true => BRIEF,
            false if kind.starts_with("rpc-call") => self.rpc_timeout + PATIENCE,
            false => PATIENCE,
        }
    }

    /// The server leaves out things of these kinds. What only came late once must not get here: whoever is
    /// waited for briefly is accused of what the next stall delays.
    pub(crate) fn omits(&self, kinds: impl IntoIterator<Item = String>) {
        lock(&self.omits).extend(kinds);
    }
}
