//! One run of one case, from its function to its report.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep_until, timeout};

use crate::{
    alive,
    case::{Case, CaseFuture, Flow, Stop},
    ctx::Ctx,
    event::{CaseReport, Dialect, GONE_DURING, SHORT},
    own,
    verdict::{Finding, Verdict, worst},
};
use crate::{shared::Shared, steps::Steps};

/// The longest that a case may take. Its own deadlines end it long before; this is for a server that
/// keeps every single one of them waiting.
const CASE_LIMIT: Duration = Duration::from_secs(120);

/// The part of what a client may be silent for that this machine may be too busy for, without being to blame
/// for the end of a connection: one in so many.
const BUSY_PART: u32 = 4;

/// How often a case notes that it goes on.
const TICK: Duration = Duration::from_millis(100);

/// Runs a case, and measures for how long it did not go on although it had something to do: the longest time
/// by which a tick was late.
async fn watched(worst: &mut Duration, run: CaseFuture<'_>) -> Flow {
    let ticks = async {
        loop {
            let due = Instant::now() + TICK;
            sleep_until(due).await;
            *worst = (*worst).max(due.elapsed());
        }
    };
    tokio::select! {
        biased;
        flow = run => flow,
        () = ticks => Ok(()),
    }
}

/// What became of a server that opens transports and does nothing else.
const DEAF: &str = "it admits connections, and answers none of their pings any more";

/// How a case ended, for the runner to act on.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(crate) report: CaseReport,
    pub(crate) dialect: Dialect,
    /// The server does not answer any more.
    pub dead: bool,
}

/// Runs `case`. `attempt` is 0 at first, and counts repetitions: each has names of its own. With `steps`
/// its inputs are sent one by one.
pub(crate) async fn execute(
    shared: Arc<Shared>,
    case: &'static Case,
    attempt: u32,
    reproduce: String,
    steps: Option<Arc<Steps>>,
) -> Outcome {
    let started = Instant::now();
    let began_at = shared.clock.unix_ms();
    let mut cx = Ctx::new(Arc::clone(&shared), case.id, attempt);
    cx.steps = steps;
    let mut stalled = Duration::ZERO;
    let mut flow = flow_of(&shared, case, &mut cx, &mut stalled).await;
    // Whatever went wrong, a server that has gone meanwhile explains it better.
    let troubled = !matches!(
        flow,
        Ok(()) | Err(Stop::Skip(_) | Stop::Short | Stop::Unprovided(_))
    ) || worst(&cx.findings) >= Verdict::Warn;
    let gone = troubled && !alive::is_alive(&shared).await;
    let deaf = troubled && !gone && !alive::handles_events(&shared).await;
    let dead = gone || deaf;
    // What ended the case, if that was a finding or something that another requirement judges.
    let mut blocked_by = match &flow {
        Err(Stop::Judged) => cx.last_broken(),
        Err(Stop::Blocked { parent, .. }) => Some(*parent),
        _ => None,
    };
    let unreadable = cx.evidence.unreadable().map(str::to_owned);
    let (verdict, reason) = if dead {
        cx.findings.clear();
        cx.dialect = Dialect::default();
        let reason = match &flow {
            _ if deaf => format!("{GONE_DURING}: {DEAF}"),
            Err(Stop::Trouble(what) | Stop::Dropped(what)) => format!("{GONE_DURING}: {what}"),
            _ => GONE_DURING.into(),
        };
        (Verdict::Error, Some(reason))
    } else {
        if let Some(packet) = unreadable {
            let expected = "packets that a client can read".into();
            let by = &own::VALID_PACKETS;
            cx.findings.push(Finding::broken(by, expected, packet));
            blocked_by = Some(by);
            flow = Err(Stop::Judged);
        } else if let Err(Stop::Dropped(reason)) = &flow {
            cx.broken(&own::STAYS_OPEN, "an open connection", reason);
            flow = Err(Stop::Judged);
        }
        conclude(case, &cx, flow)
    };
    let mut findings = cx.folded();
    // Most cases pass, and nobody reads their traces.
    let trace = match verdict {
        Verdict::Fail | Verdict::Warn | Verdict::Error | Verdict::Blocked => {
            cx.traced(&mut findings)
        }
        Verdict::Pass | Verdict::Info | Verdict::Skip => Vec::new(),
    };
    // Writing to memory does not fail.
    let recorded = |_| {
        let target = &shared.target.name;
        cx.evidence.file(target, began_at, case.id, verdict).ok()
    };
    let recording = shared.traces.as_ref().and_then(recorded);
    Outcome {
        report: CaseReport {
            id: case.id,
            level: case.level(),
            verdict,
            requirements: case.requirements.to_vec(),
            findings,
            reason,
            notes: cx.notes,
            duration: started.elapsed(),
            stalled,
            flaky: false,
            known: None,
            reproduce,
            trace,
            recording,
            typical_cause: case.cause(),
            blocked_by,
            trace_file: shared.trace_file(case.id),
            nodes: cx.evidence.nodes(),
        },
        dialect: cx.dialect,
        dead,
    }
}

/// How a case goes, within the time that one may take.
async fn flow_of(shared: &Shared, case: &Case, cx: &mut Ctx, stalled: &mut Duration) -> Flow {
    // Waiting after each input is not part of what a case may take.
    let limit = match &cx.steps {
        Some(_) => CASE_LIMIT * 2,
        None => CASE_LIMIT,
    };
    if let Some(reason) = case.needs.iter().find_map(|need| shared.missing.get(need)) {
        return Err(Stop::Skip(reason.clone()));
    }
    let Ok(flow) = timeout(limit, watched(stalled, (case.run)(cx))).await else {
        let limit = limit.as_secs();
        return Err(Stop::Trouble(format!(
            "the case did not end within {limit} s"
        )));
    };
    match flow {
        // Whoever answers pings too late is rightly taken for gone.
        Err(Stop::Dropped(reason))
            if shared
                .heartbeat
                .is_some_and(|heartbeat| *stalled * BUSY_PART > heartbeat) =>
        {
            let busy = stalled.as_secs_f64();
            Err(Stop::Trouble(format!(
                "{reason}; this machine was too busy to go on with the case for {busy:.1} s"
            )))
        }
        flow => flow,
    }
}

/// The verdict of a case, with the reason where it is not one of its findings.
fn conclude(case: &Case, cx: &Ctx, flow: Flow) -> (Verdict, Option<String>) {
    let found = worst(&cx.findings);
    // What was found stands, even if the case could not go on afterwards.
    let unless_found = |verdict: Verdict, reason: String| match found {
        Verdict::Fail | Verdict::Warn => (found, Some(reason)),
        _ => (verdict, Some(reason)),
    };
    match flow {
        Err(Stop::Judged) => (found, None),
        Err(Stop::Skip(reason)) => unless_found(Verdict::Skip, reason),
        Err(Stop::Unprovided(reason)) => unless_found(Verdict::Blocked, reason),
        Err(Stop::Short) => unless_found(Verdict::Blocked, SHORT.into()),
        Err(Stop::Blocked { parent, reason }) => unless_found(
            Verdict::Blocked,
            format!("{reason} (judged by {})", parent.id),
        ),
        Err(Stop::Trouble(reason) | Stop::Dropped(reason)) => unless_found(Verdict::Error, reason),
        Ok(()) => {
            // A case that reaches its end without judging what it promises proves nothing.
            let unjudged: Vec<_> = case
                .requirements
                .iter()
                .filter(|&&requirement| {
                    !cx.findings
                        .iter()
                        .any(|f| std::ptr::eq(f.requirement, requirement))
                })
                .map(|requirement| requirement.id)
                .collect();
            if unjudged.is_empty() || found >= Verdict::Warn {
                (found, None)
            } else {
                let ids = unjudged.join(", ");
                (
                    Verdict::Error,
                    Some(format!("a fault of the suite: it did not judge {ids}")),
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_case_that_cannot_go_on_is_noticed() {
        let mut worst = Duration::ZERO;
        let busy = async {
            // The first tick is under way then.
            tokio::task::yield_now().await;
            let until = Instant::now() + TICK * 5;
            while Instant::now() < until {}
            sleep_until(until + TICK).await;
            Ok(())
        };
        watched(&mut worst, Box::pin(busy)).await.expect("its end");
        assert!(worst >= TICK * 3, "{} ms", worst.as_millis());
    }
}
