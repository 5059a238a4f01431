//! Rows of an account that may not touch another one's. Every event for them, which does something, proves
//! that the same events before it have been handled, which must not have done anything.

use futures_util::future::try_join_all;
use serde_json::json;
use tokio::time::Instant;

use super::{artifact, usage};
use touchstone_harness::{
    case::Flow,
    ctx::{Ctx, Scope},
    peer::Peer,
    provide::Machine,
    stage::{Role, Stage, Wanted},
};

/// What the second account of a stage has, and connections of it that hear what its user-scoped one causes.
pub(crate) struct OwnRows {
    machine: Machine,
    artifact: artifact::Artifact,
    /// A connection of the machine: the heartbeats of others need not count.
    pub(crate) daemon: Peer,
    /// Another user-scoped connection: a message does not come back to who sent it.
    listener: Peer,
}

impl OwnRows {
    /// Makes them for the account of V1.
    pub(crate) async fn make(cx: &mut Ctx, stage: &Stage) -> Flow<Self> {
        let machine = cx.machine(stage.other_account()).await?;
        let token = stage.other_token();
        let daemon = cx
            .connect("daemon", token, Scope::Machine(&machine.id))
            .await?;
        let listener = cx.connect("listener", token, Scope::User).await?;
        let artifact = artifact::Artifact::new(cx);
        // Whether artifacts can be made is judged elsewhere.
        let _ = cx
            .ask(stage.peer(Role::V1), "artifact-create", artifact.request())
            .await?;
        Ok(Self {
            machine,
            artifact,
            daemon,
            listener,
        })
    }

    /// Sends every event for these rows through V1, and waits until each has been answered or announced:
    /// what V1 and the daemon sent before by the same event has been handled then.
    pub(crate) async fn each_event(&self, cx: &mut Ctx, stage: &Stage) -> Flow {
        let stranger = stage.peer(Role::V1);
        let (sid, machine) = (stage.other_session(), &self.machine.id);
        let artifact = &self.artifact.id;
        let marker = cx.marker("own");
        let part = json!({"data": artifact::encoded(&marker), "expectedVersion": 1});
        // A version that is long gone is answered like one of now.
        let asked = [
            (
                "update-metadata",
                json!({"sid": sid, "metadata": marker, "expectedVersion": 0}),
            ),
            (
                "update-state",
                json!({"sid": sid, "agentState": marker, "expectedVersion": 0}),
            ),
            (
                "machine-update-metadata",
                json!({"machineId": machine, "metadata": marker, "expectedVersion": 0}),
            ),
            (
                "machine-update-state",
                json!({"machineId": machine, "daemonState": marker, "expectedVersion": 0}),
            ),
            (
                "access-key-get",
                json!({"sessionId": sid, "machineId": machine}),
            ),
            ("artifact-read", json!({"artifactId": artifact})),
            (
                "artifact-update",
                json!({"artifactId": artifact, "body": part}),
            ),
            ("artifact-delete", json!({"artifactId": artifact})),
            ("usage-report", usage::usage(&marker, Some(sid), 1)),
        ];
        let answers = asked.map(|(event, data)| cx.ask(stranger, event, data));
        // That these are answered is judged elsewhere.
        try_join_all(answers).await?;
        let message = cx.marker("own");
        let [alive, ended] = [
            cx.session(stage.other_account()).await?.id,
            cx.session(stage.other_account()).await?.id,
        ];
        let time = cx.recent_time();
        let beat = |key: &str, id: &str| json!({key: id, "time": time});
        let since = Instant::now();
        let roads = [
            (
                (stranger, "message", json!({"sid": sid, "message": message})),
                Wanted::update("new-message", message.as_str()),
                &self.listener,
            ),
            (
                (stranger, "session-alive", beat("sid", &alive)),
                Wanted::ephemeral("activity", alive.as_str()),
                stranger,
            ),
            (
                (stranger, "session-end", beat("sid", &ended)),
                Wanted::ephemeral("activity", ended.as_str()),
                stranger,
            ),
            (
                (&self.daemon, "machine-alive", beat("machineId", machine)),
                Wanted::ephemeral("machine-activity", machine).since(since),
                stranger,
            ),
        ];
        let waiting = &*cx;
        let heard = roads
            .into_iter()
            .map(|(sent, wanted, listener)| async move {
                stage.same_road(waiting, sent, &wanted, listener).await
            });
        try_join_all(heard).await?;
        Ok(())
    }
}
