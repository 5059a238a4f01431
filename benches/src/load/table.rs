//! The figures of all tools as text. Pure.

use std::collections::BTreeMap;
use std::fmt;

use super::Work;
use super::search::Highest;
use super::tools::Tool;
use crate::rounds::Spread;

/// What one tool needed in one round.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Figures {
    /// CPU nanoseconds per received event, all tools at the same rate.
    pub event_nanos: f64,
    /// Whether all of those events arrived in time.
    pub kept_up: bool,
    /// The highest rate that one core held, if any did.
    pub highest: Option<Highest>,
    /// Resident bytes per connection.
    pub connection_bytes: f64,
    /// CPU nanoseconds per opened connection.
    pub connect_nanos: f64,
}

/// All rounds of a comparison.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    /// What was done.
    pub work: Work,
    /// Events per second at which CPU per event was taken.
    pub rate: f64,
    /// Per round, the tools that could be measured.
    pub rounds: Vec<BTreeMap<Tool, Figures>>,
}

/// A column: its heading, what it takes from the figures, and how it writes that.
struct Column {
    heading: [&'static str; 2],
    value: fn(&Figures) -> Option<f64>,
    write: fn(f64) -> String,
}

const COLUMNS: [Column; 4] = [
    Column {
        heading: ["CPU per event", "at that rate"],
        value: |figures| Some(figures.event_nanos),
        write: |nanos| format!("{:.2} us", nanos / 1e3),
    },
    Column {
        heading: ["highest rate", "of one core"],
        value: |figures| figures.highest.map(|highest| highest.rate),
        write: |rate| format!("{:.1} k/s", rate / 1e3),
    },
    Column {
        heading: ["memory per", "connection"],
        value: |figures| Some(figures.connection_bytes),
        write: |bytes| format!("{:.1} KB", bytes / 1024.0),
    },
    Column {
        heading: ["CPU per", "connect"],
        value: |figures| Some(figures.connect_nanos),
        write: |nanos| format!("{:.0} us", nanos / 1e3),
    },
];

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Work {
            connections,
            message_bytes,
        } = self.work;
        writeln!(
            f,
            "{connections} connections of one account receive messages of {message_bytes} bytes, \
             {:.0} events/s together",
            self.rate
        )?;
        let width = self.width();
        for line in 0..2 {
            write!(f, "{:<17}", "")?;
            for column in &COLUMNS {
                write!(f, " {:>width$}", column.heading[line])?;
            }
            writeln!(f)?;
        }
        for tool in Tool::ALL {
            self.row(f, tool, |column, all| {
                let value = Spread::of(
                    all.iter()
                        .filter_map(|(figures, _)| (column.value)(figures)),
                );
                value.map(|spread| (column.write)(spread.median))
            })?;
        }
        self.ratios(f)?;
        self.remarks(f)
    }
}

impl Table {
    /// The figures of a tool, each with ours of the same round.
    fn of(&self, tool: Tool) -> Vec<(&Figures, Option<&Figures>)> {
        self.rounds
            .iter()
            .filter_map(|round| Some((round.get(&tool)?, round.get(&Tool::Touchstone))))
            .collect()
    }

    /// Of a column: ranges need more.
    fn width(&self) -> usize {
        match self.rounds.len() {
            1 => 14,
            _ => 21,
        }
    }

    fn row(
        &self,
        f: &mut fmt::Formatter<'_>,
        tool: Tool,
        cell: impl Fn(&Column, &[(&Figures, Option<&Figures>)]) -> Option<String>,
    ) -> fmt::Result {
        let all = self.of(tool);
        if all.is_empty() {
            return Ok(());
        }
        let width = self.width();
        write!(f, "{tool:<17}")?;
        for column in &COLUMNS {
            let cell = cell(column, &all).unwrap_or_else(|| "none".to_owned());
            write!(f, " {cell:>width$}")?;
        }
        writeln!(f)
    }

    fn ratios(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let others: Vec<Tool> = Tool::ALL
            .into_iter()
            .filter(|tool| *tool != Tool::Touchstone && !self.of(*tool).is_empty())
            .collect();
        if others.is_empty() {
            return Ok(());
        }
        if self.of(Tool::Touchstone).is_empty() {
            return writeln!(f, "no ratios: {} was not measured", Tool::Touchstone);
        }
        writeln!(f, "as multiples of {} = 1", Tool::Touchstone)?;
        for tool in others {
            self.row(f, tool, |column, all| {
                let ratios = all.iter().filter_map(|(figures, ours)| {
                    Some((column.value)(figures)? / (column.value)((*ours)?)?)
                });
                Spread::of(ratios).map(|spread| match self.rounds.len() {
                    1 => multiple(spread.median),
                    _ => {
                        let [median, min, max] =
                            [spread.median, spread.min, spread.max].map(multiple);
                        format!("{median} ({min}..{max})")
                    }
                })
            })?;
        }
        Ok(())
    }

    /// What a reader must know before believing a figure.
    fn remarks(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for tool in Tool::ALL {
            let all = self.of(tool);
            let bounded =
                |figures: &Figures| figures.highest.is_some_and(|highest| highest.at_least);
            if all.iter().any(|(figures, _)| bounded(figures)) {
                writeln!(
                    f,
                    "{tool}: its highest rate is a lower bound; what ended the search was not its core"
                )?;
            }
            if all.iter().any(|(figures, _)| !figures.kept_up) {
                writeln!(
                    f,
                    "{tool}: fell behind at {:.0} events/s, so its CPU per event is that of a backlog",
                    self.rate
                )?;
            }
        }
        Ok(())
    }
}

/// Two digits that say something, also for a tool that holds a hundredth of our rate.
fn multiple(value: f64) -> String {
    if value < 0.1 {
        format!("{value:.4}")
    } else {
        format!("{value:.2}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(factor: f64) -> Figures {
        Figures {
            event_nanos: 2_000.0 * factor,
            kept_up: true,
            highest: Some(Highest {
                rate: 200_000.0 / factor,
                at_least: false,
            }),
            connection_bytes: 8_192.0 * factor,
            connect_nanos: 60_000.0 * factor,
        }
    }

    fn table(rounds: Vec<BTreeMap<Tool, Figures>>) -> Table {
        Table {
            work: Work {
                connections: 500,
                message_bytes: 200,
            },
            rate: 5_000.0,
            rounds,
        }
    }

    #[test]
    fn small_multiples_keep_their_digits() {
        let shown = [0.000_71, 0.099, 0.1, 23.426].map(multiple);
        assert_eq!(shown, ["0.0007", "0.0990", "0.10", "23.43"]);
    }

    #[test]
    fn one_round_has_plain_ratios() {
        let bounded = Figures {
            highest: Some(Highest {
                rate: 250_000.0,
                at_least: true,
            }),
            ..figures(1.0)
        };
        let overrun = Figures {
            highest: None,
            kept_up: false,
            ..figures(20.0)
        };
        insta::assert_snapshot!(table(vec![BTreeMap::from([
            (Tool::Touchstone, bounded),
            (Tool::Artillery, figures(4.0)),
            (Tool::Locust, overrun),
        ])]));
    }

    #[test]
    fn several_rounds_have_a_spread_of_ratios_within_each_round() {
        let round = |factor| {
            BTreeMap::from([
                (Tool::Touchstone, figures(factor)),
                (Tool::Node, figures(factor * factor * 2.0)),
            ])
        };
        insta::assert_snapshot!(table(vec![round(1.0), round(2.0), round(1.5)]));
    }

    #[test]
    fn without_ours_there_is_nothing_to_compare_with() {
        insta::assert_snapshot!(table(vec![BTreeMap::from([(Tool::Node, figures(2.0))])]));
    }
}
