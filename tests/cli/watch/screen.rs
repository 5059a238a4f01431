//! The screen of `touchstone watch`, driven as a person drives it: in a pseudo-terminal.

use rustix::process::Signal;

use super::people::People;
use crate::support::{Served, check, signal};
use crate::terminal::Terminal;

/// Makes sessions, each of which is an event.
fn make_sessions(people: &People, tags: std::ops::Range<u32>) {
    for tag in tags {
        people.session(&format!("tag-{tag}"));
    }
}

/// The program on the tap of a server, connected.
fn watch(server: &Served) -> Terminal {
    let terminal = Terminal::start(&["watch", &server.url, "--tap"]);
    terminal.wait_for("1 open");
    terminal
}

#[test]
fn start_filter_pause_detail_quit() {
    let server = Served::start(&["--control"]);
    let terminal = watch(&server);
    let people = People::of(&server, 7);
    make_sessions(&people, 0..3);
    terminal.wait_for("following  4/4");

    terminal.send("f");
    terminal.wait_for("filter>");
    terminal.send("seq >");
    terminal.wait_for("not valid");
    terminal.send(" 1\r");
    terminal.wait_for("2 of 4");

    terminal.send(" ");
    terminal.wait_for("paused, 0 held");
    make_sessions(&people, 3..5);
    terminal.wait_for("paused, 2 held  2/2");
    terminal.send(" ");
    terminal.wait_for("2 events came meanwhile");

    terminal.send("\r");
    let screen = terminal.wait_for("valid: update/new-session");
    assert!(
        screen.contains(r#"{"type":"user-scoped-only"}"#),
        "{screen}"
    );
    terminal.send("?");
    terminal.wait_for("Moving around");
    terminal.send("\x1b");
    terminal.wait("list", |_, screen| {
        !screen.contents().contains("Moving around")
    });
    terminal.send("q");
    terminal.ends(0);
}

#[test]
fn ctrl_c_is_a_way_out() {
    let server = Served::start(&["--control"]);
    let terminal = watch(&server);
    terminal.send("\x03");
    terminal.ends(0);
}

#[test]
fn sigterm_gives_the_terminal_back() {
    let server = Served::start(&["--control"]);
    let terminal = watch(&server);
    signal(&terminal.child, Signal::TERM);
    terminal.ends(130);
}

#[test]
fn without_a_server_a_demonstration_is_shown_and_ends_with_the_screen() {
    let end = |how: &dyn Fn(&Terminal), code| {
        let terminal = Terminal::start(&["watch", "--filter", "new-message"]);
        // All connections of the load: two users, three sessions, two machines.
        let screen = terminal.wait_for("7 open");
        assert!(
            screen.contains("demonstration at http://127.0.0.1:"),
            "{screen}"
        );
        terminal.wait("update", |_, screen| {
            screen.contents().contains("upd  new-message")
        });
        how(&terminal);
        terminal.ends(code);
    };
    end(&|terminal| terminal.send("q"), 0);
    end(&|terminal| terminal.send("\x03"), 0);
    end(&|terminal| signal(&terminal.child, Signal::TERM), 130);
}

#[test]
fn a_lost_server_is_told_and_the_screen_can_be_left() {
    let server = Served::start(&[]);
    let terminal = Terminal::start(&["watch", &server.url]);
    terminal.wait_for("1 open");
    drop(server);
    let screen = terminal.wait_for("1 lost");
    assert!(screen.contains("attempt"), "{screen}");
    terminal.send("q");
    terminal.ends(0);
}

#[test]
fn a_recording_that_failed_is_told_on_leaving() {
    let server = Served::start(&[]);
    // No file can be made there, whoever tries.
    let path = "/proc/self/recording.jsonl";
    let terminal = Terminal::start(&["watch", &server.url, "--record", path]);
    terminal.wait_for("recording failed");
    terminal.wait_for("1 open");
    terminal.send("q");
    terminal.wait("reason", |received, _| {
        let told = format!("cannot record to {path}: ");
        received.closed && String::from_utf8_lossy(&received.bytes).contains(&told)
    });
    terminal.ends(12);
    check(
        &[
            "watch",
            &server.url,
            "--headless",
            "--record",
            "nowhere/recording.jsonl",
        ],
        2,
        &["nowhere/recording.jsonl: there is no such folder"],
    );
}

#[test]
fn what_cannot_be_shown_is_refused_before_the_terminal_is_taken() {
    check(
        &["watch", "127.0.0.1:1", "--tap"],
        2,
        &["stdout is not a terminal", "--headless"],
    );
    let keys = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(keys.path(), "[keys]\nleap = [\"x\"]\n").expect("a file");
    let path = keys.path().to_str().expect("a path");
    let terminal = Terminal::start(&["watch", "127.0.0.1:1", "--tap", "--keys", path]);
    terminal.wait("error", |received, _| {
        received.closed
            && String::from_utf8_lossy(&received.bytes).contains("unknown action \"leap\"")
    });
    terminal.ends(2);
    let ran = check(&["watch", "--print-keys"], 0, &[]);
    assert!(ran.stdout.contains("quit = [\"q\", \"ctrl-c\"]"));
}
