//! A screen to play on, and the story that most screens show.

use std::sync::Arc;

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers, MouseEvent, MouseEventKind};

use touchstone_fixtures::Level;

use crate::event::{
    Amendment, Direction, Effect, Entity, Entry, Input, Kind, Lint, Now, Receipt, Recipients,
    Routed, Scope, SourceState,
};
use crate::filter::Filter;
use crate::keys::Keymap;
use crate::model::testing::{START_MS, entry, rpc};
use crate::{Bounds, Model, Setup, Theme, Times, draw};

/// A screen that things happen to.
pub(super) struct Stage {
    pub(super) model: Model,
    pub(super) effects: Vec<Effect>,
}

impl Stage {
    pub(super) fn new(size: (u16, u16)) -> Self {
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
    pub(super) fn busy(size: (u16, u16)) -> Self {
        let mut stage = Self::new(size);
        for input in story() {
            stage.send(input);
        }
        stage
    }

    pub(super) fn send(&mut self, input: Input) {
        self.effects.extend(self.model.update(input));
    }

    pub(super) fn tick(&mut self, t_us: u64) {
        self.send(Input::Tick(Now {
            unix_ms: START_MS + t_us / 1000,
            t_us,
        }));
    }

    pub(super) fn press(&mut self, code: KeyCode) {
        self.send(Input::Key(KeyEvent::new(code, KeyModifiers::NONE)));
    }

    /// Types characters, each of which is a key.
    pub(super) fn keys(&mut self, keys: &str) -> &mut Self {
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

    pub(super) fn mouse(&mut self, kind: MouseEventKind, column: u16, row: u16) {
        let modifiers = KeyModifiers::NONE;
        self.send(Input::Mouse(MouseEvent {
            kind,
            column,
            row,
            modifiers,
        }));
    }

    pub(super) fn buffer(&self) -> Buffer {
        let (columns, rows) = self.model.size;
        let mut terminal = Terminal::new(TestBackend::new(columns, rows)).unwrap();
        terminal.draw(|frame| draw(&self.model, frame)).unwrap();
        terminal.backend().buffer().clone()
    }

    pub(super) fn text(&self) -> String {
        let (columns, rows) = self.model.size;
        let mut terminal = Terminal::new(TestBackend::new(columns, rows)).unwrap();
        terminal.draw(|frame| draw(&self.model, frame)).unwrap();
        terminal.backend().to_string()
    }

    pub(super) fn selected(&self) -> Option<u64> {
        self.model.list.selected()
    }
}

pub(super) fn lint(level: Level, rule: &'static str, text: &str) -> Lint {
    Lint {
        rule,
        level: Some(level),
        text: text.to_owned(),
    }
}

pub(super) fn receipt(conn: &str, scope: Scope, t_us: u64) -> Receipt {
    let conn = conn.into();
    Receipt { conn, scope, t_us }
}

pub(super) fn source(state: SourceState) -> Input {
    Input::Source(state)
}

pub(super) fn input(entry: Entry) -> Input {
    Input::Entry(Box::new(entry))
}

pub(super) fn message(number: u64) -> Entry {
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
pub(super) fn story() -> Vec<Input> {
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
                cause: None,
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
            Level::Should,
            "delete-session.keys",
            "/body/sid: missing key `sid` (keys present: `t`, `sessionId`)",
        ),
        lint(
            Level::Must,
            "delivery.no-duplicate",
            "delete-session arrived twice on a1/user.",
        ),
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
