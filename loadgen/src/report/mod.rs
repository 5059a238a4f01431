//! The result of a load run: as data ([`model`]), and rendered for people and programs.
//!
//! Renderers take a finished [`Report`] and return text. None of them measures, decides what is
//! right, opens a file or touches a terminal.

mod csv;
mod hdr;
pub(crate) mod html;
mod json;
mod markdown;
pub mod model;
pub mod packed;
mod plan;
mod terminal;
#[cfg(test)]
pub(crate) mod testing;
pub(crate) mod text;
mod verdict;

pub use self::{
    csv::csv,
    hdr::{hgrm, hlog},
    html::{html, svg},
    json::SCHEMA,
    markdown::markdown,
    model::Report,
    plan::{plan, plan_json},
    terminal::summary,
    verdict::Verdict,
};
