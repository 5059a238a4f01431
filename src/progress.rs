//! How far a run of `check` is, on stderr: on a terminal a few lines that are drawn again and again, with
//! what was found above them as it is found; elsewhere now and then a line.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::task::AbortHandle;
use tokio::time::{Instant, interval};
use touchstone_cases::cases;
use touchstone_harness::{CaseReport, RunEvent, Verdict};
use touchstone_output::Style;
use touchstone_output::text::{one_line, plural};

use crate::reports::{columns, notice, style};

/// How often what is drawn is brought up to date.
const DRAWN: Duration = Duration::from_millis(500);

/// How often progress is told where no line can be redrawn.
const PLAIN: Duration = Duration::from_secs(5);

/// How many of the cases that run are named.
const NAMED: usize = 3;

/// How long a case runs before it is named.
const LONG: Duration = Duration::from_secs(2);

/// The part of all cases, one in so many, that has to be done before what is left is estimated.
const ENOUGH: usize = 10;

/// The lines that are drawn on the terminal at the moment, for whoever has to write past them.
static DRAWING: Mutex<Option<ProgressBar>> = Mutex::new(None);

/// Does what writes to the terminal while nothing is drawn there.
pub(crate) fn aside<T>(write: impl FnOnce() -> T) -> T {
    let bar = lock(&DRAWING).clone();
    match bar {
        Some(bar) => bar.suspend(write),
        None => write(),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Follows a run. When it is dropped, nothing of what was drawn is left.
pub(crate) struct Progress {
    state: Arc<Mutex<State>>,
    bar: Option<ProgressBar>,
    style: Style,
    ticking: Option<AbortHandle>,
}

impl Progress {
    pub(crate) fn new() -> Self {
        let bar = io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{bar:24} {msg}");
            ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr())
                .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        });
        Self {
            state: Arc::default(),
            bar,
            style: style(&io::stderr()),
            ticking: None,
        }
    }

    pub(crate) fn event(&mut self, event: &RunEvent) {
        let found = lock(&self.state).event(event);
        match event {
            RunEvent::Started { selected, .. } => self.begin(*selected),
            RunEvent::Finished(_) => self.end(),
            _ => {}
        }
        if let Some(bar) = &self.bar {
            if let Some((verdict, text)) = found {
                let room = columns(&io::stderr()).unwrap_or(80).saturating_sub(8);
                let text: String = text.chars().take(room).collect();
                let word = format!("{:7}", verdict.as_str());
                notice(&format!(
                    "{} {text}",
                    self.style.paint(verdict.colour(), word)
                ));
            }
            bar.set_position(lock(&self.state).finished.len() as u64);
        }
    }

    /// From now on progress is shown without any event, too: a run waits most when nothing happens.
    fn begin(&mut self, selected: usize) {
        let state = Arc::clone(&self.state);
        let bar = self.bar.clone();
        if let Some(bar) = &bar {
            bar.set_length(selected as u64);
            *lock(&DRAWING) = Some(bar.clone());
        }
        let each = if bar.is_some() { DRAWN } else { PLAIN };
        let task = tokio::spawn(async move {
            let mut ticks = interval(each);
            ticks.tick().await;
            loop {
                ticks.tick().await;
                let state = lock(&state);
                match &bar {
                    Some(bar) => {
                        let room = columns(&io::stderr()).unwrap_or(80).saturating_sub(1);
                        bar.set_message(state.drawn(room));
                    }
                    None => notice(&state.plain()),
                }
            }
        });
        self.ticking = Some(task.abort_handle());
    }

    fn end(&mut self) {
        if let Some(task) = self.ticking.take() {
            task.abort();
        }
        *lock(&DRAWING) = None;
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.end();
    }
}

/// A case that runs.
#[derive(Debug, Clone, Copy)]
struct Running {
    id: &'static str,
    since: Instant,
    alone: bool,
}

/// What is known of the run.
#[derive(Debug)]
struct State {
    began: Instant,
    selected: usize,
    /// How long the cases may take that wait for a time-out of the server.
    slow: Duration,
    running: Vec<Running>,
    /// The last verdict of each case that has one.
    finished: BTreeMap<&'static str, Verdict>,
}

impl Default for State {
    fn default() -> Self {
        Self {
            began: Instant::now(),
            selected: 0,
            slow: Duration::ZERO,
            running: Vec::new(),
            finished: BTreeMap::new(),
        }
    }
}

impl State {
    /// Takes an event, and gives what it has found that was not known.
    fn event(&mut self, event: &RunEvent) -> Option<(Verdict, String)> {
        match event {
            RunEvent::Started { selected, slow, .. } => {
                self.began = Instant::now();
                self.selected = *selected;
                self.slow = *slow;
                None
            }
            RunEvent::CaseStarted { id, alone } => {
                self.running.push(Running {
                    id,
                    since: Instant::now(),
                    alone: *alone,
                });
                None
            }
            RunEvent::CaseFinished(report) => {
                if let Some(at) = self.running.iter().position(|it| it.id == report.id) {
                    self.running.remove(at);
                }
                let before = self.finished.insert(report.id, report.verdict);
                let is_news = before != Some(report.verdict);
                is_news.then(|| found(report)).flatten()
            }
            RunEvent::Spawned { .. } | RunEvent::ServerDied { .. } | RunEvent::Finished(_) => None,
        }
    }

    /// `120 of 219 cases, 3 with findings`.
    fn counts(&self) -> String {
        let is_finding =
            |verdict: &&Verdict| matches!(verdict, Verdict::Fail | Verdict::Warn | Verdict::Error);
        let found = self.finished.values().filter(is_finding).count();
        let of = plural(self.selected, "case");
        format!("{} of {of}, {found} with findings", self.finished.len())
    }

    /// How long the rest may take, once that can be said.
    fn left(&self) -> Option<Duration> {
        let (done, elapsed) = (self.finished.len(), self.began.elapsed());
        if done * ENOUGH < self.selected || elapsed < LONG {
            return None;
        }
        let rest = self.selected.saturating_sub(done);
        // Slow cases began first, and wait beside the others.
        let slow = self.running.iter().filter(|it| is_slow(it.id)).count();
        let others = rest.saturating_sub(slow);
        let pace = elapsed.div_f64(done.max(1) as f64);
        let until_slow = match slow {
            0 => Duration::ZERO,
            _ => self.slow.saturating_sub(elapsed),
        };
        let left = (pace * u32::try_from(others).unwrap_or(u32::MAX)).max(until_slow);
        (left > Duration::ZERO).then_some(left)
    }

    fn summary(&self) -> String {
        let counts = self.counts();
        match self.left() {
            Some(left) => format!("{counts}, about {} s left", left.as_secs().max(1)),
            None => counts,
        }
    }

    /// The cases that have run for long, the longest first, and why each takes so long.
    fn waiting(&self) -> Vec<String> {
        let mut long: Vec<_> = self
            .running
            .iter()
            .filter(|it| it.alone || it.since.elapsed() >= LONG)
            .collect();
        long.sort_by_key(|it| it.since);
        let mut told: Vec<_> = long
            .iter()
            .take(NAMED)
            .map(|it| {
                let seconds = it.since.elapsed().as_secs();
                let why = match () {
                    () if it.alone => "has the server for itself",
                    () if is_slow(it.id) => "waits for a time-out of the server",
                    () => "still runs",
                };
                format!("{} {why}, {seconds} s", it.id)
            })
            .collect();
        if let Some(more) = long.len().checked_sub(NAMED).filter(|more| *more > 0) {
            told.push(format!("{more} more"));
        }
        told
    }

    /// What stands beside the bar and below it, in lines of so many columns.
    fn drawn(&self, room: usize) -> String {
        // The bar takes its part of the first line.
        let cut = |text: &str, room: usize| text.chars().take(room).collect::<String>();
        let mut text = cut(&self.summary(), room.saturating_sub(25));
        for line in self.waiting() {
            text.push_str("\n  ");
            text.push_str(&cut(&line, room.saturating_sub(2)));
        }
        text
    }

    fn plain(&self) -> String {
        let waiting = self.waiting();
        match waiting.is_empty() {
            true => self.summary(),
            false => format!("{}; {}", self.summary(), waiting.join("; ")),
        }
    }
}

fn is_slow(id: &str) -> bool {
    cases().any(|case| case.id == id && case.slow)
}

/// What a case has found, in a line.
fn found(report: &CaseReport) -> Option<(Verdict, String)> {
    match report.verdict {
        Verdict::Fail | Verdict::Warn => {
            let (finding, mismatch) = report.told().next()?;
            let flaky = if report.flaky { " (flaky)" } else { "" };
            let (id, requirement) = (report.id, finding.requirement.id);
            let got = one_line(&mismatch.actual);
            Some((
                report.verdict,
                format!("{id}{flaky}  {requirement}: got {got}"),
            ))
        }
        Verdict::Error => {
            let reason = report.reason.as_deref().unwrap_or_default();
            Some((
                Verdict::Error,
                format!("{}  {}", report.id, one_line(reason)),
            ))
        }
        Verdict::Pass | Verdict::Info | Verdict::Skip | Verdict::Blocked => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_waited_for_is_named_and_why() {
        let ago = |seconds| {
            let since = Instant::now().checked_sub(Duration::from_secs(seconds));
            since.expect("a machine that has run for a minute")
        };
        let mut state = State {
            selected: 20,
            slow: Duration::from_secs(30),
            ..State::default()
        };
        assert_eq!(state.summary(), "0 of 20 cases, 0 with findings");
        for id in ["rpc.silent-callee", "message.burst"] {
            state.event(&RunEvent::CaseStarted { id, alone: false });
        }
        assert_eq!(state.waiting(), [""; 0]);
        state.began = ago(10);
        state.running[0].since = ago(10);
        state.running[1].since = ago(9);
        let alone = RunEvent::CaseStarted {
            id: "message.seq",
            alone: true,
        };
        state.event(&alone);
        let verdicts = ["a", "b", "c", "d"].map(|id| (id, Verdict::Pass));
        state.finished.extend(verdicts);
        state.finished.insert("e", Verdict::Fail);
        assert_eq!(
            state.waiting(),
            [
                "rpc.silent-callee waits for a time-out of the server, 10 s",
                "message.burst still runs, 9 s",
                "message.seq has the server for itself, 0 s",
            ]
        );
        // 5 in 10 s, and 14 others to come: that is longer than the 20 s of the slow one.
        assert_eq!(
            state.summary(),
            "5 of 20 cases, 1 with findings, about 28 s left"
        );
        let drawn = state.drawn(40);
        assert_eq!(drawn.lines().count(), 4, "{drawn}");
        assert!(
            drawn.lines().all(|line| line.chars().count() <= 40),
            "{drawn}"
        );
    }
}
