//! A recording of a few clients, and what scenario it comes to.

use touchstone_client::Frame;

use super::*;

fn record(t_us: u64, conn: &str, way: Direction, text: &str) -> Record {
    let kind = match text.strip_prefix("mark ") {
        Some(mark) => Kind::Mark(mark.to_owned()),
        None => Kind::Packet(way, Traced::of(&Frame::text(text.to_owned()))),
    };
    Record {
        t_us,
        conn: conn.to_owned(),
        kind,
        recipients: None,
    }
}

/// One account with an app, a daemon that is called, and an agent that comes back once.
fn recording() -> Vec<Record> {
    use Direction::{Received, Sent};
    let mut records = vec![
        record(
            0,
            "c1",
            Sent,
            r#"40{"token":"a1…","clientType":"user-scoped"}"#,
        ),
        record(
            0,
            "c2",
            Sent,
            r#"40{"token":"a1…","clientType":"machine-scoped","machineId":"m"}"#,
        ),
        record(
            0,
            "c3",
            Sent,
            r#"40{"token":"a1…","clientType":"session-scoped","sessionId":"s"}"#,
        ),
        record(1, "c2", Sent, r#"42["rpc-register",{"method":"m:x"}]"#),
        record(2, "c2", Sent, r#"42["rpc-register",{"method":"m:y"}]"#),
        record(
            500,
            "c1",
            Sent,
            r#"420["rpc-call",{"method":"m:x","params":"cGFyYW1z"}]"#,
        ),
        record(
            1_000,
            "c2",
            Received,
            r#"420["rpc-request",{"method":"m:x","params":"cGFyYW1z"}]"#,
        ),
        record(21_000, "c2", Sent, r#"430["r"]"#),
        record(
            30_000,
            "c1",
            Sent,
            r#"421["artifact-delete",{"artifactId":"a"}]"#,
        ),
    ];
    for number in 0..10_u64 {
        let at = number * 2_000_000;
        let alive = format!(r#"42["machine-alive",{{"machineId":"m","time":{at}}}]"#);
        records.push(record(at + 40_000, "c2", Sent, &alive));
        let conn = if number < 5 { "c3" } else { "c4" };
        if number == 5 {
            records.push(record(at, "c3", Sent, "mark ended: closed by this client"));
            records.push(record(
                at,
                "c4",
                Sent,
                r#"40{"token":"a1…","clientType":"session-scoped","sessionId":"s"}"#,
            ));
        }
        let content = "x".repeat(10 * (number as usize + 1));
        let message = format!(r#"42["message",{{"sid":"s","message":"{content}"}}]"#);
        records.push(record(
            at + 50_000 + number * number * 10_000,
            conn,
            Sent,
            &message,
        ));
    }
    records.push(record(20_000_000, "c1", Sent, "3"));
    records
}

#[test]
fn rates_and_sizes_of_each_role() {
    let mut recorded = Recorded::default();
    for record in recording() {
        recorded.see(&record);
    }
    insta::assert_snapshot!(recorded.scenario("app.jsonl").unwrap());
}

#[test]
fn events_of_others_need_something_in_each_account() {
    let mut recorded = Recorded::default();
    for account in ["a1…", "a2…"] {
        let connect = format!(r#"40{{"token":"{account}","clientType":"user-scoped"}}"#);
        recorded.see(&record(0, account, Direction::Sent, &connect));
        let message = r#"42["message",{"sid":"s","message":"x"}]"#;
        recorded.see(&record(10, account, Direction::Sent, message));
        let call = r#"420["rpc-call",{"method":"m:x","params":"x"}]"#;
        recorded.see(&record(20, account, Direction::Sent, call));
    }
    let text = recorded.scenario("app.jsonl").unwrap();
    let scenario = Scenario::parse("x", &text).unwrap();
    assert_eq!(
        (scenario.population.accounts, scenario.population.sessions),
        (2, 2)
    );
    assert_eq!(scenario.user.registrations, 1);
}

#[test]
fn without_a_connection_there_is_no_scenario() {
    let error = Recorded::default().scenario("app.jsonl").unwrap_err();
    assert_eq!(
        error.to_string(),
        "scenario app.jsonl: it has no CONNECT of a client"
    );
}
