//! Filters of what is selected, and the cursor of the side pane.

use ratatui::style::Modifier;

use super::*;
use crate::keys::Keymap;

/// Presses keys, and tells the filter and what is said about it.
#[track_caller]
fn check(stage: &mut Stage, keys: &str, filter: &str, said: &str) {
    stage.keys(keys);
    assert_eq!(stage.model.filter.text(), filter, "after {keys:?}");
    let message = stage.model.message.as_ref();
    let message = message.map_or("", |message| message.text.as_str());
    assert!(message.contains(said), "{message:?} after {keys:?}");
}

#[test]
fn one_key_goes_through_what_the_selected_row_is() {
    let mut stage = Stage::busy((120, 40));
    stage.keys("gjj");
    assert_eq!(stage.selected(), Some(3));
    let of_type = r#"type == "new-message""#;
    let of_conn = r#"(conn == "a1/user" || "a1/user" in receivers)"#;
    check(
        &mut stage,
        "i",
        of_type,
        "only type new-message; i again: only session cmb1session",
    );
    assert_eq!((stage.model.list.len(), stage.selected()), (2, Some(3)));
    let of_session = r#"session == "cmb1session""#;
    check(
        &mut stage,
        "i",
        of_session,
        "i again: only connection a1/user",
    );
    check(&mut stage, "i", of_conn, "i again: as before");
    check(&mut stage, "i", "", "as before");
    assert_eq!(stage.model.list.len(), 14);
    // Another key in between begins anew, on what is there already.
    check(
        &mut stage,
        "ji",
        r#"type == "activity""#,
        "only type activity",
    );
    check(
        &mut stage,
        "ti",
        r#"type == "activity""#,
        "only type activity",
    );
    check(
        &mut stage,
        "Fx",
        r#"type != "activity""#,
        "type activity is hidden",
    );
    assert_eq!(stage.model.list.len(), 10);
    check(
        &mut stage,
        "gx",
        r#"type != "activity" && type != "new-message""#,
        "new-message is hidden",
    );
    stage.keys("Fg\n");
    check(&mut stage, "fcmb1\ni", of_type, "instead of the text");
    // What nobody selects makes no filter.
    let mut empty = Stage::new((80, 24));
    check(&mut empty, "i", "", "nothing is selected");
    check(&mut empty, "x", "", "nothing is selected");
}

#[test]
fn what_is_selected_in_the_side_pane_makes_a_filter() {
    let mut stage = Stage::busy((120, 40));
    stage.keys("\t");
    // The types, of which the first one is selected.
    check(
        &mut stage,
        "i",
        r#"type == "activity""#,
        "only type activity",
    );
    check(&mut stage, "i", "", "as before");
    check(
        &mut stage,
        "jx",
        r#"type != "rpc-call""#,
        "type rpc-call is hidden",
    );
    check(
        &mut stage,
        "i",
        r#"type == "rpc-call""#,
        "only type rpc-call",
    );
    // The connections: the account, then what belongs to it.
    check(&mut stage, "Fl\n", r#"account == "a1""#, "only account a1");
    let session = "(conn == \"a1/session:cmb1session\" || \"a1/session:cmb1session\" in receivers)";
    check(
        &mut stage,
        "Fjjji",
        session,
        "again: only session cmb1session",
    );
    assert_eq!(stage.model.list.len(), 2);
    check(
        &mut stage,
        "i",
        r#"session == "cmb1session""#,
        "only account a1",
    );
    check(&mut stage, "i", r#"account == "a1""#, "as before");
    check(
        &mut stage,
        "Fx",
        r#"conn != "a1/session:cmb1session""#,
        "is hidden",
    );
    // The calls: the method, then the call alone; enter goes to it.
    check(&mut stage, "Fli", r#"method == "a:bash""#, "only this call");
    check(&mut stage, "i", "link == 2", "as before");
    assert_eq!(stage.model.list.len(), 1);
    stage.keys("Fj\n");
    assert_eq!(stage.selected(), Some(8));
}

/// The texts of the rows that are marked as selected, and whether each is marked up to the edges.
fn marked(stage: &Stage) -> Vec<(String, bool)> {
    let buffer = stage.buffer();
    let (columns, rows) = stage.model.size;
    let is_marked = |x: u16, y: u16| buffer[(x, y)].modifier.contains(Modifier::REVERSED);
    let mut found = Vec::new();
    for y in 0..rows {
        let row: Vec<u16> = (0..columns).filter(|x| is_marked(*x, y)).collect();
        if let (Some(first), Some(last)) = (row.first(), row.last()) {
            let text = (*first..=*last).map(|x| buffer[(x, y)].symbol()).collect();
            let is_edge = |x: Option<u16>| match x {
                Some(x) if x < columns => buffer[(x, y)].symbol() == "│",
                _ => true,
            };
            let to_edges = is_edge(first.checked_sub(1)) && is_edge(last.checked_add(1));
            let no_gaps = row.len() == usize::from(last - first) + 1;
            found.push((text, to_edges && no_gaps));
        }
    }
    found
}

#[test]
fn the_selected_rows_are_marked_up_to_the_edges() {
    for theme in [Theme::Dark, Theme::Light, Theme::Mono] {
        for (keys, selected) in [
            ("vg!", "delete-session"),
            ("vgjj", "new-message"),
            ("v", "update-machine"),
            ("\tj", "rpc-call"),
            ("\tljj", "AAAAAAAAAAI"),
            ("\tll", "a:bash"),
            ("mM", "#14"),
        ] {
            let mut stage = Stage::busy((120, 40));
            stage.model.theme = theme;
            // Without the side pane, the list's row ends at the terminal's edge.
            stage.keys(keys);
            let marked = marked(&stage);
            let of_it: Vec<_> = marked
                .iter()
                .filter(|(row, _)| row.contains(selected))
                .collect();
            assert!(
                !of_it.is_empty() && of_it.iter().any(|(_, to_edges)| *to_edges),
                "{keys:?} in {theme:?}: {marked:?}"
            );
        }
    }
}

#[test]
fn rows_of_rates_stay_while_somebody_is_there() {
    let mut stage = Stage::busy((120, 40));
    let first = |stage: &Stage| {
        let rows = stage.model.rates.rows();
        rows.map(|(_, name, _)| name.to_string()).next().unwrap()
    };
    stage.keys("\tj");
    assert_eq!(first(&stage), "activity");
    let more = |stage: &mut Stage, from: u64, t_us| {
        for number in from..from + 20 {
            stage.send(input(entry(number, "usage")));
        }
        stage.tick(t_us);
    };
    more(&mut stage, 100, 20_000_000);
    more(&mut stage, 200, 40_000_000);
    assert_eq!(first(&stage), "activity");
    check(&mut stage, "i", r#"type == "rpc-call""#, "");
    // As soon as the keys go elsewhere, the order is that of now.
    stage.keys("\t");
    stage.tick(40_100_000);
    assert_eq!(first(&stage), "usage");
}

#[test]
fn a_newer_call_does_not_move_the_cursor() {
    let mut stage = Stage::busy((120, 40));
    stage.keys("\tll");
    for number in 100..130 {
        let mut call = entry(number, "rpc-call");
        (call.kind, call.link) = (Kind::Rpc, Some(number));
        call.direction = Direction::Sent;
        stage.send(input(call));
    }
    stage.tick(40_000_000);
    check(&mut stage, "ii", "link == 2", "");
    assert!(marked(&stage).iter().any(|(row, _)| row.contains("a:bash")));
}

#[test]
fn the_mouse_selects_in_the_side_pane() {
    let mut stage = Stage::busy((120, 40));
    let side = crate::layout::areas(&stage.model).side.unwrap();
    let [rates, connections, _] = crate::layout::sections(side);
    stage.mouse(
        MouseEventKind::Down(MouseButton::Left),
        rates.x + 3,
        rates.y + 3,
    );
    check(&mut stage, "i", r#"type == "new-message""#, "");
    stage.mouse(MouseEventKind::ScrollUp, rates.x + 3, rates.y + 3);
    check(&mut stage, "Fi", r#"type == "activity""#, "");
    stage.mouse(
        MouseEventKind::Down(MouseButton::Left),
        connections.x + 3,
        connections.y + 1,
    );
    check(&mut stage, "Fi", r#"account == "a1""#, "");
}

#[test]
fn the_footer_follows_the_focus() {
    let mut stage = Stage::busy((120, 40));
    let footer = |stage: &Stage| stage.text().lines().last().unwrap().to_owned();
    assert!(footer(&stage).starts_with("\" enter detail  f filter  i only  / search  ? help"));
    stage.keys("\t");
    assert!(footer(&stage).starts_with("\" i only  x hide  ? help  right section"));
    stage.keys("ll");
    assert!(footer(&stage).starts_with("\" enter detail  i only  x hide"));
    stage.keys("\t\n\t");
    assert!(
        footer(&stage).starts_with("\" esc back  z zoom  p pair"),
        "{}",
        footer(&stage)
    );
}

#[test]
fn saved_filters_have_keys_of_their_own_and_stand_in_the_help() {
    let mut stage = Stage::busy((120, 44));
    stage.model.keys = Keymap::parse(
        "[[filter]]\nkey = \"1\"\nname = \"machines\"\nshow = 'machine != null'\n\
         [[filter]]\nkey = \"ctrl-e\"\nname = \"messages\"\nshow = 'new-message'\n",
    )
    .unwrap();
    check(&mut stage, "1", "machine != null", "machines");
    assert_eq!(stage.model.list.len(), 1);
    // The file that the documentation shows is one.
    let page = include_str!("../../../../docs/watch.md");
    let (_, block) = page.split_once("```toml\n").expect("an example");
    let (block, _) = block.split_once("```").expect("its end");
    assert_eq!(Keymap::parse(block).unwrap().filters().len(), 1);
    // In a text field it is a character, and in a dialog nothing.
    stage.keys("/1\u{1b}?1");
    assert_eq!(stage.model.filter.text(), "machine != null");
    let help = stage.text();
    for part in ["Filters of your own", "machines: machine != null", "ctrl-e"] {
        assert!(help.contains(part), "no {part} in {help}");
    }
}
