//! The undo file: changes with the values before and after them.
use std::{
    fs::{File, OpenOptions},
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};

use super::Change;
use crate::{Error, Result};

const VERSION: u32 = 1;

/// An undo file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UndoFile {
    /// Version of the file format: 1.
    pub tikv_ctl_undo: u32,
    /// The command that made the changes.
    pub command: String,
    /// The directory that was changed.
    pub data_dir: PathBuf,
    /// The changes, in order.
    pub changes: Vec<Change>,
    /// The flashback that undoes an earlier one of a cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flashback: Option<Flashback>,
}

/// A flashback of a running cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flashback {
    /// Addresses of PD.
    pub pd: Option<String>,
    pub version: u64,
    /// Region ids; all regions if empty.
    pub regions: Vec<u64>,
    /// Bounds in PD's form of keys; an empty end is unbounded.
    pub start: Vec<u8>,
    pub end: Vec<u8>,
}

impl UndoFile {
    /// Creates the undo file of `changes` of `data_dir`.
    pub fn new(command: &str, data_dir: &Path, changes: &[Change]) -> UndoFile {
        let data_dir = std::fs::canonicalize(data_dir).unwrap_or(data_dir.to_owned());
        UndoFile {
            tikv_ctl_undo: VERSION,
            command: command.to_owned(),
            data_dir,
            changes: changes.to_vec(),
            flashback: None,
        }
    }

    /// Creates the undo file of a cluster's flashback.
    pub fn for_flashback(back: Flashback) -> UndoFile {
        UndoFile {
            tikv_ctl_undo: VERSION,
            command: "flashback".to_owned(),
            data_dir: PathBuf::new(),
            changes: Vec::new(),
            flashback: Some(back),
        }
    }

    /// Returns a file name that no other undo file has.
    pub fn default_path(command: &str) -> PathBuf {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        PathBuf::from(format!("tikv-ctl-undo-{command}-{}.json", now.as_millis()))
    }

    /// Writes a new file and syncs it to the disk.
    pub fn write(&self, path: &Path) -> Result<()> {
        let fail = |e: &dyn std::fmt::Display| {
            Error::other(format!("cannot write the undo file {}: {e}; nothing was changed", path.display()))
        };
        let text = serde_json::to_vec_pretty(self).map_err(|e| fail(&e))?;
        // The file contains values of the store, which may be encrypted there: only the owner may read it.
        let mut how = OpenOptions::new();
        let mut file = how.write(true).create_new(true).mode(0o600).open(path).map_err(|e| fail(&e))?;
        file.write_all(&text).and_then(|()| file.sync_all()).map_err(|e| fail(&e))?;
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        File::open(parent.unwrap_or(Path::new("."))).and_then(|dir| dir.sync_all()).map_err(|e| fail(&e))
    }

    /// Reads a file that [`UndoFile::write`] wrote.
    pub fn read(path: &Path) -> Result<UndoFile> {
        let fail = |what: String| Error::other(format!("{}: {what}", path.display()));
        let text = tracepoints_input::Input::open(path).map_err(|e| fail(e.to_string()))?;
        let file: UndoFile = serde_json::from_slice(&text)
            .map_err(|e| fail(format!("expected an undo file that tikv-ctl wrote: {e}")))?;
        if file.tikv_ctl_undo != VERSION {
            return Err(fail(format!(
                "expected an undo file of version {VERSION}, found version {}: undo with the tikv-ctl that wrote it",
                file.tikv_ctl_undo
            )));
        }
        Ok(file)
    }

    /// Returns the changes that restore the old values.
    pub fn inverse(&self) -> Vec<Change> {
        self.changes.iter().rev().map(Change::inverse).collect()
    }
}
