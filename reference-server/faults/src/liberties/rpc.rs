//! Who answers a call, and how long one waits for that.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;
use touchstone_reference_server::seams::{Call, Flow, Seams, Server, Wait};
use touchstone_reference_server::{Config, RpcOwner};

/// Another one of several registrants is called.
#[derive(Debug)]
pub(super) struct Owner(pub(super) RpcOwner);

impl Seams for Owner {
    fn settings(&self, config: &mut Config) {
        config.policy.rpc_owner = self.0;
    }
}

/// Who calls learns late that the callee has left.
#[derive(Debug)]
pub(super) struct LateAbort(pub(super) Duration);

impl Seams for LateAbort {
    fn settings(&self, config: &mut Config) {
        config.policy.rpc_abort_after = self.0;
    }
}

/// A call of a method that nobody has registered waits for somebody to do so.
#[derive(Debug)]
pub(super) struct Grace(pub(super) Duration);

/// How often it is looked whether a method is there.
const POLL: Duration = Duration::from_millis(10);

/// A field of what `rpc-call` came with.
fn field(call: &Call<'_>, name: &str) -> Value {
    let fields: Option<Value> = call
        .raw
        .and_then(|raw| serde_json::from_str(raw.get()).ok());
    fields.map_or(Value::Null, |fields| fields[name].clone())
}

impl Seams for Grace {
    fn before_call(&self, _server: &Server, call: &Call<'_>) -> Option<Wait> {
        if call.event != "rpc-call" {
            return None;
        }
        let method = field(call, "method").as_str()?.to_owned();
        let account = Arc::clone(call.account);
        if method.is_empty() || account.has_method(&method) {
            return None;
        }
        let ends = Instant::now() + self.0;
        Some(Box::pin(async move {
            while !account.has_method(&method) && Instant::now() < ends {
                tokio::time::sleep(POLL).await;
            }
            Box::new(()) as Box<dyn Send>
        }))
    }
}

/// Calls whose parameters are not a text are dropped.
#[derive(Debug)]
pub(super) struct TextParams;

impl Seams for TextParams {
    fn call(&self, _server: &Server, call: &mut Call<'_>) -> Flow {
        let has_method = || {
            field(call, "method")
                .as_str()
                .is_some_and(|name| !name.is_empty())
        };
        if call.event == "rpc-call" && has_method() && !field(call, "params").is_string() {
            return Flow::Ignore;
        }
        Flow::Handle
    }
}
