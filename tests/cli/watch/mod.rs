//! `touchstone watch`: its screen, its lines, and what it can look at.

mod headless;
mod lines;
mod open;
mod people;
mod screen;
mod sources;
