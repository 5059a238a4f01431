//! Renderers of a run. Each one consumes [`crate::event::RunEvent`]s and writes to a given writer; none
//! of them knows how cases run, and none opens a file or touches a terminal.

mod json;
mod terminal;
#[cfg(test)]
mod testing;

pub use json::{FORMAT, Json, SCHEMA, VERSION};
pub use terminal::{Style, Terminal};

/// `1 case`, `2 cases`.
pub(crate) fn plural(count: usize, noun: &str) -> String {
    if count == 1 {
        format!("1 {noun}")
    } else {
        format!("{count} {noun}s")
    }
}
