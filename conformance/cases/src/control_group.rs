//! A control group: whether plain connections have the trouble that a case has found on special ones.
//!
//! A server that loses or doubles updates now and then does so under a flood and over long-polling as
//! well. Neither is to blame for it there, and whoever reads the verdict should not look there.

use std::collections::HashSet;
use touchstone_harness::own::{NO_DUPLICATE, NO_LOSS};

use super::message::REACHES;
use touchstone_harness::{
    case::{Flow, Stop},
    ctx::Ctx,
    ledger::Requirement,
    stage::{Role, Series, Stage},
};

/// How many messages tell: enough that a server which loses each tenth of all its updates is as good as
/// certain to lose one of them, though other cases cause updates at the same time.
const MESSAGES: usize = 100;

/// Records that `by` was broken, where events were lost, doubled or late on connections that are special
/// in some way. If that also happens between two plain connections of another account, the server's
/// delivery is blamed instead, and the case ends there: it cannot tell anything about its own subject.
pub(super) async fn charge(
    cx: &mut Ctx,
    by: &'static Requirement,
    expected: &str,
    actual: &str,
) -> Flow {
    cx.step(
        "a series of messages between two plain connections, to see whether it goes wrong as well",
    );
    let stage = Stage::set(cx, &[Role::U1, Role::U2]).await?;
    let (sender, receiver) = (stage.peer(Role::U1), stage.peer(Role::U2));
    let mut plain = Series::new(cx, "plain");
    for _ in 0..MESSAGES {
        plain.send(cx, sender, &stage.s1.id).await?;
    }
    let numbers = plain.arrived(cx, sender, &stage.s1.id, receiver).await?;
    let distinct: HashSet<_> = numbers.iter().collect();
    let (lost, doubled) = (MESSAGES - distinct.len(), numbers.len() - distinct.len());
    let general = match (lost, doubled) {
        // A server that sends none of them does not lose some.
        (MESSAGES, _) => {
            return Err(Stop::Blocked {
                parent: &REACHES,
                reason: "no message reaches a plain connection either".into(),
            });
        }
        (1.., _) => &NO_LOSS,
        (_, 1..) => &NO_DUPLICATE,
        _ => {
            cx.broken(by, expected, actual);
            return Ok(());
        }
    };
    cx.broken(
        general,
        expected,
        format!(
            "{actual}; but of {MESSAGES} messages between plain connections, {lost} got lost and \
             {doubled} came again"
        ),
    );
    Err(Stop::Judged)
}
