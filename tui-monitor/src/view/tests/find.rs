//! Finding things: hits that are marked, and entries that belong together.

use ratatui::style::Color;

use super::*;

/// The texts that are marked on the screen.
fn marked(stage: &Stage) -> Vec<String> {
    let buffer = stage.buffer();
    let mut found = Vec::new();
    let mut open = false;
    for cell in &buffer.content {
        let hit = cell.bg == Color::Yellow;
        if hit && !open {
            found.push(String::new());
        }
        if hit && let Some(text) = found.last_mut() {
            text.push_str(cell.symbol());
        }
        open = hit;
    }
    found
}

#[test]
fn hits_are_marked_in_the_list_and_in_the_detail() {
    let mut stage = Stage::busy((120, 40));
    assert_eq!(marked(&stage), [""; 0]);
    stage.keys("g/CMB1sess\n");
    let in_list = marked(&stage);
    assert!(in_list.len() >= 2 && in_list.iter().all(|text| text == "cmb1sess"));
    stage.keys("\n");
    assert!(marked(&stage).len() > in_list.len());
    // Closing the detail, then forgetting the search.
    stage.keys("\u{1b}\u{1b}");
    assert_eq!(marked(&stage), [""; 0]);
}

#[test]
fn without_colours_a_hit_is_bold_and_underlined() {
    let mut stage = Stage::busy((80, 24));
    stage.model.theme = Theme::Mono;
    stage.keys("/update-mach\n");
    let buffer = stage.buffer();
    let hit = |cell: &&ratatui::buffer::Cell| {
        cell.modifier
            .contains(ratatui::style::Modifier::UNDERLINED | ratatui::style::Modifier::BOLD)
    };
    // Below the header, whose lints are bold and underlined, too.
    let rows = buffer.content.iter().skip(3 * 80);
    let text: String = rows.filter(hit).map(|cell| cell.symbol()).collect();
    // So is the sign of what looks wrong.
    assert_eq!(text.replace('!', ""), "update-mach");
}

#[test]
fn a_detail_is_opened_at_the_hit() {
    let mut stage = Stage::busy((80, 24));
    stage.keys("g/updatedat\n\n");
    let shown = stage.text();
    assert!(shown.contains("\"updatedAt\": 1800000000000"), "{shown}");
    // Moving to another event begins there at its hit, too.
    stage.keys("n");
    assert_eq!(stage.selected(), Some(6));
    assert!(stage.text().contains("\"updatedAt\""), "{}", stage.text());
}

/// The hits of a text in the detail of a payload, line by line, at 40 columns.
#[track_caller]
fn check_wrapped(payload: &str, search: &str, expected: &[&str]) {
    let mut stage = Stage::new((40, 28));
    let mut long = entry(1, "activity");
    long.raw = payload.into();
    stage.send(input(long));
    stage.tick(1_000_000);
    stage.keys("\nz");
    assert_eq!(marked(&stage), [""; 0]);
    stage.keys(&format!("/{search}\n"));
    assert_eq!(marked(&stage), expected, "{}", stage.text());
}

#[test]
fn a_hit_is_marked_where_it_goes_on_in_the_next_line() {
    // 38 columns are within the frame, of which the string has 28 in its first line.
    let dots = ".".repeat(22);
    let text = format!(r#"{{"note":"{dots}needle and needle"}}"#);
    check_wrapped(&text, "needle", &["needl", "e", "needle"]);
    check_wrapped(&text, "NEEDLE AND", &["needl", "e and"]);
    let text = format!(r#"{{"note":"{}."}}"#, "ab".repeat(40));
    let (first, second) = (
        "ab".repeat(13) + "a",
        "b".to_owned() + &"ab".repeat(16) + "a",
    );
    let rest = "b".to_owned() + &"ab".repeat(9);
    check_wrapped(&text, &"ab".repeat(40), &[&first, &second, &rest]);
    // Indentation is no part of the text.
    let text = format!(r#"{{"note":"{dots}needl  e"}}"#);
    check_wrapped(&text, "needle", &[]);
}

#[test]
fn wide_characters_do_not_shift_the_marks() {
    let mut stage = Stage::new((120, 40));
    let mut wide = entry(1, "activity");
    wide.raw = r#"{"note":"日本語 here 日本語"}"#.into();
    stage.send(input(wide));
    stage.tick(1_000_000);
    stage.keys("/HERE\n\n");
    assert_eq!(marked(&stage).last().map(String::as_str), Some("here"));
    stage.keys("/本語 h\n");
    assert!(
        marked(&stage)
            .last()
            .is_some_and(|text| text.ends_with('h'))
    );
}

#[test]
fn a_change_and_its_updates_are_a_jump_apart() {
    let mut stage = Stage::new((120, 40));
    let mut change = entry(1, "update-metadata");
    change.kind = Kind::Call;
    change.direction = Direction::Sent;
    change.link = Some(1);
    stage.send(input(change));
    stage.send(input(entry(2, "activity")));
    let mut update = entry(3, "update-session");
    update.link = Some(1);
    update.latency_us = Some(1_400);
    stage.send(input(update));
    let mut answer = entry(4, "update-metadata");
    answer.kind = Kind::Ack;
    answer.link = Some(1);
    stage.send(input(answer));
    stage.tick(2_000_000);
    stage.keys("g\n");
    let shown = stage.text();
    assert!(
        shown.contains("belongs to #3 update update-session received after 1.4 ms"),
        "{shown}"
    );
    let mut visited = Vec::new();
    for _ in 0..3 {
        stage.keys("p");
        visited.extend(stage.selected());
    }
    assert_eq!(visited, [3, 4, 1]);
    stage.keys("jp");
    assert!(stage.text().contains("nothing else is known to belong"));
}

#[test]
fn times_are_told_in_four_ways() {
    let mut stage = Stage::busy((80, 24));
    stage.keys("g");
    for (title, first, second) in [
        ("time UTC", "08:00:00.250", "08:00:00.500"),
        ("time local", "10:00:00.250", "10:00:00.500"),
        ("since start", "       0.250", "       0.500"),
        ("since before", "             a1", "      +0.250"),
        ("time UTC", "08:00:00.250", "08:00:00.500"),
    ] {
        let shown = stage.text();
        let rows: Vec<&str> = shown.lines().collect();
        assert!(rows[3].contains(title), "{shown}");
        assert!(
            rows[4].contains(first) && rows[5].contains(second),
            "{shown}"
        );
        stage.keys("t");
    }
}
