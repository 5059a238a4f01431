//! Whom an event has to reach and to spare, judged for a batch of them and noted on the dialect card.

use serde_json::json;

use super::cast::USERS;
use touchstone_harness::{
    case::Flow,
    ctx::Ctx,
    ledger::{Requirement, requirement_table},
    stage::{Delivery, Role, Stage, Wanted},
};

requirement_table! {
    ANY_CONNECTION = "matrix.any-connection", Should, Decision,
        "Any connection of an account, whatever its scope, may act on any session, machine or artifact \
         of that account, and who hears of it does not depend on who did it; only a machine's heartbeat is \
         its own.";
    MATRIX = "matrix.recipients", Info, Decision,
        "Which connections receive an event beyond those that need it is the server's choice.";
}

const NOT_USERS: &[Role] = &[Role::S1, Role::S1B, Role::S2, Role::M1, Role::M2];

/// What the dialect card calls the kinds of connections, seen from session S1 and machine M1.
const KINDS: [(&str, &[Role]); 6] = [
    ("user", &[Role::U1, Role::U2]),
    ("session", &[Role::S1, Role::S1B]),
    ("other-session", &[Role::S2]),
    ("machine", &[Role::M1]),
    ("other-machine", &[Role::M2]),
    ("other-account", &[Role::V1]),
];

/// Whom an event reaches and whom it spares.
pub(super) struct Rule {
    pub(super) reaches: &'static [Role],
    pub(super) by: &'static Requirement,
    pub(super) spares: Vec<(&'static [Role], &'static Requirement)>,
    pub(super) skips_sender: Option<&'static Requirement>,
}

impl Rule {
    /// All user-scoped connections and no other.
    pub(super) fn users(by: &'static Requirement, narrow: &'static Requirement) -> Self {
        Self {
            reaches: &USERS,
            by,
            spares: vec![(NOT_USERS, narrow)],
            skips_sender: None,
        }
    }
}

/// An event that has been caused.
pub(super) struct Sent<'a> {
    pub(super) sender: Role,
    pub(super) wanted: Wanted,
    pub(super) rule: &'a Rule,
}

/// Judges a batch, then notes under `name` on the dialect card whom its events have reached. Whether the
/// event's own requirements held; where they did not, senders of other kinds would only repeat it.
pub(super) async fn judge(
    cx: &mut Ctx,
    stage: &Stage,
    name: Option<&str>,
    batch: &[Sent<'_>],
) -> Flow<bool> {
    let before = cx.findings.len();
    let of_any_kind = |sent: &Sent<'_>| !matches!(sent.sender, Role::U1 | Role::S1);
    let reaches: Vec<Vec<Role>> = batch
        .iter()
        .map(|sent| {
            let spared = |role: Role| sent.rule.skips_sender.is_some() && role == sent.sender;
            let roles = sent.rule.reaches.iter().copied();
            roles.filter(|&role| !spared(role)).collect()
        })
        .collect();
    let senders: Vec<[Role; 1]> = batch.iter().map(|sent| [sent.sender]).collect();
    let spares: Vec<Vec<(&[Role], &'static Requirement)>> = batch
        .iter()
        .zip(&senders)
        .map(|(sent, sender)| {
            let mut spares = sent.rule.spares.clone();
            spares.extend(sent.rule.skips_sender.map(|by| (&sender[..], by)));
            spares
        })
        .collect();
    let deliveries: Vec<_> = batch
        .iter()
        .zip(reaches.iter().zip(&spares))
        .map(|(sent, (reaches, spares))| Delivery {
            wanted: sent.wanted.clone(),
            reaches,
            by: if of_any_kind(sent) {
                &ANY_CONNECTION
            } else {
                sent.rule.by
            },
            spares,
        })
        .collect();
    stage.observe(cx, &deliveries).await?;
    if let Some(name) = name {
        note(cx, stage, name, batch);
    }
    Ok(cx.findings[before..].iter().all(|finding| {
        finding.broken.is_none()
            || !batch
                .iter()
                .any(|sent| std::ptr::eq(finding.requirement, sent.rule.by))
    }))
}

/// Notes which kinds of connections received an event, and whether its sender did.
pub(super) fn note(cx: &mut Ctx, stage: &Stage, name: &str, batch: &[Sent<'_>]) {
    let got = |role: Role, wanted: &Wanted| {
        !stage
            .peer(role)
            .all(|arrival| wanted.matches(arrival))
            .is_empty()
    };
    let reached: Vec<_> = KINDS
        .iter()
        .filter(|(_, roles)| {
            roles
                .iter()
                .any(|&role| batch.iter().any(|sent| got(role, &sent.wanted)))
        })
        .map(|(kind, _)| *kind)
        .collect();
    cx.fact(&format!("recipients.{name}"), json!(reached));
    // Only a sender that is meant as well tells whether senders are left out.
    let meant = batch
        .iter()
        .filter(|sent| sent.rule.reaches.contains(&sent.sender));
    let included: Vec<_> = meant.map(|sent| got(sent.sender, &sent.wanted)).collect();
    if !included.is_empty() {
        let included = included.into_iter().all(|included| included);
        cx.fact(&format!("recipients.{name}.sender-included"), included);
    }
    cx.held(&MATRIX);
}
