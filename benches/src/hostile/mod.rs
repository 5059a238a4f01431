//! Clients that mean no good, in bytes of their own: no good client can do what they do.

pub mod attacks;
pub mod raw;

use std::cell::Cell;
use std::time::Duration;

use anyhow::Context as _;
use tokio::runtime;
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use crate::fleet::Account;
use crate::host;
use crate::process::ServerProcess;

/// Time between two pings of somebody who has nothing to do with the attack.
const BETWEEN: Duration = Duration::from_millis(5);
/// How long an answer may take before it counts as lost.
const PATIENCE: Duration = Duration::from_secs(30);
/// Time between two looks at the server's memory.
const LOOK: Duration = Duration::from_millis(50);

/// What an attack did, seen from beside it.
#[derive(Debug)]
pub struct Effect {
    /// Pings before it.
    pub before: Pings,
    /// Pings while it went on.
    pub meanwhile: Pings,
    /// Resident bytes of the server before it, at most, and some seconds after.
    pub memory: [u64; 3],
    /// What the attackers were told.
    pub told: String,
}

/// How long pings took, in microseconds, shortest first.
#[derive(Debug, Default)]
pub struct Pings(Vec<u64>);

impl Pings {
    /// The time that this share of them took at most, in milliseconds.
    #[must_use]
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an index among some thousands"
    )]
    pub fn within(&self, share: f64) -> f64 {
        let last = self.0.len().saturating_sub(1);
        let at = (last as f64 * share).round() as usize;
        self.0.get(at).map_or(f64::NAN, |us| *us as f64 / 1e3)
    }
}

/// Pings through a connection of this account, each after a fixed time, until `stop`; latency counts from
/// the time at which a ping was due.
async fn ping(account: &Account, stop: watch::Receiver<bool>) -> anyhow::Result<Pings> {
    let (socket, _events) = account.connect().await?;
    let mut due = interval(BETWEEN);
    due.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut times = Vec::new();
    while !*stop.borrow() {
        let planned = due.tick().await;
        let answered = socket.call("ping", (), PATIENCE).await;
        answered.context("somebody who does no harm is not answered any more")?;
        let took = Instant::now().saturating_duration_since(planned);
        times.push(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
    }
    times.sort_unstable();
    Ok(Pings(times))
}

/// Pings while something goes on, on a thread of their own: what the attackers compute does not count.
async fn pinged<T>(
    account: &Account,
    something: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<(Pings, T)> {
    let (stop, stopped) = watch::channel(false);
    let account = account.clone();
    let pings = spawn_blocking(move || {
        let runtime = runtime::Builder::new_current_thread().enable_all().build();
        runtime?.block_on(ping(&account, stopped))
    });
    let done = something.await;
    stop.send_replace(true);
    let pings = pings.await.context("the pings panicked")??;
    Ok((pings, done?))
}

/// Attacks a server, and looks what others feel and what it costs. What the attackers hold is let go when
/// `attack` is over.
///
/// # Errors
/// Somebody who does no harm was not served, or the attack itself could not be made.
pub async fn observe(
    server: &ServerProcess,
    attack: impl Future<Output = anyhow::Result<String>>,
    quiet: Duration,
) -> anyhow::Result<Effect> {
    let account = Account::provision(server.url(), 200).await?;
    let pid = server.pid();
    let (before, ()) = pinged(&account, async {
        sleep(quiet).await;
        Ok(())
    })
    .await?;
    let at_first = host::resident_bytes(pid)?;
    let peak = Cell::new(at_first);
    let looking = async {
        let looked = loop {
            match host::resident_bytes(pid) {
                Ok(bytes) => peak.set(peak.get().max(bytes)),
                Err(error) => break error,
            }
            sleep(LOOK).await;
        };
        Err(looked)
    };
    let (meanwhile, told) = pinged(&account, async {
        tokio::select! {
            told = attack => told,
            ended = looking => ended,
        }
    })
    .await?;
    sleep(quiet).await;
    let after = host::resident_bytes(pid)?;
    Ok(Effect {
        before,
        meanwhile,
        memory: [at_first, peak.get(), after],
        told,
    })
}
