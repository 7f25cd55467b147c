//! The dictionaries of one data directory in memory.
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{PoisonError, RwLock},
};

use kvproto::encryptionpb::{DataKey, EncryptionMethod, FileInfo, KeyDictionary};

use super::{cipher::Cipher, dict::KEY_DICT, key_error::KeyError};
use crate::Error;

/// Directories of a store. A file's path from the last of them on is the same in a copy of the store.
const PARTS: [&str; 6] = ["db", "raft-engine", "raft", "snap", "import", "tablets"];

/// The dictionaries of one data directory.
#[derive(Debug)]
pub(super) struct Vault {
    pub dir: PathBuf,
    /// A new file adds an entry while other readers use the vault.
    entries: RwLock<Entries>,
    /// The data keys, or the failure to read them.
    keys: Result<KeyDictionary, Error>,
}

#[derive(Debug, Default)]
struct Entries {
    /// By the names in the dictionary.
    files: BTreeMap<PathBuf, FileInfo>,
    /// By relative paths in the data directory, so that a copy of the directory can be read.
    inside: BTreeMap<PathBuf, FileInfo>,
}

impl Vault {
    /// Creates the vault of the data directory `dir`, an absolute path without links.
    pub fn new(dir: PathBuf, files: BTreeMap<String, FileInfo>, keys: Result<KeyDictionary, Error>) -> Vault {
        let vault = Vault { dir, entries: RwLock::default(), keys };
        files.into_iter().for_each(|(name, info)| vault.insert(PathBuf::from(name), info));
        vault
    }

    /// Adds the file `name`, or replaces its entry.
    pub fn insert(&self, name: PathBuf, info: FileInfo) {
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        entries.inside.insert(place_in(&name, &self.dir), info.clone());
        entries.files.insert(name, info);
    }

    /// Returns the entry of the file `path`, an absolute path without links.
    pub fn info(&self, path: &Path) -> Option<FileInfo> {
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        let place = path.strip_prefix(&self.dir).ok();
        place.and_then(|place| entries.inside.get(place)).or_else(|| entries.files.get(path)).cloned()
    }

    /// Returns the cipher of a file with the entry `info`; `None` if the file is plain.
    ///
    /// # Errors
    /// The data key is unknown. The message says the remedy.
    pub fn cipher(&self, info: &FileInfo) -> Result<Option<Cipher>, KeyError> {
        let method = info.method();
        if method == EncryptionMethod::Plaintext {
            return Ok(None);
        }
        let (method_name, key_id) = (method.as_str_name(), info.key_id);
        let unread = |why: &Error| KeyError::Unread { method: method_name, key_id, why: why.to_string() };
        let keys = self.keys.as_ref().map_err(unread)?;
        let key = keys.keys.get(&key_id).ok_or_else(|| {
            let dict = self.dir.join(KEY_DICT);
            KeyError::Missing { method: method_name, key_id, dict }
        })?;
        Cipher::new(method, &key.key, &info.iv).map(Some)
    }

    /// Returns the name of a new file `path` in the dictionary. It has the same root as the names of files of
    /// its directory, since the data directory may be a copy. `None` if the file is not one of this store.
    pub fn name_of(&self, path: &Path) -> Option<PathBuf> {
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        let Ok(place) = path.strip_prefix(&self.dir) else {
            // Logs may be outside of the data directory; their names are their paths.
            return entries.files.keys().any(|name| name.parent() == path.parent()).then(|| path.to_owned());
        };
        let split = |name: &PathBuf| {
            let inside = place_in(name, &self.dir);
            let above = name.components().count() - inside.components().count();
            (above > 0).then(|| (inside, name.components().take(above).collect::<PathBuf>()))
        };
        let same_dir = |(inside, _): &(PathBuf, PathBuf)| inside.parent() == place.parent();
        let known = entries.files.keys().filter_map(split);
        let root = known.clone().find(same_dir).or_else(|| known.clone().next()).map(|(_, root)| root);
        Some(root.unwrap_or_else(|| self.dir.clone()).join(place))
    }

    /// Returns the id of the key of new files and the key; `None` if they are not encrypted.
    ///
    /// # Errors
    /// The data keys are unknown.
    pub fn current_key(&self) -> Result<Option<(u64, DataKey)>, KeyError> {
        let keys = self.keys.as_ref().map_err(|why| KeyError::CannotEncrypt { why: why.to_string() })?;
        let key = keys.keys.get(&keys.current_key_id).cloned();
        let encrypts =
            |key: &DataKey| !matches!(key.method(), EncryptionMethod::Plaintext | EncryptionMethod::Unknown);
        Ok(key.filter(encrypts).map(|key| (keys.current_key_id, key)))
    }
}

/// Returns the path, relative to the data directory `dir` or to its original, of the file `name`.
pub fn place_in(name: &Path, dir: &Path) -> PathBuf {
    if let Ok(place) = name.strip_prefix(dir) {
        return place.to_owned();
    }
    let parts: Vec<_> = name.components().collect();
    let at = parts.iter().rposition(|part| PARTS.iter().any(|known| part.as_os_str() == *known));
    parts[at.unwrap_or(0)..].iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_a_copy_have_the_same_relative_paths() {
        let place = |name: &str| place_in(Path::new(name), Path::new("/copy"));
        assert_eq!(place("/copy/db/1.sst"), Path::new("db/1.sst"));
        assert_eq!(place("/db/tikv/db/titandb/1.blob"), Path::new("db/titandb/1.blob"));
        assert_eq!(place("/data/raft-engine/0000000000000001.raftlog").components().count(), 2);
        assert_eq!(place("other"), Path::new("other"));
    }
}
