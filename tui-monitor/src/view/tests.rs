//! Every screen and dialog at 80x24 and 120x40, and some at other sizes, with a fixed clock.

use std::sync::Arc;

use ratatui::crossterm::event::{MouseButton, MouseEventKind};

use crate::Theme;
use crate::event::{
    Amendment, Control, Direction, Effect, Entity, Entry, Input, Kind, Playback, Recipients,
    Recording, Routed, Scope, SourceState,
};
use crate::filter::Filter;
use crate::model::testing::entry;

mod find;
mod held;
mod hostile;
mod narrow;
mod stage;
mod svg;
mod words;

use self::stage::{Stage, input, lint, message, receipt, source, story};

const SIZES: [(u16, u16); 2] = [(80, 24), (120, 40)];

/// Shows a screen at both sizes.
#[track_caller]
fn check(name: &str, act: impl Fn(&mut Stage)) {
    for size in SIZES {
        let mut stage = Stage::busy(size);
        act(&mut stage);
        insta::assert_snapshot!(format!("{name}-{}x{}", size.0, size.1), stage.text());
    }
}

#[test]
fn the_list() {
    check("list", |_| {});
}

#[test]
fn a_very_small_screen_cuts_no_figure() {
    let mut stage = Stage::busy((60, 15));
    stage.model.target = "demonstration at http://127.0.0.1:43393".to_owned();
    stage.send(Input::Dropped(77));
    stage.send(Input::Recording(Recording::On {
        path: "watch.jsonl".to_owned(),
        records: 1_213,
    }));
    stage.tick(13_000_000);
    let text = stage.text();
    let header: Vec<_> = text.lines().take(2).collect();
    assert!(
        header[0].contains("demonstration at") && header[0].contains("rec 1.2k"),
        "{text}"
    );
    assert!(header[0].contains(" open"), "{text}");
    assert!(
        header[1].contains("77 dropped") && header[1].contains(" lints"),
        "{text}"
    );
    assert!(!header[1].contains('…'), "{text}");
}

#[test]
fn nothing_yet() {
    for size in SIZES {
        let stage = Stage::new(size);
        insta::assert_snapshot!(format!("empty-{}x{}", size.0, size.1), stage.text());
    }
}

#[test]
fn the_detail_of_a_message_with_its_copies() {
    check("detail", |stage| {
        stage.keys("gjjjjj\n");
        assert_eq!(stage.selected(), Some(6));
    });
}

#[test]
fn the_detail_of_what_looks_wrong() {
    check("detail-lints", |stage| {
        stage.keys("g!\n");
        assert_eq!(stage.selected(), Some(13));
    });
}

#[test]
fn the_detail_of_a_routing_decision() {
    check("detail-routed", |stage| {
        stage.keys("\nz");
        assert_eq!(stage.selected(), Some(14));
    });
}

#[test]
fn a_call_and_what_belongs_to_it() {
    check("detail-rpc", |stage| {
        stage.keys("ggjjjjjjj\n");
        assert_eq!(stage.selected(), Some(8));
        stage.keys("p");
        assert_eq!(stage.selected(), Some(9));
        stage.keys("ppp");
        assert_eq!(stage.selected(), Some(8));
    });
}

#[test]
fn the_side_pane() {
    check("side", |stage| {
        if stage.model.size.0 < 110 {
            stage.keys("v");
        } else {
            stage.keys("\t");
        }
        stage.keys("ll");
    });
}

#[test]
fn the_help() {
    check("help", |stage| _ = stage.keys("?"));
}

#[test]
fn the_bookmarks() {
    check("bookmarks", |stage| _ = stage.keys("mggmM"));
}

#[test]
fn a_filter_while_it_is_typed() {
    check("filter-typing", |stage| _ = stage.keys("ftype == \"new-m"));
}

#[test]
fn a_filter_that_is_not_valid() {
    check("filter-invalid", |stage| _ = stage.keys("fsize >"));
}

#[test]
fn a_filter_in_use() {
    check("filtered", |stage| {
        stage.keys("ftype == \"new-message\"\n");
        assert_eq!(stage.model.list.len(), 2);
        assert_eq!(stage.selected(), Some(6));
    });
}

#[test]
fn a_filter_that_hides_everything() {
    check("filtered-away", |stage| {
        _ = stage.keys("fnothing-like-it\n");
    });
}

#[test]
fn a_search() {
    check("search", |stage| {
        stage.keys("g/CMB1\n");
        assert_eq!(stage.selected(), Some(3));
        stage.keys("n");
        assert_eq!(stage.selected(), Some(6));
        stage.keys("N");
        assert_eq!(stage.selected(), Some(3));
        stage.keys("nn");
    });
}

#[test]
fn paused_while_more_arrives() {
    check("paused", |stage| {
        stage.keys(" ");
        for number in 15..=20 {
            stage.send(input(entry(number, "activity")));
        }
        stage.tick(5_000_000);
        assert_eq!(stage.selected(), Some(14));
    });
}

#[test]
fn new_events_below() {
    check("below", |stage| {
        stage.keys("kk");
        for number in 15..=142 {
            stage.send(input(entry(number, "activity")));
        }
        stage.tick(5_000_000);
        assert_eq!(stage.selected(), Some(12));
    });
}

#[test]
fn losses_are_in_the_header() {
    check("losses", |stage| {
        for number in 15..=1_200 {
            stage.send(input(entry(number, "activity")));
        }
        stage.send(Input::Dropped(77));
        stage.send(source(SourceState::Reconnecting {
            conn: "a1/user".into(),
            reason: "connection reset by peer".to_owned(),
            attempt: 3,
            in_ms: 1_700,
        }));
        stage.send(Input::Recording(Recording::On {
            path: "watch.jsonl".to_owned(),
            records: 1_213,
        }));
        stage.tick(13_000_000);
    });
}

#[test]
fn an_opened_recording() {
    check("playback", |stage| {
        stage.send(source(SourceState::Playback(Playback {
            position_us: 12_000_000,
            length_us: 63_000_000,
            speed: 2.0,
            playing: false,
        })));
        stage.keys("P+<");
        let controls = [
            Effect::Control(Control::Play(true)),
            Effect::Control(Control::Speed(4.0)),
            Effect::Control(Control::Seek(8_850_000)),
        ];
        assert_eq!(stage.effects, controls);
        stage.send(source(SourceState::Ended {
            reason: String::new(),
        }));
    });
}

#[test]
fn without_colours_and_with_ascii_alone() {
    for size in SIZES {
        let mut stage = Stage::busy(size);
        stage.model.theme = Theme::Mono;
        stage.model.ascii = true;
        stage.keys("gjjmjjj\n");
        let buffer = stage.buffer();
        assert!(buffer.content.iter().all(|cell| cell.symbol().is_ascii()));
        let coloured = |cell: &ratatui::buffer::Cell| {
            cell.fg != ratatui::style::Color::Reset || cell.bg != ratatui::style::Color::Reset
        };
        assert!(!buffer.content.iter().any(coloured));
        insta::assert_snapshot!(format!("ascii-{}x{}", size.0, size.1), stage.text());
    }
}

#[test]
fn a_large_screen_uses_its_room() {
    let mut stage = Stage::busy((200, 60));
    stage.keys("gjjjjj\n");
    insta::assert_snapshot!("large-200x60", stage.text());
}

#[test]
fn every_size_can_be_drawn() {
    for columns in [0, 1, 2, 39, 40, 41, 79, 109, 110, 113, 149, 150, 151, 300] {
        for rows in [0, 1, 9, 10, 11, 14, 24, 100] {
            for keys in ["", "\n", "v", "?", "M", "f", "\nz"] {
                let mut stage = Stage::busy((80, 24));
                stage.keys(keys);
                stage.send(Input::Resize(columns, rows));
                stage.mouse(MouseEventKind::ScrollDown, columns / 2, rows / 2);
                if columns > 0 && rows > 0 {
                    stage.buffer();
                }
            }
        }
    }
}

#[test]
fn the_mouse_selects_scrolls_and_opens() {
    let mut stage = Stage::busy((80, 24));
    stage.mouse(MouseEventKind::Down(MouseButton::Left), 10, 6);
    assert_eq!(stage.selected(), Some(3));
    assert!(stage.model.detail.is_none());
    stage.mouse(MouseEventKind::Down(MouseButton::Left), 10, 6);
    assert!(stage.text().contains("#3  lines 1-"), "{}", stage.text());
    stage.keys("\u{1b}");
    stage.mouse(MouseEventKind::ScrollDown, 10, 6);
    assert_eq!(stage.selected(), Some(6));
    stage.mouse(MouseEventKind::Down(MouseButton::Left), 10, 2);
    assert!(stage.model.prompt.is_some());
    stage.keys("\u{1b}?");
    stage.mouse(MouseEventKind::Down(MouseButton::Left), 10, 10);
    assert!(stage.model.dialog.is_none());
}

#[test]
fn copying_and_saving_are_effects() {
    let mut stage = Stage::busy((80, 24));
    stage.keys("gjjysftype == \"new-message\"\nS");
    let numbers: Vec<Vec<u64>> = stage
        .effects
        .iter()
        .map(|effect| match effect {
            Effect::Copy(entry) => vec![entry.number],
            Effect::Save { entries, .. } => entries.iter().map(|entry| entry.number).collect(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(numbers, [vec![3], vec![3], vec![3, 6]]);
    stage.effects.clear();
    stage.keys("Rq");
    assert_eq!(
        stage.effects,
        [Effect::Control(Control::Record(true)), Effect::Quit]
    );
}

#[test]
fn a_bookmark_outlives_the_ring() {
    let mut stage = Stage::busy((80, 24));
    stage.keys("gm");
    for number in 15..=1_500 {
        stage.send(input(entry(number, "activity")));
    }
    stage.tick(5_000_000);
    assert!(stage.model.ring.get(1).is_none());
    stage.keys("Ms");
    assert!(matches!(&stage.effects[..], [Effect::Save { entries, .. }] if entries[0].number == 1));
    stage.keys("\n");
    assert!(stage.text().contains("#1 has left the ring"));
}

#[test]
fn a_rewound_recording_is_seen_anew() {
    let mut stage = Stage::busy((80, 24));
    stage.keys("\n");
    stage.send(source(SourceState::Rewound));
    assert_eq!((stage.model.kept(), stage.selected()), ((0, 0), None));
    stage.send(input(entry(1, "activity")));
    stage.tick(5_000_000);
    assert_eq!(stage.selected(), Some(1));
}

#[test]
fn jumping_to_what_the_filter_hides_clears_it() {
    let mut stage = Stage::busy((80, 24));
    stage.keys("gmftype == \"new-message\"\n'");
    assert_eq!((stage.selected(), stage.model.list.len()), (Some(1), 14));
}

#[test]
fn tokens_in_payloads_are_not_drawn() {
    let mut stage = Stage::new((120, 40));
    let mut auth = entry(1, "POST /v1/auth");
    auth.kind = Kind::Http;
    auth.raw = r#"{"response":{"success":true,"token":"ey-secret-token"}}"#.into();
    stage.send(input(auth));
    stage.tick(1_000_000);
    stage.keys("\n");
    let text = stage.text();
    assert!(text.contains("\"token\": \"…\""), "{text}");
}

/// The pictures of docs/watch.md, which `cargo insta review` updates with the snapshots.
#[test]
fn the_pictures_of_the_documentation_are_current() {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("../../../docs/watch");
    settings.set_prepend_module_to_snapshot(false);
    let picture = |name: &str, stage: &Stage| {
        let svg = svg::picture(&stage.buffer()).into_bytes();
        settings.bind(|| insta::assert_binary_snapshot!(&format!("{name}.svg"), svg));
    };
    let mut stage = Stage::busy((120, 34));
    picture("list", &stage);
    stage.keys("gjjjjj\n");
    picture("detail", &stage);
    stage.keys("\u{1b}ftype == \"new-m");
    picture("filter", &stage);
    let mut stage = Stage::busy((120, 34));
    stage.keys("?");
    picture("help", &stage);
    let mut stage = Stage::busy((120, 34));
    stage.keys("g/cmb1sess\n\n");
    picture("hits", &stage);
    let mut stage = Stage::busy((120, 34));
    decide(&mut stage);
    picture("decision", &stage);
}

/// A message of a session, its way to two users, and what the router decided about it.
fn decide(stage: &mut Stage) {
    let session = Scope::Session("cmb1session".into());
    let call = Entry {
        kind: Kind::Call,
        direction: Direction::Sent,
        conn: "a1/session:cmb1session".into(),
        scope: session,
        raw: r#"{"sid":"cmb1session","message":"bWVzc2FnZQ=="}"#.into(),
        seq: None,
        id: None,
        recipients: Recipients::Unknown,
        link: Some(15),
        ..entry(15, "message")
    };
    let update = Entry {
        link: Some(15),
        latency_us: Some(430),
        ..message(16)
    };
    let first = update.t_us;
    stage.send(input(call));
    stage.send(input(update));
    let amendment = Amendment {
        number: 16,
        receipt: Some(receipt("a1/user-2", Scope::User, first + 90)),
        routed: Some(Box::new(Routed {
            filter: r#"{"type":"all-interested-in-session","sessionId":"cmb1session"}"#.into(),
            recipients: vec!["a1/user".into(), "a1/user-2".into()],
            skipped: Some("a1/session:cmb1session".into()),
            receipts: Vec::new(),
        })),
        cause: None,
        lints: Vec::new(),
    };
    stage.send(Input::Amend(amendment));
    stage.tick(first + 200);
    stage.keys("\n");
}

#[test]
fn a_decision_and_the_deliveries() {
    check("decision", |stage| {
        decide(stage);
        stage.keys("z");
    });
}

/// What `docs/watch.md` lists between two backticks at the beginning of each row of a table.
fn documented(heading: &str) -> Vec<&'static str> {
    let page = include_str!("../../../docs/watch.md");
    let (_, section) = page.split_once(heading).expect("the heading");
    let section = section.split("\n## ").next().unwrap_or_default();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.filter_map(|row| Some(row.split_once("` |")?.0))
        .collect()
}

#[test]
fn the_documented_filters_choose_among_the_events() {
    let entries: Vec<Entry> = story()
        .into_iter()
        .filter_map(|input| match input {
            Input::Entry(entry) => Some(*entry),
            _ => None,
        })
        .collect();
    let filters = documented("## Filters");
    assert!(filters.len() >= 10, "{filters:?}");
    for text in filters {
        let filter = Filter::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        let chosen = entries.iter().filter(|entry| filter.matches(entry)).count();
        // Copies are amended after the entry, so what several got is the tap's decision alone.
        assert!((1..entries.len()).contains(&chosen), "{text}: {chosen}");
    }
}

#[test]
fn the_documentation_names_every_field() {
    let page = include_str!("../../../docs/watch.md");
    for field in crate::filter::FIELDS {
        assert!(
            page.contains(&format!("`{}`", field.name)),
            "{}",
            field.name
        );
    }
}
