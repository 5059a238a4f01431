//! A baseline that lists what this run found, for `--write-baseline`.

use std::io::{self, Write};

use crate::{
    baseline::Baseline,
    event::{Reporter, RunReport},
};

/// Writes the baseline of a run to `out` when the run is over.
#[derive(Debug)]
pub struct BaselineFile<W> {
    out: W,
    /// What was known before: entries that still hold keep their reasons.
    known: Baseline,
}

impl<W: Write> BaselineFile<W> {
    /// A baseline that goes to `out`, and takes over from `known` what still holds.
    pub fn new(out: W, known: Baseline) -> Self {
        Self { out, known }
    }
}

impl<W: Write + Send> Reporter for BaselineFile<W> {
    fn finished(&mut self, run: &RunReport) -> io::Result<()> {
        let text = self.known.refreshed(run).map_err(io::Error::other)?;
        self.out.write_all(text.as_bytes())?;
        self.out.flush()
    }
}
