//! What the dependency graph must look like: the directions of docs/architecture.md, licences that
//! an MIT project can ship, and no second version of a crate without a reason.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, PackageId};

/// For each crate of the workspace: the crates of ours that it may use, and those that only its
/// tests may use. A crate that is missing here fails the test, so that a new one gets its line.
const DIRECTIONS: &[(&str, &[&str], &[&str])] = &[
    ("touchstone-fixtures", &[], &[]),
    ("touchstone-output", &[], &[]),
    (
        "touchstone-client",
        &["touchstone-fixtures", "touchstone-output"],
        &[],
    ),
    ("touchstone-harness", OUTSIDE, &[]),
    (
        "touchstone-cases",
        &[
            "touchstone-client",
            "touchstone-fixtures",
            "touchstone-harness",
            "touchstone-output",
        ],
        &[],
    ),
    (
        "touchstone-replay",
        &[
            "touchstone-client",
            "touchstone-fixtures",
            "touchstone-harness",
            "touchstone-history",
            "touchstone-output",
        ],
        &[],
    ),
    (
        "touchstone-explore",
        &[
            "touchstone-client",
            "touchstone-history",
            "touchstone-output",
        ],
        &[],
    ),
    ("touchstone-history", OUTSIDE, &[]),
    ("touchstone-loadgen", OUTSIDE, &[]),
    (
        "touchstone-reference-server",
        &[],
        // The suite judges the server in a test of its own (reference-server/tests/judge.rs).
        &[
            "touchstone-cases",
            "touchstone-client",
            "touchstone-fixtures",
            "touchstone-harness",
        ],
    ),
    (
        "touchstone-reference-faults",
        &["touchstone-reference-server"],
        &["touchstone-client"],
    ),
    (
        "touchstone-reference-storage",
        &["touchstone-reference-server"],
        // The suite judges what is kept (reference-server/storage/tests/judge.rs).
        &[
            "touchstone-cases",
            "touchstone-client",
            "touchstone-harness",
        ],
    ),
    (
        "touchstone-tui-monitor",
        &[
            "touchstone-client",
            "touchstone-fixtures",
            "touchstone-history",
            "touchstone-output",
        ],
        &[],
    ),
    ("touchstone-proxy", OUTSIDE, &[]),
    ("touchstone", EVERYTHING, &[]),
    ("touchstone-benches", EVERYTHING, &[]),
    ("touchstone-interop", EVERYTHING, &[]),
    // Written as its users write theirs: it shares nothing with us but the wire.
    ("example-server", &[], &[]),
];

/// What every crate uses that looks at a server from outside.
const OUTSIDE: &[&str] = &[
    "touchstone-client",
    "touchstone-fixtures",
    "touchstone-output",
];

const EVERYTHING: &[&str] = &[
    "touchstone-cases",
    "touchstone-client",
    "touchstone-explore",
    "touchstone-fixtures",
    "touchstone-harness",
    "touchstone-history",
    "touchstone-loadgen",
    "touchstone-output",
    "touchstone-replay",
    "touchstone-proxy",
    "touchstone-reference-faults",
    "touchstone-reference-server",
    "touchstone-reference-storage",
    "touchstone-tui-monitor",
];

/// Crates that judge. None of them may contain the code that an accused server is built with.
const JUDGES: &[&str] = &[
    "touchstone-fixtures",
    "touchstone-output",
    "touchstone-client",
    "touchstone-harness",
    "touchstone-cases",
    "touchstone-replay",
    "touchstone-history",
    "touchstone-explore",
    "touchstone-loadgen",
    "touchstone-tui-monitor",
    "touchstone-proxy",
];
const SERVER_SIDE: &[&str] = &[
    "touchstone-reference-faults",
    "touchstone-reference-server",
    "touchstone-reference-storage",
    "sqlx",
    "socketioxide",
    "engineioxide",
    "axum",
    "rust_socketio",
];

/// Licences that ask for no more than their text being kept.
const LICENCES: &[&str] = &[
    "MIT",
    "MIT-0",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "OpenSSL",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Crates of which two versions are built, and why we cannot help it.
const DUPLICATES: &[(&str, &str)] = &[
    (
        "base64",
        "engineioxide-core and reqwest ask for different minor versions",
    ),
    (
        "bit-set",
        "jsonschema's fancy-regex and cel's parser pin different versions",
    ),
    (
        "bit-vec",
        "fancy-regex and proptest reach it through different bit-set versions",
    ),
    (
        "block-buffer",
        "sqlx-core, for the digests of migrations, is a generation behind",
    ),
    ("cpufeatures", "as block-buffer"),
    ("crypto-common", "as block-buffer"),
    ("digest", "as block-buffer"),
    (
        "getrandom",
        "ring, ahash and rand each pin their own generation",
    ),
    (
        "hashbrown",
        "hashlink, under sqlx-core, is a version behind",
    ),
    (
        "itertools",
        "criterion and ratatui; benches only and the binary",
    ),
    (
        "matchit",
        "axum and socketioxide pin different versions; the example server only",
    ),
    ("nom", "cel and hdrhistogram pin different generations"),
    ("sha2", "as block-buffer"),
    (
        "syn",
        "derive macros are moving from 2 to 3; build time only",
    ),
    ("synstructure", "as syn"),
    ("vte", "quick-junit, and in tests vt100"),
];

fn metadata() -> Metadata {
    MetadataCommand::new()
        .manifest_path(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml"))
        .other_options([
            "--locked".to_owned(),
            "--filter-platform".to_owned(),
            target(),
        ])
        .exec()
        .expect("cargo metadata")
}

/// The platform that the tests are built for; other platforms' crates need not be downloaded.
fn target() -> String {
    format!("{}-unknown-linux-gnu", std::env::consts::ARCH)
}

#[test]
fn crates_know_only_what_the_architecture_allows() {
    let metadata = metadata();
    let ours: BTreeSet<&str> = metadata
        .workspace_packages()
        .iter()
        .map(|package| package.name.as_str())
        .collect();
    let mut wrong = Vec::new();
    for package in metadata.workspace_packages() {
        let Some((_, uses, tests_use)) = DIRECTIONS
            .iter()
            .find(|(name, ..)| *name == package.name.as_str())
        else {
            wrong.push(format!("{} has no line in DIRECTIONS", package.name));
            continue;
        };
        for dependency in package
            .dependencies
            .iter()
            .filter(|d| ours.contains(d.name.as_str()))
        {
            let name = dependency.name.as_str();
            let in_tests = dependency.kind == DependencyKind::Development;
            if !(uses.contains(&name) || in_tests && tests_use.contains(&name)) {
                wrong.push(format!("{} must not depend on {name}", package.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn judges_share_no_code_with_the_accused() {
    let metadata = metadata();
    for judge in JUDGES {
        let closure = closure_of(&metadata, judge);
        assert!(
            closure.len() > 1,
            "{judge}: the graph of dependencies was not read"
        );
        for accused in SERVER_SIDE {
            assert!(
                !closure.contains(*accused),
                "{judge} must not contain {accused}"
            );
        }
    }
}

#[test]
fn licences_are_compatible_with_mit() {
    let accepted: Vec<spdx::Licensee> = LICENCES
        .iter()
        .map(|licence| spdx::Licensee::parse(licence).expect(licence))
        .collect();
    let wrong: Vec<String> = metadata()
        .packages
        .iter()
        .filter_map(|package| {
            let name = format!("{} {}", package.name, package.version);
            let Some(text) = &package.license else {
                return Some(format!("{name}: none stated"));
            };
            let expression = spdx::Expression::parse_mode(text, spdx::ParseMode::LAX)
                .unwrap_or_else(|error| panic!("{name}: {text}: {error}"));
            let fits = expression
                .evaluate(|wanted| accepted.iter().any(|licensee| licensee.satisfies(wanted)));
            (!fits).then(|| format!("{name}: {text}"))
        })
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn no_crate_is_built_twice_without_a_reason() {
    let metadata = metadata();
    let mut versions: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for package in &metadata.packages {
        versions
            .entry(package.name.as_str())
            .or_default()
            .insert(package.version.to_string());
    }
    let duplicated: BTreeSet<&str> = versions
        .iter()
        .filter(|(_, found)| found.len() > 1)
        .map(|(name, _)| *name)
        .collect();
    let excused: BTreeSet<&str> = DUPLICATES.iter().map(|(name, _)| *name).collect();
    let new: Vec<_> = duplicated
        .difference(&excused)
        .map(|name| (name, &versions[*name]))
        .collect();
    assert!(new.is_empty(), "built in several versions: {new:?}");
    let stale: Vec<_> = excused.difference(&duplicated).collect();
    assert!(
        stale.is_empty(),
        "no longer built twice, remove the excuse: {stale:?}"
    );
}

/// Names of all packages that `root` and its tests are built from.
fn closure_of<'a>(metadata: &'a Metadata, root: &str) -> BTreeSet<&'a str> {
    let names: BTreeMap<&PackageId, &str> = metadata
        .packages
        .iter()
        .map(|package| (&package.id, package.name.as_str()))
        .collect();
    let graph = metadata.resolve.as_ref().expect("a resolved graph");
    let mut open: Vec<&PackageId> = names
        .iter()
        .filter(|(_, name)| **name == root)
        .map(|(id, _)| *id)
        .collect();
    let mut seen = BTreeSet::new();
    while let Some(id) = open.pop() {
        if seen.insert(id) {
            let node = graph
                .nodes
                .iter()
                .find(|node| node.id == *id)
                .expect("a node");
            open.extend(&node.dependencies);
        }
    }
    seen.into_iter().map(|id| names[id]).collect()
}
