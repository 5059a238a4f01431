//! The sweep: a session or machine that sent no heartbeat for too long is not active any more.

use std::time::Duration;

use crate::account::{App, now};
use crate::sql::sql;
use crate::{machine, session};

pub(crate) async fn sweep(app: App) {
    let timeout = app.options.presence_timeout;
    let period = (timeout / 4).clamp(Duration::from_millis(100), Duration::from_secs(30));
    let mut ticks = tokio::time::interval(period);
    loop {
        ticks.tick().await;
        if let Err(error) = once(&app, timeout.as_millis()).await {
            eprintln!("database: {error}");
        }
    }
}

async fn once(app: &App, timeout: u128) -> sqlx::Result<()> {
    let before = now() - i64::try_from(timeout).unwrap_or(i64::MAX);
    let silent = "SELECT _account AS account FROM sessions WHERE active AND activeAt < ?1 \
        UNION SELECT _account FROM machines WHERE active AND activeAt < ?1";
    for row in sql!(&app.pool, silent, before).await? {
        let account = app.account(row["account"].as_str().unwrap_or_default());
        let mut change = app.change(&account).await?;
        let sessions = "UPDATE sessions SET active = FALSE \
            WHERE _account = ? AND active AND activeAt < ? RETURNING id, activeAt";
        for row in sql!(change.db(), sessions, &*account.id, before).await? {
            session::announce(&mut change, &row, false, false);
        }
        let machines = "UPDATE machines SET active = FALSE \
            WHERE _account = ? AND active AND activeAt < ? RETURNING id, activeAt";
        for row in sql!(change.db(), machines, &*account.id, before).await? {
            machine::announce(&mut change, &row["id"], false, &row["activeAt"]);
        }
        change.commit().await?;
    }
    Ok(())
}
