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

#[test]
fn every_command_has_a_manual_page() {
    let folder = tempfile::tempdir().expect("a folder");
    // A folder that is not there yet is made.
    let pages = folder.path().join("new/pages");
    let path = pages.display().to_string();
    check(&["man", &path], 0, &[]);
    for page in ["touchstone", "touchstone-check", "touchstone-load-merge"] {
        let text = std::fs::read_to_string(pages.join(format!("{page}.1"))).expect(page);
        assert!(text.contains(".SH SYNOPSIS"), "{page}:\n{text}");
    }
    let file = pages.join("touchstone.1").display().to_string();
    check(&["man", &file], 2, &["failed to write manual pages to"]);
}

/// A name that is all but a known one, wherever names are typed.
#[test]
fn what_was_meant_is_suggested() {
    let rows: [(&[&str], i32, &str); 6] = [
        (
            &["check", "--only", "mesage.recipients"],
            4,
            "did you mean message.recipients?",
        ),
        (
            &["check", "--only", "rpc.call", "--only", "mesage.*"],
            4,
            "did you mean message.*?",
        ),
        (
            &["check", "--only", "ping.*", "--skip", "rpc.cal"],
            0,
            "did you mean rpc.call?",
        ),
        (
            &["check", "--fault", "lost-updat=2"],
            2,
            "did you mean lost-update?",
        ),
        (&["serve", "--fault", "no-akc"], 2, "did you mean no-ack?"),
        (
            &["explain", "mesage.recipients"],
            4,
            "did you mean message.recipients?",
        ),
    ];
    for (arguments, code, part) in rows {
        check(arguments, code, &[part]);
    }
}

#[test]
fn each_line_of_a_list_ends_or_says_that_it_goes_on() {
    let ran = check(&["check", "--list"], 0, &[]);
    for line in ran.stdout.lines() {
        let line = line
            .trim_end_matches(" (slow)")
            .trim_end_matches(" (hazardous)");
        assert!(line.ends_with(['.', ':', '…']), "{line}");
    }
}
