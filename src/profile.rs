//! Profiles: what a project says about its servers once, in `touchstone.toml`, instead of on every
//! command line. `fixtures/samples/touchstone.toml` is a commented sample.
//!
//! A profile only fills in what the command line leaves open; what it says means the same as the flag of
//! that name.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, anyhow};
use clap::ValueEnum as _;

use touchstone_client::SpawnCommand;
use touchstone_client::provision::ProvisionSpec;
use url::Url;

use crate::args::{self, CheckArguments, Level, ReachArguments};
use crate::error::Failure;

mod document;

use document::{Profile, find};

const FILE: &str = "touchstone.toml";

/// What a command knows of its server, to be filled in. What it has no use for is not there.
#[derive(Debug)]
pub(crate) struct Accused<'a> {
    pub(crate) urls: &'a mut Vec<Url>,
    pub(crate) reach: &'a mut ReachArguments,
    pub(crate) provision: Option<&'a mut Option<ProvisionSpec>>,
    pub(crate) spawn: Option<&'a mut Option<SpawnCommand>>,
    /// Whether it promises to keep what it acknowledged.
    pub(crate) durable: Option<&'a mut bool>,
}

/// Fills in the server of the profile that the arguments name, if they name one.
pub(crate) fn apply(accused: Accused<'_>) -> Result<(), Failure> {
    let named = accused.reach.profile.clone();
    with_profile(named.as_deref(), |mut profile, folder| {
        fill_server(accused, &mut profile, folder)
    })
}

/// As [`apply`], and which cases are run, and how.
pub(crate) fn apply_to_check(arguments: &mut CheckArguments) -> Result<(), Failure> {
    let named = arguments.target.reach.profile.clone();
    with_profile(named.as_deref(), |profile, folder| {
        fill(arguments, profile, folder)
    })
}

fn with_profile(
    name: Option<&str>,
    fill: impl FnOnce(Profile, &Path) -> anyhow::Result<()>,
) -> Result<(), Failure> {
    let Some(name) = name else {
        return Ok(());
    };
    let here = std::env::current_dir().context("there is no current folder")?;
    let found = here.ancestors().find(|folder| folder.join(FILE).is_file());
    let Some(folder) = found else {
        let problem = anyhow!("no {FILE} in {} or above it", here.display());
        return Err(Failure::usage(problem).hint("docs/conformance.md tells what it holds"));
    };
    let path = folder.join(FILE);
    let text = fs::read_to_string(&path)
        .with_context(|| format!("cannot read {}", path.display()))
        .map_err(Failure::usage)?;
    let profile = find(&text, name)
        .with_context(|| path.display().to_string())
        .map_err(Failure::usage)?;
    fill(profile, folder)
        .with_context(|| format!("{}: profile {name}", path.display()))
        .map_err(Failure::usage)
}

/// Sets what is not set yet. Paths of the profile are relative to `folder`, and its commands run there.
fn fill_server(accused: Accused<'_>, profile: &mut Profile, folder: &Path) -> anyhow::Result<()> {
    let Accused {
        urls,
        reach,
        provision,
        spawn,
        durable,
    } = accused;
    if urls.is_empty() {
        let stated = profile
            .urls
            .iter()
            .map(|url| parsed("urls", url, args::parse_base_url));
        *urls = stated.collect::<Result<_, _>>()?;
    }
    anyhow::ensure!(!urls.is_empty(), "urls: at least one is needed");
    or(&mut reach.path, profile.path.take());
    // Whoever verifies in one way on the command line does not in the other.
    if reach.cacert.is_none() && !reach.insecure {
        reach.cacert = profile.cacert.take().map(|file| folder.join(file));
        reach.insecure = profile.insecure;
    }
    anyhow::ensure!(
        reach.cacert.is_none() || !reach.insecure,
        "cacert and insecure: one of them"
    );
    if reach.header.is_empty() {
        reach.header = std::mem::take(&mut profile.header);
    }
    let connect_to = profile
        .connect_to
        .take()
        .map(|text| parsed("connect-to", &text, args::parse_address));
    or(&mut reach.connect_to, connect_to.transpose()?);
    if let (Some(set), Some(how)) = (provision, profile.provision.take()) {
        let spec = parsed("provision", &how, |how| {
            how.parse::<ProvisionSpec>()
                .map_err(|error| error.to_string())
        })?;
        or(set, Some(spec.relative_to(folder)));
    }
    if let (Some(set), Some(command)) = (spawn, profile.spawn.take()) {
        let command = SpawnCommand::parse(&command).context("spawn")?;
        or(set, Some(command.within(folder)));
    }
    if let Some(durable) = durable {
        *durable |= profile.durable;
    }
    Ok(())
}

fn fill(arguments: &mut CheckArguments, mut profile: Profile, folder: &Path) -> anyhow::Result<()> {
    let target = &mut arguments.target;
    let accused = Accused {
        urls: &mut target.urls,
        reach: &mut target.reach,
        provision: Some(&mut target.provision),
        spawn: Some(&mut target.spawn),
        durable: Some(&mut target.durable),
    };
    fill_server(accused, &mut profile, folder)?;
    let times = [
        ("rpc-timeout", &mut target.rpc_timeout, profile.rpc_timeout),
        (
            "connect-timeout",
            &mut target.connect_timeout,
            profile.connect_timeout,
        ),
        (
            "presence-timeout",
            &mut target.presence_timeout,
            profile.presence_timeout,
        ),
    ];
    for (key, set, stated) in times {
        let stated = stated.map(|text| parsed(key, &text, args::parse_duration));
        or(set, stated.transpose()?);
    }
    let selection = &mut arguments.selection;
    if selection.only.is_empty() {
        selection.only = profile.only;
    }
    if selection.skip.is_empty() {
        selection.skip = profile.skip;
    }
    let level = profile
        .level
        .map(|text| parsed("level", &text, |text| Level::from_str(text, false)));
    or(&mut selection.level, level.transpose()?);
    selection.no_hazards |= profile.no_hazards;
    selection.no_slow |= profile.no_slow;
    or(&mut arguments.jobs, profile.jobs.filter(|&jobs| jobs > 0));
    or(&mut arguments.settle, profile.settle);
    if arguments.baseline.is_empty() {
        let files = profile.baseline.iter().map(|file| folder.join(file));
        arguments.baseline = files.collect();
    }
    Ok(())
}

fn or<T>(set: &mut Option<T>, stated: Option<T>) {
    *set = set.take().or(stated);
}

fn parsed<T>(
    key: &str,
    text: &str,
    parse: impl FnOnce(&str) -> Result<T, String>,
) -> anyhow::Result<T> {
    parse(text).map_err(|problem| anyhow!("{key}: {text:?}: {problem}"))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::document::SAMPLE;
    use super::*;
    use crate::args::{Arguments, Command};

    fn arguments(words: &[&str]) -> CheckArguments {
        let words = [&["touchstone", "check"], words].concat();
        match Arguments::parse_from(words).command {
            Command::Check(arguments) => *arguments,
            other => panic!("{other:?}"),
        }
    }

    /// The profile of the sample and these flags mean the same as those. Headers are compared by
    /// themselves, since nothing else shows them whole.
    #[track_caller]
    fn check(name: &str, flags: &[&str], expected: &[&str]) {
        let mut filled = arguments(flags);
        let profile = find(SAMPLE, name).expect("a profile");
        fill(&mut filled, profile, Path::new("/project")).expect("a good profile");
        let mut expected = arguments(expected);
        // No flag says where a command of a profile runs.
        if let Some(spawn) = expected.target.spawn.take() {
            expected.target.spawn = Some(spawn.within(Path::new("/project")));
        }
        let headers = |arguments: &CheckArguments| -> Vec<String> {
            let headers = arguments.target.reach.header.iter();
            headers.map(|header| header.expose().to_owned()).collect()
        };
        assert_eq!(headers(&filled), headers(&expected));
        assert_eq!(format!("{filled:#?}"), format!("{expected:#?}"));
    }

    #[test]
    fn a_profile_says_what_its_flags_would() {
        let local = [
            "http://127.0.0.1:3006",
            "--path=/v1/updates",
            "--provision=rest",
            "--spawn=node dist/server.js",
            "--durable",
            "--rpc-timeout=2s",
            "--connect-timeout=5s",
            "--presence-timeout=10m",
        ];
        check("local", &[], &local);
        let staging = [
            "https://staging.example:8443/happy",
            "--cacert=/project/staging-ca.pem",
            "--header=X-Gate: opened-by-this",
            "--connect-to=10.0.0.7:8443",
        ];
        check("staging", &[], &staging);
        let ci = [
            "http://127.0.0.1:3006",
            "http://127.0.0.1:3007",
            "--only=*",
            "--skip=transport.polling",
            "--skip=transport.upgrade",
            "--level=should",
            "--no-hazards",
            "--no-slow",
            "--jobs=4",
            "--settle=500",
            "--baseline=/project/conformance/known.toml",
        ];
        check("ci", &[], &ci);
    }

    #[test]
    fn the_command_line_goes_before_the_profile() {
        let flags = [
            "http://127.0.0.1:4000",
            "--skip=rpc.*",
            "--jobs=2",
            "--level=must",
            "--baseline=mine.toml",
            "--provision=file:mine.toml",
        ];
        let rest = ["--only=*", "--no-hazards", "--no-slow", "--settle=500"];
        check("ci", &flags, &[&flags[..], &rest].concat());
    }

    #[test]
    fn what_is_no_profile_is_told() {
        #[track_caller]
        fn check(text: &str, expected: &str) {
            let folder = Path::new("/project");
            let outcome =
                find(text, "ci").and_then(|profile| fill(&mut arguments(&[]), profile, folder));
            assert_eq!(format!("{:#}", outcome.expect_err(text)), expected);
        }
        check("", "there is no profile \"ci\", but none");
        check(
            "[profiles.local]\n[profiles.far]",
            "there is no profile \"ci\", but far, local",
        );
        check(
            "[profiles.cii]",
            "there is no profile \"ci\"; did you mean \"cii\"?",
        );
        check(
            "[profiles.ci]\nspwan = 'x'",
            "line 2: there is no key spwan; did you mean spawn?",
        );
        check(
            "[profiles.ci]\nrpc-timeout = 2",
            "line 2: rpc-timeout: invalid type: integer `2`, expected a string; \
             write it like rpc-timeout = \"2s\"",
        );
        check("[profiles.ci]", "urls: at least one is needed");
        check(
            "[profiles.ci]\nurls = ['http://a']\nconnect-to = 'b'",
            "connect-to: \"b\": write it like 127.0.0.1:8443 or [::1]:8443",
        );
        check(
            "[profiles.ci]\nurls = ['http://a']\ncacert = 'b'\ninsecure = true",
            "cacert and insecure: one of them",
        );
        check(
            "[profiles.ci]\nurls = ['ftp://a']",
            "urls: \"ftp://a\": ftp is not a scheme of a server; use http or https",
        );
        check(
            "[profiles.ci]\nurls = ['http://a']\nrpc-timeout = '2'",
            "rpc-timeout: \"2\": time unit needed, for example 2sec or 2ms; write it like 15s or 250ms",
        );
    }
}
