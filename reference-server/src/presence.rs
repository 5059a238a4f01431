//! The sweep that notices silence.

use std::sync::Arc;

use serde_json::Value;
use tokio::time::MissedTickBehavior;

use crate::app::App;
use crate::decide::presence::sweep;

/// Sweeps until the server stops.
pub(crate) async fn run(app: Arc<App>) {
    let mut ticks = tokio::time::interval(app.config.sweep_interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        for account in app.store.accounts() {
            // Nobody is answered, so that there is nothing to wait for.
            app.commit(&account, "sweep", &Value::Null, sweep);
        }
    }
}
