//! Measuring, before a run, which events reach connections of their account that do not need them.
//!
//! The probe has an account of its own with a user, two sessions and a machine; where there is no
//! account to spare, it borrows the first one of the run that has a session, before the run. It causes
//! one of each kind of event, and then, as a sentinel, an update that each connection must receive: what
//! has not come before that was not sent there. It judges nothing: a server that leaks is wide.

use std::time::Duration;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::time::{Instant, timeout, timeout_at};
use touchstone_client::{
    CallError, ConnectOptions, Event, Events, Secret, Socket, connect,
    provision::{Account, NewMachine, NewSession, ProvisionError, Provisioner},
};
use touchstone_fixtures::{Filter, broadcast};

use super::{RunPlan, payload, peer, provision::Provided};
use crate::{
    audit::{Wide, stamp::Stamp},
    report::model::{Basis, Recipients},
    scenario::{EventKind, Role},
};

/// The longest that all of it may take; the run begins without a measurement then.
const BUDGET: Duration = Duration::from_secs(20);
/// How long an answer is waited for. Some servers never answer some events.
const ANSWER: Duration = Duration::from_secs(2);
/// How long each sentinel may take, and what is caused before it. Servers that fan out through a broker need a moment.
const SENTINEL: Duration = Duration::from_secs(2);
/// Each event is caused this often, so that a server that loses single ones is still measured.
const ROUNDS: u32 = 2;
/// Sentinels that are tried before the silence of a connection counts as unproved.
const ATTEMPTS: u32 = 3;
/// How often a compare-and-set is tried with the version that its refusal told.
const WRITES: u32 = 3;

/// One connection of the probe. The first one is the user's, those of sessions and machines follow.
struct Peer {
    role: Role,
    socket: Socket,
    events: Events,
}

/// What is written with compare-and-set.
struct Cas {
    kind: EventKind,
    /// Which of its account's sessions or machines it is of.
    subject: u32,
    id: String,
    version: i64,
}

/// What has been seen.
#[derive(Debug, Default, PartialEq, Eq)]
struct Seen {
    wide: Wide,
    /// Whether a message reached a connection of another session, which no server may let happen.
    astray: bool,
}

/// What a run takes for right, and why.
#[derive(Debug)]
pub(super) struct Dialect {
    pub(super) wide: Wide,
    pub(super) basis: Basis,
    /// Why it could not be measured, for the report.
    pub(super) problem: Option<String>,
}

impl Dialect {
    /// What the plan says, or else what the server is measured to do. Where it can be neither, nobody
    /// is blamed for who receives too much within an account.
    pub(super) async fn of<A>(plan: &RunPlan, accounts: &mut [(A, Provided)]) -> Self {
        let (wide, basis, problem) = match plan.recipients {
            Some(Recipients::Narrow) => (Wide::default(), Basis::Set, None),
            Some(Recipients::Wide) => (Wide::ALL, Basis::Set, None),
            None => match Box::pin(measure(plan, accounts)).await {
                Ok(wide) => (wide, Basis::Measured, None),
                Err(why) => {
                    let problem = format!(
                        "recipients could not be measured, so that nobody is blamed for events \
                         that reach too many connections of their account: {why}"
                    );
                    (Wide::ALL, Basis::Assumed, Some(problem))
                }
            },
        };
        Self {
            wide,
            basis,
            problem,
        }
    }

    /// The types of events that were measured to go beyond those who need them.
    pub(super) fn names(&self) -> Vec<String> {
        match self.basis {
            Basis::Measured => self.wide.names().into_iter().map(str::to_owned).collect(),
            Basis::Set | Basis::Assumed => Vec::new(),
        }
    }
}

/// Measures the server of a plan.
///
/// # Errors
/// Why that was not possible, as a text for the report.
async fn measure<A>(plan: &RunPlan, accounts: &mut [(A, Provided)]) -> Result<Wide, String> {
    timeout(BUDGET, probe(plan, accounts))
        .await
        .unwrap_or_else(|_| Err(format!("it took longer than {} s", BUDGET.as_secs())))
}

async fn probe<A>(plan: &RunPlan, accounts: &mut [(A, Provided)]) -> Result<Wide, String> {
    let own = Box::pin(own_account(plan)).await;
    let (token, mut subjects, borrowed) = match own {
        Ok((token, subjects)) => (token, subjects, None),
        Err(why) => {
            let all = accounts.iter_mut().map(|(_, provided)| provided);
            let with_most =
                all.max_by_key(|of| (of.sessions.len().min(2), of.machines.len().min(1)));
            let lender = with_most.filter(|of| !of.sessions.is_empty());
            let lender = lender.ok_or_else(|| peer::described(&why))?;
            (lender.token.clone(), lent(lender), Some(lender))
        }
    };
    let mut peers = Vec::new();
    let bound = std::iter::once((Role::User, String::new()));
    let of_subjects = subjects.iter().map(|cas| (cas.role(), cas.id.clone()));
    for (nth, (role, id)) in bound.chain(of_subjects).enumerate() {
        let options = options(plan, &token, role, &id, nth);
        let opened = connect(&options).await;
        let (socket, events) = opened.map_err(|error| peer::described(&error))?;
        peers.push(Peer {
            role,
            socket,
            events,
        });
    }
    let seen = observe(plan, &mut peers, &mut subjects).await;
    for peer in peers {
        peer.socket.disconnect().await;
    }
    if let Some(lender) = borrowed {
        // Whoever writes there next has to know.
        for cas in &subjects {
            let written = (cas.kind, cas.subject);
            lender.versions.retain(|(of, _)| *of != written);
            lender.versions.push((written, cas.version));
        }
    }
    let Seen { mut wide, astray } = seen?;
    if astray {
        // Whoever sends messages to wrong sessions has no dialect there, but a fault.
        wide.remove("update-session");
    }
    Ok(wide)
}

/// An account that nobody else uses.
async fn own_account(plan: &RunPlan) -> Result<(Secret, Vec<Cas>), ProvisionError> {
    let key = Sha256::new()
        .chain_update(plan.schedule.seed().to_le_bytes())
        .chain_update(plan.id.to_le_bytes())
        .chain_update(plan.schedule.shard().part().to_le_bytes())
        .chain_update("probe");
    let owner = plan.provisioner.account(key.finalize().into()).await?;
    let subjects = make(&plan.provisioner, &owner, plan).await?;
    Ok((owner.token, subjects))
}

/// As much of an account of the run as a probe needs.
fn lent(lender: &Provided) -> Vec<Cas> {
    let sessions = (0..).zip(&lender.sessions).take(2);
    let machines = (0..).zip(&lender.machines).take(1);
    let sessions = sessions.map(|(subject, id)| (EventKind::UpdateMetadata, subject, id));
    let machines = machines.map(|(subject, id)| (EventKind::MachineUpdateMetadata, subject, id));
    let all = sessions.chain(machines).map(|(kind, subject, id)| {
        let mut known = lender.versions.iter();
        let version = known.find(|(of, _)| *of == (kind, subject));
        Cas {
            kind,
            subject,
            id: id.trim_matches('"').to_owned(),
            version: version.map_or(0, |(_, version)| *version),
        }
    });
    all.collect()
}

/// Two sessions and a machine, or as much of that as the server makes.
async fn make(
    provisioner: &Provisioner,
    owner: &Account,
    plan: &RunPlan,
) -> Result<Vec<Cas>, ProvisionError> {
    let part = plan.schedule.shard().part();
    let name = |what: &str| format!("load-{:08x}-probe-{part}-{what}", plan.id);
    let mut subjects = Vec::new();
    for subject in 0..2 {
        let new = NewSession {
            tag: name(&format!("session-{subject}")),
            metadata: "probe".to_owned(),
            ..NewSession::default()
        };
        let made = match provisioner.session(owner, &new).await {
            Err(_) if !subjects.is_empty() => continue,
            made => made?,
        };
        subjects.push(Cas {
            kind: EventKind::UpdateMetadata,
            subject,
            version: made.record["metadataVersion"].as_i64().unwrap_or_default(),
            id: made.id,
        });
    }
    let new = NewMachine {
        id: name("machine"),
        metadata: "probe".to_owned(),
        ..NewMachine::default()
    };
    if let Ok(made) = provisioner.machine(owner, &new).await {
        subjects.push(Cas {
            kind: EventKind::MachineUpdateMetadata,
            subject: 0,
            version: made.record["metadataVersion"].as_i64().unwrap_or_default(),
            id: made.id,
        });
    }
    Ok(subjects)
}

fn options(plan: &RunPlan, token: &Secret, role: Role, id: &str, nth: usize) -> ConnectOptions {
    let mut auth = json!({"token": token.expose(), "clientType": role.client_type()});
    match role {
        Role::User => {}
        Role::Session => auth["sessionId"] = id.into(),
        Role::Machine => auth["machineId"] = id.into(),
    }
    let mut options = plan.options.clone().auth(auth);
    options.url = plan.urls[nth % plan.urls.len()].clone();
    options.timeout = plan.schedule.scenario().connect.timeout.std();
    options
}

/// The mark in what is written to the `nth` connection's own session or machine.
fn mark(nth: usize) -> String {
    format!("probe-of-{nth}-")
}

/// Causes events, and looks where they arrive.
async fn observe(plan: &RunPlan, peers: &mut [Peer], subjects: &mut [Cas]) -> Result<Seen, String> {
    let mut seen = Seen::default();
    let user = peers[0].socket.clone();
    for round in 0..ROUNDS {
        cause(plan, peers, subjects, round, &mut seen).await?;
        let mut silent = None;
        for attempt in 0..ATTEMPTS {
            let end = format!("end-{round}-{attempt}.");
            write_all(&user, subjects, &end).await?;
            silent = listen(peers, &end, &mut seen).await?;
            if silent.is_none() {
                break;
            }
        }
        if let Some(role) = silent {
            let word = role.word();
            return Err(format!(
                "a {word}-scoped connection missed an update that it needs"
            ));
        }
    }
    Ok(seen)
}

/// One of each event that others than the sender hear of, each from the connection that it comes from
/// in life. Events without an answer may be handled side by side with others, so the user has to hear
/// of them before a sentinel can prove anything about them.
async fn cause(
    plan: &RunPlan,
    peers: &mut [Peer],
    subjects: &mut [Cas],
    round: u32,
    seen: &mut Seen,
) -> Result<(), String> {
    let user = peers[0].socket.clone();
    let time = plan.clock.unix_ms();
    let session = subjects[0].id.clone();
    let agent = &peers[1].socket;
    let message = json!({"sid": session, "message": mark(1)});
    emit(agent, "message", message).await?;
    let alive = json!({"sid": session, "time": time, "thinking": false});
    emit(agent, "session-alive", alive).await?;
    let one = json!({"total": 1});
    let usage = json!({"key": "probe", "sessionId": session, "tokens": one, "cost": one});
    emit(agent, "usage-report", usage).await?;
    let mut awaited = vec!["new-message", "activity", "usage"];
    for (daemon, machine) in peers[1..].iter().zip(&*subjects) {
        if machine.role() == Role::Machine {
            let alive = json!({"machineId": machine.id, "time": time});
            emit(&daemon.socket, "machine-alive", alive).await?;
            awaited.push("machine-activity");
        }
    }
    let artifact = payload::artifact_id(Stamp {
        run: plan.id,
        account: u32::MAX - plan.schedule.shard().part(),
        number: round,
    });
    let id = artifact.trim_matches('"');
    let new = json!({"id": id, "header": "AAAA", "body": "AAAA", "dataEncryptionKey": "AAAA"});
    let made = ask(&user, "artifact-create", new).await?;
    let version = made["artifact"]["headerVersion"].as_i64().unwrap_or(1);
    let header = json!({"data": "BBBB", "expectedVersion": version});
    ask(
        &user,
        "artifact-update",
        json!({"artifactId": id, "header": header}),
    )
    .await?;
    write_all(&user, subjects, "cause.").await?;
    let deadline = Instant::now() + SENTINEL;
    while !awaited.is_empty() {
        let Some(event) = receive(&mut peers[0], 0, deadline, seen).await? else {
            break;
        };
        let name = event.data().ok();
        let name = name.as_ref().and_then(type_of).unwrap_or_default();
        awaited.retain(|of| *of != name);
    }
    Ok(())
}

/// Writes what is marked for each session and machine, so that its own connections receive it.
async fn write_all(user: &Socket, subjects: &mut [Cas], what: &str) -> Result<(), String> {
    for (nth, cas) in (1..).zip(subjects) {
        for _ in 0..WRITES {
            let key = match cas.role() {
                Role::Machine => "machineId",
                Role::Session | Role::User => "sid",
            };
            let value = format!("{}{what}", mark(nth));
            let data = json!({key: cas.id, "metadata": value, "expectedVersion": cas.version});
            let answer = ask(user, cas.kind.name(), data).await?;
            if let Some(version) = answer["version"].as_i64() {
                cas.version = version;
            }
            if answer["result"] != "version-mismatch" {
                break;
            }
        }
    }
    Ok(())
}

async fn emit(user: &Socket, event: &str, data: Value) -> Result<(), String> {
    let sent = user.emit(event, data).await;
    sent.map_err(|end| peer::described(&end))
}

/// The answer, or `null` where none comes: that is not for a probe to judge.
async fn ask(user: &Socket, event: &str, data: Value) -> Result<Value, String> {
    match user.call(event, data, ANSWER).await {
        Ok(reply) => Ok(reply.data().unwrap_or_default()),
        Err(CallError::Ended { source, .. }) => Err(peer::described(&source)),
        Err(_) => Ok(Value::Null),
    }
}

/// Receives at all connections until each has its sentinel. Returns the role of one that has not.
async fn listen(peers: &mut [Peer], end: &str, seen: &mut Seen) -> Result<Option<Role>, String> {
    let deadline = Instant::now() + SENTINEL;
    let last = peers.len() - 1;
    let mut silent = None;
    for (nth, peer) in peers.iter_mut().enumerate() {
        // A user hears of everything, so that the sentinel that was sent last comes last.
        let sentinel = mark(if nth == 0 { last } else { nth }) + end;
        loop {
            let Some(event) = receive(peer, nth, deadline, seen).await? else {
                silent = Some(peer.role);
                break;
            };
            if event.args.as_str().contains(&sentinel) {
                break;
            }
        }
    }
    Ok(silent)
}

/// The next event at the `nth` connection, unless none comes in time.
async fn receive(
    peer: &mut Peer,
    nth: usize,
    deadline: Instant,
    seen: &mut Seen,
) -> Result<Option<Event>, String> {
    let Ok(received) = timeout_at(deadline, peer.events.recv()).await else {
        return Ok(None);
    };
    let event = received.map_err(|end| peer::described(&end))?;
    if let Ok(payload) = event.data() {
        seen.note(peer.role, nth, &payload, event.args.as_str());
    }
    Ok(Some(event))
}

/// What an update or ephemeral calls itself.
fn type_of(payload: &Value) -> Option<&str> {
    payload["body"]["t"].as_str().or(payload["type"].as_str())
}

impl Cas {
    fn role(&self) -> Role {
        self.kind.subject().unwrap_or(Role::User)
    }
}

impl Seen {
    /// An event has arrived at the `nth` connection, which is of this role.
    fn note(&mut self, role: Role, nth: usize, payload: &Value, text: &str) {
        let own = || text.contains(&mark(nth));
        let name = type_of(payload).unwrap_or_default();
        match (role, broadcast(name).map(|known| known.filter)) {
            (Role::User, _) | (Role::Machine, Some(Filter::MachineScopedOnly)) => {}
            (Role::Session, Some(Filter::AllInterestedInSession)) if own() => {}
            (Role::Session, _) if name == "new-message" => self.astray = true,
            _ => self.wide.insert(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(role: Role, nth: usize, payload: &Value, wide: &[&str], astray: bool) {
        let mut seen = Seen::default();
        seen.note(role, nth, payload, &payload.to_string());
        assert_eq!((seen.wide.names(), seen.astray), (wide.to_vec(), astray));
    }

    #[test]
    fn what_a_connection_does_not_need_is_wide() {
        let update = |t: &str, nth| json!({"body": {"t": t, "value": mark(nth)}});
        let ephemeral = |name: &str| json!({"type": name, "id": "s"});
        check(Role::Session, 1, &update("update-session", 1), &[], false);
        check(
            Role::Session,
            2,
            &update("update-session", 1),
            &["update-session"],
            false,
        );
        check(
            Role::Machine,
            3,
            &update("update-session", 1),
            &["update-session"],
            false,
        );
        check(
            Role::Session,
            1,
            &update("update-machine", 3),
            &["update-machine"],
            false,
        );
        check(Role::Machine, 3, &update("update-machine", 3), &[], false);
        check(Role::User, 0, &ephemeral("activity"), &[], false);
        check(
            Role::Session,
            1,
            &ephemeral("activity"),
            &["activity"],
            false,
        );
        check(Role::Machine, 3, &ephemeral("usage"), &["usage"], false);
        check(
            Role::Machine,
            3,
            &update("new-artifact", 1),
            &["new-artifact"],
            false,
        );
        // Nothing that a scenario causes.
        check(Role::Machine, 3, &update("new-session", 1), &[], false);
    }

    #[test]
    fn messages_stay_with_their_session() {
        let message = |nth| json!({"body": {"t": "new-message", "content": mark(nth)}});
        check(Role::Session, 1, &message(1), &[], false);
        check(Role::Session, 2, &message(1), &[], true);
        check(Role::Machine, 3, &message(1), &["new-message"], false);
    }
}
