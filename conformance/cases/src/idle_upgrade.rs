//! The upgrade to a WebSocket of a connection on which nothing else happens.

use std::time::Duration;

use tokio::time::{Instant, timeout};
use touchstone_client::{Transport, connect};

use super::transport;
use touchstone_harness::{
    case::{Flow, case_table},
    ctx::{Ctx, Scope},
    ledger::requirement_table,
};

requirement_table! {
    IDLE_UPGRADE = "transport.idle-upgrade", Info, Decision,
        "A connection on which nothing is sent is upgraded to a WebSocket within two seconds: the server \
         answers the poll that is under way once the WebSocket was probed.";
}

case_table! {
    /// Connects by long-polling, sends nothing, and upgrades to a WebSocket.
    ///
    /// Nothing here is judged: how long the upgrade takes is noted on the dialect card. Typical cause of a
    /// failure: the poll under way stays unanswered until there is something to send, so that the client waits
    /// for up to a ping interval.
    "transport.idle-upgrade" judges [IDLE_UPGRADE] => idle_upgrade;
}

/// How long an upgrade may take.
const SOON: Duration = Duration::from_secs(2);

async fn idle_upgrade(cx: &mut Ctx) -> Flow {
    let account = cx.account().await?;
    let auth = Some(Scope::User.auth(account.token()));
    let options = cx.options("idle", auth).transport(Transport::Upgrade);
    let options = options.timeout(SOON + cx.shared.pace.patience());
    let began = Instant::now();
    // That long-polling works at all is judged elsewhere.
    let Ok((socket, _events)) = connect(&options).await else {
        cx.held(&IDLE_UPGRADE);
        return Ok(());
    };
    if !transport::offers_upgrade(&socket) {
        cx.held(&IDLE_UPGRADE);
        return Ok(());
    }
    // Where connecting takes long, an upgrade of as many round trips is not slow.
    let soon = SOON + began.elapsed() * 2;
    let patience = soon + cx.shared.pace.patience();
    let began = Instant::now();
    let outcome = timeout(patience, socket.upgraded()).await;
    let took = began.elapsed();
    let told = match outcome {
        Ok(Ok(())) if took <= soon => "within 2 s".to_owned(),
        Ok(Ok(())) => format!("after {} s", took.as_secs()),
        // Judged by transport.upgrade.
        Ok(Err(_)) => "failed".to_owned(),
        Err(_) => format!("not within {} s", patience.as_secs()),
    };
    cx.check(&IDLE_UPGRADE, took <= soon, "an upgrade within 2 s", &told);
    cx.fact("transport.idle-upgrade", told);
    Ok(())
}
