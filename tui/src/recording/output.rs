//! The file that a new recording goes into: one that holds nothing does not block its name, anything else is kept.
use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{ErrorKind, Read as _, Seek as _},
    path::Path,
};

use anyhow::{Context as _, Result, bail};
use tracepoints::trace_file::{Query, TraceFile};

/// A new, empty file at `path`, locked against another recording of the same name.
///
/// # Errors
/// If something is there that is to be kept, or if it cannot be made.
pub fn claim(path: &Path) -> Result<File> {
    let shown = path.display();
    let cannot = || format!("cannot make {shown}");
    let (mut file, old) = match OpenOptions::new().read(true).write(true).create_new(true).open(path) {
        Ok(file) => (file, false),
        Err(e) if e.kind() == ErrorKind::AlreadyExists => (open_old(path)?, true),
        Err(e) => return Err(e).with_context(cannot),
    };
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => bail!("another recording writes to {shown}; choose another name"),
        // A file system without locks.
        Err(TryLockError::Error(_)) => {}
    }
    if old {
        refuse_if_it_holds_something(path, &file)?;
        file.set_len(0).and_then(|()| file.rewind()).with_context(cannot)?;
    }
    Ok(file)
}

fn open_old(path: &Path) -> Result<File> {
    let shown = path.display();
    let is_file = std::fs::metadata(path).is_ok_and(|m| m.is_file());
    if !is_file {
        bail!("{shown} exists and is no regular file; choose another name");
    }
    let opened = OpenOptions::new().read(true).write(true).open(path);
    opened.with_context(|| format!("{shown} exists and cannot be opened; choose another name"))
}

/// Nothing is in a file that is empty, or that a recording began and left without a request.
fn refuse_if_it_holds_something(path: &Path, file: &File) -> Result<()> {
    let shown = path.display();
    let mut head = Vec::new();
    file.take(TraceFile::HEAD as u64)
        .read_to_end(&mut head)
        .with_context(|| format!("cannot read {shown}"))?;
    if head.is_empty() {
        return Ok(());
    }
    if !TraceFile::begins(&head) {
        bail!("{shown} exists and is no recording, so it is kept; choose another name");
    }
    let Ok(found) = TraceFile::open(path) else {
        bail!("{shown} exists and cannot be read, so it is kept; remove it or choose another name");
    };
    if found.stamp_count() == 0
        && found.traces().next().is_none()
        && found.heads(&Query::default()).next().is_none()
    {
        return Ok(());
    }
    bail!(
        "{shown} exists and holds {}, so it is kept; `tikv-tui trace {shown}` lists them. Choose another name, \
         or remove it",
        match found.traces().count() {
            0 => format!("{} requests", found.request_count()),
            traces => format!("{traces} traces of another tool"),
        }
    )
}

#[cfg(test)]
mod tests {
    use tracepoints::trace_file::TraceFileWriter;

    use super::*;

    #[test]
    fn only_a_file_that_holds_nothing_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.trace");
        drop(claim(&path).unwrap());
        // The empty file of a recording that was killed at once.
        let file = claim(&path).unwrap();
        assert!(claim(&path).unwrap_err().to_string().contains("another recording"));
        TraceFileWriter::to(Box::new(file), &path).unwrap().finish().unwrap();
        assert!(std::fs::metadata(&path).unwrap().len() > 0);
        let file = claim(&path).unwrap();
        assert_eq!(file.metadata().unwrap().len(), 0, "begun, without a request");
        TraceFileWriter::to(Box::new(file), &path).unwrap().finish().unwrap();
        TraceFile::open(&path).unwrap();
        std::fs::write(&path, "notes").unwrap();
        let why = claim(&path).unwrap_err().to_string();
        assert!(why.contains("is kept") && std::fs::read(&path).unwrap() == b"notes", "{why}");
        assert!(claim(dir.path()).unwrap_err().to_string().contains("no regular file"));
    }
}
