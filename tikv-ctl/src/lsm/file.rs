use std::{
    fs::File,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use super::{Error, Result};

/// A file opened for reading, read at offsets.
#[derive(Debug)]
pub struct RandomFile {
    file: File,
    path: PathBuf,
    len: u64,
}

impl RandomFile {
    /// Opens `path`.
    pub fn open(path: &Path) -> Result<RandomFile> {
        let io = |source| Error::Io { path: path.to_owned(), source };
        let file = File::open(path).map_err(io)?;
        let meta = file.metadata().map_err(io)?;
        if !meta.is_file() {
            return Err(Error::Unsupported {
                path: path.to_owned(),
                what: "expected a file, met something else".into(),
            });
        }
        Ok(RandomFile { file, path: path.to_owned(), len: meta.len() })
    }

    /// The path it was opened by.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes that the file had when it was opened.
    pub fn size(&self) -> u64 {
        self.len
    }

    /// `len` bytes at `offset`.
    pub fn read(&self, offset: u64, len: u64) -> Result<Vec<u8>> {
        if offset.checked_add(len).is_none_or(|end| end > self.len) {
            return Err(self.corrupt(
                offset,
                format!("{len} bytes expected, the file has {} bytes in all: it was cut short", self.len),
            ));
        }
        let mut buf = vec![0; len as usize];
        self.file
            .read_exact_at(&mut buf, offset)
            .map_err(|source| Error::Io { path: self.path.clone(), source })?;
        Ok(buf)
    }

    /// An error about the bytes at `offset`.
    pub fn corrupt(&self, offset: u64, what: impl Into<String>) -> Error {
        Error::Corruption { path: self.path.clone(), offset, what: what.into() }
    }

    /// An error about something in this file that the reader lacks.
    pub fn unsupported(&self, what: impl Into<String>) -> Error {
        Error::Unsupported { path: self.path.clone(), what: what.into() }
    }
}
