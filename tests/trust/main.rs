//! Whether verdicts can be trusted: the program against servers that are slow or hostile.
//!
//! A slow network must not change a verdict, and a server that does its worst must not hang the
//! program, fill its memory or leave its user without a reason. What a server that is merely absent
//! or something else gets is in `tests/cli`.

#[path = "../../src/embedded.rs"]
mod embedded;
mod first_moment;
mod frames;
mod heartbeats;
mod hostile;
mod program;
mod rogue;
mod slow;
