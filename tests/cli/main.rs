//! The program as a person meets it: arguments, messages, exit codes, signals, pipes.

mod check;
mod load;
mod readme;
mod replay;
mod reports;
mod serve;
mod support;
mod surface;
mod targets;
mod watch_headless;
mod watch_screen;
