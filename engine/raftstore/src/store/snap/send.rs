//! Reads a snapshot's files as one stream of bytes for the wire.
use std::{
    fs::File,
    io::{self, Read},
    path::PathBuf,
};

use super::{
    SNAP_CHUNK_LEN,
    key::{Result, SnapKey, io_error},
    registry::{Registry, SnapEntry},
};

/// Concatenated files of a generated snapshot, in the order of its meta. In use as long as this value lives.
pub struct SendingSnapshot {
    registry: Registry,
    key: SnapKey,
    files: std::vec::IntoIter<PathBuf>,
    current: Option<File>,
    total_size: u64,
}

impl SendingSnapshot {
    pub(super) fn open(registry: Registry, key: SnapKey, files: Vec<PathBuf>, total_size: u64) -> Self {
        Self { registry, key, files: files.into_iter(), current: None, total_size }
    }

    /// Total bytes of all files.
    pub fn total_size(&self) -> u64 {
        self.total_size
    }

    /// Returns the key of the snapshot.
    pub fn key(&self) -> SnapKey {
        self.key
    }

    /// Returns the next chunk, at most [`SNAP_CHUNK_LEN`] bytes; `None` at the end.
    pub fn next_chunk(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut chunk = Vec::with_capacity(SNAP_CHUNK_LEN.min(self.total_size as usize));
        self.by_ref().take(SNAP_CHUNK_LEN as u64).read_to_end(&mut chunk)?;
        Ok((!chunk.is_empty()).then_some(chunk))
    }
}

impl Read for SendingSnapshot {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            if let Some(file) = &mut self.current {
                let n = file.read(buf)?;
                if n > 0 || buf.is_empty() {
                    return Ok(n);
                }
            }
            match self.files.next() {
                Some(path) => self.current = Some(File::open(path)?),
                None => return Ok(0),
            }
        }
    }
}

impl Drop for SendingSnapshot {
    fn drop(&mut self) {
        self.registry.deregister(&self.key, SnapEntry::Sending);
    }
}

/// Opens every file once, to report an error before the first byte is sent.
pub(super) fn check_readable(files: &[PathBuf]) -> Result<()> {
    for path in files {
        File::open(path).map_err(io_error(path))?;
    }
    Ok(())
}
