//! The commands of every document are commands that the program takes. What they do, the tests of each
//! subject say; those of the README, of the tutorial and of the recipes are run as they stand.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::check;

/// Documents with commands: all of `docs/`, and those beside the code that they are about.
fn documents() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = ["CONTRIBUTING.md", "README.md", "benches/README.md"]
        .map(|name| root.join(name))
        .to_vec();
    for entry in fs::read_dir(root.join("docs")).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.extension().is_some_and(|extension| extension == "md") {
            found.push(path);
        }
    }
    found
}

/// Each line of the shell blocks that runs the program: its arguments, up to a comment or whatever else
/// the shell does with them.
fn commands(text: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for block in text.split("\n```sh\n").skip(1) {
        let (block, _) = block.split_once("\n```").expect("the end of a block");
        for line in block.replace("\\\n", " ").lines() {
            let line = line.split(" #").next().unwrap_or_default();
            let ours = ["touchstone ", "cargo run --release -- ", "cargo run -- "];
            let Some(arguments) = ours.iter().find_map(|start| line.strip_prefix(start)) else {
                continue;
            };
            let words = shell_words::split(arguments).expect(line);
            let own = words
                .into_iter()
                .take_while(|word| !["|", ">", "&", "&&", ";"].contains(&word.as_str()));
            found.push(own.collect());
        }
    }
    found
}

#[test]
fn the_program_takes_every_command() {
    let mut count = 0;
    for path in documents() {
        let text = fs::read_to_string(&path).expect("text");
        for command in commands(&text) {
            // The help is shown once all words before it are understood.
            let mut words: Vec<_> = command.iter().map(String::as_str).collect();
            words.push("--help");
            check(&words, 0, &[]);
            count += 1;
        }
    }
    assert!(
        count > 40,
        "only {count} commands: the documents lost theirs"
    );
}
