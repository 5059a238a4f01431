//! What a hostile or broken server sends, on the screen: no panic, no command to the terminal, and no
//! frame that takes as long as the payload is large.

use touchstone_fixtures::Level;

use super::*;

/// Texts that no server should send: commands of terminals, writing from right to left, wide and
/// combining characters, very long ones.
fn nasty() -> Vec<String> {
    vec![
        "\u{1b}[2J\u{1b}]52;c;ZXZpbA==\u{7}\u{9b}31m".to_owned(),
        "\u{202e}txt.exe\u{2066}\u{200b}\u{feff}".to_owned(),
        "\r\n\t\u{0}\u{8}\u{7f}".to_owned(),
        "日本語テキスト".repeat(50),
        "e\u{301}\u{301}\u{301}".repeat(200),
        "👩‍👩‍👧‍👦🏳️‍🌈".repeat(40),
        "x".repeat(20_000),
        format!("[{}1{}]", "[".repeat(5_000), "]".repeat(5_000)),
        String::new(),
    ]
}

/// An entry that has the text wherever a text can be.
fn everywhere(number: u64, text: &str, kind: Kind) -> Entry {
    let shared: Arc<str> = text.into();
    let json =
        serde_json::json!({"id": text, "seq": 1, "body": {"t": text, text: [text, {text: text}]}});
    Entry {
        kind,
        account: Arc::clone(&shared),
        conn: Arc::clone(&shared),
        event: Arc::clone(&shared),
        id: Some(Arc::clone(&shared)),
        entity: Some(Entity::Method(Arc::clone(&shared))),
        scope: Scope::Session(Arc::clone(&shared)),
        raw: match number % 2 {
            0 => json.to_string().into(),
            _ => Arc::clone(&shared),
        },
        recipients: Recipients::Routed(Box::new(Routed {
            filter: Arc::clone(&shared),
            recipients: vec![Arc::clone(&shared)],
            skipped: Some(shared),
            receipts: vec![receipt(text, Scope::User, 1)],
        })),
        lints: vec![lint(Level::Must, "update.envelope", text)],
        ..entry(number, "activity")
    }
}

/// Checks that nothing on the screen could be a command, with each of the panes open.
#[track_caller]
fn check(stage: &mut Stage) {
    for keys in [
        "",
        "\n",
        "z",
        "z\u{1b}v",
        "v",
        "mM",
        "\u{1b}?",
        "\u{1b}/1\n",
        "\n",
    ] {
        stage.keys(keys);
        let buffer = stage.buffer();
        let harmful = |symbol: &str| {
            symbol.chars().any(|c| {
                c.is_control() || ('\u{202a}'..='\u{202e}').contains(&c) || c == '\u{2066}'
            })
        };
        let cell = buffer.content.iter().find(|cell| harmful(cell.symbol()));
        assert!(cell.is_none(), "{keys:?}: {cell:?}");
    }
}

#[test]
fn hostile_texts_reach_no_terminal() {
    for size in [(80, 24), (200, 60)] {
        for text in nasty() {
            let mut stage = Stage::new(size);
            for (number, kind) in (1..).zip(Kind::ALL) {
                stage.send(input(everywhere(number, &text, kind)));
            }
            stage.send(source(SourceState::Connected {
                conn: text.as_str().into(),
                scope: Scope::Machine(text.as_str().into()),
            }));
            stage.send(source(SourceState::Closed {
                conn: text.as_str().into(),
                reason: text.clone(),
            }));
            stage.send(Input::Done(Err(text.clone())));
            stage.tick(5_000_000);
            check(&mut stage);
            stage.send(source(SourceState::Ended { reason: text }));
            check(&mut stage);
        }
    }
}

#[test]
fn a_message_of_a_megabyte_can_be_looked_at() {
    let mut stage = Stage::new((80, 24));
    let mut large = message(1);
    let text = serde_json::json!({"c": "bWVzc2FnZQ==".repeat(100_000)}).to_string();
    large.raw = text.into();
    stage.send(input(large));
    stage.tick(1_000_000);
    stage.keys("\n\tG");
    let shown = stage.text();
    assert!(shown.contains("of 16"), "{shown}");
    assert!(shown.contains('}'), "{shown}");
}

#[test]
fn a_value_with_more_lines_than_are_made_is_cut() {
    let mut stage = Stage::new((80, 24));
    let mut large = message(1);
    let many: Vec<u32> = (0..100_000).collect();
    large.raw = serde_json::json!(many).to_string().into();
    stage.send(input(large));
    stage.tick(1_000_000);
    stage.keys("\n\tG");
    assert!(stage.text().contains("of 20000"), "{}", stage.text());
}
