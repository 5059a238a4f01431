//! What the router decided, for who watches it (`/control/tap`, docs/control.md).

use std::sync::Arc;

use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::broadcast;

use crate::router::{RecipientFilter, Routing};

/// Decisions that may wait for a reader of the tap; beyond it, the reader is told how many it lost.
const TAP_QUEUE: usize = 4_096;

/// One decision of the router, as the tap shows it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Decision<'a> {
    pub(crate) account: &'a str,
    pub(crate) event: &'a str,
    pub(crate) payload: &'a Value,
    pub(crate) filter: &'a RecipientFilter,
    #[serde(skip)]
    pub(crate) routing: &'a Routing,
}

/// Hands the router's decisions to whoever watches.
#[derive(Clone, Debug)]
pub(crate) struct Tap(Option<broadcast::Sender<Arc<str>>>);

impl Tap {
    pub(crate) fn new(is_offered: bool) -> Self {
        Self(is_offered.then(|| broadcast::channel(TAP_QUEUE).0))
    }

    /// Whether the extension is on, so that decisions are worth describing.
    pub(crate) fn is_offered(&self) -> bool {
        self.0.is_some()
    }

    /// What is published from now on, if the extension is on.
    pub(crate) fn subscribe(&self) -> Option<broadcast::Receiver<Arc<str>>> {
        self.0.as_ref().map(broadcast::Sender::subscribe)
    }

    /// Publishes a decision, if somebody watches.
    pub(crate) fn publish<'a>(&self, decision: impl FnOnce() -> Decision<'a>) {
        let Some(sender) = self.0.as_ref().filter(|sender| sender.receiver_count() > 0) else {
            return;
        };
        let decision = decision();
        let mut line = json!(decision);
        line["recipients"] = json!(decision.routing.recipients);
        line["skipped"] = json!(decision.routing.skipped);
        // It fails only when the last watcher left in this moment.
        let _ = sender.send(line.to_string().into());
    }
}
