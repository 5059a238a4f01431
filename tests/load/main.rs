//! The load generator against servers of which it is known what they do: the audit must report
//! exactly that, and latencies must count from the planned time.

mod dialect;
#[path = "../../src/embedded.rs"]
mod embedded;
mod every_fault;
mod faults;
mod life;
mod network;
mod runs;
mod support;
