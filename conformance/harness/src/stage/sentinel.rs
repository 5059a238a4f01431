//! Sentinels: events that must reach a connection, so that what came before them is all there was.

use std::{
    sync::{Arc, PoisonError},
    time::Duration,
};

use serde_json::{Value, json};
use tokio::time::Instant;

use super::{Role, Stage};
use crate::{
    case::{Flow, Stop},
    ctx::Ctx,
    focus::Clue,
    marks::UNPROVED,
    own,
    pace::Pace,
    peer::{Arrival, Peer},
};

/// How many sentinels are tried before silence rests on a settle window.
const ATTEMPTS: u32 = 3;

/// How many are tried before a new connection is held for one that none reaches: short waits at first,
/// since a server may lose what comes in its first moment.
const FIRST_ATTEMPTS: u32 = 5;

/// What a sentinel changes.
#[derive(Clone, Copy)]
pub(super) enum Subject<'a> {
    Session(&'a str),
    Machine(&'a str),
}

impl<'a> Subject<'a> {
    fn id(self) -> &'a str {
        match self {
            Self::Session(id) | Self::Machine(id) => id,
        }
    }

    fn event(self) -> &'static str {
        match self {
            Self::Session(_) => "update-metadata",
            Self::Machine(_) => "machine-update-metadata",
        }
    }

    pub(super) fn kind(self) -> &'static str {
        match self {
            Self::Session(_) => "update-session",
            Self::Machine(_) => "update-machine",
        }
    }

    /// The kind of thing that its arrival at `role` is.
    fn at(self, role: Role) -> String {
        format!("{} for {} connections", self.kind(), role.scope())
    }

    /// Accepts the updates that announce this change with one of `markers`.
    fn announced(self, markers: &[String]) -> impl FnMut(&Arrival) -> bool {
        move |arrival| {
            arrival.kind() == Some(self.kind())
                && markers.iter().any(|marker| arrival.raw.contains(marker))
        }
    }

    fn data(self, value: &str, version: i64) -> Value {
        let key = match self {
            Self::Session(_) => "sid",
            Self::Machine(_) => "machineId",
        };
        json!({key: self.id(), "metadata": value, "expectedVersion": version})
    }
}

/// One sentinel: what it changes, through whom, and who must receive it.
pub(super) struct Sentinel<'a> {
    pub(super) subject: Subject<'a>,
    pub(super) driver: &'a Peer,
    pub(super) reaches: Vec<Role>,
}

/// What a sentinel that overtakes an earlier one is taken for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Overtaken {
    /// An earlier one is late, or lost.
    Judged,
    /// It was sent before the connection was proved to receive anything.
    Ignored,
}

impl Overtaken {
    fn attempts(self) -> u32 {
        match self {
            Self::Judged => ATTEMPTS,
            Self::Ignored => FIRST_ATTEMPTS,
        }
    }

    /// How long a sentinel is waited for before the next one is tried.
    fn wait(self, pace: &Pace, attempt: u32) -> Duration {
        match self {
            Self::Judged => pace.sentinel(),
            Self::Ignored => (pace.settle() / 2) * 2_u32.pow(attempt),
        }
    }
}

impl Stage {
    /// Returns when each connection has received a first event, as far as one reaches it: what is caused
    /// afterwards, it receives. A connection may be admitted a moment before anything is sent to it,
    /// which one case judges (`handshake.receives-at-once`) and no other may stumble over.
    pub(super) async fn prove_receiving(&self, cx: &mut Ctx) -> Flow {
        self.raise(cx, Overtaken::Ignored).await.map(|_| ())
    }

    /// Returns when `peer`, a connection beside the cast that hears of session S1, has received a first
    /// change of it, as far as it ever does: what is caused afterwards, it receives.
    pub async fn prove_newcomer(&self, cx: &mut Ctx, peer: &Peer) -> Flow {
        if let Some(sentinel) = self.sentinels().into_iter().next() {
            self.reach(cx, &sentinel, vec![peer], Overtaken::Ignored)
                .await?;
        }
        Ok(())
    }

    /// As [`prove_silence`](Self::prove_silence), for connections beside the cast as well: each with the
    /// role whose sentinel must reach it too. Where no event can be addressed to a connection, what was sent
    /// to it was sent with what the others have received by then, so that a round trip comes after it.
    pub async fn prove_silence_beside(
        &self,
        cx: &mut Ctx,
        beside: &[(&Peer, Option<Role>)],
    ) -> Flow {
        self.prove_silence(cx).await?;
        let lives = |peer: &&Peer| peer.ended().is_none();
        let mut unproved = Vec::new();
        for sentinel in self.sentinels() {
            let reaches =
                |role: Option<Role>| role.is_some_and(|one| sentinel.reaches.contains(&one));
            let peers = beside.iter().filter(|(_, role)| reaches(*role));
            let peers: Vec<_> = peers.map(|(peer, _)| *peer).filter(lives).collect();
            if !peers.is_empty() {
                let missed = self.reach(cx, &sentinel, peers, Overtaken::Judged).await?;
                unproved.extend(missed.into_iter().filter(lives));
            }
        }
        for (peer, role) in beside {
            if role.is_none() && lives(peer) && cx.ask(peer, "ping", ()).await?.is_err() {
                unproved.push(peer);
            }
            if peer.overflowed() {
                return Err(Stop::flooded(&peer.who));
            }
        }
        let unproved: Vec<_> = unproved.iter().map(|peer| peer.who.as_str()).collect();
        settle(cx, &unproved).await;
        Ok(())
    }

    /// Raises a sentinel, again where it does not arrive, until one has reached each of `peers`. Gives those
    /// that none of several attempts reached.
    async fn reach<'p>(
        &self,
        cx: &mut Ctx,
        sentinel: &Sentinel<'_>,
        mut peers: Vec<&'p Peer>,
        overtaken: Overtaken,
    ) -> Flow<Vec<&'p Peer>> {
        let mut markers = Vec::new();
        for attempt in 0..overtaken.attempts() {
            let marker = cx.marker("sentinel");
            if !self
                .bump(cx, sentinel.driver, sentinel.subject, &marker)
                .await?
            {
                break;
            }
            markers.push(marker);
            let deadline = Instant::now() + overtaken.wait(&cx.shared.pace, attempt);
            let mut missed = Vec::new();
            for peer in peers {
                let announced = sentinel.subject.announced(&markers);
                if peer.wait_for(deadline, announced).await.is_none() {
                    missed.push(peer);
                }
            }
            peers = missed;
            if peers.is_empty() {
                break;
            }
        }
        Ok(peers)
    }

    /// Returns when each connection has received everything that was sent to it before: each has its
    /// sentinel, or the settle window has passed for those that no sentinel reaches.
    pub async fn prove_silence(&self, cx: &mut Ctx) -> Flow {
        let mut unproved = self.raise(cx, Overtaken::Judged).await?;
        // Connections of the other account with ids of this one: no event can be addressed to them.
        // What was sent to them was sent with what the others have received by now, so that a round
        // trip on the same connection comes after it.
        for role in [Role::VS, Role::VM] {
            if let Some(peer) = self.find(role)
                && peer.ended().is_none()
                && cx.ask(peer, "ping", ()).await?.is_err()
            {
                unproved.push(role);
            }
        }
        for (role, peer) in &self.peers {
            if let Some(end) = peer.ended() {
                return Err(cx.dropped(peer, &end));
            }
            if peer.overflowed() {
                return Err(Stop::flooded(role.described()));
            }
        }
        unproved.sort();
        let unproved: Vec<_> = unproved.iter().map(|role| role.described()).collect();
        settle(cx, &unproved).await;
        Ok(())
    }

    pub(super) fn sentinels(&self) -> Vec<Sentinel<'_>> {
        let present = |roles: &[Role]| -> Vec<Role> {
            roles
                .iter()
                .copied()
                .filter(|&role| self.find(role).is_some())
                .collect()
        };
        let users = present(&[Role::U1, Role::U2]);
        let driver = |roles: &[Role]| roles.iter().find_map(|&role| self.find(role));
        let own = driver(&[
            Role::U1,
            Role::U2,
            Role::S1,
            Role::S1B,
            Role::S2,
            Role::M1,
            Role::M2,
        ]);
        let mut sentinels = Vec::new();
        if let Some(driver) = own {
            let mut add = |subject, users: &[Role], roles: &[Role]| {
                let reaches = [users, &present(roles)].concat();
                if !reaches.is_empty() {
                    sentinels.push(Sentinel {
                        subject,
                        driver,
                        reaches,
                    });
                }
            };
            add(
                Subject::Session(&self.s1.id),
                &users,
                &[Role::S1, Role::S1B],
            );
            if let Some(s2) = &self.s2 {
                add(Subject::Session(&s2.id), &[], &[Role::S2]);
            }
            if let Some(m1) = &self.m1 {
                add(Subject::Machine(&m1.id), &[], &[Role::M1]);
            }
            if let Some(m2) = &self.m2 {
                add(Subject::Machine(&m2.id), &[], &[Role::M2]);
            }
        }
        if let (Some((_, session)), Some(v1)) = (&self.other, self.find(Role::V1)) {
            sentinels.push(Sentinel {
                subject: Subject::Session(&session.id),
                driver: v1,
                reaches: vec![Role::V1],
            });
        }
        sentinels
    }

    /// Raises all sentinels together, again where one does not arrive. Gives the roles that none of
    /// several attempts reached.
    async fn raise(&self, cx: &mut Ctx, overtaken: Overtaken) -> Flow<Vec<Role>> {
        let shared = Arc::clone(&cx.shared);
        let pace = &shared.pace;
        let mut unproved = Vec::new();
        let mut waiting: Vec<(Sentinel<'_>, Vec<String>)> = Vec::new();
        for mut sentinel in self.sentinels() {
            let deaf = self.deaf.lock().unwrap_or_else(PoisonError::into_inner);
            unproved.extend(sentinel.reaches.extract_if(.., |role| deaf.contains(role)));
            if !sentinel.reaches.is_empty() {
                waiting.push((sentinel, Vec::new()));
            }
        }
        for attempt in 0..overtaken.attempts() {
            let started = Instant::now();
            let mut raised = Vec::new();
            for (sentinel, mut markers) in waiting {
                let marker = cx.marker("sentinel");
                if self
                    .bump(cx, sentinel.driver, sentinel.subject, &marker)
                    .await?
                {
                    markers.push(marker);
                    raised.push((sentinel, markers));
                } else {
                    self.is_deaf(&sentinel.reaches);
                    unproved.extend(sentinel.reaches);
                }
            }
            waiting = Vec::new();
            let sent = Instant::now();
            for (mut sentinel, markers) in raised {
                let mut still = Vec::new();
                for role in sentinel.reaches {
                    let kind = sentinel.subject.at(role);
                    let patience = overtaken.wait(pace, attempt).min(pace.patience_for(&kind));
                    let arrived = sentinel.subject.announced(&markers);
                    match self.peer(role).wait_for(sent + patience, arrived).await {
                        Some(arrival) => {
                            let took = arrival.at.saturating_duration_since(started);
                            pace.saw_delivery(took);
                            pace.came(&kind, took);
                            if overtaken == Overtaken::Judged && !arrival.raw.contains(&markers[0])
                            {
                                let first = sentinel.subject.announced(&markers[..1]);
                                self.judge_overtaken(cx, role, &markers[0], first).await;
                            }
                        }
                        None if pace.never_came(&kind) => {
                            self.is_deaf(&[role]);
                            unproved.push(role);
                        }
                        None => still.push(role),
                    }
                }
                if !still.is_empty() {
                    sentinel.reaches = still;
                    waiting.push((sentinel, markers));
                }
            }
            if waiting.is_empty() {
                break;
            }
        }
        for (sentinel, _) in waiting {
            let kinds = sentinel
                .reaches
                .iter()
                .map(|&role| sentinel.subject.at(role));
            kinds.for_each(|kind| pace.missed(&kind));
            self.is_deaf(&sentinel.reaches);
            unproved.extend(sentinel.reaches);
        }
        Ok(unproved)
    }

    /// Remembers whom no sentinel reaches, so that the next proof need not wait for it.
    fn is_deaf(&self, roles: &[Role]) {
        self.deaf
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend(roles);
    }

    /// A later sentinel arrived before the first one: that one is late, or lost.
    async fn judge_overtaken(
        &self,
        cx: &mut Ctx,
        role: Role,
        marker: &str,
        first: impl FnMut(&Arrival) -> bool,
    ) {
        let clue = Clue::of([marker]);
        let deadline = Instant::now() + cx.shared.pace.sentinel();
        if self.peer(role).wait_for(deadline, first).await.is_some() {
            cx.broken_by(
                clue.wrong([role.name()]),
                &own::ORDERED,
                format!(
                    "changes in the order of their acknowledgement for {}",
                    role.described()
                ),
                "a later change arrived before an earlier one",
            );
        } else {
            cx.broken_by(
                clue.missing([role.name()]),
                &own::NO_LOSS,
                format!("each acknowledged change for {}", role.described()),
                "a change that was acknowledged never arrived, a later one did",
            );
        }
    }

    /// Changes `subject` through `driver` so that `marker` goes out. False when the server does not let
    /// that happen, which is for other cases to judge.
    pub(super) async fn bump(
        &self,
        cx: &mut Ctx,
        driver: &Peer,
        subject: Subject<'_>,
        marker: &str,
    ) -> Flow<bool> {
        let id = subject.id();
        for _ in 0..4 {
            let data = subject.data(marker, cx.version(id, "metadata"));
            // A server that never answers this is not asked again for each proof: cases go on to ask it.
            if cx.never_answers(subject.event(), &data) {
                return Ok(false);
            }
            let Ok(answer) = cx.ask(driver, subject.event(), data).await? else {
                return Ok(false);
            };
            let Some(current) = answer.data["version"].as_i64() else {
                return Ok(false);
            };
            cx.saw_version(id, "metadata", current);
            match answer.data["result"].as_str() {
                Some("success") => return Ok(true),
                Some("version-mismatch") => {}
                _ => return Ok(false),
            }
        }
        Ok(false)
    }
}

/// Waits for the settle window where no sentinel has reached somebody, and says so.
async fn settle(cx: &mut Ctx, unproved: &[&str]) {
    if unproved.is_empty() {
        return;
    }
    let names = unproved.join(", ");
    let (before, after) = UNPROVED;
    cx.note(format!("{before}{names}{after}"));
    let window = cx.shared.pace.settle();
    cx.step(&format!(
        "settle window of {} ms for {names}",
        window.as_millis()
    ));
    tokio::time::sleep(window).await;
}
