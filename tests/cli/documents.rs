//! The commands of every document do what it says: each shell block is taken from the document and run, in
//! an empty folder, with servers of ours in the place of the reader's.
//!
//! `example.rs` runs those of the tutorial, `recipes.rs` those of `docs/load-at-scale.md`.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::{STEERING, Served, check, free_address};

/// Times of a server that is asked to be quick about what real ones are slow at.
const QUICK: &str = "--ping-interval 500ms --ping-timeout 2s --connect-timeout 2s --rpc-timeout 2s";

/// Documents whose commands another file of these tests runs.
const ELSEWHERE: [&str; 2] = ["docs/load-at-scale.md", "docs/tutorial.md"];

/// Commands that are not run here: how they begin, and why.
const EXCEPTIONS: [(&str, &str); 11] = [
    ("cargo test --workspace", "it runs these tests"),
    (".ci/run", "it runs these tests"),
    ("interop/run", ".ci/run runs it"),
    (
        "deploy/package",
        ".ci/run packages the binary that is there",
    ),
    (
        "sudo apt install ./target/package/",
        ".ci/run installs and removes the package",
    ),
    ("docker build", "it needs a container engine"),
    ("cargo install --locked --path", "it takes minutes"),
    ("cargo install cargo-mutants", "it takes minutes"),
    ("cargo mutants", "it takes an hour"),
    (
        "touchstone serve --database 'postgres",
        "tests/durable has a Postgres",
    ),
    ("sqlite3 ", "it is not everywhere"),
];

/// The program, as the reader's shell finds it. It judges exit codes, so that a block can end at the first
/// command that does not do what it says.
const PROGRAM: &str = r#"#!/bin/bash
if [[ "$1 $2" == "serve --listen" || "$1 $2" == "serve --database" ]]; then
  # A server listens until it is ended.
  coproc "$TOUCHSTONE" "$@"
  pid=$COPROC_PID
  read -r line <&"${COPROC[0]}"
  kill "$pid"
  wait "$pid"
  [[ $line == "listening on "* ]]
  exit
fi
# A signal to a job is for the program.
[[ $1 == proxy ]] && exec "$TOUCHSTONE" "$@"
"$TOUCHSTONE" "$@"
code=$? expected=0
# A planted fault is found. What is known does not fail a run.
[[ " $* " == *" --fault "* && " $* " != *" --baseline "* ]] && expected=10
# A machine may be too slow for honest load with a program that is not optimized; it says so.
[[ $1 == load && $code == 21 ]] && code=0
[[ $code == "$expected" ]] || { echo "touchstone $* ended with $code" >&2; exit 1; }
"#;

/// A document, and what its commands need to be run here.
struct Document {
    path: &'static str,
    /// What the reader has before the first command.
    before: &'static str,
    /// What stands for the reader's own things, or would take minutes, and what is run for it.
    replaced: &'static [(&'static str, &'static str)],
    /// What its commands leave.
    leaves: &'static [&'static str],
}

impl Document {
    fn blocks(text: &str) -> Vec<String> {
        let blocks = text.split("\n```sh\n").skip(1);
        let ended = blocks.map(|block| block.split_once("\n```").expect("the end of a block").0);
        ended.map(|block| block.replace("\\\n", " ")).collect()
    }

    #[track_caller]
    fn is_run(&self) {
        let folder = tempfile::tempdir().expect("a folder");
        let bin = folder.path().join("bin");
        fs::create_dir(&bin).expect("a folder");
        let program = bin.join("touchstone");
        fs::write(&program, PROGRAM).expect("a file");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("a mode");
        let quick: Vec<_> = QUICK.split(' ').chain(["--control"]).collect();
        let (first, second) = (Served::start(&quick), Served::start(&quick));
        let token = check(&["account", &first.url], 0, &[]).stdout;
        let shell = |script: &str| {
            let mut bash = Command::new("bash");
            let script = format!("PATH={}:$PATH\n{script}", bin.display());
            bash.args(["-e", "-c", &script])
                .current_dir(folder.path())
                .env("TOUCHSTONE", env!("CARGO_BIN_EXE_touchstone"))
                .env("URL", &first.url)
                .env("TOKEN", token.trim())
                .stdin(Stdio::null());
            for variable in STEERING {
                bash.env_remove(variable);
            }
            let ran = bash.output().expect("a shell");
            assert!(
                ran.status.success(),
                "{}: {}\n{script}\n{}{}",
                self.path,
                ran.status,
                String::from_utf8_lossy(&ran.stdout),
                String::from_utf8_lossy(&ran.stderr)
            );
        };
        shell(self.before);
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let text = fs::read_to_string(root.join(self.path)).expect("a document");
        let mut unused: Vec<_> = self.replaced.iter().map(|(theirs, _)| *theirs).collect();
        let mut count = 0;
        for block in Self::blocks(&text) {
            let mut lines = Vec::new();
            for line in block.lines() {
                if is_exception(line) {
                    continue;
                }
                let mut line = line.to_owned();
                for program in ["cargo run --release -- ", "cargo run -- "] {
                    line = line.replace(program, "touchstone ");
                }
                for (theirs, ours) in self.replaced {
                    if line.contains(theirs) {
                        line = line.replace(theirs, ours);
                        unused.retain(|other| other != theirs);
                    }
                }
                lines.push(spawned(&line));
            }
            let mut script = lines.join("\n");
            let address = free_address();
            // Whoever is given the address of a proxy means the proxy.
            if script.contains("touchstone proxy 127.0.0.1:3005") {
                script = script.replace("127.0.0.1:3005", &address);
            }
            let script = script
                .replace("http://127.0.0.1:3005", &second.url)
                .replace("http://127.0.0.1:3006", &first.url)
                .replace("127.0.0.1:3005", &address);
            count += lines.len();
            shell(&script);
        }
        assert!(count > 0, "{}: no command was run", self.path);
        assert!(unused.is_empty(), "{}: not there: {unused:?}", self.path);
        for file in self.leaves {
            assert!(
                folder.path().join(file).exists(),
                "{}: no {file}",
                self.path
            );
        }
    }
}

fn is_exception(line: &str) -> bool {
    EXCEPTIONS.iter().any(|(start, _)| line.starts_with(start))
}

/// A command that starts a server starts one of ours, at an address of its own.
fn spawned(line: &str) -> String {
    let Some((before, rest)) = line.split_once("--spawn '") else {
        return line.to_owned();
    };
    let (_, after) = rest.split_once('\'').expect("a quoted command");
    let (address, program) = (free_address(), env!("CARGO_BIN_EXE_touchstone"));
    let keeps = if line.contains("--durable") {
        "--database sqlite://spawned.db"
    } else {
        ""
    };
    let line =
        format!("{before}--spawn '{program} serve --listen {address} {QUICK} {keeps}'{after}");
    let own = format!("http://{address}");
    line.replace("http://127.0.0.1:3005", &own)
        .replace("http://127.0.0.1:3006", &own)
}

/// A test for each document, so that they run beside each other, and the list of all.
macro_rules! documents {
    ($($name:ident: $document:expr;)*) => {
        const DOCUMENTS: &[Document] = &[$($document),*];
        $(
            #[test]
            fn $name() {
                $document.is_run();
            }
        )*
    };
}

documents! {
    readme: Document {
        path: "README.md",
        before: "",
        replaced: &[],
        leaves: &["rows.db", "report.json", "known.toml", "compare.html", "load.html"],
    };
    contributing: Document {
        path: "CONTRIBUTING.md",
        before: "",
        replaced: &[("touchstone check ", "touchstone check --only 'ping.*' ")],
        leaves: &[],
    };
    conformance: Document {
        path: "docs/conformance.md",
        before: "mkdir conformance; touchstone check --only 'ping.*' --write-baseline conformance/known.toml",
        replaced: &[
            ("go run ./cmd/server'", "go run ./cmd/server' --only 'ping.*'"),
            ("node dist/server.js'", "node dist/server.js' --only 'ping.*'"),
            ("--trace traces", "--trace traces --only message.recipients"),
            ("message.recipients.jsonl", "message.recipients.jsonl --headless"),
            ("--write-baseline", "--only 'ping.*' --write-baseline"),
            (
                "touchstone compare main.json",
                "cp conformance.json main.json; cp main.json branch.json; touchstone compare main.json",
            ),
            (
                "touchstone compare go.json",
                "tee go.json rust.json typescript.json <main.json >all.json; touchstone compare go.json",
            ),
            ("your.case", "message.recipients"),
            ("your-fault", "echo-to-sender"),
        ],
        leaves: &["conformance.xml", "conformance.html", "matrix.html"],
    };
    control: Document {
        path: "docs/control.md",
        before: "",
        replaced: &[
            ("curl -sS -X", "curl -sS --fail -X"),
            // A tap flows until its reader leaves.
            ("/control/tap\"", "/control/tap\" --fail --max-time 1 || [ $? = 28 ]"),
        ],
        leaves: &[],
    };
    database: Document {
        path: "docs/database.md",
        before: "",
        replaced: &[("sqlite:///var/lib/touchstone", "sqlite://$PWD")],
        leaves: &["rows.db"],
    };
    explore: Document {
        path: "docs/explore.md",
        before: "echo '7 # found once' >explore.seeds",
        replaced: &[("--for 60s", "--for 2s")],
        leaves: &["explore.json", "explore.xml"],
    };
    judge: Document {
        path: "docs/judge.md",
        before: "",
        replaced: &[("--trace traces", "--trace traces --only 'message.*'")],
        leaves: &[],
    };
    load: Document {
        path: "docs/load.md",
        before: "touchstone load --duration 3s --report json=before.json; cp before.json after.json
            touchstone check --only session.create --trace .; cp session.create.jsonl app.jsonl",
        replaced: &[
            ("touchstone load  ", "touchstone load --duration 3s  "),
            ("--scenario production --scale 0.1", "--duration 3s"),
            ("--slo 'audit", "--duration 3s --slo 'audit"),
            ("p99 < 80000", "p99 < 80000000"),
            ("p999 < 250000", "p999 < 250000000"),
            ("--trace load.jsonl", "--trace load.jsonl --duration 3s"),
            ("--open load.jsonl", "--open load.jsonl --headless"),
        ],
        leaves: &["load.html", "app.toml"],
    };
    network: Document {
        path: "docs/network.md",
        before: "",
        replaced: &[
            ("--network mobile", "--network mobile --only 'ping.*'"),
            ("--for 60s", "--for 2s"),
            ("jitter=50ms", "jitter=50ms --duration 3s"),
        ],
        leaves: &[],
    };
    proxy: Document {
        path: "docs/proxy.md",
        before: "",
        replaced: &[
            ("http://the-server:3006", "http://127.0.0.1:3006 --headless --for 1s"),
            (
                "npm test ",
                "until touchstone account http://127.0.0.1:3005; do :; done 2>/dev/null
                touchstone check http://127.0.0.1:3005 --only 'ping.*' ",
            ),
            ("--every 3", "--every 3 --headless --for 1s"),
            ("--do refuse", "--do refuse --headless --for 1s"),
            // What is held is let go on a screen.
            ("--do hold", "--do hold --help"),
        ],
        leaves: &["app.jsonl"],
    };
    replay: Document {
        path: "docs/replay.md",
        before: "",
        replaced: &[("--trace traces", "--trace traces --only 'session.*'")],
        leaves: &[],
    };
    watch: Document {
        path: "docs/watch.md",
        before: "",
        replaced: &[
            ("http://127.0.0.1:3005 --token \"$TOKEN\"", "$URL --token $TOKEN --headless --for 1s"),
            ("\"          # here", "\" --headless --for 1s # here"),
            // Nobody makes a session here.
            ("new-session", "connected"),
        ],
        leaves: &[],
    };
}

/// The files and folders that a page names, as the table of what to touch does.
#[test]
fn paths_are_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for page in ["CONTRIBUTING.md", "docs/architecture.md"] {
        let text = fs::read_to_string(root.join(page)).expect("text");
        let rows = text.lines().filter(|line| line.starts_with('|'));
        let quoted = rows.flat_map(|row| row.split('`').skip(1).step_by(2));
        let paths = quoted.filter(|word| word.starts_with(|c: char| c.is_ascii_lowercase()));
        let whole = |path: &&str| path.contains('/') && !path.contains(' ');
        for path in paths.filter(whole) {
            let folders = [
                "",
                "client/src",
                "loadgen/src",
                "tui-monitor/src",
                "conformance",
                "reference-server/src",
            ];
            let is_there = folders
                .iter()
                .any(|folder| root.join(folder).join(path).exists());
            assert!(is_there, "{page}: no {path}");
        }
    }
}

#[test]
fn no_document_is_forgotten() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let pages = fs::read_dir(root.join("docs")).expect("a folder");
    let pages = pages.map(|entry| entry.expect("an entry").file_name());
    let pages = pages.map(|name| format!("docs/{}", name.display()));
    let others = ["CHANGELOG.md", "CONTRIBUTING.md", "README.md"].map(str::to_owned);
    for path in pages.chain(others).filter(|path| path.ends_with(".md")) {
        let text = fs::read_to_string(root.join(&path)).expect("text");
        let is_known = ELSEWHERE.contains(&&*path) || DOCUMENTS.iter().any(|one| one.path == path);
        let blocks = Document::blocks(&text);
        let mut commands = blocks.iter().flat_map(|block| block.lines());
        assert!(
            is_known || commands.all(is_exception),
            "nothing runs the commands of {path}"
        );
        // A block without a language would be passed over.
        for block in text.split("\n```\n").skip(1) {
            assert!(
                !block.starts_with("touchstone "),
                "{path}: a block of a shell is ```sh"
            );
        }
    }
}
