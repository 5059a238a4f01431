//! Inside a crate, imports run one way: no circle of more than two modules (docs/architecture.md).
//!
//! Read as text: the paths of `use` declarations, and those that begin with `crate`, `super` or `self`
//! elsewhere. What a module takes from those below it does not count, since it stands for them: a circle
//! is between rooms, not between a room and its cupboards.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// How many modules may take from each other.
const PAIR: usize = 2;

type Module = Vec<String>;
type Graph = BTreeMap<Module, BTreeSet<Module>>;

#[test]
fn imports_run_one_way() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut wrong = Vec::new();
    for member in members(root) {
        let graph = graph(&root.join(&member).join("src"));
        for circle in circles(&graph).into_iter().filter(|one| one.len() > PAIR) {
            let names: Vec<_> = circle.iter().map(|one| one.join("::")).collect();
            wrong.push(format!("{member}: {}", names.join(", ")));
        }
    }
    assert!(
        wrong.is_empty(),
        "circles of imports:\n{}",
        wrong.join("\n")
    );
}

/// The folders of the workspace's crates.
fn members(root: &Path) -> Vec<String> {
    let manifest = fs::read_to_string(root.join("Cargo.toml")).expect("the manifest");
    let list = manifest.split("members = [").nth(1).expect("members");
    let list = list.split(']').next().expect("their end");
    let quoted = list.split('"').skip(1).step_by(2).map(str::to_owned);
    quoted.chain([".".to_owned()]).collect()
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|end| end == "rs") {
            found.push(path);
        }
    }
}

/// Which module takes something from which other one.
fn graph(src: &Path) -> Graph {
    let mut files = Vec::new();
    sources(src, &mut files);
    let names: BTreeMap<Module, PathBuf> = files
        .into_iter()
        .map(|file| (module(src, &file), file))
        .collect();
    let uses = |name: &Module, file: &Path| {
        let text = fs::read_to_string(file).expect("a source");
        let paths = paths(&text).into_iter();
        let modules = paths.filter_map(|path| target(&names, name, &path));
        // A module stands for those below it.
        modules.filter(|to| !to.starts_with(name)).collect()
    };
    let mut graph: Graph = names
        .iter()
        .map(|(name, file)| (name.clone(), uses(name, file)))
        .collect();
    // The root gives names to what all modules have.
    graph.remove(&Module::new());
    graph
}

fn module(src: &Path, file: &Path) -> Module {
    let below = file
        .strip_prefix(src)
        .expect("below src")
        .with_extension("");
    let mut parts: Module = below
        .iter()
        .map(|part| part.to_string_lossy().into_owned())
        .collect();
    if matches!(
        parts.last().map(String::as_str),
        Some("mod" | "lib" | "main")
    ) {
        parts.pop();
    }
    parts
}

/// The module that a path in `from` leads to, if it is one of the crate.
fn target(names: &BTreeMap<Module, PathBuf>, from: &Module, path: &[String]) -> Option<Module> {
    let mut base = from.clone();
    let mut path = path;
    match path.first()?.as_str() {
        "crate" => (base, path) = (Module::new(), &path[1..]),
        "self" => path = &path[1..],
        "super" => {
            while path.first().is_some_and(|part| part == "super") {
                base.pop();
                path = &path[1..];
            }
        }
        _ => {}
    }
    for part in path {
        base.push(part.clone());
        if !names.contains_key(&base) {
            base.pop();
            break;
        }
    }
    (base != *from).then_some(base)
}

/// The paths that a source names, without those of its tests.
fn paths(text: &str) -> Vec<Module> {
    let text = text
        .split("#[cfg(test)]\nmod tests")
        .next()
        .unwrap_or_default();
    let code: String = text
        .lines()
        .map(|line| line.split("//").next().unwrap_or_default())
        .fold(String::new(), |code, line| code + line + "\n");
    let mut found = Vec::new();
    let mut rest = String::new();
    for (nth, part) in code.split("use ").enumerate() {
        match part.split_once(';') {
            Some((tree, after)) if nth > 0 => {
                expand(&[], tree, &mut found);
                rest.push_str(after);
            }
            _ => rest.push_str(part),
        }
    }
    for start in ["crate::", "super::", "self::"] {
        for (at, _) in rest.match_indices(start) {
            let name = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
            let path: String = rest[at..].chars().take_while(|c| name(*c)).collect();
            found.push(parts(&path));
        }
    }
    found
}

fn parts(path: &str) -> Module {
    let path = path.split(" as ").next().unwrap_or_default();
    let parts = path.split("::").map(str::trim);
    parts
        .filter(|part| !part.is_empty())
        .map(str::to_owned)
        .collect()
}

/// Adds the paths of a `use` tree.
fn expand(prefix: &[String], tree: &str, found: &mut Vec<Module>) {
    let Some((head, group)) = tree.split_once('{') else {
        found.push([prefix, &parts(tree)].concat());
        return;
    };
    let prefix = [prefix, &parts(head)].concat();
    let group = group.rsplit_once('}').map_or(group, |(group, _)| group);
    let (mut depth, mut from) = (0, 0);
    for (at, c) in group.char_indices().chain([(group.len(), ',')]) {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                let one = &group[from..at];
                if !one.trim().is_empty() {
                    expand(&prefix, one, found);
                }
                from = at + 1;
            }
            _ => {}
        }
    }
}

/// The groups of modules in which each one leads to every other one.
fn circles(graph: &Graph) -> Vec<Vec<Module>> {
    let reached: BTreeMap<&Module, BTreeSet<&Module>> = graph
        .keys()
        .map(|from| {
            let mut reached = BTreeSet::new();
            let mut open: Vec<&Module> = graph[from].iter().collect();
            while let Some(module) = open.pop() {
                if graph.contains_key(module) && reached.insert(module) {
                    open.extend(&graph[module]);
                }
            }
            (from, reached)
        })
        .collect();
    let mut circles = BTreeSet::new();
    for (from, to) in &reached {
        let circle = to.iter().filter(|other| reached[**other].contains(*from));
        circles.insert(circle.map(|one| (*one).clone()).collect::<Vec<_>>());
    }
    circles.into_iter().collect()
}

#[test]
fn trees_of_imports_are_read() {
    let found =
        paths("use crate::{a::{B, c::D}, e as f};\nfn g() { super::h::i() } // use crate::no;\n");
    let found: Vec<_> = found.iter().map(|path| path.join("::")).collect();
    assert_eq!(
        found,
        ["crate::a::B", "crate::a::c::D", "crate::e", "super::h::i"]
    );
}

#[test]
fn circles_are_found() {
    let name = |name: &str| vec![name.to_owned()];
    let graph: Graph = [("a", "b"), ("b", "c"), ("c", "a"), ("d", "a")]
        .map(|(from, to)| (name(from), BTreeSet::from([name(to)])))
        .into();
    let largest = circles(&graph).into_iter().max_by_key(Vec::len);
    assert_eq!(largest, Some(vec![name("a"), name("b"), name("c")]));
}
