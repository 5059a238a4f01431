//! What every report and command needs to speak.
//!
//! - [`text`] makes text from outside fit to be shown, and cuts, wraps and counts;
//! - [`number`] writes figures for people;
//! - [`Style`] colours text, [`markdown`] and [`html`] escape for their formats;
//! - [`report`] has what all JSON reports have in common, [`side_by_side`] what comparisons of them have;
//! - [`suggest`] finds what was probably meant.
//!
//! This crate must not know what any report says, nor anything of the protocol, and must not print,
//! open a file, exit or read the environment.

pub mod html;
pub mod markdown;
pub mod number;
pub mod report;
pub mod side_by_side;
mod style;
pub mod suggest;
pub mod text;

pub use style::Style;
