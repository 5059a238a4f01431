//! Making the accounts, sessions and machines that a schedule needs.

use std::collections::HashMap;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tokio::sync::watch;
use touchstone_client::{
    Secret,
    provision::{Made, NewMachine, NewSession, ProvisionError, Provisioner},
};

use super::RunPlan;
use crate::{scenario::EventKind, schedule::Account};

/// Accounts that are made at the same time.
const PARALLEL: usize = 32;

/// What exists for one account. Ids are JSON strings with their quotes, ready to be written.
#[derive(Debug)]
pub(super) struct Provided {
    pub(super) token: Secret,
    pub(super) sessions: Vec<String>,
    pub(super) machines: Vec<String>,
    /// The versions that the server told.
    pub(super) versions: Vec<((EventKind, u32), i64)>,
}

/// Which account each session and machine of the run belongs to.
#[derive(Debug, Default)]
pub(super) struct Directory {
    sessions: HashMap<Box<str>, (u32, u32)>,
    machines: HashMap<Box<str>, (u32, u32)>,
}

impl Directory {
    pub(super) fn add(&mut self, account: u32, provided: &Provided) {
        for (map, ids) in [
            (&mut self.sessions, &provided.sessions),
            (&mut self.machines, &provided.machines),
        ] {
            for (subject, id) in (0..).zip(ids) {
                map.insert(id.trim_matches('"').into(), (account, subject));
            }
        }
    }

    /// The account, and which of its machines or sessions it is.
    pub(super) fn get(&self, (machine, id): (bool, &str)) -> Option<(u32, u32)> {
        let map = if machine {
            &self.machines
        } else {
            &self.sessions
        };
        map.get(id).copied()
    }
}

/// Makes everything. `made` counts accounts as they are finished, and tells at each percent.
pub(super) async fn provide(
    plan: &RunPlan,
    made: &watch::Sender<u64>,
) -> Result<Vec<(Account, Provided)>, ProvisionError> {
    let schedule = &plan.schedule;
    let traced = plan.trace.as_ref().map(|traced| {
        let recorded = plan.provisioner.recorded(&traced.recorder);
        (recorded, traced.end(plan))
    });
    let provisioner = |account: &Account| match &traced {
        Some((recorded, end)) if account.index < *end => recorded,
        _ => &*plan.provisioner,
    };
    let provisioner = &provisioner;
    let step = u64::from(schedule.scenario().population.accounts / 100).max(1);
    stream::iter(schedule.accounts())
        .map(|account| async move {
            let provided =
                provide_one(account, provisioner(&account), schedule.seed(), plan.id).await?;
            made.send_if_modified(|made| {
                *made += 1;
                *made % step == 0
            });
            Ok((account, provided))
        })
        .buffered(PARALLEL)
        .try_collect()
        .await
}

async fn provide_one(
    account: Account,
    provisioner: &Provisioner,
    seed: u64,
    run: u32,
) -> Result<Provided, ProvisionError> {
    let key = Sha256::new()
        .chain_update(seed.to_le_bytes())
        .chain_update(run.to_le_bytes())
        .chain_update(account.index.to_le_bytes());
    let owner = provisioner.account(key.finalize().into()).await?;
    let mut provided = Provided {
        token: owner.token.clone(),
        sessions: Vec::with_capacity(account.sessions as usize),
        machines: Vec::with_capacity(account.machines as usize),
        versions: Vec::new(),
    };
    let name = |what: &str, number| format!("load-{run:08x}-{}-{what}-{number}", account.index);
    for number in 0..account.sessions {
        let new = NewSession {
            tag: name("session", number),
            metadata: "load".to_owned(),
            ..NewSession::default()
        };
        let session = provisioner.session(&owner, &new).await?;
        let versions = [
            (EventKind::UpdateMetadata, "metadataVersion"),
            (EventKind::UpdateState, "agentStateVersion"),
        ];
        provided.versions.extend(known(&session, number, versions));
        provided.sessions.push(Value::from(session.id).to_string());
    }
    for number in 0..account.machines {
        let new = NewMachine {
            id: name("machine", number),
            metadata: "load".to_owned(),
            ..NewMachine::default()
        };
        let machine = provisioner.machine(&owner, &new).await?;
        let versions = [
            (EventKind::MachineUpdateMetadata, "metadataVersion"),
            (EventKind::MachineUpdateState, "daemonStateVersion"),
        ];
        provided.versions.extend(known(&machine, number, versions));
        provided.machines.push(Value::from(machine.id).to_string());
    }
    Ok(provided)
}

/// The versions that the server told of what it has made.
fn known<const N: usize>(
    made: &Made,
    number: u32,
    versions: [(EventKind, &str); N],
) -> impl Iterator<Item = ((EventKind, u32), i64)> {
    versions
        .map(|(kind, key)| {
            (
                (kind, number),
                made.record[key].as_i64().unwrap_or_default(),
            )
        })
        .into_iter()
}
