//! How things look: colours and the characters that are drawn with.
//!
//! Styles are named by what they mean, so that a view never chooses a colour. This module must not
//! know what is drawn.

use ratatui::style::{Color, Modifier, Style};
use ratatui::symbols::border;

/// The themes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Theme {
    /// For a dark background.
    Dark,
    /// For a light background.
    Light,
    /// No colours at all: bold, dim, underlined and reversed text.
    Mono,
}

/// What a piece of text means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// Nothing special.
    Plain,
    /// Less important.
    Faint,
    /// A title, or what has the focus.
    Title,
    /// The selected row.
    Selected,
    /// Where a search hit.
    Hit,
    /// All is well.
    Good,
    /// Something to look at.
    Warning,
    /// Something is wrong.
    Bad,
    /// An update.
    Update,
    /// An ephemeral.
    Ephemeral,
    /// An RPC.
    Rpc,
    /// A call or its answer.
    Call,
    /// A key of the keyboard.
    Key,
    /// A key of a JSON object.
    JsonKey,
    /// A JSON string.
    JsonString,
    /// A JSON number.
    JsonNumber,
    /// A JSON literal: true, false, null.
    JsonLiteral,
}

impl Theme {
    /// The theme after this one.
    pub const fn next(self) -> Self {
        match self {
            Self::Dark => Self::Light,
            Self::Light => Self::Mono,
            Self::Mono => Self::Dark,
        }
    }

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Dark => "dark",
            Self::Light => "light",
            Self::Mono => "mono",
        }
    }

    /// How a tone looks.
    pub fn style(self, tone: Tone) -> Style {
        match self {
            Self::Mono => mono(tone),
            Self::Dark => colours(tone, true),
            Self::Light => colours(tone, false),
        }
    }
}

fn mono(tone: Tone) -> Style {
    let style = Style::new();
    match tone {
        Tone::Plain
        | Tone::Good
        | Tone::Call
        | Tone::Update
        | Tone::Rpc
        | Tone::JsonString
        | Tone::JsonNumber => style,
        Tone::Faint | Tone::Ephemeral | Tone::JsonLiteral => style.add_modifier(Modifier::DIM),
        Tone::Title | Tone::Warning | Tone::Key | Tone::JsonKey => {
            style.add_modifier(Modifier::BOLD)
        }
        Tone::Selected => style.add_modifier(Modifier::REVERSED),
        Tone::Bad | Tone::Hit => style.add_modifier(Modifier::BOLD | Modifier::UNDERLINED),
    }
}

/// The sixteen colours of the terminal, so that the user's own palette holds.
fn colours(tone: Tone, dark: bool) -> Style {
    let style = Style::new();
    let pick = |on_dark, on_light| style.fg(if dark { on_dark } else { on_light });
    match tone {
        Tone::Plain => style,
        // Gray is nearly white, and not to be seen on a light background.
        Tone::Faint => style.fg(Color::DarkGray),
        Tone::Title => pick(Color::White, Color::Black).add_modifier(Modifier::BOLD),
        // One bar: reversed, each colour of the row would be a patch of its own.
        Tone::Selected => style.fg(Color::Reset).add_modifier(Modifier::REVERSED),
        // Not reversed on the selected row, so that the colours stay those of a hit.
        Tone::Hit => style
            .fg(Color::Black)
            .bg(Color::Yellow)
            .remove_modifier(Modifier::REVERSED),
        Tone::Good => pick(Color::Green, Color::Green),
        Tone::Warning => pick(Color::Yellow, Color::Magenta),
        Tone::Bad => pick(Color::LightRed, Color::Red).add_modifier(Modifier::BOLD),
        Tone::Update | Tone::JsonKey => pick(Color::LightCyan, Color::Blue),
        Tone::Ephemeral => pick(Color::Gray, Color::DarkGray),
        Tone::Rpc => pick(Color::LightMagenta, Color::Magenta),
        Tone::Call | Tone::JsonNumber => pick(Color::LightYellow, Color::Cyan),
        Tone::Key => pick(Color::LightCyan, Color::Blue).add_modifier(Modifier::BOLD),
        Tone::JsonString => pick(Color::LightGreen, Color::Green),
        Tone::JsonLiteral => pick(Color::LightMagenta, Color::Magenta),
    }
}

/// The characters that are drawn with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Glyphs {
    pub(crate) border: border::Set<'static>,
    /// Eight levels, from almost nothing to full.
    pub(crate) levels: [&'static str; 8],
    pub(crate) dot: &'static str,
    pub(crate) ring: &'static str,
    pub(crate) bookmark: &'static str,
    pub(crate) lint: &'static str,
    pub(crate) sent: &'static str,
    pub(crate) received: &'static str,
    pub(crate) down: &'static str,
    pub(crate) play: &'static str,
    pub(crate) pause: &'static str,
    pub(crate) branch: &'static str,
    pub(crate) last: &'static str,
}

const ASCII_BORDER: border::Set<'static> = border::Set {
    top_left: "+",
    top_right: "+",
    bottom_left: "+",
    bottom_right: "+",
    vertical_left: "|",
    vertical_right: "|",
    horizontal_top: "-",
    horizontal_bottom: "-",
};

/// What most terminals can show.
pub(crate) const UNICODE: Glyphs = Glyphs {
    border: border::ROUNDED,
    levels: ["▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"],
    dot: "●",
    ring: "○",
    bookmark: "◆",
    lint: "!",
    sent: "→",
    received: "←",
    down: "↓",
    play: "▶",
    pause: "⏸",
    branch: "├ ",
    last: "└ ",
};

/// What every terminal can show.
pub(crate) const ASCII: Glyphs = Glyphs {
    border: ASCII_BORDER,
    levels: ["_", ".", ":", "-", "=", "+", "*", "#"],
    dot: "*",
    ring: "o",
    bookmark: "#",
    lint: "!",
    sent: ">",
    received: "<",
    down: "v",
    play: ">",
    pause: "=",
    branch: "|- ",
    last: "`- ",
};
