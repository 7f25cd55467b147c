//! Encrypts new files of a data directory, as TiKV does (`DataKeyManager::new_file`): each file has its own
//! initial counter, and an entry in `file.dict` before it is written.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, PoisonError},
};

use kvproto::encryptionpb::{DataKey, EncryptionMethod, FileInfo};

use super::{ANY, Cipher, FileDict, VAULTS, Vault, place_in};
use crate::{Error, Result};

const IV_LEN: usize = 16;

/// Adds the new file `path` to `file.dict` and returns its cipher; `None` if it must not be encrypted.
///
/// # Errors
/// The data keys are unknown, or `file.dict` cannot be written.
pub fn create(path: &Path) -> Result<Option<Cipher>> {
    enter(path, &|_| true)
}

/// Gives the encrypted file `path` another counter in `file.dict` and returns the cipher of its new content;
/// `None` if the file is plain.
///
/// # Errors
/// The data keys are unknown, or `file.dict` cannot be written.
pub fn replace(path: &Path) -> Result<Option<Cipher>> {
    enter(path, &|vault| vault.info(path).is_some_and(|info| info.method() != EncryptionMethod::Plaintext))
}

fn enter(path: &Path, wanted: &dyn Fn(&Vault) -> bool) -> Result<Option<Cipher>> {
    if !ANY.load(std::sync::atomic::Ordering::Acquire) {
        return Ok(None);
    }
    let parent = path.parent().unwrap_or(Path::new("."));
    let io = |source| Error::Io { path: parent.to_owned(), source };
    let path = std::fs::canonicalize(parent).map_err(io)?.join(path.file_name().unwrap_or_default());
    let mut vaults = VAULTS.write().unwrap_or_else(PoisonError::into_inner);
    let found = vaults.iter_mut().find_map(|vault| vault.name_of(&path).map(|name| (vault, name)));
    let Some((vault, name)) = found.filter(|(vault, _)| wanted(vault)) else { return Ok(None) };
    let Some((id, key)) = vault.current_key(&path)? else { return Ok(None) };
    let info = FileInfo { key_id: id, iv: rand::random::<[u8; IV_LEN]>().to_vec(), method: key.method };
    let cipher = Cipher::new(info.method(), &key.key, &info.iv).map_err(Error::other)?;
    let mut dict = FileDict::read(&vault.dir)?;
    let shown = name.display().to_string();
    dict.insert(&shown, &info).map_err(|e| Error::other(format!("writing {}: {e}", dict.path.display())))?;
    let vault = Arc::make_mut(vault);
    vault.inside.insert(place_in(&name, &vault.dir), info.clone());
    vault.files.insert(name, info);
    Ok(Some(cipher))
}

impl Vault {
    /// Returns the entry of the file `path`.
    fn info(&self, path: &Path) -> Option<&FileInfo> {
        let place = path.strip_prefix(&self.dir).ok();
        place.and_then(|place| self.inside.get(place)).or_else(|| self.files.get(path))
    }

    /// Returns the name of a new file `path` in the dictionary. It has the same root as the names of files of
    /// its directory, since the data directory may be a copy. `None` if the file is not one of this store.
    fn name_of(&self, path: &Path) -> Option<PathBuf> {
        let Ok(place) = path.strip_prefix(&self.dir) else {
            // Logs may be outside of the data directory; their names are their paths.
            return self.files.keys().any(|name| name.parent() == path.parent()).then(|| path.to_owned());
        };
        let split = |name: &PathBuf| {
            let inside = place_in(name, &self.dir);
            let above = name.components().count() - inside.components().count();
            (above > 0).then(|| (inside, name.components().take(above).collect::<PathBuf>()))
        };
        let same_dir = |(inside, _): &(PathBuf, PathBuf)| inside.parent() == place.parent();
        let known = self.files.keys().filter_map(split);
        let root = known.clone().find(same_dir).or_else(|| known.clone().next()).map(|(_, root)| root);
        Some(root.unwrap_or_else(|| self.dir.clone()).join(place))
    }

    /// Returns the key of new files and its id; `None` if they are not encrypted.
    fn current_key(&self, path: &Path) -> Result<Option<(u64, DataKey)>> {
        let keys = self.keys.as_ref().map_err(|why| {
            Error::other(format!(
                "{}: the file must be encrypted; {why}; nothing was changed",
                path.display()
            ))
        })?;
        let key = keys.keys.get(&keys.current_key_id).cloned();
        let encrypts =
            |key: &DataKey| !matches!(key.method(), EncryptionMethod::Plaintext | EncryptionMethod::Unknown);
        Ok(key.filter(encrypts).map(|key| (keys.current_key_id, key)))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::encryption::{EncryptionConfig, FILE_DICT, cipher_of, encode_files, register};

    #[test]
    fn a_new_file_gets_a_key_and_the_name_root_of_its_directory() {
        let dir = tempfile::tempdir().unwrap();
        let info = FileInfo { key_id: 1, iv: vec![3; 16], method: EncryptionMethod::Aes128Ctr.into() };
        let names = ["/data/tikv/db/000001.sst", "/data/tikv/raft-engine/0000000000000001.raftlog"];
        let files: BTreeMap<_, _> = names.map(|name| (name.to_owned(), info.clone())).into();
        std::fs::write(dir.path().join(FILE_DICT), encode_files(2, &files)).unwrap();
        let key = |method: EncryptionMethod| DataKey {
            key: vec![7; 16],
            method: method.into(),
            ..Default::default()
        };
        let keys = |method| kvproto::encryptionpb::KeyDictionary {
            keys: [(4, key(method))].into(),
            current_key_id: 4,
        };
        let write_keys = |method| {
            let bytes = crate::encryption::master::plain_keys(&keys(method));
            std::fs::write(dir.path().join("key.dict"), bytes).unwrap();
            register(dir.path(), &EncryptionConfig::default()).unwrap();
        };
        std::fs::create_dir(dir.path().join("db")).unwrap();
        let log = dir.path().join("db/000002.log");

        write_keys(EncryptionMethod::Plaintext);
        assert!(create(&log).unwrap().is_none());
        write_keys(EncryptionMethod::Aes128Ctr);
        assert!(replace(&log).unwrap().is_none(), "the file is not encrypted yet");
        let mut bytes = b"some bytes".to_vec();
        create(&log).unwrap().unwrap().apply(0, &mut bytes);
        assert_ne!(bytes, b"some bytes");
        std::fs::write(&log, &bytes).unwrap();
        cipher_of(&log).unwrap().unwrap().apply(0, &mut bytes);
        assert_eq!(bytes, b"some bytes");
        let first = FileDict::read(dir.path()).unwrap().files["/data/tikv/db/000002.log"].clone();
        assert_eq!((first.key_id, first.method()), (4, EncryptionMethod::Aes128Ctr));
        replace(&log).unwrap().unwrap();
        let second = FileDict::read(dir.path()).unwrap().files["/data/tikv/db/000002.log"].clone();
        assert_ne!(first.iv, second.iv, "no two contents share a counter");

        std::fs::remove_file(dir.path().join("key.dict")).unwrap();
        register(dir.path(), &EncryptionConfig::default()).unwrap();
        assert!(create(&log).unwrap_err().to_string().contains("nothing was changed"));
        assert!(
            create(Path::new("/tmp/another.log")).unwrap().is_none(),
            "the file is in no registered directory"
        );
    }
}
