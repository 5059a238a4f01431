//! The account's settings.

use crate::readback::Watched;
use serde_json::{Value, json};

use super::{UNSEEN, different, far_ahead};
use crate::cast::{CAST, SCOPED, USERS};
use touchstone_harness::{
    case::{Flow, case_table},
    ctx::Ctx,
    ledger::requirement_table,
    stage::{Delivery, Role, Stage, Wanted},
};

requirement_table! {
    WRITTEN = "rest.settings.written", Should, Decision,
        "Settings that come with the present version are written, and the version rises by one.";
    REACHES = "rest.settings.recipients", Should, Decision,
        "Changed settings reach the user-scoped connections by update-account.";
    NARROW = "rest.settings.narrow", Should, Decision,
        "update-account does not reach session- and machine-scoped connections.";
    BODY = "update-account.body", Must, Specification,
        "The body of update-account tells the settings with value and version.";
    KEYS = "update-account.keys", Should, Decision,
        "The body of update-account names the account `id`.";
    STALE = "rest.settings.stale", Should, Decision,
        "Settings with another version are not written or announced, and the present ones are answered.";
}

case_table! {
    /// Reads the settings, changes them while others listen, and changes them with the version from before.
    ///
    /// Accepted are one `update-account` for user-scoped connections, and `version-mismatch` with what is
    /// stored. Typical cause of a failure: the settings are written without a condition on the version, or
    /// the announcement is missing since the route does not know the event router.
    "rest.settings" needs [Rest, Settings] judges [
        WRITTEN, REACHES, NARROW, BODY, KEYS, STALE
    ] => settings;
}

async fn settings(cx: &mut Ctx) -> Flow {
    const PATH: &str = "/v1/account/settings";
    let stage = Stage::set(cx, &CAST).await?;
    let account = &stage.account;
    let before = cx
        .rest(&WRITTEN, account, "GET", PATH, &Value::Null)
        .await?;
    let version = before["settingsVersion"].as_i64().unwrap_or_default();
    let value = cx.marker("settings");
    let body = json!({"settings": value, "expectedVersion": version});
    let written = cx.rest(&WRITTEN, account, "POST", PATH, &body).await?;
    let held = written["success"] == true && written["version"] == version + 1;
    cx.check(
        &WRITTEN,
        held,
        format!("success with version {}", version + 1),
        &written,
    );
    let update = Delivery {
        wanted: Wanted::update("update-account", &value),
        reaches: &USERS,
        by: &REACHES,
        spares: &[(&SCOPED, &NARROW)],
    };
    let seen = stage.observe(cx, &[update]).await?;
    let announced = &seen[0].data["body"];
    cx.schema(&BODY, &KEYS, "update/update-account", announced)?;
    let part = json!({"value": value, "version": version + 1});
    cx.equal(&BODY, "settings", &part, &announced["settings"]);
    let after = cx
        .rest(&WRITTEN, account, "GET", PATH, &Value::Null)
        .await?;
    cx.equal(&WRITTEN, "settings", &json!(value), &after["settings"]);

    let watched = Watched::of(&stage);
    let before = watched.read(cx).await?;
    let late = cx.marker("late");
    let body = json!({"settings": late, "expectedVersion": version});
    let stale = cx.rest(&STALE, account, "POST", PATH, &body).await?;
    let held = stale["success"] == false
        && stale["error"] == "version-mismatch"
        && stale["currentVersion"] == version + 1
        && stale["currentSettings"] == json!(value);
    cx.check(&STALE, held, "version-mismatch with what is stored", &stale);
    let body = json!({"settings": late, "expectedVersion": version + 1 + UNSEEN});
    far_ahead(cx, &STALE, account, ("POST", PATH, &body)).await?;
    stage.prove_silence(cx).await?;
    let count = different(&stage, Role::U2, &Wanted::update("update-account", &late));
    cx.check(
        &STALE,
        count == 0,
        "no update-account",
        format!("{count} of them"),
    );
    watched.unchanged(cx, &before, &STALE).await
}
