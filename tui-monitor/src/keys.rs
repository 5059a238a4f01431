//! What each key does: one table, from which the defaults, the help, the status line and the sample
//! file come.
//!
//! A key means one action, wherever the focus is; what the action does there is the model's matter.
//! Text fields take their keys for themselves. This module must not open files.

use std::collections::BTreeMap;
use std::fmt;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use serde::Deserialize;

use crate::filter::Filter;

/// The commented sample file, which holds the defaults.
pub const SAMPLE: &str = include_str!("../samples/keys.toml");

/// What a key can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Action {
    /// Leave.
    Quit,
    /// Show or close the help.
    Help,
    /// Close what is open, or clear what was typed.
    Back,
    /// One row up.
    Up,
    /// One row down.
    Down,
    /// To the left, or the section before.
    Left,
    /// To the right, or the section after.
    Right,
    /// One page up.
    PageUp,
    /// One page down.
    PageDown,
    /// To the beginning.
    Top,
    /// To the end, and stay there.
    Bottom,
    /// Open the detail of the selected event.
    Open,
    /// Move the focus to the next pane.
    NextPane,
    /// Show or hide the side pane.
    Side,
    /// Give the whole screen to the detail.
    Zoom,
    /// Tell times in another way.
    Times,
    /// Stop or go on showing what arrives.
    Pause,
    /// Edit the filter.
    Filter,
    /// Show everything.
    ClearFilter,
    /// Show only what is as the selection.
    Only,
    /// Hide what is as the selection.
    Hide,
    /// Search for a text.
    Search,
    /// To the next hit.
    SearchNext,
    /// To the hit before.
    SearchPrevious,
    /// To the next entry that belongs to this one.
    Pair,
    /// To the next entry with a lint.
    NextLint,
    /// Set or remove a bookmark.
    Bookmark,
    /// To the next bookmark.
    NextBookmark,
    /// List the bookmarks.
    Bookmarks,
    /// Copy the event as JSON.
    Copy,
    /// Save the event as JSON.
    Save,
    /// Save all listed events as JSON.
    SaveList,
    /// Begin or end the recording.
    Record,
    /// The next theme.
    Theme,
    /// Let the opened recording go on, or hold it.
    Play,
    /// Twice as fast.
    Faster,
    /// Half as fast.
    Slower,
    /// Seek forward.
    Forward,
    /// Seek backward.
    Backward,
    /// List what a proxy holds, or edit it.
    Held,
    /// Let it go on.
    Release,
    /// Let it not go on; of a rule, remove it.
    Discard,
    /// Show what the clients of a proxy have done.
    Clients,
    /// List the rules of a proxy, or make one.
    Rules,
}

/// Where the help lists an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// Moving around.
    Move,
    /// What is shown.
    Show,
    /// Finding things.
    Find,
    /// Keeping things.
    Keep,
    /// A recording that is played.
    Play,
    /// What a proxy holds and finds out.
    Proxy,
}

impl Group {
    /// Every group, in the order of the help.
    pub const ALL: [Self; 6] = [
        Self::Move,
        Self::Show,
        Self::Find,
        Self::Keep,
        Self::Play,
        Self::Proxy,
    ];

    /// Its title.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Move => "Moving around",
            Self::Show => "What is shown",
            Self::Find => "Finding",
            Self::Keep => "Keeping",
            Self::Play => "An opened recording",
            Self::Proxy => "A proxy",
        }
    }
}

/// One row of the table.
#[derive(Debug)]
pub struct Binding {
    /// What it does.
    pub action: Action,
    /// Its name in the file.
    pub name: &'static str,
    /// Its keys, unless the file says otherwise.
    pub keys: &'static [&'static str],
    /// What it does, for the help.
    pub about: &'static str,
    /// One or two words for the status line.
    pub short: &'static str,
    /// Where the help lists it.
    pub group: Group,
}

macro_rules! bindings {
    ($($action:ident $name:literal [$($key:literal),*] $group:ident $short:literal $about:literal;)*) => {
        /// The one table of keys.
        pub const BINDINGS: &[Binding] = &[$(Binding {
            action: Action::$action,
            name: $name,
            keys: &[$($key),*],
            about: $about,
            short: $short,
            group: Group::$group,
        }),*];
    };
}

bindings! {
    Up "up" ["up", "k"] Move "up" "one row up";
    Down "down" ["down", "j"] Move "down" "one row down";
    Left "left" ["left", "h"] Move "section" "the section of the side pane before";
    Right "right" ["right", "l"] Move "section" "the section of the side pane after";
    PageUp "page-up" ["pageup", "ctrl-b"] Move "page up" "one page up";
    PageDown "page-down" ["pagedown", "ctrl-f"] Move "page down" "one page down";
    Top "top" ["home", "g"] Move "first" "to the beginning";
    Bottom "bottom" ["end", "G"] Move "follow" "to the end; the list follows what arrives";
    NextPane "next-pane" ["tab"] Move "next pane" "move the focus to the next pane";
    Back "back" ["esc"] Move "back" "close what is open";
    Open "open" ["enter"] Show "detail" "open or close the detail of the selected event";
    Zoom "zoom" ["z"] Show "zoom" "give the whole screen to the detail, and back";
    Side "side" ["v"] Show "side" "show or hide rates, connections and RPCs";
    Pause "pause" ["space"] Show "pause" "hold the list; what arrives is kept and recorded";
    Times "times" ["t"] Show "times" "times as UTC, local time, since the beginning, or since the row before";
    Theme "theme" ["T"] Show "theme" "the next theme";
    Help "help" ["?", "f1"] Show "help" "show or close this help";
    Quit "quit" ["q", "ctrl-c"] Show "quit" "leave";
    Filter "filter" ["f", ":"] Find "filter" "edit the filter; tab completes names";
    ClearFilter "clear-filter" ["F"] Find "all" "show everything again";
    Only "only" ["i"] Find "only" "only what is as the selected row; again: by its next property";
    Hide "hide" ["x"] Find "hide" "hide what is as the selected row";
    Search "search" ["/"] Find "search" "search for a text in all listed events";
    SearchNext "search-next" ["n"] Find "next hit" "to the next hit, around the end";
    SearchPrevious "search-previous" ["N"] Find "hit above" "to the hit before, around the end";
    Pair "pair" ["p"] Find "pair" "to the next entry that belongs to this one: call, request, answer, update";
    NextLint "next-lint" ["!"] Find "lint" "to the next entry that looks wrong";
    NextBookmark "next-bookmark" ["'"] Find "next mark" "to the next bookmark";
    Bookmark "bookmark" ["m"] Keep "mark" "set or remove a bookmark";
    Bookmarks "bookmarks" ["M"] Keep "marks" "list the bookmarks";
    Copy "copy" ["y"] Keep "copy" "copy the event as JSON to the terminal's clipboard";
    Save "save" ["s"] Keep "save" "save the event as JSON";
    SaveList "save-list" ["S"] Keep "save list" "save all listed events as JSON";
    Record "record" ["R"] Keep "record" "begin or end a recording";
    Play "play" ["P"] Play "play/hold" "hold it, or let it go on";
    Faster "faster" ["+", "="] Play "faster" "twice as fast";
    Slower "slower" ["-"] Play "slower" "half as fast";
    Forward "forward" [">", "."] Play "seek on" "seek forward by a twentieth";
    Backward "backward" ["<", ","] Play "seek back" "seek backward by a twentieth";
    Held "held" ["e"] Proxy "edit" "what is held; again: edit it";
    Release "release" ["r"] Proxy "release" "let what is held go on";
    Discard "discard" ["d"] Proxy "drop" "let what is held not go on; remove a rule";
    Clients "clients" ["c"] Proxy "clients" "what clients have done until now";
    Rules "rules" ["w"] Proxy "new rule" "what is done to which messages; again: a new rule";
}

/// A key, with its modifiers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    code: KeyCode,
    modifiers: KeyModifiers,
}

/// The keys that have names rather than characters.
const NAMED: [(&str, KeyCode); 14] = [
    ("up", KeyCode::Up),
    ("down", KeyCode::Down),
    ("left", KeyCode::Left),
    ("right", KeyCode::Right),
    ("home", KeyCode::Home),
    ("end", KeyCode::End),
    ("pageup", KeyCode::PageUp),
    ("pagedown", KeyCode::PageDown),
    ("enter", KeyCode::Enter),
    ("esc", KeyCode::Esc),
    ("tab", KeyCode::Tab),
    ("backspace", KeyCode::Backspace),
    ("delete", KeyCode::Delete),
    ("space", KeyCode::Char(' ')),
];

impl Key {
    /// The key of a terminal event. Shift is dropped where the character already shows it.
    pub fn of(event: KeyEvent) -> Self {
        let mut modifiers =
            event.modifiers & (KeyModifiers::CONTROL | KeyModifiers::ALT | KeyModifiers::SHIFT);
        if matches!(event.code, KeyCode::Char(_)) {
            modifiers -= KeyModifiers::SHIFT;
        }
        let code = event.code;
        Self { code, modifiers }
    }

    /// Reads `q`, `G`, `ctrl-f`, `alt-x`, `pageup`, `f1`.
    fn parse(text: &str) -> Option<Self> {
        let mut modifiers = KeyModifiers::NONE;
        let mut rest = text;
        loop {
            let (modifier, after) = if let Some(after) = rest.strip_prefix("ctrl-") {
                (KeyModifiers::CONTROL, after)
            } else if let Some(after) = rest.strip_prefix("alt-") {
                (KeyModifiers::ALT, after)
            } else {
                break;
            };
            modifiers |= modifier;
            rest = after;
        }
        let named = NAMED.iter().find(|(name, _)| *name == rest);
        let mut characters = rest.chars();
        let code = match (named, characters.next(), characters.as_str()) {
            (Some((_, code)), _, _) => *code,
            (None, Some(character), "") if !character.is_control() => KeyCode::Char(character),
            (None, Some('f'), number) => match number.parse() {
                Ok(number @ 1..=12) => KeyCode::F(number),
                _ => return None,
            },
            _ => return None,
        };
        Some(Self { code, modifiers })
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.modifiers.contains(KeyModifiers::CONTROL) {
            f.write_str("ctrl-")?;
        }
        if self.modifiers.contains(KeyModifiers::ALT) {
            f.write_str("alt-")?;
        }
        match NAMED.iter().find(|(_, code)| *code == self.code) {
            Some((name, _)) => f.write_str(name),
            None => match self.code {
                KeyCode::Char(character) => write!(f, "{character}"),
                KeyCode::F(number) => write!(f, "f{number}"),
                other => write!(f, "{other:?}"),
            },
        }
    }
}

/// Which key does what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keymap {
    keys: BTreeMap<Action, Vec<Key>>,
    filters: Vec<SavedFilter>,
}

/// A filter that a key of its own sets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SavedFilter {
    /// The key.
    pub key: Key,
    /// What it is for, for the help.
    pub name: String,
    /// The filter, which is valid.
    pub show: String,
}

/// Why a file of keys cannot be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeysError {
    /// The file is no TOML, or has another form.
    #[error("not a file of keys: {0}")]
    Form(String),
    /// A name that no action has.
    #[error("unknown action {0:?}; the names are those of `--print-keys`")]
    Action(String),
    /// Something that is no key.
    #[error("{action}: unknown key {key:?}; write it like q, G, ctrl-f, space, pageup or f1")]
    Key {
        /// The action.
        action: &'static str,
        /// What is there.
        key: String,
    },
    /// One key for two actions.
    #[error("key {key} stands for {first} and for {second}")]
    Twice {
        /// The key.
        key: String,
        /// One action, or the name of a filter.
        first: String,
        /// The other.
        second: String,
    },
    /// A saved filter that cannot be used.
    #[error("filter {name:?}: {reason}")]
    Filter {
        /// Its name.
        name: String,
        /// Why.
        reason: String,
    },
    /// Nothing leaves the program.
    #[error("quit has no key, and the screen could not be left")]
    NoQuit,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    keys: BTreeMap<String, Vec<String>>,
    #[serde(default)]
    filter: Vec<SavedText>,
}

/// A saved filter as it stands in the file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SavedText {
    key: String,
    name: String,
    show: String,
}

impl Default for Keymap {
    fn default() -> Self {
        let keys = BINDINGS.iter().map(|binding| {
            let keys = binding.keys.iter().filter_map(|text| Key::parse(text));
            (binding.action, keys.collect())
        });
        Self {
            keys: keys.collect(),
            filters: Vec::new(),
        }
    }
}

impl Keymap {
    /// Reads a TOML file: a table `keys` with a list of keys for each action that is not to keep its
    /// defaults, where an empty list takes the action's keys away; and tables `filter`, each with a key, a
    /// name and what it shows.
    ///
    /// # Errors
    /// The text is no such file, names what does not exist, uses a key twice, or leaves no way out.
    pub fn parse(text: &str) -> Result<Self, KeysError> {
        let file: File = toml::from_str(text)
            .map_err(|error| KeysError::Form(error.to_string().trim_end().replace('\n', "; ")))?;
        let mut map = Self::default();
        for (name, keys) in file.keys {
            let Some(binding) = BINDINGS.iter().find(|binding| binding.name == name) else {
                return Err(KeysError::Action(name));
            };
            let mut parsed = Vec::new();
            for key in keys {
                parsed.push(Key::parse(&key).ok_or(KeysError::Key {
                    action: binding.name,
                    key,
                })?);
            }
            map.keys.insert(binding.action, parsed);
        }
        for SavedText { key, name, show } in file.filter {
            let wrong = |reason: String| KeysError::Filter {
                name: name.clone(),
                reason,
            };
            let Some(key) = Key::parse(&key) else {
                return Err(wrong(format!(
                    "unknown key {key:?}; write it like 1, f2 or ctrl-e"
                )));
            };
            Filter::parse(&show).map_err(|error| wrong(error.to_string()))?;
            map.filters.push(SavedFilter { key, name, show });
        }
        map.check()?;
        Ok(map)
    }

    fn check(&self) -> Result<(), KeysError> {
        let mut seen: Vec<(Key, &str)> = Vec::new();
        let of_actions = BINDINGS.iter().flat_map(|binding| {
            let keys = self.keys(binding.action).iter();
            keys.map(|key| (*key, binding.name))
        });
        let of_filters = self.filters.iter();
        let of_filters = of_filters.map(|filter| (filter.key, filter.name.as_str()));
        for (key, name) in of_actions.chain(of_filters) {
            if let Some((_, first)) = seen.iter().find(|(other, _)| *other == key) {
                return Err(KeysError::Twice {
                    key: key.to_string(),
                    first: (*first).to_owned(),
                    second: name.to_owned(),
                });
            }
            seen.push((key, name));
        }
        if self.keys(Action::Quit).is_empty() {
            return Err(KeysError::NoQuit);
        }
        Ok(())
    }

    /// The action of a key.
    pub fn action(&self, key: Key) -> Option<Action> {
        let mut actions = self.keys.iter();
        actions
            .find(|(_, keys)| keys.contains(&key))
            .map(|(action, _)| *action)
    }

    /// The saved filters, in the order of the file.
    pub fn filters(&self) -> &[SavedFilter] {
        &self.filters
    }

    /// The saved filter of a key.
    pub fn saved(&self, key: Key) -> Option<&SavedFilter> {
        self.filters.iter().find(|filter| filter.key == key)
    }

    /// The keys of an action.
    pub fn keys(&self, action: Action) -> &[Key] {
        self.keys.get(&action).map_or(&[], Vec::as_slice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_file_holds_the_defaults_of_every_action() {
        assert_eq!(Keymap::parse(SAMPLE), Ok(Keymap::default()));
        let file: File = toml::from_str(SAMPLE).unwrap();
        let mut named: Vec<&str> = file.keys.keys().map(String::as_str).collect();
        let mut expected: Vec<&str> = BINDINGS.iter().map(|binding| binding.name).collect();
        named.sort_unstable();
        expected.sort_unstable();
        assert_eq!(named, expected);
        for binding in BINDINGS {
            assert!(
                SAMPLE.contains(&format!("# {}", binding.about)),
                "{} is not explained",
                binding.name
            );
        }
    }

    /// Without their comment signs, the sample's filters are what it says.
    #[test]
    fn the_sample_shows_how_filters_are_saved() {
        let text: Vec<&str> = SAMPLE
            .lines()
            .map(|line| line.strip_prefix("#= ").unwrap_or(line))
            .collect();
        let map = Keymap::parse(&text.join("\n")).unwrap();
        assert!(map.filters().len() >= 2, "{map:?}");
    }

    #[test]
    fn the_table_is_consistent() {
        let map = Keymap::default();
        assert_eq!(map.check(), Ok(()));
        for binding in BINDINGS {
            let keys: Vec<String> = map
                .keys(binding.action)
                .iter()
                .map(Key::to_string)
                .collect();
            assert_eq!(keys, binding.keys, "{}", binding.name);
        }
    }

    #[track_caller]
    fn check_file(text: &str, expected: Result<(Action, &str), &str>) {
        match (Keymap::parse(text), expected) {
            (Ok(map), Ok((action, key))) => {
                assert_eq!(map.action(Key::parse(key).unwrap()), Some(action), "{text}");
            }
            (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{error}"),
            (got, expected) => panic!("{text}: got {got:?}, expected {expected:?}"),
        }
    }

    #[test]
    fn files() {
        check_file("", Ok((Action::Quit, "q")));
        check_file("[keys]\nquit = [\"ctrl-q\"]", Ok((Action::Quit, "ctrl-q")));
        check_file("[keys]\nhelp = [\"f12\"]", Ok((Action::Help, "f12")));
        check_file("[keys]\nhelp = []", Ok((Action::Quit, "q")));
        check_file("[keys]\nquit = []", Err("could not be left"));
        check_file("[keys]\nleave = [\"x\"]", Err("unknown action \"leave\""));
        check_file(
            "[keys]\nquit = [\"hyper-q\"]",
            Err("unknown key \"hyper-q\""),
        );
        check_file("[keys]\nquit = [\"f13\"]", Err("unknown key"));
        check_file(
            "[keys]\nquit = [\"m\"]",
            Err("stands for quit and for bookmark"),
        );
        check_file("keys = 3", Err("not a file of keys"));
        let saved = |key: &str, show: &str| {
            format!("[[filter]]\nkey = \"{key}\"\nname = \"mine\"\nshow = '{show}'")
        };
        check_file(&saved("1", "size > 3"), Ok((Action::Quit, "q")));
        check_file(&saved("q", "size > 3"), Err("stands for quit and for mine"));
        check_file(
            &saved("one", "size > 3"),
            Err("filter \"mine\": unknown key \"one\""),
        );
        check_file(
            &saved("1", "size >"),
            Err("filter \"mine\": ends too early"),
        );
        check_file(&saved("1", "knd == 3"), Err("did you mean kind"));
        check_file("[[filter]]\nkey = \"1\"", Err("missing field `name`"));
        check_file("[colours]", Err("unknown field `colours`"));
    }

    #[test]
    fn shift_is_in_the_character() {
        let event = KeyEvent::new(KeyCode::Char('G'), KeyModifiers::SHIFT);
        assert_eq!(
            Keymap::default().action(Key::of(event)),
            Some(Action::Bottom)
        );
        let event = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        assert_eq!(Keymap::default().action(Key::of(event)), Some(Action::Quit));
    }
}
