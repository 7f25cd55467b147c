//! Receives a snapshot from the wire into files.
use std::{
    fs::{self, File},
    io::Write,
};

use kvproto::raft_serverpb::SnapshotMeta;

use super::{
    key::{Result, SnapError, SnapKey, io_error},
    paths::{CfFile, SnapPaths, tmp_path},
    registry::{Registry, SnapEntry},
};

/// Files of a snapshot being received. Dropping it before [`ReceivingSnapshot::finish`] removes them.
pub struct ReceivingSnapshot {
    registry: Registry,
    key: SnapKey,
    paths: SnapPaths,
    meta: SnapshotMeta,
    files: Vec<CfFile>,
    at: usize,
    out: Option<(File, crc32fast::Hasher, u64)>,
    /// The snapshot exists already: received bytes are discarded.
    exists: bool,
    finished: bool,
}

impl ReceivingSnapshot {
    pub(super) fn new(
        registry: Registry,
        key: SnapKey,
        paths: SnapPaths,
        meta: SnapshotMeta,
        exists: bool,
    ) -> Self {
        let files = paths.cf_files(&meta).into_iter().filter(|f| f.size > 0).collect();
        Self { registry, key, paths, meta, files, at: 0, out: None, exists, finished: false }
    }

    /// Returns the key of the snapshot.
    pub fn key(&self) -> SnapKey {
        self.key
    }

    /// Whether this snapshot was received before; the receiver may then accept it at once.
    pub fn exists(&self) -> bool {
        self.exists
    }

    /// Writes the next bytes of the stream.
    pub fn write(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() && !self.exists {
            let Some(file) = self.files.get(self.at) else {
                let what = format!(
                    "snapshot {}: received {} bytes more than its meta declares",
                    self.key,
                    bytes.len()
                );
                return Err(SnapError::BadMessage(what));
            };
            let tmp = tmp_path(&file.path);
            if self.out.is_none() {
                let out = File::create(&tmp).map_err(io_error(&tmp))?;
                self.out = Some((out, crc32fast::Hasher::new(), 0));
            }
            let Some((out, hasher, written)) = &mut self.out else { continue };
            let n = bytes.len().min((file.size - *written) as usize);
            out.write_all(&bytes[..n]).map_err(io_error(&tmp))?;
            hasher.update(&bytes[..n]);
            *written += n as u64;
            bytes = &bytes[n..];
            if *written == file.size {
                self.end_file()?;
            }
        }
        Ok(())
    }

    fn end_file(&mut self) -> Result<()> {
        let (Some((out, hasher, have)), Some(file)) = (self.out.take(), self.files.get(self.at)) else {
            return Ok(());
        };
        let (tmp, have_crc) = (tmp_path(&file.path), hasher.finalize());
        if have_crc != file.checksum {
            return Err(SnapError::Corrupt {
                path: tmp,
                want: file.size,
                want_crc: file.checksum,
                have,
                have_crc,
            });
        }
        out.sync_all().map_err(io_error(&tmp))?;
        self.at += 1;
        Ok(())
    }

    /// Ends the stream: checks that the files are complete and makes the snapshot valid.
    pub fn finish(mut self) -> Result<SnapKey> {
        if !self.exists {
            if let Some(file) = self.files.get(self.at) {
                let have = self.out.as_ref().map_or(0, |(_, _, n)| *n);
                let what = format!(
                    "snapshot {}: the stream ended in {} after {have} of {} bytes",
                    self.key, file.cf, file.size
                );
                return Err(SnapError::BadMessage(what));
            }
            for file in &self.files {
                fs::rename(tmp_path(&file.path), &file.path).map_err(io_error(&file.path))?;
            }
            self.paths.write_meta(&self.meta)?;
        }
        self.finished = true;
        Ok(self.key)
    }
}

impl Drop for ReceivingSnapshot {
    fn drop(&mut self) {
        if !self.finished && !self.exists {
            self.paths.remove(&self.meta);
        }
        self.registry.deregister(&self.key, SnapEntry::Receiving);
    }
}
