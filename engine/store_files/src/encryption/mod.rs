//! Encryption at rest: the keys of files (`file.dict`), the data keys (`key.dict`), and decryption with them
//! (TiKV `components/encryption`, `DataKeyManager`).
//!
//! [`register`] loads the keys of a data directory once. From then on every reader calls [`cipher_of`] for
//! its files.

mod cipher;
mod create;
mod dict;
mod master;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
};

use kvproto::encryptionpb::{EncryptionMethod, FileInfo, KeyDictionary};

use crate::{Error, Result, lsm};

pub use cipher::Cipher;
pub use create::{create, replace};
pub use dict::{FILE_DICT, FileDict, KEY_DICT, encode_files};
pub use master::{EncryptionConfig, MasterKey, parse_keys, read_keys};

/// Directories of a store. A file's path from the last of them on is the same in a copy of the store.
const PARTS: [&str; 6] = ["db", "raft-engine", "raft", "snap", "import", "tablets"];

/// The dictionaries of one data directory.
#[derive(Clone, Debug)]
struct Vault {
    dir: PathBuf,
    /// Entries by the names in the dictionary.
    files: BTreeMap<PathBuf, FileInfo>,
    /// Entries by relative paths in the data directory, so that a copy of the directory can be read.
    inside: BTreeMap<PathBuf, FileInfo>,
    /// The data keys, or the reason why they are unknown.
    keys: std::result::Result<KeyDictionary, String>,
}

static VAULTS: RwLock<Vec<Arc<Vault>>> = RwLock::new(Vec::new());
/// Whether any directory is encrypted: readers of plain directories do not take the lock.
static ANY: AtomicBool = AtomicBool::new(false);

/// Anomalies in the dictionaries of a data directory, in spite of which they were read.
#[derive(Clone, Debug, Default)]
pub struct Notes {
    /// Torn tails, as after a crash.
    pub warnings: Vec<String>,
    /// Lost records or files.
    pub damages: Vec<String>,
}

/// Loads the encryption keys of the data directory `dir`, if it is encrypted.
pub fn register(dir: &Path, config: &EncryptionConfig) -> Result<Notes> {
    if !dir.join(FILE_DICT).is_file() {
        return Ok(Notes { warnings: Vec::new(), damages: missing_dict(dir).into_iter().collect() });
    }
    let dir = std::fs::canonicalize(dir).map_err(|source| Error::Io { path: dir.to_owned(), source })?;
    let FileDict { files, warnings, damages, .. } = FileDict::read(&dir)?;
    let keys = read_keys(&dir, config).map_err(|e| e.to_string());
    let inside = files.iter().map(|(name, info)| (place_in(Path::new(name), &dir), info.clone())).collect();
    let files = files.into_iter().map(|(name, info)| (PathBuf::from(name), info)).collect();
    let mut vaults = VAULTS.write().unwrap_or_else(PoisonError::into_inner);
    vaults.retain(|vault| vault.dir != dir);
    vaults.push(Arc::new(Vault { dir, files, inside, keys }));
    ANY.store(true, Ordering::Release);
    Ok(Notes { warnings, damages })
}

/// Reports a missing `file.dict` if `key.dict` exists: such a directory is or was encrypted.
fn missing_dict(dir: &Path) -> Option<String> {
    dir.join(KEY_DICT).is_file().then(|| {
        format!(
            "{}: expected this file next to {KEY_DICT}, found none: encrypted files cannot be read; restore it from a backup \
             of the same time",
            dir.join(FILE_DICT).display()
        )
    })
}

/// Loads the encryption keys of the data directory that contains the file `path`, if there is one.
pub fn register_around(path: &Path, config: &EncryptionConfig) -> Result<Notes> {
    let Ok(path) = std::fs::canonicalize(path) else { return Ok(Notes::default()) };
    let has_dict = |dir: &&Path| dir.join(FILE_DICT).is_file() || dir.join(KEY_DICT).is_file();
    match path.ancestors().take(4).find(has_dict) {
        Some(dir) => register(dir, config),
        None => Ok(Notes::default()),
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

/// Returns the cipher of the file `path`; `None` if it is plain.
///
/// # Errors
/// The file is encrypted and its key is unknown. The message says the remedy.
pub fn cipher_of(path: &Path) -> lsm::Result<Option<Cipher>> {
    if !ANY.load(Ordering::Acquire) {
        return Ok(None);
    }
    let Ok(whole) = std::fs::canonicalize(path) else { return Ok(None) };
    let vaults = VAULTS.read().unwrap_or_else(PoisonError::into_inner);
    for vault in vaults.iter() {
        let info = match whole.strip_prefix(&vault.dir) {
            Ok(place) => vault.inside.get(place).or_else(|| vault.files.get(&whole)),
            Err(_) => vault.files.get(&whole),
        };
        if let Some(info) = info {
            return vault
                .cipher(info)
                .map_err(|what| lsm::Error::Unsupported { path: path.to_owned(), what });
        }
    }
    Ok(None)
}

impl Vault {
    fn cipher(&self, info: &FileInfo) -> std::result::Result<Option<Cipher>, String> {
        let method = info.method();
        if method == EncryptionMethod::Plaintext {
            return Ok(None);
        }
        let name = method.as_str_name();
        let keys = self
            .keys
            .as_ref()
            .map_err(|why| format!("the file is encrypted ({name}, data key {}); {why}", info.key_id))?;
        let key = keys.keys.get(&info.key_id).ok_or_else(|| {
            format!(
                "expected data key {}, with which the file is encrypted ({name}), in {}, found none: use the key.dict of \
                 the same time",
                info.key_id,
                self.dir.join(KEY_DICT).display()
            )
        })?;
        Cipher::new(method, &key.key, &info.iv).map(Some)
    }
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
