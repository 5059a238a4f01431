//! How a virtual peer comes to its connection, and who hears what arrives there.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::Duration,
};

use serde_json::{Map, Value};
use tokio::time::{Instant, sleep_until, timeout};
use touchstone_client::{ConnectError, ConnectOptions, End, Engine, Listener};

use super::cell::Cell;
use crate::{
    scenario::{Role, RoleRules},
    schedule::{Peer, scatter},
};

/// Hears what arrives at one connection.
struct Ear {
    cell: Arc<Cell>,
    peer: u32,
    generation: u32,
    planned: u64,
    dialed: u64,
}

impl Listener for Ear {
    fn connected(&mut self, at: Instant) {
        let at = self.cell.common.since_start(at);
        let times = [self.planned, self.dialed, at];
        self.cell.opened(self.peer, self.generation, times);
    }

    fn packet(&mut self, at: Instant, packet: &str) {
        self.cell.packet(self.peer, self.generation, at, packet);
    }

    fn ended(&mut self, end: &End) {
        over(&self.cell, self.peer, self.generation, end);
    }
}

/// Lets a connection be open from now on, until the scenario drops it.
pub(super) fn want(cell: &Arc<Cell>, peer: u32, planned: u64) {
    if let Some(generation) = cell.want(peer, planned) {
        tokio::spawn(dial(Arc::clone(cell), peer, generation, planned));
    }
}

/// A connection or an attempt is over. Where it is still wanted, it is tried again.
fn over(cell: &Arc<Cell>, peer: u32, generation: u32, why: &(dyn std::error::Error + 'static)) {
    let now = cell.common.now();
    if let Some(since) = cell.ended(peer, generation, &described(why), now) {
        tokio::spawn(retry(Arc::clone(cell), peer, generation, [since, now]));
    }
}

/// Tries again, after a failure at `now`, a connection that has been missing `since` then.
async fn retry(cell: Arc<Cell>, peer: u32, generation: u32, [since, now]: [u64; 2]) {
    let common = &cell.common;
    let rules = common.schedule.scenario();
    let rules = rules.rules(cell.account.peer(peer).role);
    let jitter = scatter(
        [u64::from(cell.account.index), u64::from(peer), now],
        rules.retry_jitter,
    );
    let at = next_attempt(rules, since, now) + jitter.us();
    sleep_until(common.start + Duration::from_micros(at)).await;
    dial(cell, peer, generation, since).await;
}

/// When it is tried again.
fn next_attempt(rules: &RoleRules, since: u64, now: u64) -> u64 {
    match rules.retry_grid.us() {
        0 => now + rules.retry.us(),
        grid => {
            let first = since + rules.retry.us();
            first + (now + 1).saturating_sub(first).div_ceil(grid) * grid
        }
    }
}

/// One attempt. `planned` is when the connection was first wanted, from which its latency counts.
async fn dial(cell: Arc<Cell>, peer: u32, generation: u32, planned: u64) {
    if !cell.is_wanted(peer, generation) {
        return;
    }
    let dialed = cell.common.now();
    let options = options(&cell, peer);
    // Boxed, since the task of every connection would keep room for it otherwise.
    let opened = Box::pin(Engine::open(&options)).await;
    let engine = match opened {
        Ok(engine) => engine,
        Err(error) => return over(&cell, peer, generation, &error),
    };
    let ear = Ear {
        cell: Arc::clone(&cell),
        peer,
        generation,
        planned,
        dialed,
    };
    let socket = engine.begin_with(Box::new(ear));
    if !cell.attach(peer, generation, socket.clone()) {
        return;
    }
    // The listener hears how it goes; only that nothing is heard at all has to be noticed here.
    if timeout(options.timeout, socket.connected()).await.is_err() {
        socket.abort();
    }
}

fn options(cell: &Cell, peer: u32) -> ConnectOptions {
    let common = &cell.common;
    let Peer { role, subject } = cell.account.peer(peer);
    let mut auth = Map::new();
    let mut set = |key: &str, value: &str| auth.insert(key.to_owned(), Value::from(value));
    set("token", cell.provided.token.expose());
    set("clientType", role.client_type());
    match role {
        Role::User => None,
        Role::Session => set(
            "sessionId",
            cell.provided.sessions[subject as usize].trim_matches('"'),
        ),
        Role::Machine => set(
            "machineId",
            cell.provided.machines[subject as usize].trim_matches('"'),
        ),
    };
    let mut options = common.options.clone().auth(Value::Object(auth));
    let urls = &common.urls;
    options.url = urls[cell.account.node(peer, urls.len())].clone();
    if let Some((recorder, end)) = &common.trace
        && cell.account.index < *end
    {
        let (account, subject) = (u64::from(cell.account.index) + 1, u64::from(subject) + 1);
        options.tap = Some(recorder.tap(&format!("{account}/{}-{subject}", role.word())));
    }
    options.timeout = common.schedule.scenario().connect.timeout.std();
    // What arrives goes to the listener at once, and what is sent is little.
    options.event_queue = 1;
    let block = cell.account.place(peer) / common.ports.max(1);
    if block > 0 && is_loopback(&options) {
        options.local_address = loopback(block);
    }
    options
}

fn is_loopback(options: &ConnectOptions) -> bool {
    let host = options.url.host_str().unwrap_or_default();
    host == "localhost" || host.parse::<Ipv4Addr>().is_ok_and(|ip| ip.is_loopback())
}

/// 127.0.0.1 serves the first block of connections, those after it the others.
fn loopback(block: u64) -> Option<IpAddr> {
    let last = u8::try_from(block + 1).ok()?;
    Some(IpAddr::V4(Ipv4Addr::new(127, 0, 0, last)))
}

/// An error in one line, without what differs between connections, so that alike ones are counted
/// together.
pub(super) fn described(error: &(dyn std::error::Error + 'static)) -> String {
    if let Some(ConnectError::Timeout { stage, after, .. }) = error.downcast_ref() {
        return format!("no answer within {after:?} while {stage}");
    }
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text = format!("{text}: {inner}");
        source = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Span;

    #[test]
    fn attempts_come_at_their_time() {
        #[track_caller]
        fn check(grid: u64, since: u64, failed: u64, expected: u64) {
            let rules = RoleRules {
                retry: Span::from_us(10),
                retry_grid: Span::from_us(grid),
                ..RoleRules::default()
            };
            assert_eq!(next_attempt(&rules, since, failed), expected);
        }
        check(0, 100, 100, 110);
        check(0, 100, 130, 140);
        // 110, 140, 170 and so on, however long an attempt takes.
        check(30, 100, 100, 110);
        check(30, 100, 110, 140);
        check(30, 100, 111, 140);
        check(30, 100, 139, 140);
        check(30, 100, 140, 170);
        check(30, 100, 200, 230);
    }
}
