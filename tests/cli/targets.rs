//! Targets other than one URL with a REST surface: several nodes, a file of accounts, a program that
//! makes them, a profile that names them.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;
use touchstone_client::ConnectOptions;
use touchstone_client::provision::{Account, NewMachine, NewSession, ProvisionSpec, Provisioner};
use url::Url;

use crate::support::{Ran, Served, check, free_address, run, touchstone};

/// Cases that need no more than a few sessions and machines each, on several nodes or one.
const SELECTED: [&str; 6] = [
    "--only",
    "message.recipients",
    "--only",
    "rpc.call",
    "--only",
    "machine.update-*",
];

/// An account that is there before the run.
struct Prepared {
    account: Account,
    sessions: Vec<String>,
    machines: Vec<String>,
}

/// Makes accounts over REST: enough for all cases that are selected, and for the doctor.
fn prepare(served: &Served) -> Vec<Prepared> {
    const ACCOUNTS: u8 = 24;
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let url = Url::parse(&served.url).expect("a URL");
        let rest = Provisioner::open(&ProvisionSpec::Rest, &ConnectOptions::new(url));
        let rest = rest.expect("a provisioner");
        let mut prepared = Vec::new();
        for number in 0..ACCOUNTS {
            let account = rest.account([number; 32]).await.expect("an account");
            let mut one = Prepared {
                account,
                sessions: Vec::new(),
                machines: Vec::new(),
            };
            for place in ["a", "b"] {
                let session = NewSession {
                    tag: format!("{number}{place}"),
                    metadata: "m".to_owned(),
                    ..NewSession::default()
                };
                let machine = NewMachine {
                    id: format!("machine-{number}{place}"),
                    metadata: "m".to_owned(),
                    ..NewMachine::default()
                };
                let session = rest.session(&one.account, &session).await;
                let machine = rest.machine(&one.account, &machine).await;
                one.sessions.push(session.expect("a session").id);
                one.machines.push(machine.expect("a machine").id);
            }
            prepared.push(one);
        }
        prepared
    })
}

/// A target file that lists them.
fn listed(prepared: &[Prepared]) -> String {
    let mut file = String::new();
    for Prepared {
        account,
        sessions,
        machines,
    } in prepared
    {
        let token = account.token.expose();
        writeln!(
            file,
            "[[accounts]]\ntoken = {token:?}\nsessions = {sessions:?}\nmachines = {machines:?}"
        )
        .expect("a text");
    }
    file
}

/// Runs the selected cases on the target, and checks that all pass and that none is left out.
#[track_caller]
fn check_passes(target: &[&str]) {
    let arguments = [&["check", "--report", "json=-"], target, &SELECTED].concat();
    let ran = check(&arguments, 0, &[]);
    let report: Value = serde_json::from_str(&ran.stdout).expect("a report");
    let summary = &report["summary"];
    assert!(summary["total"].as_u64() > Some(5), "{summary}");
    assert_eq!(summary["pass"], summary["total"], "{}", ran.stderr);
}

/// Records cases against a server that makes accounts by itself, and replays them on one that does not.
#[track_caller]
fn replay_is_the_same(target: &[&str]) {
    let folder = TempDir::new().expect("a folder");
    let traces = folder.path().join("traces").display().to_string();
    run(&[&["check", "--trace", &traces], &SELECTED[..]].concat());
    let arguments = [
        &[
            "replay",
            &traces,
            "--as-fast",
            "--jobs",
            "4",
            "--report",
            "json",
        ],
        target,
    ];
    let ran = check(&arguments.concat(), 0, &[]);
    let report: Value = serde_json::from_str(&ran.stdout).expect("a report");
    assert!(
        report["summary"]["same"].as_u64() > Some(50),
        "{}",
        ran.stderr
    );
}

#[test]
fn several_urls_are_nodes_of_one_cluster() {
    let served = Served::start(&["--listen", "127.0.0.1:0"]);
    check_passes(&[&served.urls[0], &served.urls[1]]);
}

#[test]
fn servers_that_share_nothing_are_no_cluster() {
    let (one, other) = (Served::start(&[]), Served::start(&[]));
    let ran = run(&[
        "check",
        &one.url,
        &other.url,
        "--only",
        "message.recipients",
    ]);
    assert_eq!(ran.code, 3, "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stderr.contains(&other.url), "{}", ran.stderr);
}

#[test]
fn a_file_lists_what_is_there() {
    let served = Served::start(&[]);
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("accounts.toml");
    fs::write(&path, listed(&prepare(&served))).expect("a file");
    let provision = format!("file:{}", path.display());
    check_passes(&[&served.url, "--provision", &provision]);
}

#[test]
fn a_recording_finds_new_accounts_in_a_file() {
    let served = Served::start(&[]);
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("accounts.toml");
    fs::write(&path, listed(&prepare(&served))).expect("a file");
    let provision = format!("file:{}", path.display());
    replay_is_the_same(&["--against", &served.url, "--provision", &provision]);
}

#[test]
fn a_file_that_lists_too_little_says_so() {
    let served = Served::start(&[]);
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("accounts.toml");
    fs::write(&path, "accounts = []\n").expect("a file");
    let provision = format!("file:{}", path.display());
    check(
        &["check", &served.url, "--provision", &provision],
        3,
        &["at least 1 account (0 listed)", "accounts.toml"],
    );
}

/// A program in the language that every CI has. It hands out what stands in files of its folder: a line
/// of `accounts` per account, and then lines of `TOKEN.session` and `TOKEN.machine`.
const PROGRAM: &str = r#"
cd "$(dirname "$0")"
field() { printf '%s' "$line" | sed -n "s/.*\"$1\":\"\{0,1\}\([^\",}]*\).*/\1/p"; }
# Gives the first line of a file, and takes it off.
take() { head -n 1 "$1"; sed -i 1d "$1"; }
while read -r line; do
    id=$(field id)
    case $(field op) in
    account) echo "{\"id\":$id,\"ok\":true,\"token\":\"$(take accounts)\"}" ;;
    session) echo "{\"id\":$id,\"ok\":true,\"sessionId\":\"$(take "$(field token).session")\"}" ;;
    machine) echo "{\"id\":$id,\"ok\":true,\"machineId\":\"$(take "$(field token).machine")\"}" ;;
    *) echo "{\"id\":$id,\"ok\":false,\"error\":\"not here\",\"unsupported\":true}" ;;
    esac
done
"#;

/// Writes the program and its files.
fn write_program(folder: &Path, prepared: &[Prepared]) {
    let write = |name: &str, lines: &[String]| {
        fs::write(folder.join(name), lines.join("\n") + "\n").expect("a file");
    };
    fs::write(folder.join("provision.sh"), PROGRAM).expect("a program");
    let token = |one: &Prepared| one.account.token.expose().to_owned();
    write("accounts", &prepared.iter().map(token).collect::<Vec<_>>());
    for one in prepared {
        write(&format!("{}.session", token(one)), &one.sessions);
        write(&format!("{}.machine", token(one)), &one.machines);
    }
}

#[test]
fn a_program_makes_what_is_asked_for() {
    let served = Served::start(&[]);
    let folder = TempDir::new().expect("a folder");
    write_program(folder.path(), &prepare(&served));
    let program = folder.path().join("provision.sh");
    let provision = format!("command:sh {}", program.display());
    check_passes(&[&served.url, "--provision", &provision]);
}

#[test]
fn a_program_makes_what_a_recording_needs() {
    let served = Served::start(&[]);
    let folder = TempDir::new().expect("a folder");
    write_program(folder.path(), &prepare(&served));
    let program = folder.path().join("provision.sh");
    let provision = format!("command:sh {}", program.display());
    replay_is_the_same(&["--against", &served.url, "--provision", &provision]);
}

#[test]
fn a_profile_stands_for_its_flags() {
    let served = Served::start(&[]);
    let project = TempDir::new().expect("a folder");
    let folder = project.path().join("deep/below");
    fs::create_dir_all(&folder).expect("a folder");
    let checked = |name: &str| -> Ran {
        let mut command = touchstone(&["check", "--profile", name, "--only", "ping.*"]);
        let output = command.current_dir(&folder).output();
        output.expect("the program starts").into()
    };
    let ran = checked("local");
    assert_eq!(ran.code, 2, "{}", ran.stderr);
    assert!(ran.stderr.contains("no touchstone.toml"), "{}", ran.stderr);

    let profile = format!("[profiles.local]\nurls = [\"{}\"]\n", served.url);
    fs::write(project.path().join("touchstone.toml"), profile).expect("a file");
    let ran = checked("local");
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(ran.stdout.contains(&served.url), "{}", ran.stdout);
    let ran = checked("far");
    assert_eq!(ran.code, 2, "{}", ran.stderr);
    assert!(ran.stderr.contains("but local"), "{}", ran.stderr);
}

#[test]
fn the_commands_of_a_profile_run_in_the_folder_of_its_file() {
    use std::os::unix::fs::PermissionsExt as _;
    let project = TempDir::new().expect("a folder");
    let folder = project.path().join("deep/below");
    fs::create_dir_all(&folder).expect("a folder");
    let write = |name: &str, text: &str| {
        let path = project.path().join(name);
        fs::write(&path, text).expect("a file");
        let executable = fs::Permissions::from_mode(0o755);
        fs::set_permissions(&path, executable).expect("a program");
    };
    let address = free_address();
    let program = env!("CARGO_BIN_EXE_touchstone");
    let serve = format!("#!/bin/sh\npwd > where\nexec {program} serve --listen {address}\n");
    write("serve.sh", &serve);
    // The program leaves a sign of where it ran, and then does nothing more.
    write("make.sh", "#!/bin/sh\npwd > made\n");
    let profiles = format!(
        "[profiles.spawned]\nurls = ['{address}']\nspawn = './serve.sh'\n\
         [profiles.made]\nurls = ['{address}']\nspawn = './serve.sh'\nprovision = 'command:./make.sh'\n"
    );
    write("touchstone.toml", &profiles);
    let checked = |name: &str| -> Ran {
        let mut command = touchstone(&["check", "--profile", name, "--only", "ping.*"]);
        let output = command.current_dir(&folder).output();
        output.expect("the program starts").into()
    };
    let ran = checked("spawned");
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
    checked("made");
    let root = project.path().canonicalize().expect("a folder");
    for sign in ["where", "made"] {
        let told = fs::read_to_string(project.path().join(sign)).expect(sign);
        assert_eq!(Path::new(told.trim()), root, "{sign}");
    }
}

#[test]
fn what_a_profile_says_is_repeated_by_its_name() {
    let served = Served::start(&["--fault", "version-plus-two"]);
    let project = TempDir::new().expect("a folder");
    let profile = format!(
        "[profiles.local]\nurls = [\"{}\"]\nprovision = 'rest'\nno-slow = true\n",
        served.url
    );
    fs::write(project.path().join("touchstone.toml"), profile).expect("a file");
    let case = "session.update-metadata.success";
    let mut command = touchstone(&["check", "--profile", "local", "--only", case]);
    let output = command.current_dir(project.path()).output();
    let ran: Ran = output.expect("the program starts").into();
    let repeat = format!("touchstone check --profile local --only '{case}'");
    assert!(ran.stdout.contains(&repeat), "{}", ran.stdout);
}

#[test]
fn a_file_of_too_few_accounts_judges_nothing_in_green() {
    let served = Served::start(&[]);
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("accounts.toml");
    fs::write(&path, listed(&prepare(&served)[..2])).expect("a file");
    let provision = format!("file:{}", path.display());
    let report = |format: &str| folder.path().join(format).display().to_string();
    let formats = ["json", "junit", "markdown", "github", "html"];
    let reports: Vec<_> = formats
        .iter()
        .flat_map(|format| {
            [
                "--report".to_owned(),
                format!("{format}={}", report(format)),
            ]
        })
        .collect();
    let reports: Vec<_> = reports.iter().map(String::as_str).collect();
    let target = ["check", &served.url, "--provision", &provision, "--no-slow"];
    let ran = check(&[&target[..], &reports].concat(), 12, &[]);
    let told = "accounts.toml lists too little; needed are at least ";
    assert_eq!(ran.stdout.matches(told).count(), 1, "{}", ran.stdout);
    let read = |format: &str| fs::read_to_string(report(format)).expect(format);
    let json: Value = serde_json::from_str(&read("json")).expect("a report");
    let blocked = json["summary"]["blocked"].as_u64().expect("a count");
    assert!(blocked > 100, "{}", json["summary"]);
    assert!(
        ran.stdout.contains(" accounts (2 listed)"),
        "{}",
        ran.stdout
    );
    let least = |text: &str| text.split(told).nth(1).unwrap_or_default().to_owned();
    for format in formats {
        let text = read(format);
        assert!(text.contains(told), "{format}: {text}");
        let count: u64 = least(&text)
            .split(' ')
            .next()
            .and_then(|count| count.parse().ok())
            .expect("a number");
        assert!(count >= blocked, "{format}: {count} of {blocked}");
    }
    assert!(read("junit").contains(&format!("errors=\"{}\"", blocked + 1)));
    for format in ["markdown", "github"] {
        assert_eq!(read(format).matches(told).count(), 1, "{format}");
    }
    // The page has it once for all cases, and once more where each case is looked up.
    assert_eq!(read("html").matches(told).count() as u64, blocked + 1);
}
