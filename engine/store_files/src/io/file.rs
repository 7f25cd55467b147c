//! Files read at offsets and decrypted.
use std::{
    fs::File,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use super::error::{FileError, Result};
use crate::encryption::{Cipher, Keyring};

/// The source of a file's bytes.
#[derive(Debug)]
enum Bytes {
    File(File),
    Memory(Vec<u8>),
}

/// A file opened for reading at offsets.
#[derive(Debug)]
pub struct RandomFile {
    bytes: Bytes,
    path: PathBuf,
    len: u64,
    cipher: Option<Cipher>,
}

impl RandomFile {
    /// Opens `path`, which is decrypted with a key of `keyring` if it is encrypted.
    ///
    /// # Errors
    /// The file cannot be opened, is not a regular file, or is encrypted with an unknown key.
    pub fn open(path: &Path, keyring: &Keyring) -> Result<RandomFile> {
        let io = |source| FileError::Io { path: path.to_owned(), source };
        let file = File::open(path).map_err(io)?;
        let meta = file.metadata().map_err(io)?;
        if !meta.is_file() {
            return Err(FileError::Unsupported {
                path: path.to_owned(),
                what: "expected a regular file, found a directory or a device".into(),
            });
        }
        let cipher = keyring.cipher_of(path)?;
        Ok(RandomFile { bytes: Bytes::File(file), path: path.to_owned(), len: meta.len(), cipher })
    }

    /// Wraps bytes in memory; errors name them `path`.
    pub fn from_bytes(path: &Path, bytes: Vec<u8>) -> RandomFile {
        RandomFile {
            len: bytes.len() as u64,
            bytes: Bytes::Memory(bytes),
            path: path.to_owned(),
            cipher: None,
        }
    }

    /// The path by which the file was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Size in bytes when the file was opened.
    pub fn size(&self) -> u64 {
        self.len
    }

    /// Reads `len` bytes at `offset`.
    pub fn read(&self, offset: u64, len: u64) -> Result<Vec<u8>> {
        self.check_range(offset, len)?;
        let mut buf = vec![0; len as usize];
        self.read_exact(offset, &mut buf)?;
        Ok(buf)
    }

    /// Replaces the contents of `buf` by `len` bytes at `offset`.
    pub fn read_into(&self, offset: u64, len: u64, buf: &mut Vec<u8>) -> Result<()> {
        self.check_range(offset, len)?;
        buf.resize(len as usize, 0);
        self.read_exact(offset, buf)
    }

    /// Reads and decrypts; the caller has checked the range.
    fn read_exact(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        match &self.bytes {
            Bytes::File(file) => {
                file.read_exact_at(buf, offset)
                    .map_err(|source| FileError::Io { path: self.path.clone(), source })?;
                if let Some(cipher) = &self.cipher {
                    cipher.apply(offset, buf);
                }
                Ok(())
            }
            Bytes::Memory(bytes) => {
                let start = offset as usize;
                buf.copy_from_slice(&bytes[start..start + buf.len()]);
                Ok(())
            }
        }
    }

    fn check_range(&self, offset: u64, len: u64) -> Result<()> {
        if offset.checked_add(len).is_none_or(|end| end > self.len) {
            return Err(self.corrupt(
                offset,
                format!(
                    "expected {len} bytes here, found the end of the file at byte {}: it was truncated",
                    self.len
                ),
            ));
        }
        Ok(())
    }

    /// Creates an error about the bytes at `offset`.
    pub fn corrupt(&self, offset: u64, what: impl std::fmt::Display) -> FileError {
        FileError::corrupt(&self.path, offset, what)
    }

    /// Creates an error about a feature of the file that this reader does not support.
    pub fn unsupported(&self, what: impl Into<String>) -> FileError {
        FileError::Unsupported { path: self.path.clone(), what: what.into() }
    }
}

/// Reads the whole file `path`, which is decrypted with a key of `keyring` if it is encrypted.
pub fn read_whole(path: &Path, keyring: &Keyring) -> Result<Vec<u8>> {
    let mut bytes = std::fs::read(path).map_err(|source| FileError::Io { path: path.to_owned(), source })?;
    if let Some(cipher) = keyring.cipher_of(path)? {
        cipher.apply(0, &mut bytes);
    }
    Ok(bytes)
}
