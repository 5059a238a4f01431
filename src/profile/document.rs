//! The text of `touchstone.toml`: what a profile may say, and what is wrong with one that says it badly.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::anyhow;
use serde::Deserialize;
use touchstone_client::Secret;

use touchstone_output::suggest;

/// A file that has every key.
pub(crate) const SAMPLE: &str = include_str!("../../fixtures/samples/touchstone.toml");

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(default)]
    profiles: BTreeMap<String, Profile>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(crate) struct Profile {
    pub(crate) urls: Vec<String>,
    pub(crate) path: Option<String>,
    pub(crate) cacert: Option<PathBuf>,
    pub(crate) insecure: bool,
    pub(crate) header: Vec<Secret>,
    pub(crate) connect_to: Option<String>,
    pub(crate) provision: Option<String>,
    pub(crate) spawn: Option<String>,
    pub(crate) durable: bool,
    pub(crate) rpc_timeout: Option<String>,
    pub(crate) connect_timeout: Option<String>,
    pub(crate) presence_timeout: Option<String>,
    pub(crate) only: Vec<String>,
    pub(crate) skip: Vec<String>,
    pub(crate) level: Option<String>,
    pub(crate) no_hazards: bool,
    pub(crate) no_slow: bool,
    pub(crate) jobs: Option<u16>,
    pub(crate) settle: Option<u64>,
    pub(crate) baseline: Vec<PathBuf>,
}

/// The profile of this name.
pub(crate) fn find(text: &str, name: &str) -> anyhow::Result<Profile> {
    let mut document: Document = toml::from_str(text).map_err(|error| {
        let line = suggest::line_of(text, error.span().map(|span| span.start));
        let value = error.span().map_or("", |span| &text[..span.start]);
        anyhow!("line {line}: {}", problem(error.message(), value))
    })?;
    document.profiles.remove(name).ok_or_else(|| {
        let known: Vec<_> = document.profiles.keys().map(String::as_str).collect();
        if let Some(meant) = suggest::closest(name, known.iter().copied()) {
            return anyhow!("there is no profile {name:?}; did you mean {meant:?}?");
        }
        let known = match known.is_empty() {
            true => "none".to_owned(),
            false => known.join(", "),
        };
        anyhow!("there is no profile {name:?}, but {known}")
    })
}

/// What is wrong with the file, and what was meant. `before` is the text before the place.
fn problem(message: &str, before: &str) -> String {
    if message.starts_with("unknown field") {
        let unknown = message.split('`').nth(1).unwrap_or_default();
        return match suggest::closest_key(message) {
            Some(meant) => format!("there is no key {unknown}; did you mean {meant}?"),
            None => message.to_owned(),
        };
    }
    // A value of a wrong type stands behind its key.
    let key = before.lines().last().and_then(|line| line.split_once('='));
    let Some((key, _)) = key else {
        return message.to_owned();
    };
    let is_of_key = |line: &&str| {
        line.split_once('=')
            .is_some_and(|(k, _)| k.trim() == key.trim())
    };
    match SAMPLE.lines().find(is_of_key) {
        Some(example) => format!("{}: {message}; write it like {example}", key.trim()),
        None => format!("{}: {message}", key.trim()),
    }
}
