//! Machines that come and go with their connections.

use super::{
    cast::{CAST, SCOPED, USERS},
    own_machine::announced,
    presence::NARROW,
};
use touchstone_harness::{
    case::{Flow, case_table},
    ctx::{Ctx, Scope},
    ledger::requirement_table,
    stage::{Role, Stage, Wanted},
};

requirement_table! {
    MACHINE_ONLINE = "presence.machine-connects", Should, Decision,
        "The connection of a machine announces that it is active, its end that it is not.";
    MACHINE_STAYS = "presence.machine-stays", Should, Decision,
        "A machine is not announced as gone while another connection of it lives.";
}

case_table! {
    /// A machine connects and disconnects.
    ///
    /// Accepted is `machine-activity` with true, then with false, for user-scoped connections. Typical
    /// cause of a failure: the end of a connection is not handled, or the announcement goes to the room of
    /// the machine instead of the user-scoped connections.
    "presence.machine-connects" judges [MACHINE_ONLINE, NARROW] => machine_connects;

    /// Of two connections of one machine, one ends, and so do one of a session and one of the user; then the
    /// only connection of another machine does.
    ///
    /// Accepted is that the second machine is announced as gone and the first one is not. Most real servers
    /// get this wrong: a daemon that reconnects before its old connection is noticed as lost shows as
    /// offline from then on. Typical cause of a failure: the end of any connection of a machine announces
    /// that the machine is gone, without a look at whether another one is left.
    "presence.machine-stays" judges [MACHINE_STAYS] => machine_stays;
}

async fn machine_connects(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &CAST).await?;
    let machine = cx.machine(&stage.account).await?;
    let token = stage.account.token();
    let peer = cx
        .connect("machine", token, Scope::Machine(&machine.id))
        .await?;
    for active in [true, false] {
        if !active {
            peer.socket.disconnect().await;
        }
        let deadline = cx.deadline();
        for role in USERS {
            let seen = stage
                .peer(role)
                .wait_for(deadline, announced(&machine.id, active))
                .await;
            let told = format!("machine-activity with active {active} for both users");
            cx.require(&MACHINE_ONLINE, seen.is_some(), told, "nothing")?;
        }
    }
    stage.prove_silence(cx).await?;
    let wanted = Wanted::ephemeral("machine-activity", &machine.id);
    let reached: Vec<_> = SCOPED
        .iter()
        .map(|role| stage.peer(*role))
        .filter(|peer| !peer.all(|arrival| wanted.matches(arrival)).is_empty())
        .map(|peer| peer.who.as_str())
        .collect();
    let told = "no machine-activity for session- and machine-scoped connections";
    cx.check(
        &NARROW,
        reached.is_empty(),
        told,
        format!("machine-activity for {}", reached.join(", ")),
    );
    Ok(())
}

async fn machine_stays(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &[Role::U1, Role::U2]).await?;
    let machine = cx.machine(&stage.account).await?;
    let other = cx.machine(&stage.account).await?;
    let token = stage.account.token();
    let closing = cx
        .connect("closing", token, Scope::Machine(&machine.id))
        .await?;
    let staying = cx
        .connect("staying", token, Scope::Machine(&machine.id))
        .await?;
    let witness = cx
        .connect("witness", token, Scope::Machine(&other.id))
        .await?;
    // What is no connection of the machine does not take it along either.
    let session = Scope::Session(&stage.s1.id);
    let others = [
        cx.connect("session", token, session).await?,
        cx.connect("user", token, Scope::User).await?,
    ];
    let user = stage.peer(Role::U1);
    // Ends are handled when the server notices them, so the end of another machine's only connection,
    // which must be announced, is the sentinel for this one.
    closing.socket.disconnect().await;
    for other in &others {
        other.socket.disconnect().await;
    }
    witness.socket.disconnect().await;
    let deadline = cx.deadline();
    let noticed = user.wait_for(deadline, announced(&other.id, false)).await;
    if noticed.is_none() {
        cx.note("the end of a machine is not announced, so this rests on sentinels alone".into());
    }
    cx.round_trip(&staying).await?;
    stage.prove_silence(cx).await?;
    let gone = user.all(announced(&machine.id, false));
    cx.check(
        &MACHINE_STAYS,
        gone.is_empty(),
        "no machine-activity with active false while a connection of the machine lives",
        gone.first()
            .map_or_else(String::new, |arrival| arrival.raw.clone()),
    );
    Ok(())
}
