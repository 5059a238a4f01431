//! Words for findings: lists, orders and texts as people write them, never debug output.

use std::fmt::Display;

use serde_json::Value;

/// How many items of a list are written out.
const LISTED: usize = 20;

/// A text in quotes.
pub fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

/// `1, 2, 3`; `nothing` where there is none, and only the first of very many.
pub fn list<T: Display>(items: impl IntoIterator<Item = T>) -> String {
    let mut items: Vec<_> = items.into_iter().map(|item| item.to_string()).collect();
    let more = items.len().saturating_sub(LISTED);
    items.truncate(LISTED);
    match (items.as_slice(), more) {
        ([], _) => "nothing".into(),
        (some, 0) => some.join(", "),
        (some, more) => format!("{} and {more} more", some.join(", ")),
    }
}

/// As [`list`], with `none` for what is missing.
pub fn list_or_none<T: Display>(items: impl IntoIterator<Item = Option<T>>) -> String {
    let item = |item: Option<T>| item.map_or_else(|| "none".into(), |item| item.to_string());
    list(items.into_iter().map(item))
}

/// What is wrong with the order of things that are numbered in the order in which they should have come:
/// `number 3 came after number 7 (2 of 40 came too late)`.
pub fn disorder(numbers: &[usize]) -> String {
    let mut highest = None;
    let mut late = Vec::new();
    for &number in numbers {
        match highest {
            Some(before) if number < before => late.push((number, before)),
            _ => highest = Some(number),
        }
    }
    match late.first() {
        None if numbers.is_empty() => "none of them came".into(),
        None => "in order".into(),
        Some((number, before)) => format!(
            "number {} came after number {} ({} of {} came too late)",
            number + 1,
            before + 1,
            late.len(),
            numbers.len()
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::*;

    #[test]
    fn lists_are_read_by_people() {
        assert_eq!(list([8, 7]), "8, 7");
        assert_eq!(list(0..0), "nothing");
        assert!(list(0..22).ends_with("18, 19 and 2 more"));
        assert_eq!(list_or_none([Some(8), None]), "8, none");
        assert_eq!(quoted("a \"b\"\n"), r#""a \"b\"\n""#);
    }

    #[test]
    fn a_disorder_is_one_sentence() {
        assert_eq!(disorder(&[0, 1, 2]), "in order");
        assert_eq!(disorder(&[]), "none of them came");
        assert_eq!(
            disorder(&[0, 2, 1, 4, 3]),
            "number 2 came after number 3 (2 of 5 came too late)"
        );
    }

    /// Every source file below `folder`.
    fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).expect("a folder of sources") {
            let path = entry.expect("an entry").path();
            match path.is_dir() {
                true => sources(&path, found),
                false => found.push(path),
            }
        }
    }

    #[test]
    fn no_debug_output_reaches_a_person() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let harness = root.join("src");
        let mut files = Vec::new();
        sources(&root.with_file_name("cases").join("src"), &mut files);
        for part in ["stage", "run", "report"] {
            sources(&harness.join(part), &mut files);
        }
        files.extend(["ctx.rs", "doctor.rs", "evidence.rs", "provide.rs"].map(|f| harness.join(f)));
        let mut wrong = Vec::new();
        for file in files
            .iter()
            .filter(|file| file.extension().is_some_and(|e| e == "rs"))
        {
            let text = std::fs::read_to_string(file).expect("a source");
            let judged = text.split("#[cfg(test)]").next().unwrap_or_default();
            for (number, line) in judged.lines().enumerate() {
                let is_debug = ["{:?}", "{:#?}", ":?}", ":#?}"]
                    .iter()
                    .any(|it| line.contains(it));
                if is_debug && !line.contains("panic!") && !line.contains("assert") {
                    wrong.push(format!(
                        "{}:{}: {}",
                        file.display(),
                        number + 1,
                        line.trim()
                    ));
                }
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}
