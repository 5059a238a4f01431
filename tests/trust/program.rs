//! Running the program on a server that may do anything, within bounds.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;

/// The longest that a run may take here, as a bound and not as a measurement.
const LIMIT: Duration = Duration::from_secs(90);

/// How much memory a run may take, in KiB, whatever its server sends: the kernel refuses more, and the
/// program then dies of it. A run on a server that is right takes an eighth.
const MEMORY_KIB: u32 = 512 << 10;

/// What a finished run left.
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs a command of the program on the server at `url`. A run that takes too long is an error.
pub(crate) async fn run(command: &str, url: &str, arguments: &[&str]) -> Result<Ran, String> {
    let program = Path::new(env!("CARGO_BIN_EXE_touchstone"));
    let mut shell = Command::new("sh");
    shell
        .args([
            "-c",
            &format!("ulimit -d {MEMORY_KIB} && exec \"$@\""),
            "sh",
        ])
        .arg(program)
        .args([command, url])
        .args(arguments)
        .env_remove("NO_COLOR")
        .env_remove("CLICOLOR_FORCE")
        .env_remove("TOUCHSTONE_LOG")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let ended = timeout(LIMIT, shell.output()).await;
    let output = ended
        .map_err(|_| format!("no end within {} s", LIMIT.as_secs()))?
        .map_err(|error| format!("cannot run {}: {error}", program.display()))?;
    Ok(Ran {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}
