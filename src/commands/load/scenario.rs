//! From the arguments to a schedule: the scenario by its name or its file, the scale, the seed.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, anyhow};
use touchstone_client::trace::Reader;
use touchstone_fixtures::{SCENARIOS, scenario};
use touchstone_loadgen::scenario::{Recorded, Scale, Scenario};
use touchstone_loadgen::schedule::{Schedule, Summary};
use touchstone_loadgen::slo::Slo;

use crate::args::ScheduleArguments;
use crate::error::Failure;
use touchstone_output::suggest;

/// A schedule, and what it comes to.
pub(super) struct Planned {
    pub(super) schedule: Arc<Schedule>,
    pub(super) summary: Summary,
    pub(super) scale: Scale,
}

impl Planned {
    /// Makes the schedule that the arguments describe.
    ///
    /// # Errors
    /// There is no such scenario, or it cannot be used.
    pub(super) fn of(arguments: &ScheduleArguments) -> Result<Self, Failure> {
        let (name, text) = text(&arguments.scenario)?;
        let mut scenario = Scenario::parse(&name, &text)
            .and_then(|scenario| scenario.scaled(arguments.scale))
            .map_err(Failure::usage)?;
        for objective in &scenario.slo {
            Slo::parse(objective)
                .with_context(|| format!("scenario {name}"))
                .map_err(Failure::usage)?;
        }
        if let Some(duration) = arguments.duration {
            scenario = scenario.lasting(duration).map_err(Failure::usage)?;
        }
        let shard = arguments.shard.unwrap_or_default();
        let schedule = Schedule::new(scenario, arguments.seed, shard);
        let summary = schedule.summary();
        if summary.connections == 0 {
            let error = anyhow!("shard {shard} has no account of {name}");
            return Err(Failure::usage(error).hint("use fewer shards than there are accounts"));
        }
        Ok(Self {
            schedule: Arc::new(schedule),
            summary,
            scale: arguments.scale,
        })
    }

    /// `production at scale 0.1`.
    pub(super) fn title(&self) -> String {
        format!("{} at scale {}", self.schedule.scenario().name, self.scale)
    }
}

/// A scenario of what was recorded.
///
/// # Errors
/// The file is no trace, or has no connection.
pub(super) fn recorded(path: &Path) -> Result<String, Failure> {
    let name = path.display().to_string();
    let read = || -> anyhow::Result<Recorded> {
        let mut recorded = Recorded::default();
        for record in Reader::open(path)? {
            recorded.see(&record?);
        }
        Ok(recorded)
    };
    let recorded = read()
        .with_context(|| format!("cannot use {name}"))
        .map_err(Failure::usage)?;
    recorded.scenario(&name).map_err(Failure::usage)
}

/// The built-in scenarios, one per line, with what they are good for.
pub(super) fn list() -> String {
    let names = SCENARIOS.iter().map(|(name, _)| name.len());
    let width = names.max().unwrap_or(0);
    let line = |(name, text): &(&str, &str)| {
        let about = Scenario::parse(name, text).map_or_else(
            |error| error.to_string(),
            |scenario| {
                format!(
                    "{} ({} connections, {})",
                    scenario.description,
                    scenario.connections(),
                    scenario.duration()
                )
            },
        );
        format!("{name:width$}  {about}\n")
    };
    SCENARIOS.iter().map(line).collect()
}

/// The name and the text of a scenario. What looks like a path is one; built-in names win over files
/// of the same name.
fn text(asked: &str) -> Result<(String, String), Failure> {
    if let Some(text) = scenario(asked) {
        return Ok((asked.to_owned(), text.to_owned()));
    }
    let path = Path::new(asked);
    let is_path = asked.contains('/') || path.extension().is_some() || path.exists();
    if is_path {
        let text = fs::read_to_string(path)
            .with_context(|| format!("cannot read the scenario {asked}"))
            .map_err(Failure::usage)?;
        return Ok((asked.to_owned(), text));
    }
    let names: Vec<_> = SCENARIOS.iter().map(|(name, _)| *name).collect();
    let hint = match suggest::closest(asked, names.iter().copied()) {
        Some(name) => format!("did you mean {name}?"),
        None => format!(
            "built-in scenarios are {}; a file is named by its path",
            names.join(", ")
        ),
    };
    Err(Failure::usage(anyhow!("there is no scenario {asked:?}")).hint(hint))
}
