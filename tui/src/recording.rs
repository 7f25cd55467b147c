//! `tikv-tui trace`: what a recording holds, printed.
pub mod diff;
pub mod export;
pub mod grep;
pub mod import;
pub mod info;
pub mod open;
pub mod record;
mod select;
mod stats;
mod table;
pub mod times;
pub mod top;

use std::path::Path;

use anyhow::Result;
use tracepoints::trace_file::TraceFile;

/// Opens a recording and tells on standard error where it is not whole.
fn open(path: &Path) -> Result<TraceFile> {
    let file = TraceFile::open(path)?;
    warn_of_damage(&file);
    Ok(file)
}

fn warn_of_damage(file: &TraceFile) {
    let shown = file.path().display();
    for damage in file.damage() {
        eprintln!("warning: {shown}: {damage}");
    }
    if let Some(at) = file.cut() {
        eprintln!("warning: {shown} is cut short at byte {at}; what stands before is read");
    }
}
