//! What bars, rows and panes say, and in which colours, where no picture of the whole is needed.

use ratatui::style::Color;

use super::*;

#[test]
fn rates_of_a_recording_are_those_of_its_own_time() {
    let mut stage = Stage::new((80, 24));
    let played = |position_us| {
        source(SourceState::Playback(Playback {
            position_us,
            length_us: 60_000_000,
            speed: 1.0,
            playing: true,
        }))
    };
    stage.send(played(0));
    // A seek brings half a minute within one frame.
    for number in 1..=120 {
        stage.send(input(entry(number, "activity")));
    }
    stage.send(played(30_000_000));
    stage.tick(100_000);
    assert!(
        stage.text().contains(" 4.0/s  120 seen"),
        "{}",
        stage.text()
    );
    stage.send(source(SourceState::Rewound));
    stage.send(input(entry(40, "activity")));
    stage.send(played(12_000_000));
    stage.tick(200_000);
    assert!(stage.text().contains(" 0.5/s  1 seen"), "{}", stage.text());
    stage.keys("R");
    assert_eq!(stage.effects, []);
    assert!(stage.text().contains("is recorded already"));
}

#[test]
fn labels_are_whole_where_they_are_not_of_the_account_above() {
    let mut stage = Stage::new((120, 40));
    for (number, conn) in ["a1/user", "1/session-1", "http/a1"]
        .into_iter()
        .enumerate()
    {
        let mut entry = entry(number as u64 + 1, "update-state");
        (entry.kind, entry.conn) = (Kind::Ack, conn.into());
        entry.scope = match conn.contains("session") {
            true => Scope::Session("s1".into()),
            false => Scope::None,
        };
        entry.recipients = Recipients::Unknown;
        stage.send(input(entry));
    }
    stage.tick(1_000_000);
    let shown = stage.text();
    for row in ["● user  1", "● 1/session-1  1", "● http/a1  1", "│←update-"] {
        assert!(shown.contains(row), "{row} in {shown}");
    }
}

#[test]
fn what_happened_to_a_connection_names_it_in_any_width() {
    let closed = Entry {
        kind: Kind::Connection,
        conn: "a1/session:s1".into(),
        raw: "transport closed".into(),
        recipients: Recipients::Unknown,
        ..entry(1, "lost")
    };
    for (size, expected) in [
        (
            (80, 24),
            "conn lost              a1/session:s1: transport closed",
        ),
        ((120, 40), "a1/session:… conn lost"),
    ] {
        let mut stage = Stage::new(size);
        stage.model.side = Some(false);
        stage.send(input(closed.clone()));
        stage.tick(1_000_000);
        assert!(stage.text().contains(expected), "{}", stage.text());
    }
}

#[test]
fn why_a_recording_failed_is_in_the_header_where_there_is_room() {
    for (size, expected) in [
        ((80, 24), "recording failed \""),
        ((120, 40), "failed: disk full"),
    ] {
        let mut stage = Stage::busy(size);
        stage.send(Input::Recording(Recording::Failed {
            path: "watch.jsonl".to_owned(),
            reason: "disk full".to_owned(),
        }));
        stage.tick(60_000_000);
        let shown = stage.text();
        let header = shown.lines().next().unwrap_or_default();
        assert!(header.contains(expected), "{header}");
    }
}

#[test]
fn no_theme_writes_in_the_colour_of_its_background() {
    let light = [
        Color::Gray,
        Color::White,
        Color::Yellow,
        Color::LightYellow,
        Color::LightCyan,
        Color::LightGreen,
        Color::LightMagenta,
    ];
    for (theme, unseen) in [(Theme::Light, &light[..]), (Theme::Dark, &[Color::Black])] {
        for keys in ["", "gjjjjj\n", "g!\n", "/cmb1\n", "?", "fsize >"] {
            let mut stage = Stage::busy((120, 40));
            stage.model.theme = theme;
            stage.keys(keys);
            let buffer = stage.buffer();
            let mut on_paper = buffer.content.iter().filter(|cell| cell.bg == Color::Reset);
            let bad = on_paper.find(|cell| unseen.contains(&cell.fg));
            assert_eq!(bad, None, "{theme:?} after {keys:?}");
        }
    }
}
