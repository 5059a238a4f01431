use touchstone_client::{
    Direction as Way, Frame,
    trace::{Exchange, Kind, Traced},
};

use super::*;
use crate::ledger::{Basis, Level, Requirement};

static SAMPLE: Requirement = Requirement {
    id: "sample.requirement",
    level: Level::Must,
    basis: Basis::Decision,
    text: "A sample.",
};

/// A record in a few words: `u1 > 42["x"]` is sent, `u1 < …` received, `u1 . …` a note, and `u1 = …` the
/// answer to a request.
fn record(line: &str) -> Record {
    let (conn, rest) = line.split_once(' ').expect("a connection");
    let (sign, text) = rest.split_once(' ').expect("a sign");
    let kind = match sign {
        ">" => Kind::Packet(Way::Sent, Traced::of(&Frame::text(text))),
        "<" => Kind::Packet(Way::Received, Traced::of(&Frame::text(text))),
        "=" => Kind::Http(Exchange {
            method: "GET".into(),
            url: if conn == "long" {
                "/v1/long-enough?limit=2"
            } else {
                "/v1/x"
            }
            .into(),
            status: Some(200),
            request: None,
            response: serde_json::from_str(text).ok(),
            ms: 1,
            us: None,
        }),
        _ => Kind::Mark(text.to_owned()),
    };
    Record {
        t_us: 0,
        conn: conn.to_owned(),
        kind,
        recipients: None,
    }
}

/// The salt of the samples is `S7`, and the mark `broken`.
#[track_caller]
fn check(lines: &[&str], clue: Clue, actual: &str, expected: &[(usize, Part)], missing: &[&str]) {
    let (focus, without) = find_in(lines, clue, "x", actual);
    assert_eq!(focus, expected);
    assert_eq!(without, missing);
}

/// The lines of a finding, and the connections to which something did not come.
fn find_in(
    lines: &[&str],
    clue: Clue,
    expected: &str,
    actual: &str,
) -> (Vec<(usize, Part)>, Vec<String>) {
    let records: Vec<_> = lines.iter().map(|line| record(line)).collect();
    let mut finding = Finding::broken(&SAMPLE, expected.into(), actual.into());
    finding.clue = Clue {
        mark: "broken".into(),
        ..clue
    };
    let mut findings = [finding];
    find(&records, "S7", &mut findings, Some);
    let [finding] = findings;
    let focus = finding.focus.iter().map(|it| (it.line, it.part)).collect();
    (focus, finding.missing)
}

#[test]
fn a_machine_goes_with_its_connection() {
    let lines = [
        r#"http = {"id":"machineS7x1"}"#,
        r#"closing > 40{"machineId":"machineS7x1"}"#,
        r#"closing < 40{"sid":"a"}"#,
        r#"u1 > 42["ping"]"#,
        "closing . ended: closed by this client",
        r#"u1 < 42["ephemeral",{"type":"machine-activity","id":"machineS7x1","active":false}]"#,
        "suite . broken",
    ];
    let told = r#"{"type":"machine-activity","id":"machineS7x1","active":false}"#;
    check(
        &lines,
        Clue::default(),
        told,
        &[(4, Part::Cause), (5, Part::Wrong)],
        &[],
    );
}

#[test]
fn a_wrong_delivery_is_told_by_its_connection() {
    let lines = [
        r#"u1 > 42["message",{"m":"messageS7x1"}]"#,
        r#"u2 < 42["update",{"m":"messageS7x1"}]"#,
        r#"s2 < 42["update",{"m":"messageS7x1"}]"#,
        r#"u1 > 421["update-metadata",{"m":"sentinelS7x2"}]"#,
        r#"s2 < 42["update",{"m":"sentinelS7x2"}]"#,
        r#"s2#2 < 42["update",{"m":"messageS7x1"}]"#,
        "suite . broken",
        r#"s2 < 42["update",{"m":"messageS7x1"}]"#,
    ];
    let clue = || Clue::of(["messageS7x1"]);
    let expected = [
        (0, Part::Cause),
        (1, Part::Delivery),
        (2, Part::Wrong),
        (4, Part::Proof),
        (5, Part::Wrong),
    ];
    check(
        &lines,
        clue().wrong(["s2"]),
        "it reached s2",
        &expected,
        &[],
    );
    let expected = [
        (0, Part::Cause),
        (1, Part::Delivery),
        (2, Part::Delivery),
        (4, Part::Proof),
        (5, Part::Delivery),
    ];
    let clue = clue().missing(["s2", "m1"]);
    check(&lines, clue, "nothing for s2", &expected, &["s2", "m1"]);
}

#[test]
fn an_answer_is_told_by_what_it_holds() {
    let lines = [
        r#"u1 > 421["update-state",{"v":1}]"#,
        r#"u1 < 431[{"result":"success","version":2}]"#,
        r#"u1 > 422["ping"]"#,
        "u1 < 432[{}]",
        "suite . broken",
    ];
    let expected = [(0, Part::Cause), (1, Part::Wrong)];
    for actual in [
        r#"{"result":"success","version":2}"#,
        r#"in {"version":2,"result":"success"} (3 times)"#,
        r#""success""#,
        "2",
    ] {
        check(&lines, Clue::default(), actual, &expected, &[]);
    }
    check(&lines, Clue::default(), "something else", &expected, &[]);
    let expected = [(0, Part::Cause), (1, Part::Answer)];
    check(&lines, Clue::default(), "no result", &expected, &[]);
}

#[test]
fn what_is_not_answered_is_missing() {
    let lines = [r#"u1 > 421["update-state",{"v":1}]"#, "suite . broken"];
    check(
        &lines,
        Clue::default(),
        "none",
        &[(0, Part::Cause)],
        &["u1"],
    );
}

#[test]
fn the_call_that_is_named_and_not_answered_is_the_cause() {
    // A ping is no deed of a case otherwise, and the one before it was answered.
    let lines = [
        r#"u1 > 40{"token":"t"}"#,
        r#"u1 > 420["ping"]"#,
        "u1 < 430[{}]",
        r#"u1 > 421["ping",{"at":1}]"#,
        r#"u1 > 422["update-state",{"v":"stateS7x1"}]"#,
        "suite . broken",
    ];
    let clue = Clue::default;
    let found = || {
        find_in(
            &lines,
            clue(),
            r#"an acknowledgement of ping {"at":1}"#,
            "none",
        )
    };
    assert_eq!(found(), (vec![(3, Part::Cause)], vec!["u1".to_owned()]));
    // An event whose name only ends like that of a call is another one.
    let expected = "one new-ping at u1";
    let (focus, missing) = find_in(&lines, clue(), expected, "nothing");
    assert_eq!(
        (focus, missing),
        (vec![(4, Part::Cause)], vec!["u1".to_owned()])
    );
}

#[test]
fn connections_that_are_named_are_those_without_it() {
    let lines = [
        r#"s1 > 42["message",{"m":"messageS7x1"}]"#,
        r#"u1 < 42["update",{"m":"other"}]"#,
        r#"u2 < 42["update",{"m":"other"}]"#,
        "suite . broken",
    ];
    let (focus, missing) = find_in(&lines, Clue::default(), "both messages at u1", "nothing");
    assert_eq!(focus, [(0, Part::Cause)]);
    assert_eq!(missing, ["u1"]);
    // What is answered by an event is missed by who asked for it.
    let (_, missing) = find_in(
        &lines[..1],
        Clue::default(),
        "a-registered",
        "no such event",
    );
    assert_eq!(missing, ["s1"]);
    // What says less than it should came last after what was done.
    let (focus, missing) = find_in(&lines, Clue::default(), "active false", "true");
    assert_eq!(focus, [(0, Part::Cause), (2, Part::Wrong)]);
    assert!(missing.is_empty());
}

#[test]
fn an_end_without_a_word_and_a_read_of_what_changed_are_found() {
    let lines = [
        r#"a > 40{"token":"bad"}"#,
        "a . ended: transport closed by the server",
        "suite . broken",
    ];
    let expected = [(0, Part::Cause), (1, Part::Wrong)];
    let actual = "the connection ended without a word (5 times)";
    check(&lines, Clue::default(), actual, &expected, &[]);
    let lines = [
        r#"u1 > 42["message",{"m":"foreignS7x1"}]"#,
        r#"long = {"messages":[]}"#,
        "suite . broken",
    ];
    let expected = [(0, Part::Cause), (1, Part::Wrong)];
    let actual = r#"GET /v1/long-enough: 0 rows became 1, now with {"c":"foreignS7x1" and"#;
    check(&lines, Clue::default(), actual, &expected, &[]);
}

#[test]
fn requests_that_are_only_noted_are_found() {
    let lines = [
        "suite . GET ?EIO=4",
        "suite . HTTP 200",
        "suite . GET ?EIO=4&transport=telegraph",
        "suite . HTTP 500",
        "suite . broken",
    ];
    let expected = [(2, Part::Cause), (3, Part::Wrong)];
    check(&lines, Clue::default(), "HTTP 500", &expected, &[]);
}

#[test]
fn requests_and_ends_are_found() {
    let lines = [
        r#"http = {"sessions":[]}"#,
        "u1 . ended: the server hung up",
        "suite . broken",
    ];
    check(
        &lines,
        Clue::default(),
        r#"200 {"sessions":[]}"#,
        &[(0, Part::Wrong)],
        &[],
    );
    let expected = [(0, Part::Cause), (1, Part::Wrong)];
    let actual = "the connection u1 ended: the server hung up";
    check(&lines, Clue::default(), actual, &expected, &[]);
}

#[test]
fn what_was_read_is_told_by_its_values() {
    let lines = [
        r#"u1 > 421["update-state",{"v":"foreignS7x1"}]"#,
        r#"http = {"sessions":[{"metadata":"foreignS7x1","other":"a value that is long"}]}"#,
        "suite . broken",
    ];
    let expected = [(0, Part::Cause), (1, Part::Wrong)];
    let actual = r#"metadata: "ownS7x0" became "foreignS7x1""#;
    check(&lines, Clue::default(), actual, &expected, &[]);
    // Of a long answer the middle is left out.
    let actual = r#"{"sessions":[{"metadata":"foreignS7x1","other" …(2000 characters)… }"#;
    check(&lines, Clue::default(), actual, &[(1, Part::Wrong)], &[]);
}

#[test]
fn markers_are_whole_words() {
    let found: Vec<_> = markers_in(r#"{"a":"aS7x1","b":"x S7y"}"#, "S7").collect();
    assert_eq!(found, ["aS7x1", "S7y"]);
}
