//! What is called at the quiet point: each method that somebody has asked for, and the first of them with all
//! values.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::Value;
use tokio::time::sleep;

use super::{Stage, kind_of};
use crate::{
    deed::{Deed, deed},
    peer::{Peer, notice},
    plan::{Act, Callee},
    values::{self, VALUES},
};

/// How long is waited until every server has noticed who has left: a little more than the judge grants.
const NOTICED: Duration = Duration::from_millis(2_200);

impl Stage<'_> {
    /// Waits until each has been told what it has registered and unregistered.
    pub(super) async fn settle_methods(&self, peers: &[&Peer]) {
        for peer in peers {
            let Some(link) = &peer.link else { continue };
            let asked = [
                ("rpc-registered", &link.registered),
                ("rpc-unregistered", &link.unregistered),
            ];
            for (event, methods) in asked {
                for method in methods {
                    let sign = notice(event, &values::method(*method));
                    self.seen(event, &sign, [peer].into_iter()).await;
                }
            }
        }
    }

    /// Calls what was asked for. What somebody has to have is registered and called once more where that fails:
    /// who left may have had it for the server until then.
    pub(super) async fn settle_calls(&self, peers: &[&Peer]) {
        let Some(first) = peers.first() else { return };
        let holder = self.holder(first.actor.account);
        let methods: Vec<u8> = super::lock(&holder.methods).iter().copied().collect();
        let calls = methods.iter().enumerate().map(|(nth, method)| async move {
            let values = if nth == 0 { 0..VALUES } else { 2..3 };
            let calls = values.map(|value| self.call(*method, value, peers));
            let answers = join_all(calls).await;
            let is_refused =
                |answer: &Option<Value>| matches!(answer, Some(answer) if answer["ok"] == false);
            answers.iter().all(is_refused).then_some(*method)
        });
        let refused: Vec<u8> = join_all(calls).await.into_iter().flatten().collect();
        let having = |method: &u8| {
            let mut all = peers.iter().filter(|peer| has(peer, *method));
            all.next().filter(|_| all.next().is_none())
        };
        let again: Vec<_> = refused
            .iter()
            .filter_map(|method| Some((method, having(method)?)))
            .collect();
        if again.is_empty() || peers.len() < 2 {
            return;
        }
        sleep(NOTICED).await;
        for (method, peer) in again {
            let Some(link) = &peer.link else { continue };
            let name = values::method(*method);
            let sign = notice("rpc-registered", &name);
            link.forget(&sign);
            let data = serde_json::json!({"method": name});
            link.socket.emit("rpc-register", data).await.ok();
            self.seen("rpc-registered", &sign, [&peer].into_iter().copied())
                .await;
            self.call(*method, 2, peers).await;
        }
    }

    /// A call by somebody who does not have the method, if there is one.
    async fn call(&self, method: u8, value: u8, peers: &[&Peer]) -> Option<Value> {
        let mut others = peers.iter().filter(|peer| !has(peer, method));
        let caller = others.next().or(peers.first())?;
        let callee = Callee::Value(value);
        let act = Act::Call {
            method,
            callee,
            value,
        };
        self.by(caller, act).await
    }

    /// Sends an event of an actor, and gives its answer.
    pub(super) async fn by(&self, peer: &Peer, act: Act) -> Option<Value> {
        let account = peer.actor.account;
        let deed = deed(&act, &self.world, self.holder(account), self.other(account))?;
        let (Deed::Call(event, data, learn), Some(link)) = (deed, &peer.link) else {
            return None;
        };
        let kind = kind_of(&act, event, &data);
        let reply = link.socket.request(event, data).await.ok()?;
        self.answered(kind, reply, learn, account).await
    }
}

/// Whether a connection has registered a method, and not unregistered it since.
fn has(peer: &Peer, method: u8) -> bool {
    let link = peer.link.as_ref();
    link.is_some_and(|link| link.has.contains(&method))
}
