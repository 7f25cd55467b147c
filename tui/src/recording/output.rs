//! The output file of a new recording. An existing file is reused if it is empty or a recording without
//! requests; any other file is kept.
use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{ErrorKind, Read as _, Seek as _},
    path::Path,
};

use anyhow::{Context as _, Result, bail};
use tracepoints::trace_file::{Query, TraceFile};

/// Creates an empty file at `path`, locked against another recording of the same name.
///
/// # Errors
/// If there is a file with contents, or the file cannot be created.
pub fn claim(path: &Path) -> Result<File> {
    let shown = path.display();
    let cannot = || format!("cannot create {shown}");
    let (mut file, old) = match OpenOptions::new().read(true).write(true).create_new(true).open(path) {
        Ok(file) => (file, false),
        Err(e) if e.kind() == ErrorKind::AlreadyExists => (open_old(path)?, true),
        Err(e) => return Err(e).with_context(cannot),
    };
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            bail!("another recording is writing to {shown}; choose another name")
        }
        // The file system has no locks.
        Err(TryLockError::Error(_)) => {}
    }
    if old {
        refuse_contents(path, &file)?;
        file.set_len(0).and_then(|()| file.rewind()).with_context(cannot)?;
    }
    Ok(file)
}

fn open_old(path: &Path) -> Result<File> {
    let shown = path.display();
    let is_file = std::fs::metadata(path).is_ok_and(|m| m.is_file());
    if !is_file {
        bail!("{shown} exists and is not a regular file; choose another name");
    }
    let opened = OpenOptions::new().read(true).write(true).open(path);
    opened.with_context(|| format!("{shown} exists and cannot be opened; choose another name"))
}

/// Fails unless the file is empty, or a recording without requests and traces.
fn refuse_contents(path: &Path, file: &File) -> Result<()> {
    let shown = path.display();
    let mut head = Vec::new();
    file.take(TraceFile::HEAD as u64)
        .read_to_end(&mut head)
        .with_context(|| format!("cannot read {shown}"))?;
    if head.is_empty() {
        return Ok(());
    }
    if !TraceFile::begins(&head) {
        bail!("{shown} exists and is not a recording, so it is kept; choose another name");
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
        "{shown} exists and contains {}, so it is kept; `tikv-tui trace {shown}` lists them. Choose another name, \
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
    fn only_a_file_without_requests_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.trace");
        drop(claim(&path).unwrap());
        // As after a recording that was killed at once.
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
        assert!(claim(dir.path()).unwrap_err().to_string().contains("not a regular file"));
    }
}
