//! `tikv-tui trace`: what a recording holds, printed.
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
mod table;
pub mod times;
pub mod top;

use std::path::Path;

use anyhow::Result;
use tracepoints::{
    printable::note,
    trace_file::{Damage, TraceFile},
};

/// A recording that tells on standard error where it is not whole: when it is opened, and, of what is only read later, when
/// it is done with.
pub struct Recording {
    file: TraceFile,
    told: Vec<Damage>,
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
        for damage in self.file.damage().iter().filter(|d| !self.told.contains(d)) {
            note(format_args!("warning: {path}: {damage}"));
        }
    }
}

/// Opens a recording.
pub fn open(path: &Path) -> Result<Recording> {
    let file = TraceFile::open(path)?;
    let (shown, told) = (path.display(), file.damage());
    for damage in &told {
        note(format_args!("warning: {shown}: {damage}"));
    }
    if let Some(at) = file.cut() {
        note(format_args!("warning: {shown} is cut short at byte {at}; what stands before is read"));
    }
    Ok(Recording { file, told })
}
