//! What agents and daemons send at their beginning and end, in the order of real clients.

use touchstone_client::Direction;
use touchstone_client::trace::{Kind, Traced};
use touchstone_loadgen::report::model::Counts;
use touchstone_loadgen::schedule::What;

use crate::support::{Recorded, recorded};

/// An event that a connection has sent.
struct Sent {
    name: String,
    is_acked: bool,
    /// The time that it tells.
    time: Option<u64>,
    thinking: Option<bool>,
}

impl Recorded {
    fn sent(&self, conn: &str) -> Vec<Sent> {
        let of_conn = self.records.iter().filter(|record| record.conn == conn);
        let events = of_conn.filter_map(|record| match &record.kind {
            Kind::Packet(
                Direction::Sent,
                Traced::Event {
                    name, args, ack, ..
                },
            ) => {
                let data = args.data().expect("JSON");
                Some(Sent {
                    name: name.clone(),
                    is_acked: ack.is_some(),
                    time: data["time"].as_u64(),
                    thinking: data["thinking"].as_bool(),
                })
            }
            _ => None,
        });
        events.collect()
    }

    /// What a connection sends; what asks for an ack has a question mark.
    fn told(&self, conn: &str) -> String {
        let sent = self.sent(conn).into_iter();
        let shown = sent.map(|sent| match sent.is_acked {
            true => format!("{}?", sent.name),
            false => sent.name,
        });
        shown.collect::<Vec<_>>().join(" ")
    }
}

/// A daemon and an agent lose their connections at the same moment, and return.
const OUTAGE: &str = "
description = 'one of each, and an outage'
[population]
accounts = 1
users = 1
sessions = 1
machines = 1
[connect]
ramp = '1s'
[session]
registrations = 2
write-state = true
stale-heartbeat = true
[machine]
registrations = 2
write-state = true
alive-on-connect = true
[audit]
late-after = '10s'
[[phases]]
name = 'work'
duration = '5s'
[[herd]]
at = '2s'
from = ['session', 'machine']
back-after = '2s'
how = 'abort'
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn agents_and_daemons_introduce_themselves_as_in_life() {
    let run = recorded(OUTAGE, 1).await;
    let daemon = "machine-update-state? rpc-register rpc-register machine-alive";
    let agent = "update-state? rpc-register rpc-register";
    assert_eq!(run.told("1/machine-1"), daemon);
    assert_eq!(run.told("1/session-1"), agent);
    // At the end, each connection is asked for a sign that nothing more comes.
    assert_eq!(run.told("1/machine-1#2"), format!("{daemon} ping?"));
    let back = format!("session-alive {agent} ping?");
    assert_eq!(run.told("1/session-1#2"), back);
    // The agent's first heartbeat is as old as the outage, the daemon's is of the moment.
    let time = |conn: &str| run.sent(conn).iter().find_map(|sent| sent.time);
    let [stale, fresh] = ["1/session-1#2", "1/machine-1#2"].map(|conn| time(conn).expect("a time"));
    assert!(fresh > stale + 500, "{stale} {fresh}");
    // The app hears of all three, if it has not come too late for the first.
    let volatile = run.report.audit.volatile;
    assert_eq!(volatile.delivered + volatile.uncertain, 3, "{volatile:?}");
    // What is emitted right behind CONNECT is planned, too.
    let report = &run.report;
    assert_eq!(report.generator.planned, report.schedule.emits);
    assert!(volatile.is_clean(), "{volatile:?}");
}

/// Agents that come while the app looks on, think and rest in turn, and end for good.
const SHIFTS: &str = "
description = 'agents that end'
[population]
accounts = 1
users = 1
sessions = 8
[connect]
ramp = '1500ms'
[audit]
late-after = '10s'
grace = '0s'
[[phases]]
name = 'work'
duration = '5s'
[[turn]]
lasts = '200ms'
pause = '200ms'
[[shift]]
online = '1s'
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn agents_think_and_end_as_in_life() {
    let run = recorded(SHIFTS, 1).await;
    let account = run.schedule.accounts().next().expect("an account");
    let leaves = run.schedule.actions(account);
    let leavers: Vec<_> = leaves
        .filter(|action| action.what == What::Leave)
        .map(|action| action.peer)
        .collect();
    let (mut ended, mut heartbeats) = (0, 0);
    for agent in 1..=8 {
        let name = format!("1/session-{agent}");
        let told = run.told(&name);
        // One that has not come before it was to leave says nothing at all.
        let farewell = match leavers.contains(&agent) {
            true => "update-metadata? session-end ping?",
            // The sign that nothing more comes.
            false => "ping?",
        };
        let turns = told.strip_suffix(farewell).unwrap_or_default();
        ended += u64::from(told.ends_with(farewell) && leavers.contains(&agent));
        let changes = turns.matches("session-alive ").count();
        assert_eq!(turns, "session-alive ".repeat(changes), "{told}");
        heartbeats += changes as u64;
        let thinking = run.sent(&name).into_iter().filter_map(|sent| sent.thinking);
        let thinking: Vec<_> = thinking.collect();
        assert_eq!(thinking.len(), changes, "{told}");
        assert!(thinking.is_sorted_by(|one, other| one != other), "{told}");
        // Whoever ends does not come back.
        assert_eq!(run.told(&format!("{name}#2")), "");
    }
    assert!(ended > 3 && heartbeats > 4, "{ended} {heartbeats}");
    let connections = run.report.connections;
    assert_eq!((connections.closed, connections.dropped), (ended, 0));
    // The app hears of each turn, of each end, and of the metadata written before it; each agent of its
    // own metadata as well, since all that is sent before an answer arrives before it.
    let right = |deliveries| Counts {
        expected: deliveries,
        delivered: deliveries,
        ..Counts::default()
    };
    assert_eq!(run.report.audit.volatile, right(heartbeats + ended));
    assert_eq!(run.report.audit.counts, right(ended * 2));
    for event in ["ping", "update-metadata"] {
        assert_eq!(run.report.answers[event]["success"], ended, "{event}");
    }
}
