//! Finds the files of the repository for the tests beside it, which hold its rules.
#![forbid(unsafe_code)]
#![warn(missing_docs)]
pub mod modules;

use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// The repository's folder. Cargo runs a test in its package's folder, here `tools/tidy`.
///
/// # Errors
/// The current folder is not two levels below another one.
pub fn root() -> io::Result<PathBuf> {
    Path::new("../..").canonicalize()
}

/// All files below `dir` with one of the extensions. Skips hidden folders and build output.
///
/// # Errors
/// A folder cannot be read.
pub fn files(dir: &Path, extensions: &[&str]) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        if path.is_dir()
            && !name.starts_with('.')
            && !matches!(name.as_str(), "target" | "book" | "node_modules")
        {
            found.extend(files(&path, extensions)?);
        } else if path.extension().and_then(|e| e.to_str()).is_some_and(|e| extensions.contains(&e)) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// All Rust sources with their text.
///
/// # Errors
/// A folder or file cannot be read.
pub fn sources() -> io::Result<Vec<(PathBuf, String)>> {
    files(&root()?, &["rs"])?.into_iter().map(|p| fs::read_to_string(&p).map(|text| (p, text))).collect()
}
