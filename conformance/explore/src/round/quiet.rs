//! The quiet point of a round: sentinels that arrive after everything that was caused before, and what is read
//! then.

use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{RoundError, Stage, is_live};
use crate::{
    deed::{Deed, Learn, write_machine, write_session},
    peer::{Peer, SENTINEL},
    plan::{Act, MACHINES, Part, SESSIONS, Scope},
};

/// How many sentinels of a kind follow each other: messages of several senders may overtake each other by
/// two.
const SENTINELS: usize = 3;
/// How often a sentinel is written again that another write has overtaken.
const TRIES: usize = 20;

impl Stage<'_> {
    /// Sends what has to arrive after everything that was caused before, and waits for it.
    pub(super) async fn settle(&self, account: u8, peers: &mut [Peer]) -> Result<(), RoundError> {
        let of_account = |peer: &&mut Peer| peer.actor.account == account;
        if !peers
            .iter_mut()
            .filter(of_account)
            .any(|peer| is_live(peer))
            && let Some(observer) = peers.iter_mut().find(|peer| peer.actor.account == account)
        {
            self.open(observer).await?;
        }
        let peers: Vec<&Peer> = peers
            .iter()
            .filter(|peer| peer.actor.account == account && is_live(peer))
            .collect();
        for _ in 0..SENTINELS {
            join_all(peers.iter().map(|peer| self.settle_messages(peer, &peers))).await;
        }
        join_all(
            peers
                .iter()
                .map(|peer| self.settle_heartbeats(peer, &peers)),
        )
        .await;
        self.settle_methods(&peers).await;
        self.settle_calls(&peers).await;
        let Some(sender) = peers.first() else {
            return Ok(());
        };
        for _ in 0..SENTINELS {
            self.settle_rows(sender, &peers).await;
        }
        Ok(())
    }

    /// Only a message of the same sender to the same session comes surely after its messages.
    async fn settle_messages(&self, peer: &Peer, peers: &[&Peer]) {
        let (Some(link), holder) = (&peer.link, self.holder(peer.actor.account)) else {
            return;
        };
        let mut sessions: Vec<u8> = link.wrote.iter().copied().collect();
        sessions.sort_unstable();
        for index in sessions {
            let text = format!("{SENTINEL}{}", self.world.number());
            let sid = &holder.sessions[usize::from(index)];
            let data = json!({"sid": sid, "message": text, "localId": text});
            if link.socket.emit("message", data).await.is_err() {
                return;
            }
            let receives = |other: &&&Peer| {
                let is_theirs = match other.actor.scope {
                    Scope::User | Scope::Surplus | Scope::Foreign => true,
                    Scope::Session(own) => own == index,
                    Scope::Machine(_) | Scope::ForeignSession => false,
                };
                is_theirs && other.actor.id != peer.actor.id
            };
            self.seen("message", &text, peers.iter().filter(receives))
                .await;
        }
    }

    /// Heartbeats have no answer: what they announce is waited for.
    async fn settle_heartbeats(&self, peer: &Peer, peers: &[&Peer]) {
        let beat = peer.link.as_ref().map(|link| &link.beat);
        for id in beat.into_iter().flatten() {
            let receives = |other: &&&Peer| {
                other.actor.scope.is_user() && other.actor.id != peer.actor.id && !other.returned
            };
            self.seen("heartbeat", id, peers.iter().filter(receives))
                .await;
        }
    }

    /// Changes a session for all that receive changes of sessions, and a machine for the others. Whoever is to
    /// receive a change is waited for: the judge asks for the last one of each, too.
    async fn settle_rows(&self, sender: &Peer, peers: &[&Peer]) {
        let holder = self.holder(sender.actor.account);
        let has_user = peers.iter().any(|peer| peer.actor.scope.is_user());
        let has = |scope| peers.iter().any(|peer| peer.actor.scope == scope);
        for (index, sid) in (0..SESSIONS).zip(&holder.sessions) {
            if has(Scope::Session(index)) || index == 0 && has_user {
                let sign = self.write(sender, sid, "metadata", write_session).await;
                self.changed(Scope::Session(index), &sign, peers).await;
            }
        }
        for (index, id) in (0..MACHINES).zip(&holder.machines) {
            if has(Scope::Machine(index)) {
                let sign = self.write(sender, id, "metadata", write_machine).await;
                self.changed(Scope::Machine(index), &sign, peers).await;
            }
        }
    }

    /// Waits until users, and who has this scope, have received a change.
    async fn changed(&self, scope: Scope, sign: &str, peers: &[&Peer]) {
        let receives = |peer: &&&Peer| peer.actor.scope.is_user() || peer.actor.scope == scope;
        self.seen("update", sign, peers.iter().filter(receives))
            .await;
    }

    /// Writes a sentinel to a row, on whatever version that has.
    async fn write(
        &self,
        sender: &Peer,
        id: &str,
        part: &str,
        deed: fn(&str, Part, &Value, &Value) -> Deed,
    ) -> String {
        let sign = format!("{SENTINEL}{}", self.world.number());
        let value = json!(sign);
        for _ in 0..TRIES {
            let known = self.world.version(id, part);
            let deed = deed(id, Part::First, &json!(known), &value);
            let (Deed::Call(event, data, learn), Some(link)) = (deed, &sender.link) else {
                break;
            };
            let Ok(reply) = link.socket.request(event, data).await else {
                break;
            };
            let answer = self
                .answered(event, reply, learn, sender.actor.account)
                .await;
            if answer.is_none_or(|answer| answer["result"] != "version-mismatch") {
                break;
            }
        }
        sign
    }

    /// Waits until a sentinel has reached all of these.
    pub(super) async fn seen<'p>(
        &self,
        kind: &'static str,
        sign: &str,
        peers: impl Iterator<Item = &'p &'p Peer>,
    ) {
        let kind = format!("a sentinel by {kind}");
        let (patience, began) = (self.patience(&kind), Instant::now());
        let links = peers.filter_map(|peer| peer.link.as_ref());
        let seen = join_all(links.map(|link| link.sees(sign, patience))).await;
        if seen.contains(&false) {
            self.missed(&kind);
        } else if !seen.is_empty() {
            self.target.came(&kind, began.elapsed());
        }
    }

    /// Reads what events read.
    pub(super) async fn read_by_events(&self, account: u8, peers: &[Peer]) {
        let Some(reader) = peers
            .iter()
            .find(|peer| peer.actor.account == account && is_live(peer))
        else {
            return;
        };
        let pairs = (0..SESSIONS).flat_map(|session| {
            (0..MACHINES).map(move |machine| Act::AccessKey { session, machine })
        });
        let artifacts = (0..3).map(|artifact| Act::ArtifactRead { artifact });
        let acts = pairs.chain(artifacts);
        join_all(acts.map(|act| self.by(reader, act))).await;
    }

    /// Reads all that the account has.
    pub(super) async fn read(&self, account: u8) {
        let holder = self.holder(account);
        let mut paths: Vec<String> = [
            "/v1/sessions",
            "/v1/machines",
            "/v1/account/settings",
            "/v1/artifacts",
        ]
        .map(str::to_owned)
        .into();
        for sid in &holder.sessions {
            paths.push(format!("/v3/sessions/{sid}/messages?after_seq=0&limit=500"));
            for machine in &holder.machines {
                paths.push(format!("/v1/access-keys/{sid}/{machine}"));
            }
        }
        paths.extend(
            holder
                .artifacts
                .iter()
                .map(|id| format!("/v1/artifacts/{id}")),
        );
        paths.push("/v1/kv".to_owned());
        let asked = paths
            .iter()
            .map(|path| self.ask(account, "GET", path, None, &Learn::Nothing));
        join_all(asked).await;
    }
}
