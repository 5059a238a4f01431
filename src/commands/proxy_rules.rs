//! Rules of a proxy: what is done to which messages.

use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, anyhow};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::sync::mpsc;
use touchstone_client::trace::Record;
use touchstone_proxy::{Action, Gate, Gates, Held};
use touchstone_tui_monitor::event::Entry;
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

/// All rules, in their order. The first that holds is the one that is done.
struct Rules {
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

/// What makes the gates of connections. Nothing where there is no rule. What a rule holds is given to
/// `hold`, where there is a screen.
pub(crate) fn gates(
    arguments: &RuleArguments,
    hold: Option<mpsc::Sender<Holding>>,
) -> Result<Option<Gates>, Failure> {
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
    if rules.is_empty() {
        return Ok(None);
    }
    if hold.is_none() && rules.iter().any(|rule| rule.action == Action::Hold) {
        let error = anyhow!("nobody could let go on what is held: --headless has no screen");
        return Err(Failure::usage(error).hint("leave out --headless, or use delay=2s"));
    }
    let random = StdRng::seed_from_u64(arguments.seed.unwrap_or_else(rand::random));
    let rules = Arc::new(Mutex::new(Rules { rules, random }));
    Ok(Some(Arc::new(move || {
        Box::new(Judged {
            rules: Arc::clone(&rules),
            preview: Preview::default(),
            entry: None,
            hold: hold.clone(),
        })
    })))
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
    rules: Arc<Mutex<Rules>>,
    preview: Preview,
    /// The message that is held next.
    entry: Option<Entry>,
    hold: Option<mpsc::Sender<Holding>>,
}

impl Gate for Judged {
    fn decide(&mut self, record: Record) -> Option<Action> {
        let entry = self.preview.entry(record)?;
        let mut rules = self.rules.lock().unwrap_or_else(PoisonError::into_inner);
        let Rules { rules, random } = &mut *rules;
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
        self.entry = Some(entry).filter(|_| action == Some(Action::Hold));
        action
    }

    fn hold(&mut self, held: Held) {
        // What cannot be shown goes on.
        if let (Some(hold), Some(entry)) = (&self.hold, self.entry.take()) {
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
    fn how_often_a_rule_holds() {
        #[track_caller]
        fn check(every: u64, probability: f64, at_most: Option<u64>, expected: &str) {
            let arguments = RuleArguments {
                when: vec!["type == \"ping\"".to_owned()],
                action: vec!["drop".to_owned()],
                every,
                probability,
                at_most,
                seed: Some(7),
                rules: None,
            };
            let gates = gates(&arguments, None).ok().flatten().expect("gates");
            let mut gate = gates();
            let done: String = (0..8)
                .map(|_| {
                    let packet = Traced::of(&Frame::text(r#"42["ping"]"#));
                    let record = Record {
                        t_us: 0,
                        conn: "link".to_owned(),
                        kind: Kind::Packet(Direction::Sent, packet),
                        recipients: None,
                    };
                    if gate.decide(record).is_some() {
                        'x'
                    } else {
                        '-'
                    }
                })
                .collect();
            assert_eq!(done, expected);
        }
        check(1, 1.0, None, "xxxxxxxx");
        check(3, 1.0, None, "--x--x--");
        check(2, 1.0, Some(2), "-x-x----");
        check(1, 0.0, None, "--------");
    }
}
