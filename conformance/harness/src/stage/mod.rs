//! The stage: a standard cast of connections, and silence proved by a sentinel.
//!
//! After an action, a stage waits until everyone who must hear of it has, then causes a second event
//! that must reach each connection of the cast through the same router: a change of its own session, of
//! its own machine. When a connection has its sentinel, whatever it has not received by then was not
//! sent to it. No time passes for that, and a server that acknowledges first and delivers later is
//! judged as fairly as one that does not. What must arrive is waited for as long as anything that is
//! waited for still arrives.
//!
//! Events are told by markers, text that occurs in nothing else, never by the keys that are under
//! judgment. A server that loses single updates is blamed for losing updates, whichever case meets it.

mod cast;
mod judge;
mod sentinel;
mod series;

use std::{collections::HashSet, sync::Mutex};

use futures_util::{StreamExt as _, future::join_all, stream::FuturesUnordered};
use serde_json::Value;
use tokio::time::{Duration, Instant, timeout_at};

pub use self::{
    cast::{Delivery, Role, Wanted},
    series::Series,
};
use crate::{
    case::{Flow, Stop},
    ctx::{Ctx, Scope},
    ledger::Requirement,
    peer::{Arrival, Peer},
    provide::{Account, Machine, Session},
};

/// The two sessions and machines of account A, as far as the cast needs them.
pub struct Stage {
    /// Account A.
    pub account: Account,
    /// Its first session.
    pub s1: Session,
    /// Its second one.
    pub s2: Option<Session>,
    /// Its first machine.
    pub m1: Option<Machine>,
    /// Its second one.
    pub m2: Option<Machine>,
    other: Option<(Account, Session)>,
    peers: Vec<(Role, Peer)>,
    /// Whom no sentinel has reached: they are not waited for again.
    deaf: Mutex<HashSet<Role>>,
}

impl Stage {
    /// Provisions what the cast needs, and connects it.
    pub async fn set(cx: &mut Ctx, cast: &[Role]) -> Flow<Self> {
        let account = cx.account().await?;
        Self::of(cx, account, cast).await
    }

    /// As [`set`](Self::set), for an account that is there already.
    pub async fn of(cx: &mut Ctx, account: Account, cast: &[Role]) -> Flow<Self> {
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
            deaf: Mutex::default(),
        };
        let connected = join_all(cast.iter().map(|&role| stage.connect(cx, role))).await;
        for (&role, peer) in cast.iter().zip(connected) {
            match peer {
                Ok(mut peer) => {
                    peer.who = role.described().to_owned();
                    stage.peers.push((role, peer));
                }
                // A server may refuse ids that are not the account's, in whatever way; then nothing can
                // leak to them.
                Err(Stop::Blocked { .. } | Stop::Dropped(_))
                    if matches!(role, Role::VS | Role::VM) =>
                {
                    cx.note(format!(
                        "{} is not admitted, which a server may do; the rest is judged without it",
                        role.described()
                    ));
                }
                Err(stop) => return Err(stop),
            }
        }
        stage.prove_receiving(cx).await?;
        Ok(stage)
    }

    async fn connect(&self, cx: &Ctx, role: Role) -> Flow<Peer> {
        let scope = match role {
            Role::U1 | Role::U2 | Role::V1 => Scope::User,
            Role::S1 | Role::S1B | Role::VS => Scope::Session(&self.s1.id),
            Role::S2 => Scope::Session(self.s2.as_ref().map_or("", |session| &session.id)),
            Role::M1 | Role::VM => Scope::Machine(self.m1_id()),
            Role::M2 => Scope::Machine(self.m2_id()),
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
    pub fn peer(&self, role: Role) -> &Peer {
        self.find(role)
            .unwrap_or_else(|| panic!("{} is not on this stage", role.name()))
    }

    /// What connections of the other account have received that contains `word`.
    pub fn overheard(&self, word: &str) -> Vec<String> {
        let foreign = self.peers.iter().filter(|(role, _)| role.is_foreign());
        foreign
            .flat_map(|(role, peer)| {
                let log = peer.all(|arrival| arrival.raw.contains(word));
                log.into_iter()
                    .map(|arrival| format!("{} received {}", role.described(), arrival.raw))
            })
            .collect()
    }

    fn find(&self, role: Role) -> Option<&Peer> {
        self.peers
            .iter()
            .find(|(other, _)| *other == role)
            .map(|(_, peer)| peer)
    }

    /// The token of the other account, where a connection of it is in the cast.
    pub fn other_token(&self) -> &str {
        self.other.as_ref().map_or("", |(other, _)| other.token())
    }

    /// The other account.
    ///
    /// # Panics
    /// When no connection of it is in the cast.
    pub fn other_account(&self) -> &Account {
        &self.other.as_ref().expect("the cast has another account").0
    }

    /// The other account's session, as [`other_account`](Self::other_account).
    pub fn other_session(&self) -> &str {
        &self
            .other
            .as_ref()
            .expect("the cast has another account")
            .1
            .id
    }

    /// Lets `sender` do something that `listener` hears of, and waits until it has. What `sender` sent before by
    /// the same event has been handled then: an event without an answer has no other proof.
    pub async fn same_road(
        &self,
        cx: &Ctx,
        (sender, event, data): (&Peer, &str, Value),
        wanted: &Wanted,
        listener: &Peer,
    ) -> Flow {
        cx.step(&format!(
            "{event} once more, which {} hears of",
            listener.who
        ));
        cx.emit(sender, event, data).await?;
        cx.arrival(listener, &wanted.named(), |arrival| wanted.matches(arrival))
            .await;
        Ok(())
    }

    /// The id of machine M2.
    pub fn m2_id(&self) -> &str {
        self.m2.as_ref().map_or("", |machine| &machine.id)
    }

    /// The id of machine M1.
    pub fn m1_id(&self) -> &str {
        self.m1.as_ref().map_or("", |machine| &machine.id)
    }

    /// Judges who received the events of an action that has just been carried out. Gives the first
    /// arrival of each delivery, for the case to look at.
    ///
    /// Ends the case when an event reached nobody: there is nothing left to judge then.
    pub async fn observe(&self, cx: &mut Ctx, deliveries: &[Delivery<'_>]) -> Flow<Vec<Arrival>> {
        let waited = self.await_all(cx, deliveries).await;
        self.prove_silence(cx).await?;
        let mut firsts = Vec::new();
        for delivery in deliveries {
            firsts.push(self.judge(cx, delivery, waited).await?);
        }
        Ok(firsts)
    }

    /// Waits until everyone has what must reach them, as long as any of it still arrives. Gives how long
    /// that took.
    async fn await_all(&self, cx: &Ctx, deliveries: &[Delivery<'_>]) -> Duration {
        let pace = &cx.shared.pace;
        let started = Instant::now();
        let kinds = deliveries.iter().map(|delivery| delivery.wanted.named());
        let patience = kinds
            .map(|kind| pace.patience_for(&kind))
            .max()
            .unwrap_or_default();
        // Nobody waits so long: it is the patience that ends the wait, each time when nothing came.
        let end =
            started + patience * u32::try_from(self.peers.len() * deliveries.len()).unwrap_or(1);
        let mut missing: Vec<_> = deliveries
            .iter()
            .map(|delivery| delivery.reaches.len())
            .collect();
        let mut pending: FuturesUnordered<_> = deliveries
            .iter()
            .enumerate()
            .flat_map(|(index, delivery)| {
                delivery.reaches.iter().map(move |&role| async move {
                    let wanted = |arrival: &Arrival| delivery.wanted.matches(arrival);
                    (index, self.peer(role).wait_for(end, wanted).await)
                })
            })
            .collect();
        let mut deadline = started + patience;
        while let Ok(Some((index, arrival))) = timeout_at(deadline, pending.next()).await {
            let Some(arrival) = arrival else { continue };
            missing[index] -= 1;
            let took = arrival.at.saturating_duration_since(started);
            pace.saw_delivery(took);
            pace.came(&deliveries[index].wanted.named(), took);
            deadline = deadline.max(Instant::now() + patience);
        }
        for (delivery, missing) in deliveries.iter().zip(missing) {
            if missing == delivery.reaches.len() {
                pace.missed(&delivery.wanted.named());
            }
        }
        started.elapsed()
    }

    /// Judges that nobody received an event which must not exist. The action must have been followed, on
    /// its own connection, by something that is known to have been handled after it.
    pub async fn observe_nothing(
        &self,
        cx: &mut Ctx,
        wanted: &Wanted,
        by: &'static Requirement,
    ) -> Flow {
        // Twice: a server that handles events of one connection side by side may be slower with the
        // one under judgment than with the first sentinel.
        self.prove_silence(cx).await?;
        self.prove_silence(cx).await?;
        let mut told = Vec::new();
        let mut wrong = Vec::new();
        for (role, peer) in &self.peers {
            for arrival in peer.all(|arrival| wanted.matches(arrival)) {
                wrong.push(role.name());
                told.push(format!("{} received {}", role.described(), arrival.raw));
            }
        }
        cx.check_by(
            wanted.clue().wrong(wrong),
            by,
            told.is_empty(),
            format!("no {}", wanted.kind),
            told.join("; "),
        );
        Ok(())
    }
}
