//! Encrypts new files of a data directory, as TiKV does (`DataKeyManager::new_file`): each file has its own
//! initial counter, and an entry in `file.dict` before it is written.
use std::path::Path;

use kvproto::encryptionpb::{EncryptionMethod, FileInfo};

use super::{cipher::Cipher, dict::FileDict, keyring::Keyring, vault::Vault};
use crate::{Error, Result, io::FileError};

const IV_LEN: usize = 16;

impl Keyring {
    /// Adds the new file `path` to `file.dict` and returns its cipher; `None` if it must not be encrypted.
    ///
    /// # Errors
    /// The data keys are unknown, or `file.dict` cannot be written.
    pub fn create(&self, path: &Path) -> Result<Option<Cipher>> {
        self.enter(path, &|_, _| true)
    }

    /// Gives the encrypted file `path` another counter in `file.dict` and returns the cipher of its new
    /// content; `None` if the file is plain.
    ///
    /// # Errors
    /// The data keys are unknown, or `file.dict` cannot be written.
    pub fn replace(&self, path: &Path) -> Result<Option<Cipher>> {
        self.enter(path, &|vault, path| {
            vault.info(path).is_some_and(|info| info.method() != EncryptionMethod::Plaintext)
        })
    }

    fn enter(&self, path: &Path, wanted: &dyn Fn(&Vault, &Path) -> bool) -> Result<Option<Cipher>> {
        if self.vaults.is_empty() {
            return Ok(None);
        }
        let parent = path.parent().unwrap_or(Path::new("."));
        let io = |source| Error::Io { path: parent.to_owned(), source };
        let path = std::fs::canonicalize(parent).map_err(io)?.join(path.file_name().unwrap_or_default());
        let found = self.vaults.iter().find_map(|vault| vault.name_of(&path).map(|name| (vault, name)));
        let Some((vault, name)) = found.filter(|(vault, _)| wanted(vault, &path)) else { return Ok(None) };
        let fail = |source| FileError::Encrypted { path: path.clone(), source };
        let Some((id, key)) = vault.current_key().map_err(fail)? else { return Ok(None) };
        let info = FileInfo { key_id: id, iv: rand::random::<[u8; IV_LEN]>().to_vec(), method: key.method };
        let cipher = Cipher::new(info.method(), &key.key, &info.iv).map_err(fail)?;
        let mut dict = FileDict::read(&vault.dir)?;
        let shown = name.display().to_string();
        dict.insert(&shown, &info)
            .map_err(|e| Error::other(format!("writing {}: {e}", dict.path.display())))?;
        vault.insert(name, info);
        Ok(Some(cipher))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use kvproto::encryptionpb::DataKey;

    use super::*;
    use crate::encryption::{EncryptionConfig, FILE_DICT, encode_files};

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
            Keyring::load(dir.path(), &EncryptionConfig::default()).unwrap().0
        };
        std::fs::create_dir(dir.path().join("db")).unwrap();
        let log = dir.path().join("db/000002.log");

        let keyring = write_keys(EncryptionMethod::Plaintext);
        assert!(keyring.create(&log).unwrap().is_none());
        let keyring = write_keys(EncryptionMethod::Aes128Ctr);
        assert!(keyring.replace(&log).unwrap().is_none(), "the file is not encrypted yet");
        let mut bytes = b"some bytes".to_vec();
        keyring.create(&log).unwrap().unwrap().apply(0, &mut bytes);
        assert_ne!(bytes, b"some bytes");
        std::fs::write(&log, &bytes).unwrap();
        keyring.clone().cipher_of(&log).unwrap().unwrap().apply(0, &mut bytes);
        assert_eq!(bytes, b"some bytes");
        let first = FileDict::read(dir.path()).unwrap().files["/data/tikv/db/000002.log"].clone();
        assert_eq!((first.key_id, first.method()), (4, EncryptionMethod::Aes128Ctr));
        keyring.replace(&log).unwrap().unwrap();
        let second = FileDict::read(dir.path()).unwrap().files["/data/tikv/db/000002.log"].clone();
        assert_ne!(first.iv, second.iv, "no two contents share a counter");

        std::fs::remove_file(dir.path().join("key.dict")).unwrap();
        let keyring = Keyring::load(dir.path(), &EncryptionConfig::default()).unwrap().0;
        assert!(keyring.create(&log).unwrap_err().to_string().contains("nothing was changed"));
        assert!(
            keyring.create(Path::new("/tmp/another.log")).unwrap().is_none(),
            "the file is in no directory of the keyring"
        );
    }
}
