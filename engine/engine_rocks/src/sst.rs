//! SST files outside the database: snapshots are sent and ingested as such.

use std::{
    fs::File,
    path::{Path, PathBuf},
    sync::Arc,
};

use rocksdb::{Options, SstFileWriter};

use crate::{CompressionType, DbConfig, Error, Result};

/// An SST file that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExternalSstFileInfo {
    /// Where it is.
    pub path: PathBuf,
    /// Bytes of the file.
    pub file_size: u64,
    /// Keys in the file.
    pub num_entries: u64,
    /// The least key.
    pub smallest_key: Vec<u8>,
    /// The greatest key.
    pub largest_key: Vec<u8>,
}

/// Writes one SST file, keys ascending.
///
/// TiKV: `engine_rocks::sst::RocksSstWriter`.
pub struct RocksSstWriter {
    // Dropped before the options that it borrows.
    writer: SstFileWriter<'static>,
    _options: Arc<Options>,
    info: ExternalSstFileInfo,
}

impl RocksSstWriter {
    /// Starts a file for `cf`; no compression where `compression` is none.
    pub fn create(
        path: impl AsRef<Path>,
        cf: &str,
        compression: Option<CompressionType>,
    ) -> Result<RocksSstWriter> {
        let mut options = DbConfig::default().cf(cf).sst_options();
        options.set_compression_type(compression.unwrap_or(CompressionType::None));
        let options = Arc::new(options);
        // SAFETY: the options live behind an Arc, so their address is fixed, and the struct holds the Arc
        // behind the writer, so they are dropped after it.
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

    /// Adds a key, which must be above the one before.
    pub fn put(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        self.writer.put(key, value)?;
        self.added(key);
        Ok(())
    }

    /// Adds a deletion of a key, which must be above the one before.
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

    /// Bytes written so far.
    pub fn file_size(&self) -> u64 {
        self.writer.file_size()
    }

    /// Keys added so far.
    pub fn num_entries(&self) -> u64 {
        self.info.num_entries
    }

    /// Ends the file and makes it survive a crash. RocksDB refuses a file without keys.
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
