//! What kept a run from being the load that its scenario wants: the generator, the machine that it is
//! on, or the server. Figures of such a run are those of another load.

use hdrhistogram::Histogram;
use touchstone_output::number::{ms, percent, seconds};
use touchstone_output::text::{grouped, plural};

use super::{stats::Stats, worker::PATIENCE};
use crate::{
    report::model::Summary,
    scenario::{AuditRules, Bounds},
};

/// So many events may be late or unsent in any run, since a short one would otherwise be judged by a
/// single hiccup.
const FEW: u64 = 10;
/// The share of its cores from which on a machine has none left for anybody.
pub(super) const SATURATED: f64 = 0.97;
/// Beginnings of errors that say why events were not sent.
const UNSENT: &str = "unsent: ";

/// What a run was like for those who had to keep up with it.
pub(super) struct Strain<'a> {
    pub(super) bounds: Bounds,
    pub(super) audit: AuditRules,
    pub(super) stats: &'a Stats,
    /// Updates that arrived late.
    pub(super) late: u64,
    /// What the workers used of the cores that they could use.
    pub(super) cpu_share: f64,
    /// What all programs used of all cores, and how many there are.
    pub(super) machine_share: f64,
    pub(super) cores: u32,
}

/// Of the events that count, those that were sent too late, if they are too many.
pub(super) fn lagging(bounds: &Bounds, lag: &Histogram<u64>) -> Option<u64> {
    let late = lag.len() - lag.count_between(0, bounds.lag_p99.us());
    (late > FEW && late.saturating_mul(100) > lag.len()).then_some(late)
}

/// Whether too many events were not sent.
pub(super) fn unsent(bounds: &Bounds, unsent: u64, planned: u64) -> bool {
    unsent > FEW && bounds.unsent.is_passed_by(unsent, planned)
}

impl Strain<'_> {
    /// Who was the limit and how that shows, if anybody was.
    pub(super) fn limit(&self) -> Option<String> {
        let parts = [
            ("the generator", self.generator()),
            ("the machine", self.machine().into_iter().collect()),
            ("the server", self.server()),
        ];
        let said = parts.into_iter().filter(|(_, how)| !how.is_empty());
        let said = said.map(|(who, how)| format!("{who} was the limit: {}", how.join(", and ")));
        let said: Vec<_> = said.collect();
        (!said.is_empty()).then(|| said.join("; "))
    }

    /// What was late though it could have been in time: events to be sent, and deliveries.
    fn lateness(&self) -> Option<String> {
        let late = lagging(&self.bounds, &self.stats.lag)?;
        Some(format!(
            "{} of {} events were sent more than {} late (the bound is 1 %, and {FEW} in a short run)",
            grouped(late),
            grouped(self.stats.lag.len()),
            self.bounds.lag_p99,
        ))
    }

    fn is_saturated(&self) -> bool {
        self.machine_share >= SATURATED
    }

    /// On a machine without a free core, it is not the generator that sends late, unless it is what
    /// uses them.
    fn generator(&self) -> Vec<String> {
        let bounds = &self.bounds;
        let is_busy = bounds.is_busy(self.cpu_share);
        let mut how = Vec::new();
        if is_busy || !self.is_saturated() {
            how.extend(self.lateness());
        }
        if is_busy {
            how.push(format!(
                "it used {} of its cores (the bound is {})",
                percent(self.cpu_share),
                bounds.cpu
            ));
        }
        how
    }

    /// A machine without a free core is a limit only where something had to wait for one.
    fn machine(&self) -> Option<String> {
        let waited = self.late + self.stats.under_way;
        let deliveries = (waited > 0).then(|| match waited {
            1 => "1 delivery was late".to_owned(),
            many => format!("{} deliveries were late", grouped(many)),
        });
        let waited: Vec<_> = self.lateness().into_iter().chain(deliveries).collect();
        (self.is_saturated() && !waited.is_empty()).then(|| {
            format!(
                "{} were busy for {} of the time, {} of it with driving connections, while {}",
                plural(self.cores, "core"),
                percent(self.machine_share),
                percent(self.stats.cpu_of(self.cores)),
                waited.join(", and ")
            )
        })
    }

    fn server(&self) -> Vec<String> {
        let Self { bounds, stats, .. } = self;
        let mut how = Vec::new();
        let missing = stats.unsent - stats.skipped;
        if unsent(bounds, missing, stats.planned) {
            let why = stats.errors.iter();
            let why = why.filter_map(|(error, count)| Some((error.strip_prefix(UNSENT)?, count)));
            // Heartbeats are left out by clients as well.
            let why = why.filter(|(why, _)| !why.starts_with("a heartbeat"));
            let most = why.max_by_key(|(_, count)| **count);
            let (why, count) = most.map_or(("unknown", missing), |(why, count)| (why, *count));
            how.push(format!(
                "{} of {} events could not be sent (the bound is {}, and {FEW} in a short run), {} \
                 of them with the reason: {why}",
                grouped(missing),
                grouped(stats.planned),
                bounds.unsent,
                grouped(count),
            ));
            how.extend(self.admission());
        }
        if stats.under_way > 0 {
            let waited = u64::from(PATIENCE) * self.audit.lost_after.us() / 1000;
            how.push(format!(
                "{} were still to come {} after the last event was sent, which is as long as a run \
                 waits while anything arrives",
                match stats.under_way {
                    1 => "1 delivery".to_owned(),
                    many => format!("{} deliveries", grouped(many)),
                },
                seconds(waited)
            ));
        }
        how
    }

    /// How long the server took to admit connections.
    fn admission(&self) -> Option<String> {
        let stats = self.stats;
        let took = Summary::of(&stats.connect.latency);
        let mut said = Vec::new();
        if took.count > 0 {
            let (half, longest) = (ms(took.p50), ms(took.max));
            said.push(format!(
                "it admitted connections after {half} ms (median) to {longest} ms"
            ));
        }
        if stats.unadmitted > 0 {
            let waited = ms(stats.longest_wait);
            said.push(format!(
                "{} waited for up to {waited} ms and left without having been admitted",
                plural(stats.unadmitted, "connection")
            ));
        }
        if stats.connections.failed > 0 {
            let failed = plural(stats.connections.failed, "attempt");
            said.push(format!("{failed} to connect failed"));
        }
        (!said.is_empty()).then(|| said.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        scenario::{Permille, Scenario, Span},
        schedule::{Schedule, Shard},
    };

    const BOUNDS: Bounds = Bounds {
        lag_p99: Span::from_millis(20),
        cpu: Permille::new(900),
        unsent: Permille::new(1),
    };

    fn stats() -> Stats {
        let text = "description = ''\n[population]\naccounts = 1\nusers = 1\n\
                    [[phases]]\nname = 'a'\nduration = '100s'";
        let scenario = Scenario::parse("test", text).unwrap();
        Stats::new(&Schedule::new(scenario, 1, Shard::default()))
    }

    /// A run that is just within its bounds, changed by `change`, has these limits.
    #[track_caller]
    fn check(change: impl FnOnce(&mut Strain<'_>, &mut Stats), expected: &str) {
        let mut changed = stats();
        for nth in 0..10_000 {
            let lag = if nth < 100 { 30_000 } else { 1_000 };
            changed.due(0, lag);
        }
        changed.skipped = 3;
        changed.unsent = 13;
        let still = stats();
        let mut strain = Strain {
            bounds: BOUNDS,
            audit: AuditRules::default(),
            stats: &still,
            late: 0,
            cpu_share: 0.9,
            machine_share: 0.96,
            cores: 2,
        };
        change(&mut strain, &mut changed);
        let strain = Strain {
            stats: &changed,
            ..strain
        };
        assert_eq!(strain.limit().unwrap_or_default(), expected);
    }

    #[test]
    fn the_true_limit_is_named() {
        check(|_, _| {}, "");
        check(
            |_, stats| stats.due(0, 30_000),
            "the generator was the limit: 101 of 10 001 events were sent more than 20ms late (the \
             bound is 1 %, and 10 in a short run)",
        );
        check(
            |strain, _| strain.cpu_share = 0.91,
            "the generator was the limit: it used 91 % of its cores (the bound is 90.0 %)",
        );
        check(
            |strain, stats| {
                stats.due(0, 30_000);
                strain.machine_share = 0.99;
            },
            "the machine was the limit: 2 cores were busy for 99 % of the time, 0 % of it with \
             driving connections, while 101 of 10 001 events were sent more than 20ms late (the \
             bound is 1 %, and 10 in a short run)",
        );
        check(
            |strain, _| {
                strain.late = 1_920;
                strain.machine_share = 0.99;
            },
            "the machine was the limit: 2 cores were busy for 99 % of the time, 0 % of it with \
             driving connections, while 1 920 deliveries were late",
        );
        // Others still had a core for them, or had it when it was needed.
        check(|strain, _| strain.late = 1_920, "");
        check(|strain, _| strain.machine_share = 1.0, "");
        let slow = |stats: &mut Stats| {
            for _ in 0..11 {
                stats.unsent("unsent: not connected");
            }
            stats.skipped();
            stats.connected(0, 0, 80_000);
            stats.connected(0, 0, 7_000_000);
            stats.unadmitted(4_100_000);
        };
        let told = "the server was the limit: 21 of 10 000 events could not be sent (the bound is \
                    0.1 %, and 10 in a short run), 11 of them with the reason: not connected, and \
                    it admitted connections after 80.1 ms (median) to 7 000 ms, 1 connection waited \
                    for up to 4 100 ms and left without having been admitted";
        check(|_, stats| slow(stats), told);
        check(
            |_, stats| stats.under_way = 320,
            "the server was the limit: 320 deliveries were still to come 60.0 s after the last \
             event was sent, which is as long as a run waits while anything arrives",
        );
    }

    /// What one hiccup strikes does not make a short run invalid.
    #[test]
    fn a_short_run_is_not_judged_by_a_hiccup() {
        for (late, is_too_much) in [(1, false), (10, false), (11, true)] {
            let mut stats = stats();
            for nth in 0..200 {
                stats.due(0, if nth < late { 50_000 } else { 100 });
            }
            assert_eq!(
                lagging(&BOUNDS, &stats.lag).is_some(),
                is_too_much,
                "{late}"
            );
            assert_eq!(unsent(&BOUNDS, late, 200), is_too_much, "{late}");
        }
        // In a long one it is the share that counts.
        assert!(!unsent(&BOUNDS, 100, 100_000) && unsent(&BOUNDS, 101, 100_000));
    }
}
