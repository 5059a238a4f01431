//! What a scenario must satisfy beyond its grammar, so that a plan made from it cannot fail.

use super::{
    Aim, Churn, EventKind, HalfOpen, Herd, Phase, Role, RoleRules, Scenario, Shift, Size, Slow,
    Span, Traffic, Turn,
};

/// More of anything than this is taken for a mistake.
const MOST: u32 = 1_000_000;
/// More events than this from one connection at once are taken for a mistake.
const LARGEST_BURST: u32 = 10_000;
/// The shortest time between two emits of a connection, so that a mistaken unit is noticed.
const SHORTEST: Span = Span::from_us(10);
/// What the built-in limits of servers of this protocol let pass.
const LARGEST: u32 = 900_000;

/// One line that names what is wrong, if anything is.
pub(super) fn consistent(scenario: &Scenario) -> Result<(), String> {
    population(scenario)?;
    phases(&scenario.phases)?;
    let RoleRules {
        write_state,
        alive_on_connect,
        stale_heartbeat,
        ..
    } = scenario.user;
    if write_state || alive_on_connect || stale_heartbeat {
        return Err(
            "user: write-state, alive-on-connect and stale-heartbeat are for sessions and machines"
                .to_owned(),
        );
    }
    for role in Role::ALL {
        let registrations = scenario.rules(role).registrations;
        if registrations > LARGEST_BURST {
            return Err(format!(
                "{}: registrations is {registrations}, the most is {LARGEST_BURST}",
                role.word()
            ));
        }
    }
    for (what, timeout) in [
        ("connect.timeout", scenario.connect.timeout),
        ("rpc.timeout", scenario.rpc.timeout),
    ] {
        at_least(what, timeout, Span::from_millis(10))?;
    }
    for (at, traffic) in scenario.traffic.iter().enumerate() {
        emits(scenario, traffic).map_err(|problem| {
            format!("traffic {} ({}): {problem}", at + 1, traffic.event.name())
        })?;
    }
    for Turn { lasts, pause, .. } in &scenario.turn {
        at_least("turn.lasts", *lasts, Span::from_millis(10))?;
        at_least("turn.pause", *pause, Span::from_millis(10))?;
    }
    shifts(scenario)?;
    for Churn { online, .. } in &scenario.churn {
        at_least("churn.online", *online, Span::from_millis(10))?;
    }
    for Slow { every, .. } in &scenario.slow {
        at_least("slow.every", *every, Span::from_millis(10))?;
    }
    let end = scenario.duration();
    let moments = (scenario.herd.iter().map(|Herd { at, .. }| ("herd", *at))).chain(
        scenario
            .half_open
            .iter()
            .map(|HalfOpen { at, .. }| ("half-open", *at)),
    );
    for (what, at) in moments {
        if at >= end {
            return Err(format!(
                "{what}.at is {at}, but the run is over after {end}"
            ));
        }
    }
    let audit = &scenario.audit;
    if audit.late_after > audit.lost_after {
        return Err(format!(
            "audit.late-after ({}) is longer than audit.lost-after ({})",
            audit.late_after, audit.lost_after
        ));
    }
    Ok(())
}

/// Whoever ends a session must be the only one who keeps it alive: an ended one stays so.
fn shifts(scenario: &Scenario) -> Result<(), String> {
    for Shift { online, .. } in &scenario.shift {
        at_least("shift.online", *online, Span::from_millis(10))?;
    }
    if scenario.shift.is_empty() {
        return Ok(());
    }
    if scenario.population.per_session > 1 {
        return Err(
            "shift: an agent that ends takes its session along, and per-session is more than 1"
                .to_owned(),
        );
    }
    let is_others = |traffic: &Traffic| {
        let is_own = traffic.from == Role::Session && traffic.to == Aim::Own;
        traffic.event == EventKind::SessionAlive && !is_own
    };
    match scenario.traffic.iter().position(is_others) {
        Some(at) => Err(format!(
            "traffic {} (session-alive): with a shift, only agents keep their own sessions alive, \
             since those of others may have ended",
            at + 1
        )),
        None => Ok(()),
    }
}

fn population(scenario: &Scenario) -> Result<(), String> {
    let population = &scenario.population;
    for (what, count) in [
        ("accounts", population.accounts),
        ("users", population.users),
        ("sessions", population.sessions),
        ("per-session", population.per_session),
        ("machines", population.machines),
    ] {
        if count > MOST {
            return Err(format!("population.{what} is {count}, the most is {MOST}"));
        }
    }
    if population.accounts == 0 {
        return Err("population.accounts is 0: nobody can connect".to_owned());
    }
    if scenario.connections() == 0 {
        return Err("population has no users, sessions or machines: nobody connects".to_owned());
    }
    Ok(())
}

fn phases(phases: &[Phase]) -> Result<(), String> {
    if !phases.iter().any(|phase| phase.counted) {
        return Err("no phase is counted: the run would have no result".to_owned());
    }
    for (index, Phase { name, duration, .. }) in phases.iter().enumerate() {
        if phases[..index].iter().any(|other| other.name == *name) {
            return Err(format!("two phases are called {name:?}"));
        }
        at_least(
            &format!("the duration of phase {name:?}"),
            *duration,
            Span::from_millis(1),
        )?;
    }
    Ok(())
}

fn emits(scenario: &Scenario, traffic: &Traffic) -> Result<(), String> {
    at_least("every", traffic.every, SHORTEST)?;
    if !(1..=LARGEST_BURST).contains(&traffic.burst) {
        return Err(format!(
            "burst is {}, not from 1 to {LARGEST_BURST}",
            traffic.burst
        ));
    }
    let largest = match traffic.size {
        Size::Fixed(size) => size,
        Size::Skewed { median, p95, p999 } if 0 < median && median <= p95 && p95 <= p999 => p999,
        Size::Skewed { .. } => return Err("size: median, p95 and p999 do not grow".to_owned()),
    };
    if largest > LARGEST {
        return Err(format!("size is {largest}, the most is {LARGEST}"));
    }
    let population = &scenario.population;
    let accounts = population.accounts;
    match traffic.event.subject() {
        // With fewer subjects than accounts, connections of other roles would have none.
        Some(Role::Session) if traffic.from != Role::Session && population.sessions < accounts => {
            Err("it concerns a session, and there are fewer sessions than accounts".to_owned())
        }
        Some(Role::Machine) if traffic.from != Role::Machine && population.machines < accounts => {
            Err("it concerns a machine, and there are fewer machines than accounts".to_owned())
        }
        _ if traffic.event == EventKind::AccessKeyGet && population.machines < accounts => {
            Err("it needs a machine, and there are fewer machines than accounts".to_owned())
        }
        _ if traffic.event == EventKind::RpcCall => callable(scenario),
        _ => Ok(()),
    }
}

fn callable(scenario: &Scenario) -> Result<(), String> {
    let registers = |role| scenario.rules(role).registrations > 0;
    if Role::ALL.into_iter().any(registers) {
        Ok(())
    } else {
        Err("nobody registers a method: set `registrations` of a role".to_owned())
    }
}

fn at_least(what: &str, span: Span, least: Span) -> Result<(), String> {
    if span < least {
        return Err(format!("{what} is {span}, the least is {least}"));
    }
    Ok(())
}
