//! Names and paths of a snapshot's files.
use std::{
    fs, io,
    path::{Path, PathBuf},
};

use kvproto::raft_serverpb::SnapshotMeta;
use prost::Message;

use super::{
    key::{Result, SnapError, SnapKey, io_error},
    plain,
};

const GEN_PREFIX: &str = "gen";
const REV_PREFIX: &str = "rev";
const SST_SUFFIX: &str = ".sst";
const META_SUFFIX: &str = ".meta";
pub(super) const TMP_SUFFIX: &str = ".tmp";
pub(super) const CLONE_SUFFIX: &str = ".clone";

/// Paths of one snapshot's files.
#[derive(Clone, Debug)]
pub(crate) struct SnapPaths {
    dir: PathBuf,
    /// `gen_1_6_7` or `rev_1_6_7`.
    prefix: String,
}

impl SnapPaths {
    pub(crate) fn new(dir: &Path, key: &SnapKey, sending: bool) -> Self {
        let kind = if sending { GEN_PREFIX } else { REV_PREFIX };
        Self { dir: dir.to_owned(), prefix: format!("{kind}_{key}") }
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(crate) fn meta(&self) -> PathBuf {
        self.dir.join(format!("{}{META_SUFFIX}", self.prefix))
    }

    /// Returns the path of the `part`-th file of a column family; the first file has no number.
    pub(crate) fn cf(&self, cf: &str, part: usize) -> PathBuf {
        let number = if part == 0 { String::new() } else { format!("_{part:04}") };
        self.dir.join(format!("{}_{cf}{number}{SST_SUFFIX}", self.prefix))
    }

    /// Returns the files listed in a meta, in its order, with their sizes and checksums.
    pub(crate) fn cf_files(&self, meta: &SnapshotMeta) -> Vec<CfFile> {
        let mut files: Vec<CfFile> = Vec::with_capacity(meta.cf_files.len());
        for file in &meta.cf_files {
            let part = files.iter().filter(|f| f.cf == file.cf).count();
            let path = self.cf(&file.cf, part);
            files.push(CfFile { cf: file.cf.clone(), path, size: file.size, checksum: file.checksum });
        }
        files
    }

    pub(crate) fn read_meta(&self) -> Result<Option<SnapshotMeta>> {
        let path = self.meta();
        match fs::read(&path) {
            Ok(bytes) => SnapshotMeta::decode(bytes.as_slice())
                .map(Some)
                .map_err(|e| SnapError::BadMessage(format!("{}: {e}", path.display()))),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(io_error(&path)(e)),
        }
    }

    /// Writes the meta. Call it last: the meta makes the snapshot valid.
    pub(crate) fn write_meta(&self, meta: &SnapshotMeta) -> Result<()> {
        let path = self.meta();
        let tmp = tmp_path(&path);
        plain::write_synced(&tmp, &meta.encode_to_vec())?;
        fs::rename(&tmp, &path).map_err(io_error(&path))?;
        plain::sync_dir(&self.dir)
    }

    /// Checks the files against the meta.
    pub(crate) fn check_files(&self, meta: &SnapshotMeta) -> Result<()> {
        for file in self.cf_files(meta).iter().filter(|f| f.size > 0) {
            plain::check_file(&file.path, file.size, file.checksum)?;
        }
        Ok(())
    }

    /// Removes the meta first, so that leftover files never count as a snapshot.
    pub(crate) fn remove(&self, meta: &SnapshotMeta) {
        let _ = fs::remove_file(self.meta());
        for file in self.cf_files(meta) {
            let _ = fs::remove_file(tmp_path(&file.path));
            let _ = fs::remove_file(clone_path(&file.path));
            let _ = fs::remove_file(file.path);
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CfFile {
    /// Name of the column family.
    pub cf: String,
    /// Path of the file.
    pub path: PathBuf,
    /// Bytes of the file; zero: no file.
    pub size: u64,
    /// CRC-32 of the file.
    pub checksum: u32,
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Path of a file that is being written.
pub(crate) fn tmp_path(path: &Path) -> PathBuf {
    with_suffix(path, TMP_SUFFIX)
}

/// Path of a copy that RocksDB may move.
pub(crate) fn clone_path(path: &Path) -> PathBuf {
    with_suffix(path, CLONE_SUFFIX)
}

/// Parses a name such as `gen_1_6_7.meta` into the key and whether it is one to send.
pub(super) fn parse_meta_name(name: &str) -> Option<(SnapKey, bool)> {
    let mut parts = name.strip_suffix(META_SUFFIX)?.split('_');
    let sending = match parts.next()? {
        GEN_PREFIX => true,
        REV_PREFIX => false,
        _ => return None,
    };
    let mut number = || parts.next()?.parse().ok();
    let key = SnapKey::new(number()?, number()?, number()?);
    parts.next().is_none().then_some((key, sending))
}
