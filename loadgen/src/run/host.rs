//! This process and this machine: limits, memory, processor time.

use rustix::{
    process::{Resource, Rlimit, getrlimit, setrlimit},
    time::{ClockId, clock_gettime},
};

use crate::report::model::Host;

/// Files that a process needs besides its connections.
const SPARE: u64 = 64;

/// Makes room for so many connections. Returns how many files may be open; too few is an error
/// with the number that is needed.
pub(super) fn allow_files(connections: u64) -> Result<u64, FileLimit> {
    let needed = connections + SPARE;
    let limits = getrlimit(Resource::Nofile);
    let allowed = |limit: Option<u64>| limit.is_none_or(|limit| limit >= needed);
    if allowed(limits.current) {
        return Ok(limits.current.unwrap_or(u64::MAX));
    }
    let wanted = if allowed(limits.maximum) {
        Rlimit {
            current: limits.maximum,
            maximum: limits.maximum,
        }
    } else {
        // Only the privileged may do this.
        Rlimit {
            current: Some(needed),
            maximum: Some(needed),
        }
    };
    match setrlimit(Resource::Nofile, wanted) {
        Ok(()) => Ok(wanted.current.unwrap_or(u64::MAX)),
        Err(_) => Err(FileLimit {
            needed,
            limit: limits.maximum.unwrap_or(u64::MAX),
        }),
    }
}

/// More connections than open files are allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "this run needs {needed} open files, and the limit of this process is {limit}: raise it \
     (`ulimit -Hn {needed}` as root, or LimitNOFILE), lower --scale, or split the run with --shard"
)]
pub struct FileLimit {
    /// Open files that the run needs.
    pub needed: u64,
    /// How many are allowed at most.
    pub limit: u64,
}

/// Processor time of the calling thread, in microseconds.
pub(super) fn thread_cpu() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let micros = time.tv_sec * 1_000_000 + time.tv_nsec / 1_000;
    u64::try_from(micros).unwrap_or_default()
}

/// Processor time of all programs on this machine: what was used, and what there was, in ticks; 0 where
/// the system does not tell.
pub(super) fn machine_cpu() -> [u64; 2] {
    let status = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let line = status.lines().next().unwrap_or_default();
    let ticks = line.split_whitespace().skip(1);
    // User, nice, system, idle, waiting, interrupts (two), stolen; guests are among the first two.
    let ticks: Vec<u64> = ticks.take(8).filter_map(|text| text.parse().ok()).collect();
    let all = ticks.iter().sum::<u64>();
    let idle = ticks.iter().skip(3).take(2).sum::<u64>();
    [all - idle, all]
}

/// What was used between two of these times, in parts of what there was.
pub(super) fn share([before, after]: [[u64; 2]; 2]) -> f64 {
    let [used, all] = [0, 1].map(|of| after[of].saturating_sub(before[of]));
    if all == 0 {
        0.0
    } else {
        used as f64 / all as f64
    }
}

/// Memory that this process holds now and held at most, in bytes; 0 where the system does not
/// tell.
pub(super) fn memory() -> (u64, u64) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let kilobytes = line.and_then(|line| line.split_whitespace().next());
        kilobytes
            .and_then(|number| number.parse::<u64>().ok())
            .unwrap_or_default()
            * 1024
    };
    (field("VmRSS:"), field("VmHWM:"))
}

/// Files that are open now; 0 where the system does not tell.
pub(super) fn open_files() -> u64 {
    // Since Linux 6.2 the folder's size is their number. Listing some ten thousand of them every
    // second would take more processor time than most of what is to be measured.
    let counted = std::fs::metadata("/proc/self/fd").map_or(0, |folder| folder.len());
    if counted > 0 {
        return counted;
    }
    let listed = std::fs::read_dir("/proc/self/fd").map(Iterator::count);
    u64::try_from(listed.unwrap_or_default()).unwrap_or_default()
}

/// This machine, as far as it tells.
pub(super) fn describe() -> Host {
    let uname = rustix::system::uname();
    let shown = |text: &std::ffi::CStr| text.to_string_lossy().into_owned();
    let processors = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let named = |line: &str| {
        let (key, name) = line.split_once(':')?;
        (key.trim() == "model name").then(|| name.trim().to_owned())
    };
    let processor = processors.lines().find_map(named);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    Host {
        name: shown(uname.nodename()),
        system: format!("{} {}", shown(uname.sysname()), shown(uname.release())),
        processor: processor.unwrap_or_else(|| shown(uname.machine())),
        cores: u32::try_from(cores).unwrap_or(u32::MAX),
        clock: "monotonic, resolution 1 ns; timers of 1 ms".to_owned(),
    }
}
