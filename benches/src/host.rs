//! What the operating system knows about processes: memory, CPU time, cores, open files.
//!
//! Linux only, like the measuring programs that use it.

use std::fs;
use std::time::Duration;

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

/// A process and its descendants, as far as they live.
///
/// # Errors
/// There is no such process, or the kernel does not list children.
pub fn family(pid: u32) -> anyhow::Result<Vec<u32>> {
    let mut family = vec![pid];
    let mut asked = 0;
    while let Some(&parent) = family.get(asked) {
        asked += 1;
        let threads = match fs::read_dir(format!("/proc/{parent}/task")) {
            Ok(threads) => threads,
            // A child may end at any time.
            Err(_) if parent != pid => continue,
            Err(error) => return Err(error).context(format!("cannot list /proc/{pid}/task")),
        };
        for thread in threads.flatten() {
            let thread = thread.path();
            match fs::read_to_string(thread.join("children")) {
                Ok(children) => family.extend(
                    children
                        .split_ascii_whitespace()
                        .filter_map(|child| child.parse::<u32>().ok()),
                ),
                Err(_) if thread.join("stat").exists() => {
                    bail!("the kernel does not list children in {}", thread.display())
                }
                // The thread has ended since it was listed.
                Err(_) => {}
            }
        }
    }
    Ok(family)
}

/// What a process and its descendants use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// CPU time so far, in nanoseconds.
    pub cpu_nanos: u64,
    /// The time in which threads wanted a CPU and had none, in nanoseconds.
    pub waiting_nanos: u64,
    /// Resident memory. What several of them share counts several times.
    pub resident_bytes: u64,
}

impl Usage {
    /// The share of `elapsed` in which the process ran or wanted to, by what it used since `before`.
    /// At 1 it could not have done more, be it that it had the core to itself or not.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    pub fn busy_since(self, before: Self, elapsed: Duration) -> f64 {
        let of = |usage: Self| usage.cpu_nanos + usage.waiting_nanos;
        of(self).saturating_sub(of(before)) as f64 / elapsed.as_nanos() as f64
    }

    /// Reads it for the process `pid`. What descendants had used that ended meanwhile is not in it.
    ///
    /// # Errors
    /// There is no such process, or `/proc` lacks something.
    pub fn of_family(pid: u32) -> anyhow::Result<Self> {
        let mut all = Self::default();
        for member in family(pid)? {
            let both =
                scheduled(member).and_then(|scheduled| Ok((scheduled, resident_bytes(member)?)));
            let (scheduled, resident) = match both {
                // It has ended since it was listed.
                Err(_) if member != pid => continue,
                both => both?,
            };
            all.cpu_nanos += scheduled.running;
            all.waiting_nanos += scheduled.waiting;
            all.resident_bytes += resident;
        }
        Ok(all)
    }
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
    Ok(scheduled(pid)?.running)
}

/// Nanoseconds that threads spent on a CPU, and in wait for one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Scheduled {
    running: u64,
    waiting: u64,
}

fn scheduled(pid: u32) -> anyhow::Result<Scheduled> {
    let threads = format!("/proc/{pid}/task");
    let mut total = Scheduled::default();
    for thread in fs::read_dir(&threads).with_context(|| format!("cannot list {threads}"))? {
        let path = thread?.path().join("schedstat");
        // A thread may end between the listing and this.
        let Ok(account) = fs::read_to_string(&path) else {
            continue;
        };
        let of_thread = scheduler_account(&account)
            .with_context(|| format!("{} is not a scheduler account", path.display()))?;
        total.running += of_thread.running;
        total.waiting += of_thread.waiting;
    }
    ensure!(
        total.running > 0,
        "the kernel keeps no CPU account in {threads}/*/schedstat"
    );
    Ok(total)
}

/// The first two of the three numbers.
fn scheduler_account(account: &str) -> Option<Scheduled> {
    let mut numbers = account.split_ascii_whitespace().map(str::parse);
    Some(Scheduled {
        running: numbers.next()?.ok()?,
        waiting: numbers.next()?.ok()?,
    })
}

/// How many threads of the machine ran or waited for a CPU, as the average of the last minute.
///
/// # Errors
/// There is no `/proc/loadavg`, or it is not as expected.
pub fn load_average() -> anyhow::Result<f64> {
    let text = fs::read_to_string("/proc/loadavg").context("cannot read /proc/loadavg")?;
    let first = text.split(' ').next().unwrap_or_default();
    first
        .parse()
        .with_context(|| format!("/proc/loadavg begins with {first:?}"))
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

/// The two cores that a comparison needs, so that what is measured does not share one with the rest.
///
/// # Errors
/// The calling thread may run on one core only.
pub fn two_cores() -> anyhow::Result<[usize; 2]> {
    match cores()?[..] {
        [first, second, ..] => Ok([first, second]),
        _ => bail!("two cores are needed, one for the server and one for the other side"),
    }
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

/// Does something on one core, such as starting a process that is to stay there, and returns to the
/// cores of before.
///
/// # Errors
/// The core is not one that this thread may use.
pub fn on_core<T>(core: usize, something: impl FnOnce() -> T) -> anyhow::Result<T> {
    let before = sched_getaffinity(None).context("cannot ask for the usable cores")?;
    pin(core)?;
    let done = something();
    sched_setaffinity(None, &before).context("cannot return to the cores of before")?;
    Ok(done)
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::process::{Command, Stdio};

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
    fn check_scheduled(account: &str, expected: Option<(u64, u64)>) {
        let account = scheduler_account(account).map(|found| (found.running, found.waiting));
        assert_eq!(account, expected);
    }

    #[test]
    fn the_first_two_numbers_are_times_on_a_cpu_and_in_wait_for_one() {
        check_scheduled("268524 1679833 3\n", Some((268_524, 1_679_833)));
        check_scheduled("0 0 0", Some((0, 0)));
        check_scheduled("", None);
        check_scheduled("1", None);
        check_scheduled("- 1 2", None);
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
    fn a_child_belongs_to_the_family() {
        let mut child = Command::new("sh")
            .args(["-c", "sh -c 'echo; read line'; true"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // The grandchild says that it runs, which is when all three do.
        let mut ready = [0];
        let mut stdout = child.stdout.take().unwrap();
        stdout.read_exact(&mut ready).unwrap();
        let family = family(child.id()).unwrap();
        let usage = Usage::of_family(child.id()).unwrap();
        let alone = resident_bytes(child.id()).unwrap();
        drop(child.stdin.take());
        child.wait().unwrap();
        assert_eq!(family.len(), 2, "{family:?}");
        assert_eq!(family[0], child.id());
        assert!(usage.resident_bytes > alone, "{usage:?}");
        assert!(super::family(child.id()).is_err());
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
