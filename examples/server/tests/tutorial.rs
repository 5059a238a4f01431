//! The code of the tutorial is the code of this server.

use std::fs;
use std::path::Path;

#[test]
fn each_block_of_the_tutorial_stands_in_the_file_above_it() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let tutorial = include_str!("../../../docs/tutorial.md");
    let mut parts = tutorial.split("\n```");
    let mut blocks = 0;
    let mut above = parts.next().expect("text before the first block");
    while let (Some(block), Some(below)) = (parts.next(), parts.next()) {
        let (language, code) = block.split_once('\n').expect("a block with code");
        if language != "sh" {
            let file = above.trim_end().rsplit('\n').next().expect("a line").trim_matches('`');
            let text = fs::read_to_string(source.join(file)).expect(file);
            assert!(text.contains(code), "not in {file}:\n{code}");
            blocks += 1;
        }
        above = below;
    }
    assert!(blocks > 10, "the tutorial lost its code");
}
