use super::*;
use crate::{ledger::Requirement, report::testing, verdict::Finding};

fn render(style: Style) -> String {
    testing::render(|out| Terminal::new(out, style, Shows::default()))
}

#[test]
fn snapshot() {
    insta::assert_snapshot!(render(Style::Plain));
}

#[test]
fn a_server_that_is_gone_is_told_once() {
    let events = testing::of_run(testing::gone());
    insta::assert_snapshot!(testing::render_events(&events, |out| {
        Terminal::new(out, Style::Plain, Shows::default())
    }));
}

#[test]
fn no_line_is_an_order_to_a_ci() {
    for line in
        testing::render_hostile(|out| Terminal::new(out, Style::Plain, Shows::default())).lines()
    {
        assert!(!line.trim_start().starts_with("::"), "{line}");
    }
}

fn shown(run: &RunReport, full: bool) -> String {
    let shows = Shows {
        full,
        ..Shows::default()
    };
    testing::render_events(&testing::of_run(run.clone()), |out| {
        Terminal::new(out, Style::Plain, shows)
    })
}

/// A requirement of its own for each number, otherwise like that of `told`.
fn requirement(told: &CaseReport, at: usize) -> &'static Requirement {
    let id: &'static str = Box::leak(format!("session.kind-{at}").into_boxed_str());
    Box::leak(Box::new(Requirement {
        id,
        ..*told.findings[0].requirement
    }))
}

/// How often `part` is in `text`.
#[track_caller]
fn count(text: &str, part: &str, expected: usize) {
    assert_eq!(text.matches(part).count(), expected, "{part}\n{text}");
}

#[test]
fn many_findings_of_one_requirement_are_one_and_a_number() {
    let mut run = testing::report();
    let mut case = run.cases[1].clone();
    let finding = case.findings[0].clone();
    case.findings = vec![finding; 4];
    run.cases = vec![case];
    let short = shown(&run, false);
    count(&short, "    expected  ", 1);
    count(&short, ": 3 more findings of this case", 1);
    let full = shown(&run, true);
    count(&full, "    expected  ", 4);
    count(&full, "more findings", 0);
}

#[test]
fn a_note_on_many_cases_stands_at_the_end_once() {
    let mut run = testing::report();
    let told = run.cases[1].clone();
    let (before, after) = crate::marks::UNPROVED;
    run.cases = ["a.0", "b.1", "c.2", "d.3"]
        .map(|id| CaseReport {
            id,
            notes: vec![format!("{before}{id}{after}"), format!("note of {id}")],
            ..told.clone()
        })
        .into();
    let short = shown(&run, false);
    count(&short, "settle window", 1);
    count(
        &short,
        "note: 4 cases: some silence rests on a settle window",
        1,
    );
    // One that is of few cases is told by the case itself, where it is explained.
    count(&short, "  note: note of a.0\n", 1);
    count(&short, "note of b.1", 1);
    let full = shown(&run, true);
    count(&full, "settle window", 4);
    count(&full, "note of b.1", 1);
}

#[test]
fn beyond_some_kinds_of_failure_the_rest_is_in_short() {
    let mut run = testing::report();
    let mut told = run.cases[1].clone();
    told.findings[0].broken = None;
    run.cases = (0..EXPLAINED + 3)
        .map(|at| CaseReport {
            findings: vec![Finding::broken(
                requirement(&told, at),
                "an answer".into(),
                format!("silence number {at}"),
            )],
            ..told.clone()
        })
        .collect();
    let short = shown(&run, false);
    count(&short, "  typical cause: ", EXPLAINED);
    count(
        &short,
        "3 other cases in short (--full shows all of it):",
        1,
    );
    count(&short, ": got silence number", 3);
    let full = shown(&run, true);
    count(&full, "  typical cause: ", EXPLAINED + 3);
    count(&full, "in short", 0);
}

#[test]
fn a_server_that_answers_nothing_takes_two_screens() {
    let mut run = testing::report();
    let told = run.cases[1].clone();
    let silent = |at: usize| -> CaseReport {
        let (requirement, id) = (requirement(&told, at), format!("silent.case-{at}"));
        let expected = "an acknowledgement".to_owned();
        CaseReport {
            id: Box::leak(id.into_boxed_str()),
            findings: vec![Finding::broken(
                requirement,
                expected,
                "none within 5.0 s".into(),
            )],
            ..told.clone()
        }
    };
    let waiting = |at: usize| CaseReport {
        id: Box::leak(format!("waiting.case-{at}").into_boxed_str()),
        verdict: Verdict::Blocked,
        blocked_by: Some(requirement(&told, at % 20)),
        reason: Some(format!("a connection of row {at} is not answered")),
        ..testing::case("", Verdict::Blocked, told.requirements[0])
    };
    run.cases = (0..40).map(silent).chain((0..180).map(waiting)).collect();
    run.summary = crate::event::Summary::of(&run.cases, 0, false);
    let short = shown(&run, false);
    assert!(short.lines().count() < 60, "{short}");
    assert!(short.lines().all(|line| line.len() < 200), "{short}");
    count(&short, "  typical cause: ", 1);
    count(&short, "the same kind of thing in 39 other cases", 1);
    count(&short, "and 16 more requirements, for 144 other cases", 1);
    count(&short, "  and 39 more of this kind\n", 1);
    count(&short, "40 failed, 180 blocked", 1);
    let full = shown(&run, true);
    count(&full, "  typical cause: ", 40);
    count(&full, "could not be judged without it", 20);
    count(&full, "waiting.case-179", 1);
}

#[test]
fn colours_add_nothing_but_escapes() {
    let coloured = render(Style::Coloured);
    assert!(coloured.contains("\u{1b}["));
    let mut plain = String::new();
    let mut rest = coloured.as_str();
    while let Some((before, escape)) = rest.split_once("\u{1b}[") {
        plain.push_str(before);
        rest = escape.split_once('m').expect("only colour escapes").1;
    }
    plain.push_str(rest);
    assert_eq!(plain, render(Style::Plain));
}
