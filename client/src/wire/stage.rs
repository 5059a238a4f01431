//! Where a connection attempt is, readable from outside of the future that makes it.

use std::sync::atomic::{AtomicU8, Ordering};

use crate::error::Stage;

const STAGES: [Stage; 5] = [
    Stage::Dialing,
    Stage::Tls,
    Stage::Upgrading,
    Stage::EngineHandshake,
    Stage::ConnectAnswer,
];

#[derive(Debug, Default)]
pub(crate) struct StageCell(AtomicU8);

impl StageCell {
    pub(crate) fn enter(&self, stage: Stage) {
        let index = STAGES.iter().position(|s| *s == stage).unwrap_or_default();
        self.0.store(index as u8, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> Stage {
        STAGES[usize::from(self.0.load(Ordering::Relaxed))]
    }
}
