//! `POST /v1/kv`: several keys are written together or not at all. A version of -1 means a key that
//! never was; a value of null deletes.

use std::collections::HashMap;

use super::{Context, Outcome};
use crate::announce::{Event, Update};
use crate::builders::KvChange;
use crate::router::RecipientFilter;
use crate::store::{Change, KvEntry};

/// What was written; or those whose version is not the current one, as they are now.
pub(crate) type Mutated = Result<Vec<KvChange>, Vec<KvChange>>;

pub(crate) fn decide(cx: &Context<'_>, mutations: &[KvChange]) -> Outcome<Mutated> {
    let current = |key: &str| {
        let absent = KvEntry {
            value: None,
            version: -1,
        };
        cx.rows.kv(key).cloned().unwrap_or(absent)
    };
    let stale: Vec<KvChange> = mutations
        .iter()
        .filter_map(|KvChange { key, version, .. }| {
            let now = current(key);
            #[expect(clippy::cast_precision_loss, reason = "versions stay far below 2^53")]
            let is_current = cx.is_current(now.version, *version as f64);
            (!is_current).then(|| KvChange {
                key: key.clone(),
                value: now.value,
                version: now.version,
            })
        })
        .collect();
    if !stale.is_empty() && !cx.policy().kv_partial {
        return Outcome::of(Err(stale));
    }
    let mut outcome = Outcome::of(());
    let (mut written, mut versions) = (Vec::new(), HashMap::new());
    for KvChange { key, value, .. } in mutations {
        // A key that occurs twice is judged once, by what was there before, and written in turn.
        if stale.iter().any(|stale| stale.key == *key) {
            continue;
        }
        let version = versions.entry(key).or_insert_with(|| current(key).version);
        *version += 1;
        let (value, version) = (value.clone(), *version);
        written.push(KvChange {
            key: key.clone(),
            value: value.clone(),
            version,
        });
        outcome = outcome.change(Change::KvWritten(key.clone(), KvEntry { value, version }));
    }
    if !stale.is_empty() {
        return outcome.map(|()| Err(stale));
    }
    let told = Update::KvBatchUpdate(written.clone());
    outcome
        .event(Event::update(told, RecipientFilter::UserScopedOnly))
        .map(|()| Ok(written))
}
