//! What has to be there before a recording can be sent again: new ids in place of those that clients chose,
//! and the accounts, sessions and machines that it names and does not make.

use std::collections::HashMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use rand::{RngExt as _, rngs::StdRng};
use serde_json::Value;
use touchstone_client::{
    provision::{NewMachine, NewSession, ProvisionError, Provisioner},
    trace::Traced,
};

use touchstone_harness::ctx::version_4;

use super::{
    listen::Log,
    lock,
    report::Unsent,
    request::Tokens,
    script::{Act, Recording, Step, token_name},
};

/// Machines and artifacts have the ids that clients choose, and pairing has their keys; servers remember
/// them. Machines of other provisioners than `by_rest` are named by these.
pub(super) fn choose_names(recording: &Recording, by_rest: bool, random: &mut StdRng, log: &Log) {
    let mut chosen: Vec<String> = Vec::new();
    for step in &recording.steps {
        let id = match &step.act {
            Act::Http(_, exchange) if exchange.method == "POST" => {
                let wanted = match exchange.url.as_str() {
                    "/v1/machines" => by_rest,
                    "/v1/artifacts" => true,
                    _ => false,
                };
                exchange
                    .request
                    .as_ref()
                    .filter(|_| wanted)
                    .map(|body| body["id"].clone())
            }
            Act::Send(Traced::Event { name, args, .. }) if name == "artifact-create" => {
                args.data().ok().map(|data| data["id"].clone())
            }
            _ => None,
        };
        chosen.extend(id.and_then(|id| id.as_str().map(str::to_owned)));
    }
    for old in chosen {
        let new = fresh(&old, random);
        log.kept().names.learn(&old, &new);
    }
    for old in pairing_keys(recording) {
        let new: [u8; 32] = random.random();
        log.kept().names.learn(&old, &STANDARD.encode(new));
    }
}

/// The keys that terminals asked to be let in with.
fn pairing_keys(recording: &Recording) -> Vec<String> {
    let key = |step: &Step| match &step.act {
        Act::Http(_, exchange)
            if exchange.method == "POST"
                && exchange.url.starts_with("/v1/auth/")
                && exchange.url.ends_with("/request") =>
        {
            let key = exchange.request.as_ref()?["publicKey"].as_str()?;
            let is_key = STANDARD.decode(key).is_ok_and(|bytes| bytes.len() == 32);
            is_key.then(|| key.to_owned())
        }
        _ => None,
    };
    recording.steps.iter().filter_map(key).collect()
}

/// Makes what a recording names that began when its accounts were there already, and tells what could
/// not be made.
pub(super) async fn provision(
    recording: &Recording,
    provisioner: &Provisioner,
    random: &mut StdRng,
    log: &Log,
    tokens: &Tokens,
) -> Vec<Unsent> {
    let mut unsent = Vec::new();
    if !recording.signed_in.is_empty() {
        return unsent;
    }
    for (name, need) in needs(recording) {
        let account = match provisioner.account(random.random()).await {
            Ok(account) => account,
            Err(error) => {
                unsent.push(lack(&name, "account", &error));
                continue;
            }
        };
        for old in need.sessions {
            let new = NewSession {
                tag: format!("replay-{old}"),
                metadata: "replay".into(),
                ..NewSession::default()
            };
            match provisioner.session(&account, &new).await {
                Ok(made) => {
                    log.kept().names.learn(&old, &made.id);
                }
                Err(error) => unsent.push(lack(&name, "session", &error)),
            }
        }
        for old in need.machines {
            let new = NewMachine {
                id: fresh(&old, random),
                metadata: "replay".into(),
                ..NewMachine::default()
            };
            match provisioner.machine(&account, &new).await {
                Ok(made) => {
                    log.kept().names.learn(&old, &made.id);
                }
                Err(error) => unsent.push(lack(&name, "machine", &error)),
            }
        }
        lock(tokens).insert(name, account);
    }
    unsent
}

/// What an account of a recording needs to have.
#[derive(Default)]
struct Needs {
    sessions: Vec<String>,
    machines: Vec<String>,
}

/// The accounts that connect, with the sessions and machines that they name.
fn needs(recording: &Recording) -> Vec<(String, Needs)> {
    let mut accounts: Vec<(String, Needs)> = Vec::new();
    let mut of: HashMap<&str, usize> = HashMap::new();
    for step in &recording.steps {
        let data = match &step.act {
            Act::Send(Traced::Connect(auth)) => {
                let Some(name) = token_name(Some(auth)) else {
                    continue;
                };
                let known = accounts.iter().position(|(known, _)| *known == name);
                let index = known.unwrap_or_else(|| {
                    accounts.push((name, Needs::default()));
                    accounts.len() - 1
                });
                of.insert(&step.conn, index);
                auth.clone()
            }
            Act::Send(Traced::Event { args, .. }) => args.data().unwrap_or_default(),
            _ => continue,
        };
        let Some((_, need)) = of
            .get(step.conn.as_str())
            .and_then(|at| accounts.get_mut(*at))
        else {
            continue;
        };
        let add = |ids: &mut Vec<String>, id: &Value| {
            if let Some(id) = id
                .as_str()
                .filter(|id| !ids.iter().any(|known| known == id))
            {
                ids.push(id.to_owned());
            }
        };
        for key in ["sid", "sessionId"] {
            add(&mut need.sessions, &data[key]);
        }
        add(&mut need.machines, &data["machineId"]);
    }
    accounts
}

fn lack(name: &str, what: &str, error: &ProvisionError) -> Unsent {
    Unsent {
        conn: name.to_owned(),
        what: format!("a new {what}"),
        why: touchstone_output::text::error_chain(error),
        step: None,
    }
}

/// Another id of the same shape: servers ask artifact ids to be UUIDs.
fn fresh(old: &str, random: &mut StdRng) -> String {
    let is_uuid = old.len() == 36 && old.bytes().filter(|&byte| byte == b'-').count() == 4;
    if !is_uuid {
        return format!("{old}-{:08x}", random.random::<u32>());
    }
    let (high, low): (u64, u64) = (random.random(), random.random());
    version_4(high, low)
}
