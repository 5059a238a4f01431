//! Every screen and dialog at 80x24 and 120x40, and some at other sizes, with a fixed clock.

use std::sync::Arc;

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use ratatui::crossterm::event::{
    KeyCode, KeyEvent, KeyModifiers, MouseButton, MouseEvent, MouseEventKind,
};

use crate::event::{
    Amendment, Control, Direction, Effect, Entity, Entry, Input, Kind, Lint, LintKind, Now,
    Playback, Receipt, Recipients, Recording, Routed, Scope, SourceState,
};
use crate::filter::Filter;
use crate::keys::Keymap;
use crate::model::testing::{START_MS, entry, rpc};
use crate::{Bounds, Model, Setup, Theme, Times, draw};

mod find;
mod hostile;
mod svg;

/// A screen that things happen to.
struct Stage {
    model: Model,
    effects: Vec<Effect>,
}

impl Stage {
    fn new(size: (u16, u16)) -> Self {
        let model = Model::new(Setup {
            target: "http://127.0.0.1:3005".to_owned(),
            theme: Theme::Dark,
            ascii: false,
            times: Times::Utc,
            offset: |_| 2 * 3_600,
            keys: Keymap::default(),
            bounds: Bounds {
                events: 1_000,
                bytes: 10_000_000,
            },
            filter: Filter::parse("").unwrap(),
            size,
            now: Now {
                unix_ms: START_MS,
                t_us: 0,
            },
        });
        let effects = Vec::new();
        Self { model, effects }
    }

    /// A screen on which a little of everything has happened.
    fn busy(size: (u16, u16)) -> Self {
        let mut stage = Self::new(size);
        for input in story() {
            stage.send(input);
        }
        stage
    }

    fn send(&mut self, input: Input) {
        self.effects.extend(self.model.update(input));
    }

    fn tick(&mut self, t_us: u64) {
        self.send(Input::Tick(Now {
            unix_ms: START_MS + t_us / 1000,
            t_us,
        }));
    }

    fn press(&mut self, code: KeyCode) {
        self.send(Input::Key(KeyEvent::new(code, KeyModifiers::NONE)));
    }

    /// Types characters, each of which is a key.
    fn keys(&mut self, keys: &str) -> &mut Self {
        for character in keys.chars() {
            self.press(match character {
                '\n' => KeyCode::Enter,
                '\t' => KeyCode::Tab,
                '\u{1b}' => KeyCode::Esc,
                other => KeyCode::Char(other),
            });
        }
        self
    }

    fn mouse(&mut self, kind: MouseEventKind, column: u16, row: u16) {
        let modifiers = KeyModifiers::NONE;
        self.send(Input::Mouse(MouseEvent {
            kind,
            column,
            row,
            modifiers,
        }));
    }

    fn buffer(&self) -> Buffer {
        let (columns, rows) = self.model.size;
        let mut terminal = Terminal::new(TestBackend::new(columns, rows)).unwrap();
        terminal.draw(|frame| draw(&self.model, frame)).unwrap();
        terminal.backend().buffer().clone()
    }

    fn text(&self) -> String {
        let (columns, rows) = self.model.size;
        let mut terminal = Terminal::new(TestBackend::new(columns, rows)).unwrap();
        terminal.draw(|frame| draw(&self.model, frame)).unwrap();
        terminal.backend().to_string()
    }

    fn selected(&self) -> Option<u64> {
        self.model.list.selected()
    }
}

fn lint(kind: LintKind, text: &str) -> Lint {
    let text = text.to_owned();
    Lint { kind, text }
}

fn receipt(conn: &str, scope: Scope, t_us: u64) -> Receipt {
    let conn = conn.into();
    Receipt { conn, scope, t_us }
}

fn source(state: SourceState) -> Input {
    Input::Source(state)
}

fn input(entry: Entry) -> Input {
    Input::Entry(Box::new(entry))
}

fn message(number: u64) -> Entry {
    let raw = format!(
        r#"{{"id":"upd{number}","seq":{number},"body":{{"t":"new-message","sid":"cmb1session","message":{{"id":"m{number}","seq":{number},"content":{{"t":"encrypted","c":"bWVzc2FnZQ=="}},"localId":null,"createdAt":{START_MS},"updatedAt":{START_MS}}}}},"createdAt":{START_MS}}}"#
    );
    Entry {
        size: u32::try_from(raw.len()).unwrap(),
        raw: raw.into(),
        entity: Some(Entity::Session("cmb1session".into())),
        ..entry(number, "new-message")
    }
}

/// Two connections, a dozen events, a call, a gap, two lints.
fn story() -> Vec<Input> {
    let user: Arc<str> = "a1/user".into();
    let session: Arc<str> = "a1/session:cmb1session".into();
    let scope = Scope::Session("cmb1session".into());
    let mut inputs = vec![
        source(SourceState::Connecting {
            conn: Arc::clone(&user),
            scope: Scope::User,
        }),
        source(SourceState::Connected {
            conn: user,
            scope: Scope::User,
        }),
        source(SourceState::Connected {
            conn: Arc::clone(&session),
            scope: scope.clone(),
        }),
    ];
    let tick = |t_us: u64| {
        Input::Tick(Now {
            unix_ms: START_MS + t_us / 1000,
            t_us,
        })
    };
    for number in 1..=6 {
        inputs.push(tick(number * 250_000 + 1_800));
        let mut entry = if number % 3 == 0 {
            message(number)
        } else {
            entry(number, "activity")
        };
        entry.latency_us = Some(700 + number * 100);
        inputs.push(input(entry));
        if number % 3 == 0 {
            inputs.push(Input::Amend(Amendment {
                routed: None,
                number,
                receipt: Some(receipt(&session, scope.clone(), number * 250_000 + 1_250)),
                lints: Vec::new(),
            }));
        }
    }
    let gap: Arc<str> = "a1/user was away for 2.4 s: connection reset".into();
    inputs.push(input(Entry {
        kind: Kind::Gap,
        direction: Direction::Inside,
        raw: gap,
        entity: None,
        seq: None,
        recipients: Recipients::Unknown,
        ..entry(7, "lost")
    }));
    let params = r#"[{"method":"a:bash","params":"ZWNobw=="}]"#;
    inputs.push(input(rpc(8, 1, "rpc-call", Direction::Sent, params, None)));
    inputs.push(input(rpc(
        9,
        1,
        "rpc-request",
        Direction::Received,
        params,
        None,
    )));
    inputs.push(input(rpc(
        10,
        1,
        "rpc-request",
        Direction::Sent,
        r#"["b2s="]"#,
        Some(1_900),
    )));
    let answer = r#"[{"ok":true,"result":"b2s="}]"#;
    inputs.push(input(rpc(
        11,
        1,
        "rpc-call",
        Direction::Received,
        answer,
        Some(2_600),
    )));
    let answer = r#"[{"ok":false,"error":"RPC method not available"}]"#;
    inputs.push(input(rpc(
        12,
        2,
        "rpc-call",
        Direction::Received,
        answer,
        Some(400),
    )));
    let mut wrong = entry(13, "delete-session");
    wrong.raw =
        r#"{"id":"u13","seq":4,"body":{"t":"delete-session","sessionId":"s1"},"createdAt":1}"#
            .into();
    wrong.seq = Some(4);
    wrong.lints = vec![
        lint(
            LintKind::Schema,
            "/body/sid: missing key `sid` (keys present: `t`, `sessionId`)",
        ),
        lint(LintKind::SeqBack, "seq 4 after 6"),
    ];
    inputs.push(input(wrong));
    let mut routed = entry(14, "update-machine");
    routed.raw = r#"{"id":"u14","seq":14,"body":{"t":"update-machine","machineId":"m-42","daemonState":{"value":"c3RhdGU=","version":3}},"createdAt":1800000000000}"#.into();
    routed.entity = Some(Entity::Machine("m-42".into()));
    routed.recipients = Recipients::Routed(Box::new(Routed {
        filter: r#"{"type":"machine-scoped-only","machineId":"m-42"}"#.into(),
        recipients: vec!["AAAAAAAAAAE".into(), "AAAAAAAAAAI".into()],
        skipped: Some("AAAAAAAAAAM".into()),
        receipts: Vec::new(),
    }));
    inputs.push(tick(3_500_900));
    inputs.push(input(routed));
    inputs.push(tick(3_502_400));
    inputs
}

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
