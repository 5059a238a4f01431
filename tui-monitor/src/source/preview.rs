//! Entries of packets that are still on their way, for expressions about them.
//!
//! Nothing is shown or recorded here.

use touchstone_client::trace::Record;

use super::desk::Desk;
use super::sighted::{Origins, what_of};
use super::{RPC_PATIENCE, What};
use crate::event::{Entry, Input};

/// What is known of one connection's packets so far.
#[derive(Debug)]
pub struct Preview {
    desk: Desk,
    origins: Origins,
}

impl Default for Preview {
    fn default() -> Self {
        Self {
            desk: Desk::new(RPC_PATIENCE),
            origins: Origins::default(),
        }
    }
}

impl Preview {
    /// The entry that a record would be, with the type `connect` for a CONNECT. Nothing for heartbeats and
    /// the packets of the transport.
    pub fn entry(&mut self, record: Record) -> Option<Entry> {
        let origin = self.origins.of(&record);
        let t_us = record.t_us;
        let what = match what_of(record, &[])? {
            What::Connect(auth) => What::Connection("connect", auth.to_string()),
            what => what,
        };
        let mut inputs = Vec::new();
        self.desk
            .see((0, t_us), &origin, &what, Vec::new(), &mut inputs);
        inputs.into_iter().find_map(|input| match input {
            Input::Entry(entry) => Some(*entry),
            _ => None,
        })
    }
}
