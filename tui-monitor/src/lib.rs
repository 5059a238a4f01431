//! The live monitor: what a server of this protocol sends, event by event.
//!
//! - [`event`] holds the [`Entry`](event::Entry), the one shape of everything that is seen, and
//!   [`Input`](event::Input), everything that can happen to the screen.
//! - [`Model`] is what the screen shows: [`Model::update`] changes it, [`draw`] draws it.
//! - [`keys`] says which key does what.
//! - [`run`] is the loop between all of them and a terminal.
//!
//! Sources produce entries, the model keeps them, a filter selects them, views draw them. The model
//! and the views do no IO, so that a test can show every screen. This crate must not know any
//! server, must not decide whether a server is right (the judge of `conformance/history` does), and must
//! not print, exit or read the environment.

pub mod event;
pub mod filter;
pub mod headless;
mod help;
pub mod keys;
mod layout;
mod lint;
mod model;
pub mod run;
pub mod source;
mod text;
mod theme;
mod times;
mod update;
mod view;

pub use model::{Bounds, Counts, Model, Setup};
pub use theme::Theme;
pub use times::{Offset, Times};
pub use view::draw;
