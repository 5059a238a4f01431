//! Faults in what the server counts.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;
use touchstone_reference_server::builders::MessageRow;
use touchstone_reference_server::seams::{Rows, Seams};

use crate::{Fault, Faults};

/// How long a change can be overwritten unseen with the fault `race-winners`.
const RACE: Duration = Duration::from_millis(5);

/// What is counted.
#[derive(Debug)]
pub(crate) struct Numbers(pub(crate) Faults);

impl Seams for Numbers {
    fn update_seq(&self, account: &str, right: u64) -> u64 {
        let faults = &self.0;
        if faults.on(Fault::SeqStuck) {
            return 1;
        }
        if faults.on(Fault::SeqDown) {
            return 1_000_000 - right;
        }
        let mut memory = faults.memory();
        if right > 1 && faults.strikes_at(Fault::SeqShared, right) {
            *memory.shared_seqs.entry(account.to_owned()).or_default() += 1;
        }
        let of_account = |counts: &HashMap<String, u64>| counts.get(account).copied().unwrap_or(0);
        right + of_account(&memory.skipped_seqs) - of_account(&memory.shared_seqs)
    }

    fn is_current(&self, current: f64, expected: f64, right: bool) -> bool {
        let faults = &self.0;
        let is_race = || {
            let changed = faults.memory().changed;
            changed.is_some_and(|changed| changed.elapsed() < RACE)
        };
        if right && faults.on(Fault::RaceWinners) {
            faults.memory().changed = Some(Instant::now());
        }
        right
            || faults.on(Fault::StaleAccept)
            || faults.on(Fault::FutureAccept) && expected > current
            || faults.on(Fault::FractionAccept) && expected > current && expected < current + 1.0
            || faults.on(Fault::NegativeAccept) && expected < 0.0
            || faults.on(Fault::TwoWinners) && expected >= current - 1.0 && expected <= current
            || faults.on(Fault::RaceWinners) && expected == current - 1.0 && is_race()
    }

    fn next_version(&self, version: u64, right: u64) -> u64 {
        let faults = &self.0;
        match () {
            () if faults.on(Fault::VersionPlusTwo) => version + 2,
            () if faults.on(Fault::VersionStuck) => version,
            () => right,
        }
    }

    fn message_seq(&self, rows: &Rows, session: &str, right: u64) -> u64 {
        let faults = &self.0;
        let elsewhere = || {
            let others = rows.messages().filter(|(id, _)| *id != session);
            others
                .map(|(_, messages)| messages.len() as u64)
                .sum::<u64>()
        };
        match () {
            () if faults.on(Fault::MessageSeqStuck) => 1,
            () if faults.on(Fault::MessageSeqZero) => right - 1,
            () if faults.on(Fault::MessageSeqAccount) => right + elsewhere(),
            () => right,
        }
    }

    fn known_message(
        &self,
        rows: &Rows,
        session: &str,
        local_id: Option<&str>,
        content: &Value,
        right: Option<MessageRow>,
    ) -> Option<MessageRow> {
        let faults = &self.0;
        let of_session = || {
            let mut all = rows.messages().filter(|(id, _)| *id == session);
            all.next().map_or(&[][..], |(_, messages)| messages)
        };
        if faults.on(Fault::DedupeSeq) && right.is_some() {
            faults.memory().skip_seq(rows.account());
        }
        if faults.on(Fault::DedupeText) && local_id.is_none() {
            let mut all = of_session().iter();
            return all
                .find(|message| message.local_id.is_none() && message.content == *content)
                .cloned();
        }
        if faults.on(Fault::DedupeFades)
            && let Some(local_id) = local_id
            && faults.memory().forgets(session, local_id)
        {
            return None;
        }
        if faults.on(Fault::LocalIdsFolded)
            && let Some(local_id) = local_id.map(str::to_lowercase)
        {
            let folded = |known: &&MessageRow| {
                let known = known.local_id.as_deref().map(str::to_lowercase);
                known.as_ref() == Some(&local_id)
            };
            return of_session().iter().find(folded).cloned();
        }
        if faults.on(Fault::DedupeWide) && local_id.is_some() && right.is_none() {
            let mut all = rows.messages().flat_map(|(_, messages)| messages);
            return all
                .find(|message| message.local_id.as_deref() == local_id)
                .cloned();
        }
        right.filter(|known| {
            let is_last = || of_session().last().is_some_and(|last| last.id == known.id);
            !faults.on(Fault::DedupeOff) && (!faults.on(Fault::DedupeLast) || is_last())
        })
    }
}
