//! What a proxy holds: how it looks, and what is decided.

use std::fs;
use std::path::Path;

use ratatui::crossterm::event::KeyCode;

use super::stage::Stage;
use crate::event::{Direction, Effect, Entity, Held, Input, Kind, Order, Rule, Verdict};
use crate::model::testing::{START_MS, entry};

const SIZES: [(u16, u16); 2] = [(80, 24), (200, 60)];

const STATE: &str =
    r#"["update-state",{"sid":"cmb1session","agentState":"c3RhdGU=","expectedVersion":4}]"#;

/// A call of a client that is held, and an answer of the server that cannot be edited.
fn held(number: u64) -> Input {
    let mut entry = entry(number, "update-state");
    entry.kind = Kind::Call;
    entry.direction = Direction::Sent;
    entry.at_ms = START_MS + 3_600;
    entry.entity = Some(Entity::Session("cmb1session".into()));
    entry.seq = None;
    entry.id = None;
    entry.ack = Some(12);
    entry.raw = r#"{"sid":"cmb1session","agentState":"c3RhdGU=","expectedVersion":4}"#.into();
    entry.size = 66;
    let text = (number != 2).then(|| STATE.to_owned());
    if text.is_none() {
        entry.direction = Direction::Received;
    }
    Input::Held(Box::new(Held {
        entry: entry.into(),
        text,
    }))
}

/// A screen of a proxy that holds three messages.
fn stage(size: (u16, u16)) -> Stage {
    let mut stage = Stage::busy(size);
    for number in 1..=3 {
        stage.send(held(number));
    }
    stage.tick(5_100_000);
    stage
}

#[track_caller]
fn check(name: &str, act: impl Fn(&mut Stage)) {
    for size in SIZES {
        let mut stage = stage(size);
        act(&mut stage);
        insta::assert_snapshot!(format!("{name}-{}x{}", size.0, size.1), stage.text());
    }
}

#[test]
fn that_something_is_held_shows_in_the_header() {
    check("held-header", |_| {});
}

#[test]
fn what_is_held() {
    check("held", |stage| _ = stage.keys("e"));
}

#[test]
fn what_is_held_and_cannot_be_edited() {
    check("held-fixed", |stage| _ = stage.keys("ejE").keys("e"));
}

#[test]
fn a_message_while_it_is_edited() {
    check("held-edit", |stage| _ = stage.keys("ee"));
    check("held-edit-invalid", |stage| _ = stage.keys("ee,"));
}

#[test]
fn what_the_clients_have_done() {
    check("clients", |stage| {
        stage.send(Input::Card(vec![
            "3 of 4 remote calls answered".to_owned(),
            "reconnects came 0.512 s to 2.004 s after the end".to_owned(),
        ]));
        stage.keys("c");
    });
}

#[test]
fn decisions() {
    #[track_caller]
    fn check(keys: &str, expected: &[(u64, Verdict)]) {
        let mut stage = stage((120, 40));
        stage.keys(keys);
        let decided: Vec<_> = stage
            .effects
            .iter()
            .map(|effect| match effect {
                Effect::Order(Order::Decide(number, verdict)) => (*number, verdict.clone()),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(decided, expected, "{keys}");
    }
    // Elsewhere, a key that is pressed by mistake decides nothing.
    check("rd", &[]);
    check("er", &[(1, Verdict::Release)]);
    check("ejjd", &[(3, Verdict::Discard)]);
    let changed = STATE.replace(":4}", ":5}");
    let keys = |keys: &str| format!("{keys}\u{1b}");
    check(&keys("ee"), &[]);
    let mut edited = stage((120, 40));
    edited.keys("ee");
    for code in [KeyCode::Left, KeyCode::Left, KeyCode::Backspace] {
        edited.press(code);
    }
    // What is no array is not accepted.
    edited.keys("}\n");
    assert_eq!(edited.effects, []);
    edited.press(KeyCode::Backspace);
    edited.keys("5\n");
    let expected = Effect::Order(Order::Decide(1, Verdict::Replace(changed)));
    assert_eq!(edited.effects, [expected]);
}

#[test]
fn what_is_held_no_more_leaves_the_list_and_the_cursor_stays() {
    let mut stage = stage((120, 40));
    stage.keys("ej");
    stage.send(Input::Over(1));
    stage.keys("r");
    let released = Effect::Order(Order::Decide(2, Verdict::Release));
    assert_eq!(stage.effects, [released]);
    stage.send(Input::Over(2));
    stage.keys("e");
    assert!(stage.text().contains("edit> "), "{}", stage.text());
    stage.send(Input::Over(3));
    let text = stage.text();
    assert!(!text.contains("edit> "), "{text}");
    assert!(text.contains("what was edited is held no more"), "{text}");
    stage.keys("rde");
    assert_eq!(stage.effects.len(), 1);
}

fn rules() -> Input {
    let rule = |text: &str, matched, done| Rule {
        text: text.to_owned(),
        matched,
        done,
    };
    Input::Rules(vec![
        rule(
            "type == \"update-state\" && direction == \"sent\" --do hold",
            3,
            3,
        ),
        rule(
            "type == \"new-message\" && size > 1000 --do delay=2000ms --every 3",
            31,
            10,
        ),
    ])
}

#[test]
fn what_is_done_to_which_messages() {
    check("rules", |stage| {
        stage.send(rules());
        stage.keys("wj");
    });
    check("rules-new", |stage| {
        stage.send(rules());
        stage.keys("ww");
    });
    check("rules-refused", |stage| {
        stage.send(rules());
        stage.keys("w");
        stage.send(Input::NoRule {
            text: "type == \"message\" --do lose".to_owned(),
            why: "do \"lose\": no such action".to_owned(),
        });
    });
}

#[test]
fn rules_are_made_and_removed() {
    let orders = |stage: &Stage| -> Vec<Order> {
        let orders = stage.effects.iter().map(|effect| match effect {
            Effect::Order(order) => order.clone(),
            other => panic!("{other:?}"),
        });
        orders.collect()
    };
    // Without a proxy there is nothing that could do it.
    let mut watching = stage((120, 40));
    watching.keys("ww");
    assert!(
        watching
            .text()
            .contains("only a proxy does something to messages")
    );

    let mut stage = stage((120, 40));
    stage.send(Input::Rules(Vec::new()));
    stage.keys("wd");
    assert_eq!(orders(&stage), []);
    // A half expression is no rule, and nor is one without an action.
    stage.keys("w").press(KeyCode::Home);
    for _ in 0..80 {
        stage.press(KeyCode::Delete);
    }
    stage.keys("size >\n");
    stage.keys(" 1000\n");
    assert_eq!(orders(&stage), []);
    stage.keys(" --do drop\n");
    let added = Order::AddRule("size > 1000 --do drop".to_owned());
    assert_eq!(orders(&stage), std::slice::from_ref(&added));
    stage.send(rules());
    assert!(
        stage
            .text()
            .contains("for connections that are opened from now on")
    );
    stage.keys("jd");
    assert_eq!(orders(&stage), [added, Order::RemoveRule(1)]);
}

/// The pictures of docs/proxy.md are screens.
#[test]
fn the_screens_of_the_documentation_are_current() {
    let mut listed = stage((100, 26));
    listed.keys("e");
    let mut edited = stage((100, 26));
    edited.keys("ee");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/proxy.md");
    let page = fs::read_to_string(&path).expect("the page");
    let mut current = page.clone();
    let mut ruled = stage((100, 12));
    ruled.send(rules());
    ruled.keys("ww");
    for (name, stage) in [("held", listed), ("edited", edited), ("rules", ruled)] {
        let mark = format!("<!-- screen: {name} -->\n```text\n");
        let (before, rest) = current.split_once(&mark).expect(&mark);
        let (_, after) = rest.split_once("```\n").expect("its end");
        let lines = stage.text();
        let lines = lines.lines().map(|line| line.trim_matches('"').trim_end());
        let shown: String = lines.map(|line| format!("{line}\n")).collect();
        current = format!("{before}{mark}{shown}```\n{after}");
    }
    #[expect(
        clippy::disallowed_methods,
        reason = "as the other documents that are written by tests"
    )]
    let update = std::env::var_os("UPDATE").is_some();
    if update {
        fs::write(&path, &current).expect("the page");
    }
    assert!(
        update || page == current,
        "docs/proxy.md shows other screens: run this with UPDATE=1"
    );
}
