//! The stage: a standard cast of connections, and silence proved by a sentinel.
//!
//! After an action, a stage waits until everyone who must hear of it has, then causes a second event
//! that must reach each connection of the cast through the same router: a change of its own session, of
//! its own machine. When a connection has its sentinel, whatever it has not received by then was not
//! sent to it. No time passes for that, and a server that acknowledges first and delivers later is
//! judged as fairly as one that does not.
//!
//! Events are told by markers, text that occurs in nothing else, never by the keys that are under
//! judgment. A server that loses single updates is blamed for losing updates, whichever case meets it.

use std::{collections::HashMap, sync::Mutex, sync::PoisonError};

use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::{
    case::{Flow, Stop},
    cases::{connection, delivery},
    ctx::{Ctx, Scope},
    ledger::Requirement,
    peer::{Arrival, Peer},
    provide::{Account, Machine, Session},
};

/// How many sentinels are tried before silence rests on a settle window.
const SENTINEL_ATTEMPTS: u32 = 3;

/// How many updates tell whether a server loses some of them: enough that one which loses each tenth
/// of all its updates is caught, though other cases cause updates at the same time.
const PROBE_UPDATES: u32 = 40;

/// The members of the cast.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Role {
    /// User-scoped, account A.
    U1,
    /// Another user-scoped one of account A.
    U2,
    /// Session-scoped on session S1 of account A.
    S1,
    /// Another one on session S1.
    S1B,
    /// Session-scoped on another session of account A.
    S2,
    /// Machine-scoped on machine M1 of account A.
    M1,
    /// Machine-scoped on another machine of account A.
    M2,
    /// User-scoped, account B.
    V1,
    /// Account B, session-scoped with the id of A's session S1.
    VS,
    /// Account B, machine-scoped with the id of A's machine M1.
    VM,
}

impl Role {
    /// Everyone.
    pub(crate) const ALL: [Self; 10] = [
        Self::U1,
        Self::U2,
        Self::S1,
        Self::S1B,
        Self::S2,
        Self::M1,
        Self::M2,
        Self::V1,
        Self::VS,
        Self::VM,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::U1 => "u1",
            Self::U2 => "u2",
            Self::S1 => "s1",
            Self::S1B => "s1b",
            Self::S2 => "s2",
            Self::M1 => "m1",
            Self::M2 => "m2",
            Self::V1 => "v1",
            Self::VS => "vs",
            Self::VM => "vm",
        }
    }

    /// Who the role is, for a reader of the report.
    fn described(self) -> &'static str {
        match self {
            Self::U1 => "u1 (user-scoped)",
            Self::U2 => "u2 (user-scoped)",
            Self::S1 => "s1 (session-scoped on the session)",
            Self::S1B => "s1b (session-scoped on the session)",
            Self::S2 => "s2 (session-scoped on another session)",
            Self::M1 => "m1 (machine-scoped on the machine)",
            Self::M2 => "m2 (machine-scoped on another machine)",
            Self::V1 => "v1 (user-scoped of another account)",
            Self::VS => "vs (another account, with this session's id)",
            Self::VM => "vm (another account, with this machine's id)",
        }
    }

    fn is_foreign(self) -> bool {
        matches!(self, Self::V1 | Self::VS | Self::VM)
    }
}

/// Which events are meant: a name, a kind, and a marker that occurs in them.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    /// `update` or `ephemeral`.
    event: &'static str,
    kind: &'static str,
    marker: String,
}

impl Wanted {
    /// Updates with `body.t` of `kind` that contain `marker`.
    pub(crate) fn update(kind: &'static str, marker: impl Into<String>) -> Self {
        Self {
            event: "update",
            kind,
            marker: marker.into(),
        }
    }

    /// Ephemerals of type `kind` that contain `marker`.
    pub(crate) fn ephemeral(kind: &'static str, marker: impl Into<String>) -> Self {
        Self {
            event: "ephemeral",
            kind,
            marker: marker.into(),
        }
    }

    /// Whether `arrival` is meant.
    pub(crate) fn matches(&self, arrival: &Arrival) -> bool {
        arrival.name == self.event
            && arrival.kind() == Some(self.kind)
            && arrival.raw.contains(&self.marker)
    }
}

/// Who has to receive an event, and who must not.
#[derive(Debug)]
pub(crate) struct Delivery<'a> {
    /// The event.
    pub(crate) wanted: Wanted,
    /// Who receives it exactly once.
    pub(crate) reaches: &'a [Role],
    /// Judges that they do.
    pub(crate) by: &'static Requirement,
    /// Who does not receive it, each group judged by its requirement. Connections of the other account
    /// need not be named: they never receive anything of this one.
    pub(crate) spares: &'a [(&'a [Role], &'static Requirement)],
}

/// The two sessions and machines of account A, as far as the cast needs them.
pub(crate) struct Stage {
    pub(crate) account: Account,
    pub(crate) s1: Session,
    pub(crate) s2: Option<Session>,
    pub(crate) m1: Option<Machine>,
    pub(crate) m2: Option<Machine>,
    other: Option<(Account, Session)>,
    peers: Vec<(Role, Peer)>,
    /// The last known version of what sentinels change, by id.
    versions: Mutex<HashMap<String, i64>>,
}

/// What a sentinel changes.
#[derive(Clone, Copy)]
enum Subject<'a> {
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

    fn kind(self) -> &'static str {
        match self {
            Self::Session(_) => "update-session",
            Self::Machine(_) => "update-machine",
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
struct Sentinel<'a> {
    subject: Subject<'a>,
    driver: &'a Peer,
    reaches: Vec<Role>,
}

impl Stage {
    /// Provisions what the cast needs, and connects it.
    pub(crate) async fn set(cx: &mut Ctx, cast: &[Role]) -> Flow<Self> {
        let account = cx.account().await?;
        let s1 = cx.session(&account).await?;
        let s2 = match cast.contains(&Role::S2) {
            true => Some(cx.session(&account).await?),
            false => None,
        };
        let m1 = match cast.iter().any(|role| matches!(role, Role::M1 | Role::VM)) {
            true => Some(cx.machine(&account).await?),
            false => None,
        };
        let m2 = match cast.contains(&Role::M2) {
            true => Some(cx.machine(&account).await?),
            false => None,
        };
        let other = match cast.iter().any(|role| role.is_foreign()) {
            true => {
                let other = cx.account().await?;
                let session = cx.session(&other).await?;
                Some((other, session))
            }
            false => None,
        };
        let mut stage = Self {
            account,
            s1,
            s2,
            m1,
            m2,
            other,
            peers: Vec::new(),
            versions: Mutex::default(),
        };
        let connected = join_all(cast.iter().map(|&role| stage.connect(cx, role))).await;
        for (&role, peer) in cast.iter().zip(connected) {
            match peer {
                Ok(peer) => stage.peers.push((role, peer)),
                // A server may refuse ids that are not the account's; then nothing can leak to them.
                Err(Stop::Blocked { .. }) if matches!(role, Role::VS | Role::VM) => {}
                Err(stop) => return Err(stop),
            }
        }
        Ok(stage)
    }

    async fn connect(&self, cx: &Ctx, role: Role) -> Flow<Peer> {
        let scope = match role {
            Role::U1 | Role::U2 | Role::V1 => Scope::User,
            Role::S1 | Role::S1B | Role::VS => Scope::Session(&self.s1.id),
            Role::S2 => Scope::Session(self.s2.as_ref().map_or("", |session| &session.id)),
            Role::M1 | Role::VM => Scope::Machine(self.m1_id()),
            Role::M2 => Scope::Machine(self.m2.as_ref().map_or("", |machine| &machine.id)),
        };
        let account = match (&self.other, role.is_foreign()) {
            (Some((other, _)), true) => other,
            _ => &self.account,
        };
        cx.connect(role.name(), account.token(), scope).await
    }

    /// The connection of `role`.
    ///
    /// # Panics
    /// When the cast does not have the role, or the server refused it: only `VS` and `VM` can be
    /// refused without ending the case, and cases do not speak through them.
    pub(crate) fn peer(&self, role: Role) -> &Peer {
        self.find(role)
            .unwrap_or_else(|| panic!("{} is not on this stage", role.name()))
    }

    fn find(&self, role: Role) -> Option<&Peer> {
        self.peers
            .iter()
            .find(|(other, _)| *other == role)
            .map(|(_, peer)| peer)
    }

    /// The id of machine M1.
    pub(crate) fn m1_id(&self) -> &str {
        self.m1.as_ref().map_or("", |machine| &machine.id)
    }

    /// Judges who received the events of an action that has just been carried out. Gives the first
    /// arrival of each delivery, for the case to look at.
    ///
    /// Ends the case when an event reached nobody: there is nothing left to judge then.
    pub(crate) async fn observe(
        &self,
        cx: &mut Ctx,
        deliveries: &[Delivery<'_>],
    ) -> Flow<Vec<Arrival>> {
        let started = Instant::now();
        // A server that is known to lose updates need not be waited for again and again.
        let patience = match cx.shared.loses_updates() {
            true => cx.shared.pace.sentinel(),
            false => cx.shared.pace.patience(),
        };
        let deadline = started + patience;
        for delivery in deliveries {
            for &role in delivery.reaches {
                let wanted = |arrival: &Arrival| delivery.wanted.matches(arrival);
                if let Some(arrival) = self.peer(role).wait_for(deadline, wanted).await {
                    cx.shared
                        .pace
                        .saw(arrival.at.saturating_duration_since(started));
                }
            }
        }
        self.prove_silence(cx).await?;
        let mut firsts = Vec::new();
        for delivery in deliveries {
            firsts.push(self.judge(cx, delivery).await?);
        }
        Ok(firsts)
    }

    /// Judges that nobody received an event which must not exist. The action must have been followed, on
    /// its own connection, by something that is known to have been handled after it.
    pub(crate) async fn observe_nothing(
        &self,
        cx: &mut Ctx,
        wanted: &Wanted,
        by: &'static Requirement,
    ) -> Flow {
        // Twice: a server that handles events of one connection side by side may be slower with the
        // one under judgment than with the first sentinel.
        self.prove_silence(cx).await?;
        self.prove_silence(cx).await?;
        let told: Vec<_> = self
            .peers
            .iter()
            .flat_map(|(role, peer)| {
                peer.all(|arrival| wanted.matches(arrival))
                    .into_iter()
                    .map(|arrival| format!("{} received {}", role.described(), arrival.raw))
            })
            .collect();
        cx.check(
            by,
            told.is_empty(),
            format!("no {}", wanted.kind),
            told.join("; "),
        );
        Ok(())
    }

    async fn judge(&self, cx: &mut Ctx, delivery: &Delivery<'_>) -> Flow<Arrival> {
        let wanted = &delivery.wanted;
        let received = |role: &Role| self.peer(*role).all(|arrival| wanted.matches(arrival));
        let logs: Vec<_> = delivery
            .reaches
            .iter()
            .map(|role| (*role, received(role)))
            .collect();
        let missing: Vec<_> = logs
            .iter()
            .filter(|(_, log)| log.is_empty())
            .map(|(role, _)| role.described())
            .collect();
        let everyone: Vec<_> = delivery
            .reaches
            .iter()
            .map(|role| role.described())
            .collect();
        let expected = format!("{} for {}", wanted.kind, everyone.join(", "));
        let Some(first) = logs.iter().find_map(|(_, log)| log.first().cloned()) else {
            self.blame_absence(cx, delivery, &expected).await?;
            return Err(Stop::Judged);
        };
        cx.check(
            delivery.by,
            missing.is_empty(),
            &expected,
            format!("nothing for {}", missing.join(", ")),
        );
        self.judge_duplicates(cx, delivery, &logs);
        for &(roles, by) in delivery.spares {
            self.judge_spared(cx, wanted, roles, by);
        }
        let foreign: Vec<_> = Role::ALL
            .into_iter()
            .filter(|role| role.is_foreign())
            .collect();
        if foreign.iter().any(|&role| self.find(role).is_some()) {
            self.judge_spared(cx, wanted, &foreign, &delivery::ISOLATED);
        }
        Ok(first)
    }

    fn judge_spared(
        &self,
        cx: &mut Ctx,
        wanted: &Wanted,
        roles: &[Role],
        by: &'static Requirement,
    ) {
        let reached: Vec<_> = roles
            .iter()
            .filter(|&&role| {
                self.find(role)
                    .is_some_and(|peer| !peer.all(|arrival| wanted.matches(arrival)).is_empty())
            })
            .map(|role| role.described())
            .collect();
        let spared: Vec<_> = roles.iter().map(|role| role.described()).collect();
        cx.check(
            by,
            reached.is_empty(),
            format!("no {} for {}", wanted.kind, spared.join(", ")),
            format!("it reached {}", reached.join(", ")),
        );
    }

    /// The same envelope twice is a fault of delivery; two envelopes for one cause are a fault of what
    /// caused them.
    fn judge_duplicates(
        &self,
        cx: &mut Ctx,
        delivery: &Delivery<'_>,
        logs: &[(Role, Vec<Arrival>)],
    ) {
        let Some((role, log)) = logs.iter().find(|(_, log)| log.len() > 1) else {
            cx.held(&delivery::NO_DUPLICATE);
            return;
        };
        let kind = delivery.wanted.kind;
        let count = log.len();
        let same = log[0].envelope_id().is_some() && log[0].envelope_id() == log[1].envelope_id();
        let by = if same {
            &delivery::NO_DUPLICATE
        } else {
            delivery.by
        };
        let again = if same {
            "with the same id"
        } else {
            "with different ids"
        };
        cx.broken(
            by,
            format!("{kind} exactly once"),
            format!("{count} times for {}, {again}", role.described()),
        );
    }

    /// An event reached nobody. Either the server does not send it, or it loses updates now and then:
    /// a series of updates that certainly exist tells the two apart.
    async fn blame_absence(&self, cx: &mut Ctx, delivery: &Delivery<'_>, expected: &str) -> Flow {
        let lost = match delivery.wanted.event {
            "update" => self.lost_of_series(cx).await?,
            _ => 0,
        };
        if lost > 0 || (delivery.wanted.event == "update" && cx.shared.loses_updates()) {
            cx.shared.saw_loss();
            cx.broken(
                &delivery::NO_LOSS,
                expected,
                format!("nothing for anyone; of {PROBE_UPDATES} further updates {lost} got lost"),
            );
        } else {
            let patience = cx.shared.pace.patience().as_secs_f64();
            cx.broken(
                delivery.by,
                expected,
                format!("nothing for anyone within {patience:.1} s"),
            );
        }
        Ok(())
    }

    /// Causes a series of updates of session S1, and counts those that did not arrive.
    async fn lost_of_series(&self, cx: &mut Ctx) -> Flow<u32> {
        let Some(sentinel) = self.sentinels().into_iter().next() else {
            return Ok(0);
        };
        let Some(listener) = sentinel.reaches.first().map(|&role| self.peer(role)) else {
            return Ok(0);
        };
        cx.step("a series of updates, to see whether some get lost");
        let mut markers = Vec::new();
        for _ in 0..PROBE_UPDATES {
            let marker = cx.marker("series");
            if !self
                .bump(cx, sentinel.driver, sentinel.subject, &marker)
                .await?
            {
                return Ok(0);
            }
            markers.push(marker);
        }
        // The last one may be lost as well, so more are sent until one arrives.
        self.prove_silence(cx).await?;
        let kind = sentinel.subject.kind();
        let arrived = listener.all(|arrival| arrival.kind() == Some(kind));
        let lost = markers
            .iter()
            .filter(|marker| !arrived.iter().any(|arrival| arrival.raw.contains(*marker)))
            .count();
        // A server that sends none of them does not lose some.
        if lost == markers.len() {
            Ok(0)
        } else {
            Ok(u32::try_from(lost).unwrap_or(u32::MAX))
        }
    }

    /// Returns when each connection has received everything that was sent to it before: each has its
    /// sentinel, or the settle window has passed for those that no sentinel reaches.
    pub(crate) async fn prove_silence(&self, cx: &mut Ctx) -> Flow {
        let mut unproved = self.raise(cx).await?;
        // Connections of the other account with ids of this one: no event can be addressed to them.
        // What was sent to them was sent with what the others have received by now, so that a round
        // trip on the same connection comes after it.
        for role in [Role::VS, Role::VM] {
            if let Some(peer) = self.find(role)
                && peer.ended().is_none()
                && !cx.round_trip(peer).await?
            {
                unproved.push(role);
            }
        }
        for (role, peer) in &self.peers {
            if let Some(end) = peer.ended() {
                return Err(cx.dropped(peer, &end));
            }
            if peer.overflowed() {
                return Err(Stop::Blocked {
                    parent: &connection::STAYS_OPEN,
                    reason: format!("{} is flooded with events", role.described()),
                });
            }
        }
        if !unproved.is_empty() {
            let window = cx.shared.pace.settle();
            let names: Vec<_> = unproved.iter().map(|role| role.name()).collect();
            cx.note(format!(
                "silence of {} rests on a settle window of {} ms, since no sentinel reached it",
                names.join(", "),
                window.as_millis()
            ));
            tokio::time::sleep(window).await;
        }
        Ok(())
    }

    fn sentinels(&self) -> Vec<Sentinel<'_>> {
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
    async fn raise(&self, cx: &mut Ctx) -> Flow<Vec<Role>> {
        let mut waiting: Vec<(Sentinel<'_>, Vec<String>)> = self
            .sentinels()
            .into_iter()
            .map(|sentinel| (sentinel, Vec::new()))
            .collect();
        let mut unproved = Vec::new();
        for _ in 0..SENTINEL_ATTEMPTS {
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
                    unproved.extend(sentinel.reaches);
                }
            }
            waiting = Vec::new();
            let deadline = Instant::now() + cx.shared.pace.sentinel();
            for (sentinel, markers) in raised {
                let kind = sentinel.subject.kind();
                let mut still = Vec::new();
                for role in sentinel.reaches {
                    let is_sentinel = |arrival: &Arrival| {
                        arrival.kind() == Some(kind)
                            && markers.iter().any(|marker| arrival.raw.contains(marker))
                    };
                    match self.peer(role).wait_for(deadline, is_sentinel).await {
                        Some(arrival) => {
                            let took = arrival.at.saturating_duration_since(started);
                            cx.shared.pace.saw(took);
                            self.judge_sentinel(cx, role, &markers, &arrival);
                        }
                        None => still.push(role),
                    }
                }
                if !still.is_empty() {
                    waiting.push((
                        Sentinel {
                            reaches: still,
                            ..sentinel
                        },
                        markers,
                    ));
                }
            }
            if waiting.is_empty() {
                break;
            }
        }
        unproved.extend(
            waiting
                .into_iter()
                .flat_map(|(sentinel, _)| sentinel.reaches),
        );
        Ok(unproved)
    }

    /// A later sentinel that arrived without the earlier one means that the earlier one was lost.
    fn judge_sentinel(&self, cx: &mut Ctx, role: Role, markers: &[String], arrival: &Arrival) {
        if markers.len() > 1 && !arrival.raw.contains(&markers[0]) {
            cx.shared.saw_loss();
            cx.broken(
                &delivery::NO_LOSS,
                format!("each acknowledged change for {}", role.described()),
                "a change that was acknowledged never arrived, a later one did",
            );
        }
    }

    /// Changes `subject` through `driver` so that `marker` goes out. False when the server does not let
    /// that happen, which is for other cases to judge.
    async fn bump(
        &self,
        cx: &mut Ctx,
        driver: &Peer,
        subject: Subject<'_>,
        marker: &str,
    ) -> Flow<bool> {
        let known = |id: &str| {
            let versions = self.versions.lock().unwrap_or_else(PoisonError::into_inner);
            versions.get(id).copied().unwrap_or(0)
        };
        let mut version = known(subject.id());
        for _ in 0..4 {
            let data = subject.data(marker, version);
            let Ok(answer) = cx.ask(driver, subject.event(), data).await? else {
                return Ok(false);
            };
            let Some(current) = answer.data["version"].as_i64() else {
                return Ok(false);
            };
            let mut versions = self.versions.lock().unwrap_or_else(PoisonError::into_inner);
            versions.insert(subject.id().to_owned(), current);
            drop(versions);
            match answer.data["result"].as_str() {
                Some("success") => return Ok(true),
                Some("version-mismatch") => version = current,
                _ => return Ok(false),
            }
        }
        Ok(false)
    }
}
