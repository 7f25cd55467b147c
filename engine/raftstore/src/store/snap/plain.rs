//! The plain file of CF lock, and file helpers for all snapshot files.
use std::{
    fs::{self, File},
    io::{BufReader, BufWriter, Read, Write},
    path::{Path, PathBuf},
};

use super::key::{Result, SnapError, io_error};

/// Writes a file and syncs it.
pub(super) fn write_synced(path: &Path, bytes: &[u8]) -> Result<()> {
    let write = || {
        let mut file = File::create(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(io_error(path))
}

/// Syncs a directory, so that renames in it survive a crash.
pub(super) fn sync_dir(dir: &Path) -> Result<()> {
    File::open(dir).and_then(|d| d.sync_all()).map_err(io_error(dir))
}

/// Computes size and crc32 of a file.
pub(super) fn size_and_checksum(path: &Path) -> Result<(u64, u32)> {
    let read = || {
        let mut reader = File::open(path)?;
        let (mut hasher, mut size, mut buf) = (crc32fast::Hasher::new(), 0, vec![0; 64 << 10]);
        loop {
            let n = reader.read(&mut buf)?;
            if n == 0 {
                return Ok((size, hasher.finalize()));
            }
            hasher.update(&buf[..n]);
            size += n as u64;
        }
    };
    read().map_err(io_error(path))
}

/// # Errors
/// [`SnapError::Corrupt`] if size or checksum differs from the meta.
pub(super) fn check_file(path: &Path, want: u64, want_crc: u32) -> Result<()> {
    let (have, have_crc) = size_and_checksum(path)?;
    if (have, have_crc) == (want, want_crc) {
        return Ok(());
    }
    Err(SnapError::Corrupt { path: path.to_owned(), want, want_crc, have, have_crc })
}

/// Writes key-value pairs as length-prefixed bytes, terminated by an empty key.
pub(super) struct PlainWriter {
    path: PathBuf,
    out: BufWriter<File>,
    /// Number of pairs written.
    pub keys: u64,
}

impl PlainWriter {
    pub(super) fn create(path: &Path) -> Result<Self> {
        let out = BufWriter::new(File::create(path).map_err(io_error(path))?);
        Ok(Self { path: path.to_owned(), out, keys: 0 })
    }

    pub(super) fn put(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        let mut buf = Vec::with_capacity(key.len() + value.len() + 10);
        keys::codec::encode_compact_bytes(&mut buf, key);
        keys::codec::encode_compact_bytes(&mut buf, value);
        self.keys += 1;
        self.out.write_all(&buf).map_err(io_error(&self.path))
    }

    pub(super) fn finish(mut self) -> Result<()> {
        let mut end = || {
            self.out.write_all(&[0])?;
            self.out.flush()?;
            self.out.get_ref().sync_all()
        };
        end().map_err(io_error(&self.path))
    }
}

/// Calls `visit` with each pair of a plain file.
pub(super) fn read_plain(path: &Path, mut visit: impl FnMut(&[u8], &[u8]) -> Result<()>) -> Result<()> {
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(io_error(path))?;
    BufReader::new(file).read_to_end(&mut bytes).map_err(io_error(path))?;
    let bad = |e: keys::Error| SnapError::BadMessage(format!("{}: {e}", path.display()));
    let mut rest = bytes.as_slice();
    loop {
        let key = keys::codec::decode_compact_bytes(&mut rest).map_err(bad)?;
        if key.is_empty() {
            return Ok(());
        }
        let value = keys::codec::decode_compact_bytes(&mut rest).map_err(bad)?;
        visit(key, value)?;
    }
}

/// Hard-links a file, or copies it if the file system has no links.
pub(super) fn link_or_copy(from: &Path, to: &Path) -> Result<()> {
    let _ = fs::remove_file(to);
    if fs::hard_link(from, to).is_err() {
        fs::copy(from, to).map_err(io_error(from))?;
    }
    Ok(())
}
