//! Friends and the feed that tells of them.

use serde_json::{Value, json};

use super::find;
use touchstone_harness::{
    case::{Flow, case_table},
    ctx::Ctx,
    ledger::requirement_table,
    provide::Account,
    stage::{Delivery, Role, Stage, Wanted},
};

requirement_table! {
    ASKED = "rest.friends.asked", Should, Decision,
        "Adding a friend makes the one side requested and the other pending, adding back makes both friends.";
    POSTED = "rest.friends.feed-post", Should, Decision,
        "A request and its acceptance are posted to the other one's feed, and announced to that one's \
         user-scoped connections by new-feed-post.";
    POST_BODY = "new-feed-post.body", Must, Specification,
        "The body of new-feed-post has id, body, cursor and createdAt.";
    FEED = "rest.feed.listed", Should, Decision,
        "What was announced by new-feed-post is listed in the feed.";
    RELATION = "rest.friends.relationship-updated", Info, Decision,
        "A changed relation may be announced to both sides by relationship-updated.";
}

case_table! {
    /// One account asks another to be friends, and that one accepts, while users of both listen.
    ///
    /// Accepted is a `new-feed-post` for each at the other's doing, `friend` on both sides in the end, and
    /// the post in the feed. Whether `relationship-updated` is sent is noted on the dialect card. Typical
    /// cause of a failure: only the one who is asked gets a post, or the row of the relation is written for
    /// one of the two only.
    "rest.friends" needs [Rest, Friends] judges [ASKED, POSTED, POST_BODY, FEED, RELATION] => friends;
}

/// The account's id, which friends know it by.
async fn id_of(cx: &mut Ctx, account: &Account) -> Flow<String> {
    let path = "/v1/account/profile";
    let profile = cx.rest(&ASKED, account, "GET", path, &Value::Null).await?;
    let id = profile["id"].as_str().map(str::to_owned);
    cx.require(
        &ASKED,
        id.is_some(),
        "a profile with the account's id",
        profile,
    )?;
    Ok(id.unwrap_or_default())
}

async fn friends(cx: &mut Ctx) -> Flow {
    let first = Stage::set(cx, &[Role::U1, Role::S1]).await?;
    let second = Stage::set(cx, &[Role::U1, Role::S1]).await?;
    let first_id = id_of(cx, &first.account).await?;
    let second_id = id_of(cx, &second.account).await?;
    let rows = [
        (&first, &first_id, &second, &second_id, "requested"),
        (&second, &second_id, &first, &first_id, "friend"),
    ];
    for (asking, asking_id, asked, asked_id, expected) in rows {
        let body = json!({"uid": asked_id});
        let path = "/v1/friends/add";
        let answer = cx
            .rest(&ASKED, &asking.account, "POST", path, &body)
            .await?;
        cx.equal(
            &ASKED,
            "status",
            &json!(expected),
            &answer["user"]["status"],
        );
        let post = Delivery {
            wanted: Wanted::update("new-feed-post", asking_id),
            reaches: &[Role::U1],
            by: &POSTED,
            spares: &[],
        };
        let seen = asked.observe(cx, &[post]).await?;
        let announced = &seen[0].data["body"];
        cx.schema(&POST_BODY, &POST_BODY, "update/new-feed-post", announced)?;
        let feed = cx
            .rest(&FEED, &asked.account, "GET", "/v1/feed", &Value::Null)
            .await?;
        let id = announced["id"].as_str().unwrap_or_default();
        let listed = find(&feed["items"], "id", id).is_some();
        cx.check(&FEED, listed, format!("post {id} in the feed"), feed);
        let relation = Wanted::update("relationship-updated", asking_id);
        let told = asked
            .peer(Role::U1)
            .all(|arrival| relation.matches(arrival));
        cx.fact("friends.relationship-updated", !told.is_empty());
    }
    cx.held(&RELATION);
    for (stage, other) in [(&first, &second_id), (&second, &first_id)] {
        let path = "/v1/friends";
        let list = cx
            .rest(&ASKED, &stage.account, "GET", path, &Value::Null)
            .await?;
        let friend =
            find(&list["friends"], "id", other).is_some_and(|row| row["status"] == "friend");
        cx.check(&ASKED, friend, format!("{other} as a friend"), list);
    }
    Ok(())
}
