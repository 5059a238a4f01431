//! What a worker counts and measures while it drives its connections.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;

use crate::{
    audit::{Arrival, Finding, Found},
    report::{
        model::{Connections, Counts, EXAMPLES, Example, Outcome},
        packed::histogram,
    },
    scenario::EventKind,
    schedule::{Account, Schedule},
};

/// The same times from two starting points.
#[derive(Debug, Clone)]
pub(super) struct Times {
    /// From the planned time.
    pub(super) latency: Histogram<u64>,
    /// From the time of sending.
    pub(super) naive: Histogram<u64>,
}

impl Times {
    fn new() -> Self {
        Self {
            latency: histogram(),
            naive: histogram(),
        }
    }

    fn record(&mut self, planned: u64, sent: u64, at: u64) {
        self.latency.saturating_record(at.saturating_sub(planned));
        self.naive.saturating_record(at.saturating_sub(sent));
    }

    pub(super) fn add(&mut self, other: &Self) {
        add(&mut self.latency, &other.latency);
        add(&mut self.naive, &other.naive);
    }
}

/// All histograms of a run have the same bounds, which is the only thing that adding can fail for.
pub(super) fn add(to: &mut Histogram<u64>, other: &Histogram<u64>) {
    to.add(other).expect("bounds are equal");
}

/// One kind of event.
#[derive(Debug, Clone)]
pub(super) struct OfKind {
    pub(super) counts: Counts,
    pub(super) times: Times,
}

/// One phase.
#[derive(Debug, Clone)]
pub(super) struct OfPhase {
    pub(super) planned: u64,
    pub(super) sent: u64,
    pub(super) delivered: u64,
    pub(super) lost: u64,
    pub(super) latency: Histogram<u64>,
}

/// One second; `planned`, `sent` and `delivered` are what happened in it. A delivery that is taken back
/// later, since its event was refused, stays in the second of its arrival.
#[derive(Debug, Clone)]
pub(super) struct OfSecond {
    pub(super) planned: u64,
    pub(super) sent: u64,
    pub(super) delivered: u64,
    pub(super) latency: Histogram<u64>,
    pub(super) lag: Histogram<u64>,
}

impl OfSecond {
    pub(super) fn new() -> Self {
        Self {
            planned: 0,
            sent: 0,
            delivered: 0,
            latency: histogram(),
            lag: histogram(),
        }
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.planned += other.planned;
        self.sent += other.sent;
        self.delivered += other.delivered;
        add(&mut self.latency, &other.latency);
        add(&mut self.lag, &other.lag);
    }

    /// Starts anew, and keeps the memory.
    fn reset(&mut self) {
        (self.planned, self.sent, self.delivered) = (0, 0, 0);
        self.latency.reset();
        self.lag.reset();
    }
}

/// Everything that a worker counts.
#[derive(Debug)]
pub(super) struct Stats {
    /// When each phase ends, and whether it counts.
    phase_ends: Vec<(u64, bool)>,
    /// By kind of event; made when the first one is sent.
    pub(super) kinds: Vec<Option<Box<OfKind>>>,
    pub(super) ack: Times,
    /// Without the time that callees worked.
    pub(super) rpc: Times,
    pub(super) callee: Times,
    pub(super) connect: Times,
    pub(super) lag: Histogram<u64>,
    pub(super) phases: Vec<OfPhase>,
    pub(super) second: OfSecond,
    /// Duplicates of events so old that nobody knows what they were.
    pub(super) unknown: Counts,
    pub(super) answers: BTreeMap<&'static str, BTreeMap<String, u64>>,
    pub(super) errors: BTreeMap<String, u64>,
    /// Why attempts to connect failed.
    pub(super) refusals: BTreeMap<String, u64>,
    pub(super) examples: Vec<Example>,
    /// The nodes of the server, over which connections are spread in turn. One is not worth a word.
    pub(super) nodes: Vec<String>,
    pub(super) connections: Connections,
    pub(super) wanted: u64,
    pub(super) open: u64,
    pub(super) planned: u64,
    pub(super) sent: u64,
    pub(super) unsent: u64,
    /// Heartbeats among the unsent, which clients do not send without a connection either.
    pub(super) skipped: u64,
    /// Connections that were to go before the server had admitted them, and how long the longest of
    /// them had waited.
    pub(super) unadmitted: u64,
    pub(super) longest_wait: u64,
    /// Connections at which the server answered nothing any more, at the end.
    pub(super) mute: u64,
    /// Deliveries that were still under way when the run had waited long enough.
    pub(super) under_way: u64,
    /// Processor time of the worker's thread, in microseconds.
    pub(super) cpu: u64,
    /// When and at which processor time counted phases were first and last seen.
    pub(super) cpu_counted: Option<[(u64, u64); 2]>,
}

/// Different answers and errors that are told apart; what comes beyond is counted together.
const DISTINCT: usize = 40;

impl Stats {
    pub(super) fn new(schedule: &Schedule) -> Self {
        let mut end = 0;
        let phases = &schedule.scenario().phases;
        let phase_ends = phases.iter().map(|phase| {
            end += phase.duration.us();
            (end, phase.counted)
        });
        Self {
            phase_ends: phase_ends.collect(),
            kinds: vec![None; EventKind::ALL.len()],
            ack: Times::new(),
            rpc: Times::new(),
            callee: Times::new(),
            connect: Times::new(),
            lag: histogram(),
            phases: phases
                .iter()
                .map(|_| OfPhase {
                    planned: 0,
                    sent: 0,
                    delivered: 0,
                    lost: 0,
                    latency: histogram(),
                })
                .collect(),
            second: OfSecond::new(),
            unknown: Counts::default(),
            answers: BTreeMap::new(),
            errors: BTreeMap::new(),
            refusals: BTreeMap::new(),
            examples: Vec::new(),
            nodes: Vec::new(),
            connections: Connections::default(),
            wanted: 0,
            open: 0,
            planned: 0,
            sent: 0,
            unsent: 0,
            skipped: 0,
            unadmitted: 0,
            longest_wait: 0,
            mute: 0,
            under_way: 0,
            cpu: 0,
            cpu_counted: None,
        }
    }

    /// The phase that a moment lies in, and whether it counts. What comes after the end belongs to
    /// the last one.
    fn phase(&self, at: u64) -> (usize, bool) {
        let last = self.phase_ends.len() - 1;
        let index = self.phase_ends.partition_point(|(end, _)| *end <= at);
        let index = index.min(last);
        (index, self.phase_ends[index].1)
    }

    /// Notes the processor time of the worker's thread.
    pub(super) fn clock_cpu(&mut self, now: u64, cpu: u64) {
        self.cpu = cpu;
        if self.counts(now) {
            self.cpu_counted.get_or_insert([(now, cpu); 2])[1] = (now, cpu);
        }
    }

    /// The processor time of the counted phases, in parts of what so many cores had to give.
    pub(super) fn cpu_of(&self, cores: u32) -> f64 {
        let [(from, before), (to, after)] = self.cpu_counted.unwrap_or_default();
        let there = (to - from) as f64 * f64::from(cores.max(1));
        if there > 0.0 {
            (after - before) as f64 / there
        } else {
            0.0
        }
    }

    /// Whether what was planned for a moment counts.
    fn counts(&self, planned: u64) -> bool {
        self.phase(planned).1
    }

    /// An event is due.
    pub(super) fn due(&mut self, planned: u64, now: u64) {
        let (phase, counted) = self.phase(planned);
        let lag = now.saturating_sub(planned);
        self.planned += 1;
        self.phases[phase].planned += 1;
        self.second.planned += 1;
        self.second.lag.saturating_record(lag);
        if counted {
            self.lag.saturating_record(lag);
        }
    }

    /// An event is given to its connection.
    pub(super) fn sent(&mut self, planned: u64) {
        let (phase, _) = self.phase(planned);
        self.sent += 1;
        self.phases[phase].sent += 1;
        self.second.sent += 1;
    }

    /// An event will never be sent.
    pub(super) fn unsent(&mut self, why: &'static str) {
        self.unsent += 1;
        self.error(why);
    }

    /// A heartbeat is left out, since there is no connection for it.
    pub(super) fn skipped(&mut self) {
        self.skipped += 1;
        self.unsent("unsent: a heartbeat without a connection");
    }

    /// Something went wrong on the way.
    pub(super) fn error(&mut self, what: &str) {
        count(&mut self.errors, what);
    }

    /// A connection that was never admitted is wanted no longer.
    pub(super) fn unadmitted(&mut self, waited: u64) {
        self.unadmitted += 1;
        self.longest_wait = self.longest_wait.max(waited);
    }

    /// An attempt to connect has failed.
    pub(super) fn refused(&mut self, why: &str) {
        self.connections.failed += 1;
        count(&mut self.refusals, why);
    }

    /// The server has answered an event, or has not.
    pub(super) fn answer(&mut self, event: &'static str, what: &str) {
        count(self.answers.entry(event).or_default(), what);
    }

    pub(super) fn of_kind(&mut self, kind: EventKind) -> &mut OfKind {
        self.kinds[kind.index()].get_or_insert_with(|| {
            Box::new(OfKind {
                counts: Counts::default(),
                times: Times::new(),
            })
        })
    }

    /// The audit has found something out.
    pub(super) fn found(&mut self, account: &Account, finding: &Finding) {
        let Finding {
            found,
            recipient,
            number,
            entry,
        } = finding;
        match entry {
            Some(entry) => found.count(&mut self.of_kind(entry.kind).counts),
            None => found.count(&mut self.unknown),
        }
        if let Some(entry) = entry {
            let (phase, _) = self.phase(entry.planned);
            let phase = &mut self.phases[phase];
            match found {
                Found::Delivered => {
                    phase.delivered += 1;
                    self.second.delivered += 1;
                }
                Found::Retracted => phase.delivered = phase.delivered.saturating_sub(1),
                Found::Wrong(Outcome::Lost) => phase.lost += 1,
                Found::Returned => {
                    phase.delivered += 1;
                    self.second.delivered += 1;
                    phase.lost = phase.lost.saturating_sub(1);
                }
                Found::Wrong(_) | Found::Uncertain | Found::Untraced => {}
            }
        }
        if let Found::Wrong(outcome) = *found {
            let named = |number| named(&self.nodes, account, number);
            keep_example(&mut self.examples, outcome, || Example {
                outcome,
                event: entry
                    .and_then(|entry| entry.kind.delivered_as())
                    .unwrap_or("unknown")
                    .to_owned(),
                sender: entry.map_or_else(
                    || format!("account {}", account.index),
                    |entry| named(entry.sender),
                ),
                recipient: named(*recipient),
                sequence: u64::from(*number),
                planned_us: entry.map_or(0, |entry| entry.planned),
            });
        }
    }

    /// How a report names a connection: with its node, where there are several.
    pub(super) fn named(&self, account: &Account, number: u32) -> String {
        named(&self.nodes, account, number)
    }

    /// An event of one account has arrived at another.
    pub(super) fn leaked(&mut self, example: Example) {
        let named = |kind: &EventKind| kind.delivered_as() == Some(example.event.as_str());
        let counts = match EventKind::ALL.into_iter().find(named) {
            Some(kind) => &mut self.of_kind(kind).counts,
            None => &mut self.unknown,
        };
        counts.misrouted += 1;
        keep_example(&mut self.examples, Outcome::Misrouted, || example);
    }

    /// An event has arrived where it should.
    pub(super) fn arrived(&mut self, arrival: &Arrival, at: u64) {
        if !arrival.counts {
            return;
        }
        let (phase, counted) = self.phase(arrival.planned);
        let latency = at.saturating_sub(arrival.planned);
        self.second.latency.saturating_record(latency);
        self.phases[phase].latency.saturating_record(latency);
        if counted {
            let of_kind = self.of_kind(arrival.kind);
            of_kind.times.record(arrival.planned, arrival.sent, at);
        }
    }

    /// An ack has come.
    pub(super) fn acked(&mut self, planned: u64, sent: u64, at: u64) {
        if self.counts(planned) {
            self.ack.record(planned, sent, at);
        }
    }

    /// The result of a call has come, on which its callee worked for so long.
    pub(super) fn returned(&mut self, planned: u64, sent: u64, at: u64, worked: u64) {
        if self.counts(planned) {
            self.rpc.record(planned + worked, sent + worked, at);
            self.callee.record(0, 0, worked);
        }
    }

    /// A connection is open. It counts whatever the phase: most open before any does.
    pub(super) fn connected(&mut self, planned: u64, dialed: u64, at: u64) {
        self.connect.record(planned, dialed, at);
        self.connections.opened += 1;
        self.open += 1;
        self.connections.peak = self.connections.peak.max(self.open);
    }

    /// Adds what another worker counted.
    pub(super) fn absorb(&mut self, other: Self) {
        for (index, of_kind) in other.kinds.into_iter().enumerate() {
            let Some(of_kind) = of_kind else {
                continue;
            };
            let sum = self.of_kind(EventKind::ALL[index]);
            sum.counts.add(&of_kind.counts);
            sum.times.add(&of_kind.times);
        }
        for (sum, times) in [
            (&mut self.ack, &other.ack),
            (&mut self.rpc, &other.rpc),
            (&mut self.callee, &other.callee),
            (&mut self.connect, &other.connect),
        ] {
            sum.add(times);
        }
        add(&mut self.lag, &other.lag);
        for (sum, phase) in self.phases.iter_mut().zip(other.phases) {
            sum.planned += phase.planned;
            sum.sent += phase.sent;
            sum.delivered += phase.delivered;
            sum.lost += phase.lost;
            add(&mut sum.latency, &phase.latency);
        }
        self.second.add(&other.second);
        self.unknown.add(&other.unknown);
        for (event, answers) in other.answers {
            let sum = self.answers.entry(event).or_default();
            answers
                .into_iter()
                .for_each(|(answer, count)| *sum.entry(answer).or_default() += count);
        }
        for (sum, counts) in [
            (&mut self.errors, other.errors),
            (&mut self.refusals, other.refusals),
        ] {
            for (what, count) in counts {
                *sum.entry(what).or_default() += count;
            }
        }
        for example in other.examples {
            keep_example(&mut self.examples, example.outcome, || example);
        }
        self.connections.add(&other.connections);
        self.wanted += other.wanted;
        self.open += other.open;
        self.planned += other.planned;
        self.sent += other.sent;
        self.unsent += other.unsent;
        self.skipped += other.skipped;
        self.unadmitted += other.unadmitted;
        self.longest_wait = self.longest_wait.max(other.longest_wait);
        self.mute += other.mute;
        self.under_way += other.under_way;
        self.cpu += other.cpu;
        if let Some([from, to]) = other.cpu_counted {
            let [first, last] = self.cpu_counted.get_or_insert([(from.0, 0), (to.0, 0)]);
            *first = (first.0.min(from.0), first.1 + from.1);
            *last = (last.0.max(to.0), last.1 + to.1);
        }
    }

    /// What happened since this was asked last.
    pub(super) fn take_second(&mut self, into: &mut OfSecond) {
        into.add(&self.second);
        self.second.reset();
    }
}

fn count(counts: &mut BTreeMap<String, u64>, what: &str) {
    if let Some(count) = counts.get_mut(what) {
        *count += 1;
    } else {
        let what = if counts.len() < DISTINCT {
            what
        } else {
            "others"
        };
        *counts.entry(what.to_owned()).or_default() += 1;
    }
}

/// How a report names a connection: with its node, where there are several.
fn named(nodes: &[String], account: &Account, number: u32) -> String {
    let name = account.name(number);
    match nodes {
        [] | [_] => name,
        nodes => format!("{name}, at {}", nodes[account.node(number, nodes.len())]),
    }
}

/// Keeps an example of an outcome, if few are kept of it.
fn keep_example(examples: &mut Vec<Example>, outcome: Outcome, make: impl FnOnce() -> Example) {
    let alike = examples.iter().filter(|example| example.outcome == outcome);
    if alike.count() < EXAMPLES {
        examples.push(make());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        report::model::Summary,
        scenario::Scenario,
        schedule::{Schedule, Shard},
    };

    #[test]
    fn with_several_nodes_a_connection_is_named_with_its_own() {
        let text = "description = ''\n[population]\naccounts = 2\nusers = 6\n\
                    [[phases]]\nname = 'a'\nduration = '1s'";
        let scenario = Scenario::parse("test", text).unwrap();
        let schedule = Schedule::new(scenario, 1, Shard::default());
        let mut stats = Stats::new(&schedule);
        let second = schedule.accounts().nth(1).unwrap();
        assert_eq!(stats.named(&second, 0), second.name(0));
        stats.nodes = vec!["http://a".to_owned(), "http://b".to_owned()];
        // Three connections of the first account come before.
        assert_eq!(
            stats.named(&second, 0),
            format!("{}, at http://b", second.name(0))
        );
        assert_eq!(
            stats.named(&second, 1),
            format!("{}, at http://a", second.name(1))
        );
    }

    /// What is measured from known times has the percentiles that sorting all of them gives, to three
    /// digits, from the planned time and from that of sending.
    #[test]
    fn percentiles_are_right_within_the_precision() {
        let text = "description = ''\n[population]\naccounts = 1\nusers = 1\n\
                    [[phases]]\nname = 'a'\nduration = '100s'";
        let scenario = Scenario::parse("test", text).unwrap();
        let mut stats = Stats::new(&Schedule::new(scenario, 1, Shard::default()));
        // From 100 us to some seconds, as far apart as real latencies are; sent late by up to 7 ms.
        let times: Vec<[u64; 2]> = (0..20_000_u64)
            .map(|nth| {
                let spread = nth * 7_919 % 20_000;
                [100 + spread * spread / 100, nth % 7_000]
            })
            .collect();
        for (nth, [latency, lag]) in (0..).zip(&times) {
            let planned = nth * 4_000;
            let at = planned + latency + lag;
            stats.acked(planned, planned + lag, at);
        }
        let check = |found: Summary, of: fn(&[u64; 2]) -> u64| {
            let mut all: Vec<_> = times.iter().map(of).collect();
            all.sort_unstable();
            let exact = |parts: usize| all[all.len() * parts / 1000 - 1] as f64;
            let pairs = [
                (found.p50, exact(500)),
                (found.p90, exact(900)),
                (found.p99, exact(990)),
                (found.p999, exact(999)),
                (found.max, exact(1000)),
            ];
            for (found, exact) in pairs {
                let error = (found as f64 - exact).abs() / exact;
                assert!(error <= 0.001, "{found} for {exact}");
            }
        };
        check(Summary::of(&stats.ack.latency), |[latency, lag]| {
            latency + lag
        });
        check(Summary::of(&stats.ack.naive), |[latency, _]| *latency);
    }
}
