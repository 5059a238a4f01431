//! Named ways in which a right server may differ from the reference server.
//!
//! A fault shows that a suite catches a wrong server; a liberty shows that it blames no right one. Each
//! rests on a decision that leaves a choice, and is a value of its own that takes part at the
//! [seams](touchstone_reference_server::seams); several together are a [`Chain`].
//!
//! # Adding a liberty
//!
//! 1. A type that implements [`Seams`], in the module of its subject.
//! 2. A row of `table.rs`: its name on the command line, what the server does, what allows it.
//! 3. `cargo test --test liberties`, and `UPDATE=1 cargo test --test liberties document` for
//!    `docs/liberties.md`. Where a case fails, the case is wrong, or the liberty is none.

use std::sync::Arc;

use touchstone_reference_server::Config;
use touchstone_reference_server::seams::Seams;

mod delivery;
mod generations;
mod handshake;
mod numbers;
mod presence;
mod rpc;
mod surface;
mod table;
mod timing;
mod values;

pub(crate) use timing::{Lanes, after};

use crate::chain::Chain;

/// What there is to know of a liberty.
#[derive(Clone, Copy, Debug)]
pub struct LibertyInfo {
    /// The part of the protocol that it concerns.
    pub layer: &'static str,
    /// Its name on the command line.
    pub name: &'static str,
    /// The name of its argument, and its value if none is given.
    pub argument: Option<(&'static str, u64)>,
    /// What the server does.
    pub description: &'static str,
    /// What allows it.
    pub basis: &'static str,
    make: fn(u64) -> Arc<dyn Seams>,
}

/// Why liberties cannot be taken as they were asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LibertyError {
    /// No liberty has this name.
    #[error("unknown liberty {0:?}")]
    Unknown(String),
    /// The liberty takes no argument.
    #[error("liberty {0} takes no argument")]
    NoArgument(&'static str),
    /// The argument is not what the liberty takes.
    #[error("liberty {name}: {argument:?} is not a whole number from 1 to {MAX_ARGUMENT}")]
    BadArgument {
        /// The liberty.
        name: &'static str,
        /// What was given.
        argument: String,
    },
}

/// The largest argument: no client waits for longer, in milliseconds.
const MAX_ARGUMENT: u64 = 600_000;

/// All liberties that exist, part by part.
#[must_use]
pub fn liberties() -> &'static [LibertyInfo] {
    table::TABLE
}

/// Liberties that a server takes.
#[derive(Debug)]
pub struct Liberties(Vec<Arc<dyn Seams>>);

impl Liberties {
    /// Liberties by name, each as `name` or `name=N`. They act in the order of the table.
    ///
    /// # Errors
    /// When a name or an argument is wrong.
    pub fn parse<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Self, LibertyError> {
        let mut chosen = Vec::new();
        for text in names {
            let (name, argument) = match text.split_once('=') {
                Some((name, argument)) => (name, Some(argument)),
                None => (text, None),
            };
            let place = table::TABLE.iter().position(|known| known.name == name);
            let place = place.ok_or_else(|| LibertyError::Unknown(name.to_owned()))?;
            let known = &table::TABLE[place];
            let argument = match (known.argument, argument) {
                (None, None) => 0,
                (None, Some(_)) => return Err(LibertyError::NoArgument(known.name)),
                (Some((_, default)), None) => default,
                (Some(_), Some(argument)) => argument
                    .parse()
                    .ok()
                    .filter(|number| (1..=MAX_ARGUMENT).contains(number))
                    .ok_or_else(|| LibertyError::BadArgument {
                        name: known.name,
                        argument: argument.to_owned(),
                    })?,
            };
            chosen.push((place, (known.make)(argument)));
        }
        chosen.sort_by_key(|(place, _)| *place);
        Ok(Self(
            chosen.into_iter().map(|(_, liberty)| liberty).collect(),
        ))
    }

    /// The same settings for a server with these liberties.
    #[must_use]
    pub fn applied_to(self, config: Config) -> Config {
        Config {
            seams: Chain::of(config.seams.into_iter().chain(self.0).collect()),
            ..config
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_sentences_whole() {
        let mut names: Vec<_> = liberties().iter().map(|known| known.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), liberties().len());
        for known in liberties() {
            assert!(Liberties::parse([known.name]).is_ok(), "{}", known.name);
            for sentence in [known.description, known.basis] {
                let is_whole = !sentence.is_empty() && !sentence.ends_with('.');
                assert!(is_whole, "{}: {sentence}", known.name);
            }
        }
    }

    #[track_caller]
    fn check(name: &str, expected: &str) {
        assert_eq!(Liberties::parse([name]).unwrap_err().to_string(), expected);
    }

    #[test]
    fn wrong_names_are_explained() {
        check("nope", "unknown liberty \"nope\"");
        check("wide=3", "liberty wide takes no argument");
        let wrong = "liberty latency: \"0\" is not a whole number from 1 to 600000";
        check("latency=0", wrong);
        assert!(Liberties::parse(["latency=5", "wide"]).is_ok());
    }
}
