//! What the operating system knows about processes: memory, CPU time, cores, open files.
//!
//! Linux only, like the measuring programs that use it.

use std::fs;

use anyhow::{Context as _, bail, ensure};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Files that a process has open besides its connections: libraries, pipes, the runtime's own.
const OTHER_FILES: u64 = 64;

/// The resident memory of a process in bytes.
///
/// # Errors
/// There is no such process, or no `/proc`.
pub fn resident_bytes(pid: u32) -> anyhow::Result<u64> {
    let path = format!("/proc/{pid}/status");
    let status = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    resident(&status).with_context(|| format!("{path} has no VmRSS"))
}

fn resident(status: &str) -> Option<u64> {
    let field = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = field.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

/// The CPU time that the threads of a process have used so far, in nanoseconds.
///
/// Taken from the scheduler's own account of each thread, since the totals in `/proc/PID/stat` come
/// in ticks of 10 ms. What threads had used that ended meanwhile is not in it; servers that are
/// measured keep theirs.
///
/// # Errors
/// There is no such process, or the kernel keeps no such account.
pub fn cpu_nanos(pid: u32) -> anyhow::Result<u64> {
    let threads = format!("/proc/{pid}/task");
    let mut total = 0;
    for thread in fs::read_dir(&threads).with_context(|| format!("cannot list {threads}"))? {
        let path = thread?.path().join("schedstat");
        // A thread may end between the listing and this.
        let Ok(account) = fs::read_to_string(&path) else {
            continue;
        };
        total += on_cpu(&account)
            .with_context(|| format!("{} is not a scheduler account", path.display()))?;
    }
    ensure!(
        total > 0,
        "the kernel keeps no CPU account in {threads}/*/schedstat"
    );
    Ok(total)
}

/// The first of the three numbers: nanoseconds on a CPU.
fn on_cpu(account: &str) -> Option<u64> {
    account.split_ascii_whitespace().next()?.parse().ok()
}

/// Lets this process open as many files as it may, and makes sure that `connections` fit.
///
/// # Errors
/// The hard limit is too low for that many; the error names both and what to do.
pub fn allow_connections(connections: usize) -> anyhow::Result<()> {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: maximum,
            maximum,
        },
    )
    .context("cannot raise the limit of open files to its hard limit")?;
    let wanted = connections as u64 + OTHER_FILES;
    match maximum {
        Some(maximum) if maximum < wanted => bail!(
            "{connections} connections need {wanted} open files, and this process may have \
             {maximum}; raise the hard limit (ulimit -Hn) or ask for fewer"
        ),
        _ => Ok(()),
    }
}

/// The cores that the calling thread may run on, lowest first.
///
/// # Errors
/// The operating system does not tell.
pub fn cores() -> anyhow::Result<Vec<usize>> {
    let set = sched_getaffinity(None).context("cannot ask for the usable cores")?;
    Ok((0..CpuSet::MAX_CPU)
        .filter(|&core| set.is_set(core))
        .collect())
}

/// Keeps the calling thread, and whatever it starts from now on, on one core.
///
/// # Errors
/// The core is not one that this thread may use.
pub fn pin(core: usize) -> anyhow::Result<()> {
    let mut set = CpuSet::new();
    set.set(core);
    sched_setaffinity(None, &set).with_context(|| format!("cannot stay on core {core}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_resident(status: &str, expected: Option<u64>) {
        assert_eq!(resident(status), expected, "{status:?}");
    }

    #[test]
    fn resident_memory_is_in_kib() {
        check_resident(
            "Name:\tx\nVmHWM:\t 9 kB\nVmRSS:\t    1234 kB\nRssAnon:\t1 kB\n",
            Some(1_263_616),
        );
        check_resident("VmRSS:\t0 kB", Some(0));
        check_resident("VmRSS:\t12 MB", None);
        check_resident("VmRSS:\t kB", None);
        check_resident("Name:\tkthreadd\n", None);
    }

    #[track_caller]
    fn check_on_cpu(account: &str, expected: Option<u64>) {
        assert_eq!(on_cpu(account), expected, "{account:?}");
    }

    #[test]
    fn the_first_number_is_time_on_a_cpu() {
        check_on_cpu("268524 1679833 3\n", Some(268_524));
        check_on_cpu("0 0 0", Some(0));
        check_on_cpu("", None);
        check_on_cpu("- 1 2", None);
    }

    #[test]
    fn this_process_has_memory_time_and_cores() {
        let pid = std::process::id();
        assert!(resident_bytes(pid).unwrap() > 0);
        let before = cpu_nanos(pid).unwrap();
        assert!(before > 0);
        assert!(cpu_nanos(pid).unwrap() >= before);
        assert!(!cores().unwrap().is_empty());
    }

    #[test]
    fn a_limit_that_is_too_low_is_told() {
        if getrlimit(Resource::Nofile).maximum.is_none() {
            // Where nothing limits, nothing can be too much.
            return;
        }
        let error = allow_connections(usize::MAX / 2).unwrap_err().to_string();
        assert!(error.contains("raise the hard limit"), "{error}");
        allow_connections(1).unwrap();
    }
}
