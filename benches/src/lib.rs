//! What the benches and the measuring programs share: a fleet of connections that proves what it
//! received, servers in this process and in others, and what the operating system knows of them.
//!
//! Nothing here judges: figures depend on the machine, so they are printed and compared by people,
//! never asserted. Everything that is counted is checked first, because a server that loses events
//! would look fast.

pub mod embedded;
pub mod fleet;
pub mod host;
pub mod hostile;
pub mod load;
pub mod process;
pub mod program;
pub mod rounds;
