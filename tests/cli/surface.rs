//! What the program says about itself.

use crate::support::check;

#[test]
fn help() {
    for arguments in [
        &["--help"][..],
        &["check", "--help"],
        &["compare", "--help"],
        &["load", "--help"],
        &["serve", "--help"],
        &["watch", "--help"],
    ] {
        let ran = check(arguments, 0, &[]);
        assert!(
            ran.stdout.lines().all(|line| line.chars().count() <= 100),
            "{}",
            ran.stdout
        );
        insta::assert_snapshot!(
            format!("help_{}", arguments[0].trim_matches('-')),
            ran.stdout
        );
    }
}

#[test]
fn without_arguments_it_shows_its_help() {
    check(&[], 2, &["Usage: touchstone"]);
}

#[test]
fn every_listed_case_can_be_explained() {
    let listed = check(&["check", "--list"], 0, &[]).stdout;
    let explained = check(&["explain", "*"], 0, &[]).stdout;
    for line in listed.lines() {
        let id = line.split_whitespace().next().expect("an id");
        assert!(
            explained.contains(&format!("{id}\n")),
            "{id} is not explained"
        );
    }
    check(&["explain", "handshake.admits-user"], 4, &["did you mean"]);
}

#[test]
fn completions_name_every_command() {
    for shell in ["bash", "fish", "zsh"] {
        let script = check(&["completions", shell], 0, &[]).stdout;
        for command in ["check", "load", "serve", "explain", "completions"] {
            assert!(script.contains(command), "{shell}: {command}");
        }
    }
}
