//! A plan as steps that a person can follow with any client.

use crate::{
    crash,
    plan::{Act, Actor, Callee, Expect, Foreign, MACHINES, Part, Plan, Scope, Step, Text, Wire},
    round::name,
    values,
};

/// The steps of a plan, one line each. Those that begin with `meanwhile` are taken at the same time as the one
/// before. Of several nodes they say which one a connection is at.
pub(crate) fn steps(plan: &Plan, nodes: usize, is_killed: bool) -> Vec<String> {
    let connects = |actor: &Actor| match nodes {
        0 | 1 => connects(actor),
        _ => format!("{}, at node {}", connects(actor), actor.node(nodes) + 1),
    };
    let mut lines: Vec<String> = plan.actors().iter().map(connects).collect();
    for (number, phase) in plan.phases.iter().enumerate() {
        for (nth, step) in phase.iter().enumerate() {
            // One actor's steps follow each other.
            let is_meanwhile = nth > 0 && phase[nth - 1].actor != step.actor;
            let before = if is_meanwhile { "meanwhile " } else { "" };
            lines.push(format!("{before}{}", taken(step)));
        }
        if is_killed && number == crash::phase(plan) {
            let killed = "meanwhile the server is killed with SIGKILL; it is started again, all rows are read, and \
                          everybody connects again";
            lines.push(killed.to_owned());
        }
    }
    // What the quiet point is made of may break a rule, too.
    let observers: Vec<_> = plan.accounts().into_iter().map(name).collect();
    let verb = match observers.len() {
        1 => "repeats",
        _ => "repeat",
    };
    lines.push(format!(
        "in the end {} {verb} three times: `update-metadata` of each session and `machine-update-metadata` of each \
         machine that has a connection here, and everybody who sent a message sends one more to that session; \
         somebody else calls each method that was asked for, the first one with {} values; all rows are read",
        observers.join(" and "),
        values::VALUES
    ));
    lines
}

fn connects(actor: &Actor) -> String {
    let scope = match actor.scope {
        Scope::User => "user-scoped".to_owned(),
        Scope::Surplus => "user-scoped, with the ids of session 1 and machine 1 as well".to_owned(),
        Scope::Foreign => {
            "user-scoped, with the ids of session 1 and machine 1 of the other account".to_owned()
        }
        Scope::ForeignSession => "session-scoped, for session 1 of the other account".to_owned(),
        Scope::Session(index) => format!("session-scoped, for session {}", index + 1),
        Scope::Machine(index) => format!("machine-scoped, for machine {}", index + 1),
    };
    let wire = match actor.wire {
        Wire::WebSocket => "",
        Wire::Polling => ", by long-polling",
        Wire::Upgrade => ", by long-polling and an upgrade",
    };
    format!(
        "{} connects to account {}, {scope}{wire}, and sends a ping",
        name(actor.id),
        actor.account + 1
    )
}

fn taken(step: &Step) -> String {
    let times = match step.times {
        1 => String::new(),
        times => format!(", {times} times without waiting"),
    };
    format!("{} {}{times}", name(step.actor), act(&step.act))
}

fn expected(expect: Expect) -> &'static str {
    match expect {
        Expect::Current => "the current version",
        Expect::Stale => "the version before the current one",
        Expect::Future => "a version 100 above the current one",
        Expect::Wide => "a version 2^32 above the current one",
    }
}

fn texts(text: Text) -> String {
    match text {
        Text::Plain => "a new text".to_owned(),
        Text::Odd(2) => "a new text of 70 000 characters".to_owned(),
        Text::Odd(form) => format!("a new text like {:?}", values::odd(form, "text")),
    }
}

fn act(act: &Act) -> String {
    let one = |index: &u8| index + 1;
    match act {
        Act::Message {
            session,
            local,
            differs,
            text,
        } => {
            let session = one(session);
            match local {
                Some(local) if *differs => format!(
                    "sends `message` to session {session} with {} and the localId {}",
                    texts(*text),
                    values::local(*local)
                ),
                Some(local) => format!(
                    "sends `message` to session {session} with the text and localId {}",
                    values::local(*local)
                ),
                None if *differs => format!(
                    "sends `message` to session {session} with {} and a new localId",
                    texts(*text)
                ),
                None => {
                    format!(
                        "sends `message` to session {session} with {}, without localId",
                        texts(*text)
                    )
                }
            }
        }
        Act::WriteSession {
            session,
            part: which,
            expect,
            text,
        } => format!(
            "sends `{}` of session {} with {} and {}",
            if *which == Part::First {
                "update-metadata"
            } else {
                "update-state"
            },
            one(session),
            expected(*expect),
            texts(*text)
        ),
        Act::ClearState { session } => format!(
            "sends `update-state` of session {} with the current version and null",
            one(session)
        ),
        Act::WriteMachine {
            machine,
            part: which,
            expect,
            text,
        } => format!(
            "sends `{}` of machine {} with {} and {}",
            if *which == Part::First {
                "machine-update-metadata"
            } else {
                "machine-update-state"
            },
            one(machine),
            expected(*expect),
            texts(*text)
        ),
        Act::Foreign(what) => foreign(*what),
        Act::SessionAlive { session, thinking } => {
            let thinking =
                thinking.map_or(String::new(), |thinking| format!(", thinking {thinking}"));
            format!(
                "sends `session-alive` of session {} with the present time{thinking}",
                one(session)
            )
        }
        Act::SessionEnd { session } => {
            format!(
                "sends `session-end` of session {} with the present time",
                one(session)
            )
        }
        Act::MachineAlive { machine } => {
            format!(
                "sends `machine-alive` of machine {} with the present time",
                one(machine)
            )
        }
        Act::Ping => "sends `ping`".to_owned(),
        Act::Usage { session, key } => {
            let session = session.map_or(String::new(), |session| {
                format!(" of session {}", session + 1)
            });
            format!(
                "sends `usage-report`{session} with the key {}",
                values::usage(*key)
            )
        }
        Act::AccessKey { session, machine } => {
            format!(
                "sends `access-key-get` of session {} and machine {}",
                one(session),
                one(machine)
            )
        }
        Act::ArtifactCreate { artifact } => {
            format!("sends `artifact-create` of artifact {}", one(artifact))
        }
        Act::ArtifactRead { artifact } => {
            format!("sends `artifact-read` of artifact {}", one(artifact))
        }
        Act::ArtifactUpdate {
            artifact,
            header,
            body,
        } => {
            let parts = [("header", header), ("body", body)];
            let parts = parts.iter().filter_map(|(part, expect)| {
                let expect = (**expect)?;
                Some(format!("a new {part} and {}", expected(expect)))
            });
            let parts: Vec<String> = parts.collect();
            let parts = match parts.is_empty() {
                true => "without any part".to_owned(),
                false => format!("with {}", parts.join(", ")),
            };
            format!(
                "sends `artifact-update` of artifact {} {parts}",
                one(artifact)
            )
        }
        Act::ArtifactDelete { artifact } => {
            format!("sends `artifact-delete` of artifact {}", one(artifact))
        }
        Act::Register { method } => format!(
            "sends `rpc-register` of the method {}",
            method_name(*method)
        ),
        Act::RegisterAll => {
            let names = (0..values::METHODS).map(method_name);
            format!(
                "sends `rpc-register` of the methods {}",
                names.collect::<Vec<_>>().join(", ")
            )
        }
        Act::Unregister { method } => {
            format!(
                "sends `rpc-unregister` of the method {}",
                method_name(*method)
            )
        }
        Act::Call {
            method,
            callee,
            value,
        } => format!(
            "sends `rpc-call` of the method {} with {} among the params; the callee {}",
            method_name(*method),
            values::value(*value),
            answers(*callee)
        ),
        Act::PostSession { tag } => format!("requests `POST /v1/sessions` with the tag made-{tag}"),
        Act::DeleteSession { tag } => {
            format!("requests `DELETE /v1/sessions/…` of the session made-{tag}")
        }
        Act::ArchiveSession { session } => {
            format!(
                "requests `POST /v1/sessions/…/archive` of session {}",
                one(session)
            )
        }
        Act::PostMessages { session, local } => {
            let local = local.map_or("two new localIds".to_owned(), |local| {
                format!("the localId {} and a new one", values::local(local))
            });
            format!(
                "requests `POST /v3/sessions/…/messages` of session {} with two messages: {local}",
                one(session)
            )
        }
        Act::PostMachine { machine } if *machine >= MACHINES => {
            format!("requests `POST /v1/machines` with the new id new-{machine}")
        }
        Act::PostMachine { machine } => {
            format!(
                "requests `POST /v1/machines` with the id of machine {}",
                one(machine)
            )
        }
        Act::PostArtifact { artifact } => {
            format!(
                "requests `POST /v1/artifacts` with the id of artifact {}",
                one(artifact)
            )
        }
        Act::ChangeArtifact { artifact, expect } => format!(
            "requests `POST /v1/artifacts/…` of artifact {} with a new header and {}",
            one(artifact),
            expected(*expect)
        ),
        Act::RemoveArtifact { artifact } => {
            format!(
                "requests `DELETE /v1/artifacts/…` of artifact {}",
                one(artifact)
            )
        }
        Act::PostAccessKey { session, machine } => format!(
            "requests `POST /v1/access-keys/…` of session {} and machine {}",
            one(session),
            one(machine)
        ),
        Act::PutAccessKey {
            session,
            machine,
            expect,
        } => format!(
            "requests `PUT /v1/access-keys/…` of session {} and machine {} with {}",
            one(session),
            one(machine),
            expected(*expect)
        ),
        Act::WriteKv { key, expect, other } => {
            let other = if *other {
                ", and another key with its current version"
            } else {
                ""
            };
            format!(
                "requests `POST /v1/kv` of key-{key} with {}{other}",
                expected(*expect)
            )
        }
        Act::WriteSettings { expect } => {
            format!(
                "requests `POST /v1/account/settings` with {}",
                expected(*expect)
            )
        }
        Act::Drop => "drops its connection".to_owned(),
        Act::Leave => "disconnects".to_owned(),
        Act::HalfClose => "half-closes its connection".to_owned(),
        Act::StopReading => "stops reading".to_owned(),
        Act::Return => "connects again if it is away, and sends a ping".to_owned(),
    }
}

fn foreign(what: Foreign) -> String {
    let (does, whose) = match what {
        Foreign::Session(Part::First) => {
            ("sends `update-metadata` of session 1", "current version")
        }
        Foreign::Session(Part::Second) => ("sends `update-state` of session 1", "current version"),
        Foreign::Machine(Part::First) => (
            "sends `machine-update-metadata` of machine 1",
            "current version",
        ),
        Foreign::Machine(Part::Second) => (
            "sends `machine-update-state` of machine 1",
            "current version",
        ),
        Foreign::AccessKey => (
            "sends `access-key-get` of session 1",
            "sender's own machine 1",
        ),
        Foreign::MakeAccessKey => (
            "requests `POST /v1/access-keys/…` of session 1",
            "sender's own machine 1",
        ),
        Foreign::Usage => ("sends `usage-report` of session 1", "key key-0"),
        Foreign::TakeMachine => ("requests `POST /v1/machines` with the id of machine 1", ""),
        Foreign::TakeArtifact => ("sends `artifact-create` with the id of artifact 1", ""),
    };
    match whose {
        "" => format!("{does} of the other account"),
        whose => format!("{does} of the other account, with the {whose}"),
    }
}

fn method_name(index: u8) -> String {
    let name = values::method(index);
    match name.len() {
        0..=60 => format!("{name:?}"),
        long => format!("of {long} letters that ends with {:?}", &name[long - 5..]),
    }
}

fn answers(callee: Callee) -> String {
    match callee {
        Callee::Echo => "answers at once with what it was sent".to_owned(),
        Callee::Value(index) => format!("answers at once with {}", values::value(index)),
        Callee::Slow => "answers after 20 ms with what it was sent".to_owned(),
        Callee::Late => "answers after 500 ms with what it was sent".to_owned(),
        Callee::Silent => "never answers".to_owned(),
        Callee::Dies => "drops its connection".to_owned(),
        Callee::Empty => "answers without any argument".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate::tree;

    #[test]
    fn of_several_nodes_each_connection_names_its_own() {
        let plan = tree(7).current().effective();
        let count = plan.actors().len();
        assert!(count > 1, "{count}");
        let at = |nodes, word: &str| {
            let steps = steps(&plan, nodes, false);
            steps.iter().filter(|step| step.ends_with(word)).count()
        };
        assert_eq!((at(1, "node 1"), at(1, "node 2")), (0, 0));
        assert_eq!(at(2, ", at node 1") + at(2, ", at node 2"), count);
        assert!(at(2, ", at node 2") > 0);
    }
}
