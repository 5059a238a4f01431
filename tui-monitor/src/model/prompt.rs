//! The line in which a filter or a search is typed: text, cursor, completion.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use serde::de::IgnoredAny;

use crate::filter::{FIELDS, Filter, field_at, words_of};

/// Longest text, in bytes: nobody types more, and a paste must not fill the memory. A message that is edited
/// may be longer.
const LONGEST: usize = 4_096;
pub(crate) const LONGEST_EDIT: usize = 64 << 10;

/// What stands between the expression of a rule and its action.
pub(crate) const DO: &str = " --do ";

/// The fields whose words are offered where nothing tells which field is meant.
const WORDY: [&str; 4] = ["type", "kind", "lints", "filter"];

/// What the line is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    Filter,
    Search,
    /// The held message of this number.
    Edit(u64),
    /// A rule of a proxy.
    Rule,
}

/// A line that is being typed.
#[derive(Debug)]
pub(crate) struct Prompt {
    pub(crate) purpose: Purpose,
    text: String,
    /// In bytes, at the border of a character.
    cursor: usize,
    /// The names that the word before the cursor may become, and which one is in the text.
    candidates: Vec<&'static str>,
    chosen: Option<usize>,
    error: Option<String>,
}

/// What became of a key.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Typed {
    /// The line goes on.
    More,
    /// Enter: the text is to be used.
    Accepted,
    /// Escape.
    Left,
}

impl Prompt {
    pub(crate) fn new(purpose: Purpose, text: &str) -> Self {
        let mut prompt = Self {
            purpose,
            text: text.to_owned(),
            cursor: text.len(),
            candidates: Vec::new(),
            chosen: None,
            error: None,
        };
        prompt.changed();
        prompt
    }

    /// A rule that the proxy has refused, to be mended.
    pub(crate) fn refused(rule: &str, why: String) -> Self {
        Self {
            error: Some(why),
            ..Self::new(Purpose::Rule, rule)
        }
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// The text before and after the cursor.
    pub(crate) fn parts(&self) -> (&str, &str) {
        self.text.split_at(self.cursor)
    }

    /// Why the text cannot be used as it is.
    pub(crate) fn error(&self) -> Option<&str> {
        self.error.as_deref()
    }

    /// What the word before the cursor may become, and which one is chosen.
    pub(crate) fn candidates(&self) -> (&[&'static str], Option<usize>) {
        (&self.candidates, self.chosen)
    }

    pub(crate) fn paste(&mut self, text: &str) {
        for character in text.chars().filter(|character| !character.is_control()) {
            self.insert(character);
        }
        self.changed();
    }

    pub(crate) fn key(&mut self, key: KeyEvent) -> Typed {
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        match key.code {
            KeyCode::Enter if self.error.is_none() => return Typed::Accepted,
            KeyCode::Esc => return Typed::Left,
            KeyCode::Char('c' | 'g') if control => return Typed::Left,
            KeyCode::Tab => self.complete(1),
            KeyCode::BackTab => self.complete(-1),
            KeyCode::Left => self.cursor = self.before(),
            KeyCode::Right => self.cursor = self.after(),
            KeyCode::Home => self.cursor = 0,
            KeyCode::End => self.cursor = self.text.len(),
            KeyCode::Char('a') if control => self.cursor = 0,
            KeyCode::Char('e') if control => self.cursor = self.text.len(),
            KeyCode::Char('u') if control => self.remove(0, self.cursor),
            KeyCode::Char('k') if control => self.remove(self.cursor, self.text.len()),
            KeyCode::Char('w') if control => self.remove(self.word_start(), self.cursor),
            KeyCode::Backspace => self.remove(self.before(), self.cursor),
            KeyCode::Delete => self.remove(self.cursor, self.after()),
            KeyCode::Char(character) if !control && !key.modifiers.contains(KeyModifiers::ALT) => {
                self.insert(character);
                self.changed();
            }
            _ => {}
        }
        Typed::More
    }

    fn insert(&mut self, character: char) {
        let longest = match self.purpose {
            Purpose::Filter | Purpose::Search | Purpose::Rule => LONGEST,
            Purpose::Edit(_) => LONGEST_EDIT,
        };
        if self.text.len() + character.len_utf8() <= longest {
            self.text.insert(self.cursor, character);
            self.cursor += character.len_utf8();
        }
    }

    fn remove(&mut self, from: usize, to: usize) {
        self.text.replace_range(from..to, "");
        self.cursor = from;
        self.changed();
    }

    fn before(&self) -> usize {
        let mut characters = self.text[..self.cursor].char_indices();
        characters.next_back().map_or(0, |(at, _)| at)
    }

    fn after(&self) -> usize {
        let next = self.text[self.cursor..].chars().next();
        self.cursor + next.map_or(0, char::len_utf8)
    }

    fn word_start(&self) -> usize {
        let before = &self.text[..self.cursor];
        let part_of_word = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
        before.trim_end_matches(part_of_word).len()
    }

    fn changed(&mut self) {
        self.chosen = None;
        self.candidates.clear();
        self.error = self.wrong();
        let expression = match self.purpose {
            Purpose::Filter => self.text.len(),
            Purpose::Rule => self.text.find(DO).unwrap_or(self.text.len()),
            Purpose::Search | Purpose::Edit(_) => return,
        };
        if self.cursor > expression {
            return;
        }
        let start = self.word_start();
        let word = &self.text[start..self.cursor];
        // Inside quotes stand the words of a field, outside of them the names of fields.
        let before = &self.text[..start];
        let quoted = before.ends_with(['"', '\'']);
        let at_hand = field_at(before);
        if word.is_empty() && at_hand.is_none() {
            return;
        }
        let names = match at_hand {
            Some(field) => words_of(field).unwrap_or_default(),
            None if quoted => WORDY.into_iter().filter_map(words_of).flatten().collect(),
            None => FIELDS.iter().map(|field| field.name).collect(),
        };
        for name in names {
            if name.starts_with(word) && name != word && !self.candidates.contains(&name) {
                self.candidates.push(name);
            }
        }
    }

    /// What is wrong with the text, as far as the screen knows. What may be done by a rule is known to the
    /// proxy.
    fn wrong(&self) -> Option<String> {
        let filter = |text| Filter::parse(text).err().map(|error| error.to_string());
        match self.purpose {
            Purpose::Search => None,
            Purpose::Filter => filter(&self.text),
            Purpose::Rule => match self.text.split_once(DO) {
                Some((expression, _)) => filter(expression),
                None => Some("write EXPRESSION --do ACTION".to_owned()),
            },
            Purpose::Edit(_) => serde_json::from_str::<Vec<IgnoredAny>>(&self.text)
                .err()
                .map(|error| format!("not a JSON array: {error}")),
        }
    }

    /// Puts the next candidate in the place of the word before the cursor.
    fn complete(&mut self, step: isize) {
        let count = self.candidates.len();
        if count == 0 {
            return;
        }
        let next = match (self.chosen, step) {
            (None, 1..) => 0,
            (None, _) => count - 1,
            (Some(at), _) => (at + count).saturating_add_signed(step) % count,
        };
        let start = self.word_start();
        let name = self.candidates[next];
        self.text.replace_range(start..self.cursor, name);
        self.cursor = start + name.len();
        self.chosen = Some(next);
        self.error = self.wrong();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn press(prompt: &mut Prompt, code: KeyCode) -> Typed {
        prompt.key(KeyEvent::new(code, KeyModifiers::NONE))
    }

    fn typed(text: &str) -> Prompt {
        let mut prompt = Prompt::new(Purpose::Filter, "");
        for character in text.chars() {
            press(&mut prompt, KeyCode::Char(character));
        }
        prompt
    }

    #[test]
    fn validity_is_told_while_typing_and_only_a_valid_filter_is_accepted() {
        let mut prompt = typed("size >");
        assert!(prompt.error().is_some());
        assert_eq!(press(&mut prompt, KeyCode::Enter), Typed::More);
        press(&mut prompt, KeyCode::Char('3'));
        assert!(prompt.error().is_none());
        assert_eq!(press(&mut prompt, KeyCode::Enter), Typed::Accepted);
        assert_eq!(press(&mut prompt, KeyCode::Esc), Typed::Left);
    }

    #[track_caller]
    fn check_completion(text: &str, tabs: usize, expected: &str) {
        let mut prompt = typed(text);
        for _ in 0..tabs {
            press(&mut prompt, KeyCode::Tab);
        }
        assert_eq!(prompt.text(), expected);
    }

    #[test]
    fn completion() {
        check_completion("siz", 1, "size");
        check_completion("s", 1, "size");
        check_completion("s", 2, "seq");
        check_completion("size > 3 && kin", 1, "size > 3 && kind");
        check_completion("type == \"new-m", 1, "type == \"new-message");
        check_completion("type == \"new-m", 2, "type == \"new-machine");
        check_completion("type == \"new-m", 3, "type == \"new-message");
        check_completion("kind == \"u", 1, "kind == \"update");
        check_completion("kind == \"", 2, "kind == \"ephemeral");
        check_completion("direction != \"s", 1, "direction != \"sent");
        check_completion("type in [\"ping\", \"us", 1, "type in [\"ping\", \"usage");
        check_completion("\"unk", 1, "\"unknown-type");
        check_completion("account == \"u", 1, "account == \"u");
        check_completion("nothing_like_it", 1, "nothing_like_it");
        check_completion("", 1, "");
        let mut prompt = typed("s");
        press(&mut prompt, KeyCode::BackTab);
        assert_eq!(prompt.text(), *prompt.candidates().0.last().unwrap());
    }

    #[test]
    fn editing() {
        let mut prompt = typed("naïve");
        for code in [KeyCode::Left, KeyCode::Left, KeyCode::Backspace] {
            press(&mut prompt, code);
        }
        assert_eq!((prompt.text(), prompt.parts()), ("nave", ("na", "ve")));
        press(&mut prompt, KeyCode::Delete);
        press(&mut prompt, KeyCode::Home);
        press(&mut prompt, KeyCode::Left);
        press(&mut prompt, KeyCode::Char('x'));
        assert_eq!(prompt.text(), "xnae");
        prompt.key(KeyEvent::new(KeyCode::Char('k'), KeyModifiers::CONTROL));
        assert_eq!(prompt.text(), "x");
        prompt.paste("two\u{1b}[31m\nlines");
        assert_eq!(prompt.text(), "xtwo[31mlines");
        prompt.paste(&"y".repeat(2 * LONGEST));
        assert_eq!(prompt.text().len(), LONGEST);
    }
}
