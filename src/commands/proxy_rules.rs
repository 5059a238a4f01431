//! Rules of a proxy: what is done to which messages.

use std::fmt;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, anyhow};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::sync::mpsc;
use touchstone_client::trace::Record;
use touchstone_proxy::{Action, Choose, Gate, Gates, Held};
use touchstone_tui_monitor::event::{self, Entry};
use touchstone_tui_monitor::filter::Filter;
use touchstone_tui_monitor::source::preview::Preview;

use crate::args::RuleArguments;
use crate::error::Failure;

use super::proxy_screen::Holding;
use super::watch_source::filter;

const ACTIONS: &str = "actions are drop, delay=2s, duplicate, reorder, corrupt, answer=JSON, refuse, \
                       close, close=abrupt, close=half, freeze, http=502 and hold";

/// A rule and how often it was met.
struct Rule {
    when: Filter,
    action: Action,
    every: u64,
    probability: f64,
    at_most: Option<u64>,
    matched: u64,
    done: u64,
}

/// All rules, in their order. The first that holds is the one that is done. Clones share them.
#[derive(Clone)]
pub(crate) struct Rules {
    state: Arc<Mutex<State>>,
    /// Where what a rule holds is given to, if there is a screen.
    hold: Option<mpsc::Sender<Holding>>,
}

struct State {
    rules: Vec<Rule>,
    random: StdRng,
}

/// A file of rules.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleFile {
    rule: Vec<Written>,
}

/// A rule as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    when: String,
    #[serde(rename = "do")]
    action: String,
    #[serde(default = "one")]
    every: u64,
    #[serde(default = "always")]
    probability: f64,
    #[serde(rename = "at-most")]
    at_most: Option<u64>,
}

fn one() -> u64 {
    1
}

fn always() -> f64 {
    1.0
}

impl Rules {
    /// Those of the command line and of a file. What a rule holds is given to `hold`, where there is a
    /// screen.
    pub(crate) fn of(
        arguments: &RuleArguments,
        hold: Option<mpsc::Sender<Holding>>,
    ) -> Result<Self, Failure> {
        let mut rules = Vec::new();
        if arguments.when.len() != arguments.action.len() {
            let error = anyhow!("each --when needs one --do behind it");
            return Err(Failure::usage(error).hint("write --when 'type == \"message\"' --do drop"));
        }
        for (when, action) in arguments.when.iter().zip(&arguments.action) {
            rules.push(rule(&Written {
                when: when.clone(),
                action: action.clone(),
                every: arguments.every,
                probability: arguments.probability,
                at_most: arguments.at_most,
            })?);
        }
        if let Some(path) = &arguments.rules {
            for written in read(path)?.rule {
                rules.push(rule(&written)?);
            }
        }
        if hold.is_none() && rules.iter().any(|rule| rule.action == Action::Hold) {
            let error = anyhow!("nobody could let go on what is held: --headless has no screen");
            return Err(Failure::usage(error).hint("leave out --headless, or use delay=2s"));
        }
        let random = StdRng::seed_from_u64(arguments.seed.unwrap_or_else(rand::random));
        let state = Arc::new(Mutex::new(State { rules, random }));
        Ok(Self { state, hold })
    }

    /// Gates for connections that are opened while there is a rule.
    pub(crate) fn gates(&self) -> Choose {
        let rules = self.clone();
        let gates: Gates = Arc::new(move || {
            Box::new(Judged {
                rules: rules.clone(),
                preview: Preview::default(),
                entry: None,
            })
        });
        let rules = self.clone();
        Arc::new(move || {
            let is_needed = !rules.state().rules.is_empty();
            is_needed.then(|| Arc::clone(&gates))
        })
    }

    /// Adds what somebody has written on the screen: `EXPRESSION --do ACTION`, with the options of the
    /// command line behind it. An error says what is wrong with it.
    pub(crate) fn add(&self, line: &str) -> Result<(), String> {
        let rule = rule(&written(line)?).map_err(|error| error.advised())?;
        self.state().rules.push(rule);
        Ok(())
    }

    pub(crate) fn remove(&self, at: usize) {
        let mut state = self.state();
        if at < state.rules.len() {
            state.rules.remove(at);
        }
    }

    /// What the screen shows of them.
    pub(crate) fn shown(&self) -> Vec<event::Rule> {
        let state = self.state();
        let shown = state.rules.iter().map(|rule| event::Rule {
            text: rule.to_string(),
            matched: rule.matched,
            done: rule.done,
        });
        shown.collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// As it can be written again.
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} --do {}", self.when.text(), self.action)?;
        if self.every != one() {
            write!(f, " --every {}", self.every)?;
        }
        if self.probability < always() {
            write!(f, " --probability {}", self.probability)?;
        }
        match self.at_most {
            Some(most) => write!(f, " --at-most {most}"),
            None => Ok(()),
        }
    }
}

/// Takes a line of the screen apart. Options stand at its end, since an answer may hold any text.
fn written(line: &str) -> Result<Written, String> {
    let (when, mut action) = line
        .split_once(" --do ")
        .ok_or("write EXPRESSION --do ACTION")?;
    let mut written = Written {
        when: when.trim().to_owned(),
        action: String::new(),
        every: one(),
        probability: always(),
        at_most: None,
    };
    while let Some((before, option)) = action.rsplit_once(" --") {
        let Some((name, value)) = option.trim_end().split_once(' ') else {
            break;
        };
        let wrong = || format!("--{name} needs a number, not {value:?}");
        match name {
            "every" => written.every = value.parse().map_err(|_| wrong())?,
            "probability" => written.probability = value.parse().map_err(|_| wrong())?,
            "at-most" => written.at_most = Some(value.parse().map_err(|_| wrong())?),
            _ => break,
        }
        action = before;
    }
    written.action = action.trim().to_owned();
    Ok(written)
}

fn read(path: &Path) -> Result<RuleFile, Failure> {
    fs::read_to_string(path)
        .map_err(anyhow::Error::from)
        .and_then(|text| Ok(toml::from_str(&text)?))
        .with_context(|| format!("cannot use {}", path.display()))
        .map_err(Failure::usage)
}

fn rule(written: &Written) -> Result<Rule, Failure> {
    let when = filter("when", &written.when)?;
    let action = action(&written.action).map_err(|error| {
        Failure::usage(error.context(format!("do {:?}", written.action))).hint(ACTIONS)
    })?;
    if written.every == 0 || !(0.0..=1.0).contains(&written.probability) {
        let error = anyhow!("every has to be at least 1, and a probability between 0 and 1");
        return Err(Failure::usage(error));
    }
    Ok(Rule {
        when,
        action,
        every: written.every,
        probability: written.probability,
        at_most: written.at_most,
        matched: 0,
        done: 0,
    })
}

fn action(text: &str) -> anyhow::Result<Action> {
    let (name, value) = match text.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (text, None),
    };
    Ok(match (name, value) {
        ("drop", None) => Action::Drop,
        ("delay", Some(time)) => Action::Delay(humantime::parse_duration(time)?),
        ("duplicate", None) => Action::Duplicate,
        ("reorder", None) => Action::Reorder,
        ("corrupt", None) => Action::Corrupt,
        ("answer", Some(json)) => {
            serde_json::from_str::<&RawValue>(json)?;
            Action::Answer(json.to_owned())
        }
        ("refuse", None) => Action::Refuse,
        ("close", None) => Action::Close,
        ("close", Some("abrupt")) => Action::CloseAbruptly,
        ("close", Some("half")) => Action::CloseHalf,
        ("freeze", None) => Action::Freeze,
        ("hold", None) => Action::Hold,
        ("http", Some(status)) => {
            let status = status.parse()?;
            anyhow::ensure!((200..600).contains(&status), "no status of a final answer");
            Action::Http(status)
        }
        _ => anyhow::bail!("no such action"),
    })
}

/// The rules, applied to one connection.
struct Judged {
    rules: Rules,
    preview: Preview,
    /// The message that is held next.
    entry: Option<Entry>,
}

impl Gate for Judged {
    fn decide(&mut self, record: Record) -> Option<Action> {
        let entry = self.preview.entry(record)?;
        let mut state = self.rules.state();
        let State { rules, random } = &mut *state;
        let action = rules.iter_mut().find_map(|rule| {
            if rule.at_most.is_some_and(|most| rule.done >= most) || !rule.when.matches(&entry) {
                return None;
            }
            rule.matched += 1;
            if rule.matched % rule.every != 0 || !random.random_bool(rule.probability) {
                return None;
            }
            rule.done += 1;
            Some(rule.action.clone())
        });
        drop(state);
        self.entry = Some(entry).filter(|_| action == Some(Action::Hold));
        action
    }

    fn hold(&mut self, held: Held) {
        // What cannot be shown goes on.
        if let (Some(hold), Some(entry)) = (&self.rules.hold, self.entry.take()) {
            let _ = hold.try_send(Holding { held, entry });
        }
    }
}

#[cfg(test)]
mod tests {
    use touchstone_client::trace::{Kind, Traced};
    use touchstone_client::{Direction, Frame};

    use super::*;

    #[test]
    fn actions() {
        for text in [
            "drop",
            "delay=1500ms",
            "duplicate",
            "reorder",
            "corrupt",
            "answer={\"a\":1}",
            "refuse",
            "close",
            "close=abrupt",
            "close=half",
            "freeze",
            "hold",
            "http=502",
        ] {
            assert_eq!(action(text).expect(text).to_string(), text);
        }
        for text in [
            "", "delay", "delay=x", "answer={", "http=99", "http=x", "close=x", "drop=1",
        ] {
            assert!(action(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_rule_of_the_screen_is_written_as_on_the_command_line() {
        #[track_caller]
        fn check(line: &str, expected: Result<&str, &str>) {
            let rules = Rules::of(&none(), None).expect("rules");
            let shown = rules.add(line).map(|()| rules.shown()[0].text.clone());
            match (shown, expected) {
                (Ok(shown), Ok(expected)) => assert_eq!(shown, expected),
                (Err(why), Err(part)) => assert!(why.contains(part), "{why}"),
                (shown, _) => panic!("{line}: {shown:?}"),
            }
        }
        for line in [
            "type == \"ping\" --do drop",
            "size > 10 --do delay=2000ms --every 3 --probability 0.5 --at-most 7",
            "type == \"ping\" --do answer={\"a\":\" --b\"}",
        ] {
            check(line, Ok(line));
        }
        check("type == \"ping\"", Err("write EXPRESSION --do ACTION"));
        check("size > --do drop", Err("size >"));
        check("size > 1 --do lose", Err("actions are drop"));
        check(
            "size > 1 --do drop --every x",
            Err("--every needs a number"),
        );
        check("size > 1 --do drop --every 0", Err("at least 1"));
    }

    #[test]
    fn rules_come_and_go_while_connections_are_open() {
        let rules = Rules::of(&none(), None).expect("rules");
        let choose = rules.gates();
        assert!(choose().is_none());
        rules.add("type == \"ping\" --do drop").expect("a rule");
        let mut gate = choose().expect("gates")();
        assert_eq!(gate.decide(ping()), Some(Action::Drop));
        rules.remove(0);
        assert_eq!(gate.decide(ping()), None);
        assert!(choose().is_none());
    }

    fn none() -> RuleArguments {
        RuleArguments {
            when: Vec::new(),
            action: Vec::new(),
            every: 1,
            probability: 1.0,
            at_most: None,
            seed: Some(7),
            rules: None,
        }
    }

    fn ping() -> Record {
        let packet = Traced::of(&Frame::text(r#"42["ping"]"#));
        Record {
            t_us: 0,
            conn: "link".to_owned(),
            kind: Kind::Packet(Direction::Sent, packet),
            recipients: None,
        }
    }

    #[test]
    fn how_often_a_rule_holds() {
        #[track_caller]
        fn check(every: u64, probability: f64, at_most: Option<u64>, expected: &str) {
            let arguments = RuleArguments {
                when: vec!["type == \"ping\"".to_owned()],
                action: vec!["drop".to_owned()],
                every,
                probability,
                at_most,
                ..none()
            };
            let rules = Rules::of(&arguments, None).expect("rules");
            let mut gate = (rules.gates())().expect("gates")();
            let done: String = (0..8)
                .map(|_| gate.decide(ping()).map_or('-', |_| 'x'))
                .collect();
            assert_eq!(done, expected);
        }
        check(1, 1.0, None, "xxxxxxxx");
        check(3, 1.0, None, "--x--x--");
        check(2, 1.0, Some(2), "-x-x----");
        check(1, 0.0, None, "--------");
    }
}
