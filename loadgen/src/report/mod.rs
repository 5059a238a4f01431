//! The result of a load run: as data ([`model`]), and rendered for people and programs.

pub mod model;
pub mod packed;

pub use model::Report;
