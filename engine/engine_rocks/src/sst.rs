//! SST files outside of the database, in which snapshots are sent and ingested.
use std::{
    fs::File,
    path::{Path, PathBuf},
    sync::Arc,
};

use rocksdb::{Options, SstFileWriter};

use crate::{CompressionType, DbConfig, Error, Result};

/// Description of a written SST file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExternalSstFileInfo {
    /// Path of the file.
    pub path: PathBuf,
    /// Bytes of the file.
    pub file_size: u64,
    /// Keys in the file.
    pub num_entries: u64,
    /// Smallest key.
    pub smallest_key: Vec<u8>,
    /// Greatest key.
    pub largest_key: Vec<u8>,
}

/// Writes one SST file; keys must ascend.
///
/// TiKV: `engine_rocks::sst::RocksSstWriter`.
pub struct RocksSstWriter {
    // Dropped before the options that it borrows.
    writer: SstFileWriter<'static>,
    _options: Arc<Options>,
    info: ExternalSstFileInfo,
}

impl RocksSstWriter {
    /// Creates a file for `cf`; uncompressed if `compression` is none.
    pub fn create(
        path: impl AsRef<Path>,
        cf: &str,
        compression: Option<CompressionType>,
    ) -> Result<RocksSstWriter> {
        let mut options = DbConfig::default().cf(cf).sst_options();
        options.set_compression_type(compression.unwrap_or(CompressionType::None));
        let options = Arc::new(options);
        // SAFETY: the options are in an Arc, so their address is fixed, and the struct declares the Arc after
        // the writer, so the options are dropped after it.
        let borrowed: &'static Options = unsafe { &*Arc::as_ptr(&options) };
        let mut writer = SstFileWriter::create(borrowed);
        writer.open(&path)?;
        let info = ExternalSstFileInfo {
            path: path.as_ref().to_owned(),
            file_size: 0,
            num_entries: 0,
            smallest_key: Vec::new(),
            largest_key: Vec::new(),
        };
        Ok(RocksSstWriter { writer, _options: options, info })
    }

    /// Adds a key, which must be greater than the previous one.
    pub fn put(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        self.writer.put(key, value)?;
        self.added(key);
        Ok(())
    }

    /// Adds a deletion of a key, which must be greater than the previous one.
    pub fn delete(&mut self, key: &[u8]) -> Result<()> {
        self.writer.delete(key)?;
        self.added(key);
        Ok(())
    }

    fn added(&mut self, key: &[u8]) {
        if self.info.num_entries == 0 {
            self.info.smallest_key = key.to_vec();
        }
        self.info.largest_key.clear();
        self.info.largest_key.extend_from_slice(key);
        self.info.num_entries += 1;
    }

    /// Returns the bytes written.
    pub fn file_size(&self) -> u64 {
        self.writer.file_size()
    }

    /// Returns the number of keys added.
    pub fn num_entries(&self) -> u64 {
        self.info.num_entries
    }

    /// Finishes and syncs the file. RocksDB refuses a file without keys.
    pub fn finish(mut self) -> Result<ExternalSstFileInfo> {
        self.writer.finish()?;
        let synced = File::open(&self.info.path).and_then(|file| {
            file.sync_all()?;
            file.metadata()
        });
        let metadata = synced.map_err(|source| Error::Io { path: self.info.path.clone(), source })?;
        self.info.file_size = metadata.len();
        Ok(self.info)
    }
}
