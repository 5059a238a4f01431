//! The live view of `touchstone load`, driven as a person drives it: in a pseudo-terminal.

use rustix::process::Signal;

use super::desk::{Desk, long};
use crate::support::signal;
use crate::terminal::Terminal;

/// What takes the screen, and what is behind it.
const TAKEN: &str = "\x1b[?1049h";

/// What the live view leaves when it gives the terminal back.
const LEFT: &str = "\x1b[?1049l";

/// A run that lasts, with its report in `report.json`, and all of its connections open.
fn running(desk: &Desk, variables: &[(&str, &str)]) -> Terminal {
    running_with(desk, &[], variables)
}

fn running_with(desk: &Desk, more: &[&str], variables: &[(&str, &str)]) -> Terminal {
    let (long, to) = (long(desk), desk.json("report.json"));
    let arguments = [&["load", "--scenario", &long, "--report", &to], more].concat();
    let terminal = Terminal::start_with(&arguments, variables);
    terminal.wait_for("20 of 20 open");
    terminal
}

/// What stood on the screen, and what was written behind it.
fn parts(sent: &str) -> (&str, &str) {
    sent.rsplit_once(LEFT).expect("the view was left")
}

#[test]
fn a_run_is_drawn_and_q_ends_it_with_its_report() {
    let desk = Desk::new();
    let terminal = running(&desk, &[]);
    let screen = terminal.wait("first deliveries", |_, screen| {
        let text = screen.contents();
        text.contains("work") && text.contains("planned") && !text.contains("nothing has arrived")
    });
    for part in [
        "small.toml at scale 1, the embedded reference server",
        "fan-out, ms: median",
        "latency so far, ms",
        "updates  heartbeats",
        "events sent, 0 unsent",
        "deliveries/s:",
    ] {
        assert!(screen.contains(part), "no {part:?} on\n{screen}");
    }

    terminal.resize((200, 60));
    terminal.wait("use of the larger terminal", |_, screen| {
        let mut rows = screen.rows(0, 200);
        let text = screen.contents();
        rows.next()
            .is_some_and(|row| row.ends_with(" s") && row.len() > 190)
            && rows
                .last()
                .is_some_and(|row| row.contains("q ends the run"))
            && text.contains("by type of event")
            && text.contains("new-message ")
    });

    // Small enough that there are figures alone, and none is cut.
    terminal.resize((60, 15));
    terminal.wait("the figures alone", |_, screen| {
        let text = screen.contents();
        let words = [
            "delivered",
            "lost",
            "wrong",
            "20 of 20 open",
            "q ends the run",
        ];
        words.iter().all(|word| text.contains(word)) && !text.contains("fan-out, ms")
    });

    // Escape ends nothing, and neither does who does not mean it.
    let time = |screen: &str| screen.lines().next().map(str::to_owned);
    let before = time(&terminal.wait_for("q ends the run"));
    terminal.send("\x1b");
    terminal.wait("another second", |_, screen| {
        time(&screen.contents()) != before
    });
    for other in ["n", "\x1b"] {
        terminal.send("q");
        terminal.wait_for("end the run now?");
        terminal.send(other);
        terminal.wait_for("q ends the run");
    }
    terminal.send("q");
    terminal.wait_for("end the run now?");
    terminal.send("y");
    let sent = terminal.ends(0);
    let (drawn, summary) = parts(&sent);
    // Colours, without which the test of NO_COLOR would prove nothing.
    assert!(drawn.contains("\x1b[38;5;"), "{drawn:?}");
    assert!(summary.contains("INTERRUPTED"), "{summary}");
    assert_eq!(desk.read("report.json")["interrupted"], true);
}

#[test]
fn ctrl_c_ends_with_a_report_and_twice_without() {
    let desk = Desk::new();
    let terminal = running(&desk, &[]);
    terminal.send("\x03");
    let sent = terminal.ends(130);
    assert!(parts(&sent).1.contains("INTERRUPTED"), "{sent}");
    assert_eq!(desk.read("report.json")["interrupted"], true);

    let desk = Desk::new();
    let terminal = running(&desk, &[]);
    terminal.send("\x03\x03");
    let sent = terminal.ends(130);
    assert!(parts(&sent).1.contains("ended without a report"), "{sent}");
    assert!(!desk.path("report.json").exists());
}

#[test]
fn neither_logs_nor_a_signal_are_written_across_the_view() {
    let desk = Desk::new();
    let terminal = running(&desk, &[("TOUCHSTONE_LOG", "debug")]);
    signal(&terminal.child, Signal::TERM);
    let sent = terminal.ends(130);
    let (drawn, summary) = parts(&sent);
    let (before, drawn) = drawn.split_once(TAKEN).expect("the view");
    // What is logged before and behind the view shows that there are logs.
    let logged = |text: &str| text.contains("DEBUG") || text.contains("INFO");
    assert!(logged(before) || logged(summary), "{sent:?}");
    for part in ["DEBUG", "INFO", "ending the run"] {
        assert!(!drawn.contains(part), "{part} in {drawn:?}");
    }
    assert!(summary.contains("INTERRUPTED"), "{summary}");
    assert_eq!(desk.read("report.json")["interrupted"], true);
}

/// What stands on the screen is ASCII, and the summary has all of what it says.
#[test]
fn ascii_is_enough() {
    let desk = Desk::new();
    let terminal = running_with(&desk, &["--ascii"], &[]);
    let screen = terminal.wait("deliveries", |_, screen| {
        screen.contents().contains("deliveries/s:")
    });
    assert!(screen.is_ascii(), "{screen}");
    terminal.send("\x03");
    terminal.ends(130);
}

#[test]
fn no_color_is_respected() {
    let desk = Desk::new();
    let terminal = running(&desk, &[("NO_COLOR", "1")]);
    terminal.send("q");
    terminal.wait_for("end the run now?");
    terminal.send("y");
    let sent = terminal.ends(0);
    for colour in ["\x1b[38;", "\x1b[48;", "\x1b[31m", "\x1b[32m"] {
        assert!(!sent.contains(colour), "{colour:?} in {sent:?}");
    }
}

#[test]
fn what_cannot_be_drawn_on_takes_lines() {
    let desk = Desk::new();
    let (long, to) = (long(&desk), desk.json("report.json"));
    let arguments = ["load", "--scenario", &long, "--report", &to];
    // Within CI, too, where colours are often believed to be safe.
    for variables in [&[("TERM", "dumb")][..], &[("TERM", "dumb"), ("CI", "true")]] {
        let terminal = Terminal::start_with(&arguments, variables);
        terminal.wait_for("20 of 20 connections");
        terminal.send("\x03");
        let sent = terminal.ends(130);
        assert!(sent.contains("INTERRUPTED"), "{sent}");
        assert!(!sent.contains('\x1b'), "{sent:?}");
    }
}
