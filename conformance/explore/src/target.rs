//! The server that is explored.

use std::{
    collections::HashSet,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use touchstone_client::{
    ConnectOptions,
    provision::{Provisioner, Rest},
};
use url::Url;

/// How long an answer or a sentinel may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// The same, once this server was seen to leave one of its kind out.
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
    missed: Mutex<HashSet<String>>,
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
            missed: Mutex::default(),
        })
    }

    /// How long something of this kind is waited for: once in full, then briefly.
    pub(crate) fn patience(&self, kind: &str) -> Duration {
        let missed = self.missed.lock().unwrap_or_else(PoisonError::into_inner);
        match missed.contains(kind) {
            true => BRIEF,
            false if kind.starts_with("rpc-call") => self.rpc_timeout + PATIENCE,
            false => PATIENCE,
        }
    }

    /// Something of this kind did not come.
    pub(crate) fn missed(&self, kind: &str) {
        let mut missed = self.missed.lock().unwrap_or_else(PoisonError::into_inner);
        missed.insert(kind.to_owned());
    }
}
