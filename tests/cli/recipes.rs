//! The recipes of `docs/load-at-scale.md` and `deploy/load-job.yaml` are run as they stand, with
//! programs of our own in the place of `ssh` and of clusters.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::load::{Desk, SMALL};
use crate::support::{Ran, Served, free_address};

/// Until then all shards have made their accounts, also on a machine that is busy with other things.
const LEAD: &str = "+12 seconds";

/// A folder with `touchstone` and what else stands in for real programs, as the beginning of a script
/// that finds them.
fn programs(desk: &Desk, others: &[(&str, &str)]) -> String {
    let folder = desk.path("bin");
    fs::create_dir(&folder).expect("a folder");
    let program = env!("CARGO_BIN_EXE_touchstone");
    std::os::unix::fs::symlink(program, folder.join("touchstone")).expect("a link");
    for (name, text) in others {
        let path = folder.join(name);
        fs::write(&path, text).expect("a file");
        executable(&path);
    }
    format!("PATH={}:$PATH\n", folder.display())
}

fn executable(path: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("a mode");
}

/// Replaces what stands for the reader's own things, all of which must be there.
#[track_caller]
fn with(mut text: String, own: &[(&str, &str)]) -> String {
    for (theirs, ours) in own {
        assert!(text.contains(theirs), "no {theirs:?} in\n{text}");
        text = text.replace(theirs, ours);
    }
    text
}

fn start(shell: &str, script: &str, folder: &Path, variables: &[(&str, &str)]) -> Child {
    Command::new(shell)
        .args(["-c", script])
        .current_dir(folder)
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("a shell")
}

fn end(child: Child) -> Ran {
    child.wait_with_output().expect("an end").into()
}

/// The shell block under a heading of the page.
fn block(heading: &str) -> String {
    let page = include_str!("../../docs/load-at-scale.md");
    let (_, rest) = page.split_once(heading).expect(heading);
    let (_, rest) = rest.split_once("```sh\n").expect("a block");
    let (block, _) = rest.split_once("```").expect("its end");
    block.to_owned()
}

#[test]
fn ssh_brings_the_shards_home() {
    let desk = Desk::new();
    let small = desk.scenario(SMALL);
    let server = Served::start(&[]);
    // As ssh does: what follows the host becomes one line, which a shell at the other end reads.
    let head = programs(&desk, &[("ssh", "#!/bin/sh\nshift\nexec sh -c \"$*\"\n")]);
    let script = head
        + &with(
            block("## ssh"),
            &[
                ("http://server.example:3005", &server.url),
                (
                    "--scenario production --scale 4",
                    &format!("--scenario {small}"),
                ),
                ("+2 minutes", LEAD),
            ],
        );
    let ran = end(start("bash", &script, &desk.path(""), &[]));
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
    for part in ["4 of 4 shards", "20 connections", "PASSED"] {
        assert!(ran.stdout.contains(part), "no {part:?} in\n{}", ran.stdout);
    }
}

/// What `sbatch --wait` does: a job for each index of the array, all at once.
const SBATCH: &str = r#"#!/bin/bash
while [[ $1 == --* ]]; do
  case $1 in
    --array=1-*) shards=${1#--array=1-} ;;
    --export=ALL,*) export "${1#--export=ALL,}" ;;
  esac
  shift
done
for index in $(seq "$shards"); do
  SLURM_ARRAY_TASK_ID=$index bash "$@" > "shard-$index.log" 2>&1 &
done
wait
"#;

#[test]
fn an_array_of_slurm_jobs_makes_one_run() {
    let desk = Desk::new();
    let small = desk.scenario(SMALL);
    let server = Served::start(&[]);
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/load-array.sh");
    let script = programs(&desk, &[("sbatch", SBATCH)])
        + &with(
            block("## Slurm"),
            &[
                ("deploy/load-array.sh 8", &format!("{script} 4")),
                ("http://server.example:3005", &server.url),
                (
                    "--scenario production --scale 4",
                    &format!("--scenario {small}"),
                ),
            ],
        );
    let lead = LEAD.trim_start_matches('+');
    let ran = end(start("bash", &script, &desk.path(""), &[("LEAD", lead)]));
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
    for part in ["4 of 4 shards", "20 connections", "PASSED"] {
        assert!(ran.stdout.contains(part), "no {part:?} in\n{}", ran.stdout);
    }
}

/// The script of the job's generator.
fn job() -> String {
    let file = include_str!("../../deploy/load-job.yaml");
    let (_, rest) = file.split_once("- |\n").expect("a script");
    let indented = |line: &&str| line.starts_with("              ");
    let lines: Vec<_> = rest.lines().take_while(indented).map(str::trim).collect();
    lines.join("\n")
}

/// A cluster that runs the pods of a job as soon as it is applied.
const KUBECTL: &str = r#"#!/bin/bash
case $1 in
  apply)
    script=$(sed -n '/- |$/,/resources:/p' | sed '1d;$d')
    script=${script/--scenario production --scale 4/--scenario $SMALL}
    for index in {0..3}; do
      mkdir "pod-$index"
      JOB_COMPLETION_INDEX=$index sh -c "${script//\/out\//pod-$index\/}" &
    done
    wait
    ;;
  get) printf 'pod/touchstone-load-%s\n' {0..3} ;;
  logs) cat "pod-${2##*-}/report.json" ;;
esac
"#;

#[test]
fn the_pods_of_the_job_make_one_run() {
    let desk = Desk::new();
    let small = desk.scenario(SMALL);
    let server = Served::start(&[]);
    let job = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/load-job.yaml");
    let script = programs(&desk, &[("kubectl", KUBECTL)])
        + &with(
            block("## Kubernetes"),
            &[
                ("http://server.example:3005", &server.url),
                ("deploy/load-job.yaml", job),
                ("+3 minutes", LEAD),
            ],
        );
    let ran = end(start("bash", &script, &desk.path(""), &[("SMALL", &small)]));
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
    for part in ["4 of 4 shards", "20 connections", "PASSED"] {
        assert!(ran.stdout.contains(part), "no {part:?} in\n{}", ran.stdout);
    }
    assert!(desk.path("load.html").exists());
}

#[test]
fn a_pod_without_a_report_fails() {
    let desk = Desk::new();
    let small = desk.scenario(SMALL);
    let head = programs(&desk, &[]);
    let out = desk.path("");
    let script = head
        + &with(
            job(),
            &[
                ("TARGET_URL", &free_address()),
                ("--start-at START_AT", ""),
                (
                    "--scenario production --scale 4",
                    &format!("--scenario {small}"),
                ),
                ("/out/", &format!("{}/", out.display())),
            ],
        );
    let pod = start("sh", &script, &out, &[("JOB_COMPLETION_INDEX", "2")]);
    let ran = end(pod);
    assert_eq!(ran.code, 3, "{}", ran.stderr);
}
