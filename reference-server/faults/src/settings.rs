//! Faults in what the server is told before it starts.

use std::sync::Arc;

use touchstone_reference_server::seams::Seams;
use touchstone_reference_server::{Config, Storage};

use crate::storage::Wrong;
use crate::{Fault, Faults};

/// What the server is told before it starts.
#[derive(Debug)]
pub(crate) struct Settings(pub(crate) Faults);

impl Seams for Settings {
    fn settings(&self, config: &mut Config) {
        let faults = &self.0;
        let policy = &mut config.policy;
        policy.rpc_self_call |= faults.on(Fault::RpcSelfCall);
        policy.rpc_any_name |= faults.on(Fault::RpcAnyName);
        policy.artifact_partial |= faults.on(Fault::ArtifactPartial);
        policy.artifact_overwrite |= faults.on(Fault::ArtifactOverwrite);
        policy.artifact_list_bodies |= faults.on(Fault::ArtifactListBodies);
        policy.base64_unchecked |= faults.on(Fault::Base64Unchecked);
        policy.kv_partial |= faults.on(Fault::KvPartial);
        policy.active_list_all |= faults.on(Fault::ActiveListAll);
        policy.page_repeats |= faults.on(Fault::PageRepeats);
        policy.access_key_any_pair |= faults.on(Fault::AccessKeyAnyPair);
        policy.revive_ended |= faults.on(Fault::ReviveEnded);
        let of_storage = [
            Fault::StorageLate,
            Fault::StorageBehind,
            Fault::StorageLocalIdless,
            Fault::StorageSeqless,
        ];
        if of_storage.into_iter().any(|fault| faults.on(fault)) {
            let wrong = |right| -> Arc<dyn Storage> { Arc::new(Wrong::new(faults.clone(), right)) };
            config.storage = config.storage.take().map(wrong);
        }
        if faults.on(Fault::StorageOnline) {
            config.policy.machines_stay_active = true;
        }
        faults.memory().fades_after = config.ping_interval + config.ping_timeout;
        if faults.on(Fault::SmallPayload) {
            config.max_payload = 100_000;
        }
        if faults.on(Fault::RpcEarlyTimeout) {
            config.rpc_timeout /= 10;
        }
    }
}
