//! Which traces a command line names.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};

use crate::error::Failure;

/// The traces that are named, those of folders in the order of their names.
///
/// # Errors
/// A folder that cannot be read, or that has none.
pub(crate) fn traces(named: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    let mut paths = Vec::new();
    for path in named {
        if !path.is_dir() {
            paths.push(path.clone());
            continue;
        }
        let inside =
            folder(path).with_context(|| format!("cannot read the folder {}", path.display()));
        let inside = inside.map_err(Failure::usage)?;
        if inside.is_empty() {
            let empty = anyhow!("no trace in {}", path.display());
            return Err(Failure::usage(empty).hint("traces end in .jsonl"));
        }
        paths.extend(inside);
    }
    Ok(paths)
}

fn folder(path: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut inside = Vec::new();
    for entry in fs::read_dir(path)? {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "jsonl")
        {
            inside.push(path);
        }
    }
    inside.sort();
    Ok(inside)
}
