//! `tikv-tui record` and `tikv-tui trace`: writes recordings, and prints their contents.
pub mod diff;
pub mod export;
pub mod grep;
pub mod import;
pub mod info;
pub mod open;
mod output;
pub mod record;
mod select;
mod stats;
pub(crate) mod table;
pub mod times;
pub mod top;

use std::path::Path;

use anyhow::Result;
use tracepoints::{
    printable::note,
    trace_file::{Damage, TraceFile},
};

/// A recording that reports damage of its index when it is opened, and other damage when it is dropped.
pub struct Recording {
    file: TraceFile,
    reported: Vec<Damage>,
}

impl std::ops::Deref for Recording {
    type Target = TraceFile;

    fn deref(&self) -> &TraceFile {
        &self.file
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        let path = self.file.path().display();
        for damage in self.file.damage().iter().filter(|d| !self.reported.contains(d)) {
            note(format_args!("warning: {path}: {damage}"));
        }
    }
}

/// Opens a recording and reports its damage on standard error.
pub fn open(path: &Path) -> Result<Recording> {
    let file = TraceFile::open(path)?;
    let (shown, reported) = (path.display(), file.damage());
    for damage in &reported {
        note(format_args!("warning: {shown}: {damage}"));
    }
    if let Some(at) = file.truncated_at() {
        note(format_args!("warning: {shown} is cut short at byte {at}; reading the part before"));
    }
    Ok(Recording { file, reported })
}
