//! The keys of encrypted files as a value that every reader takes.
use std::{path::Path, sync::Arc};

use super::{
    cipher::Cipher,
    dict::{FILE_DICT, FileDict, KEY_DICT},
    master::{EncryptionConfig, read_keys},
    vault::Vault,
};
use crate::{
    Error, Result,
    io::{self, Damage, FileError},
};

/// The keys of the encrypted files of data directories. A clone is cheap and has the same keys; the default
/// has none and reads every file as a plain one.
#[derive(Clone, Debug, Default)]
pub struct Keyring {
    pub(super) vaults: Vec<Arc<Vault>>,
}

/// Anomalies in the dictionaries of a data directory, in spite of which they were read.
#[derive(Clone, Debug, Default)]
pub struct Notes {
    /// Torn tails, as after a crash.
    pub warnings: Vec<String>,
    /// Lost records or files.
    pub damages: Vec<Damage>,
}

impl Keyring {
    /// Loads the keys of the data directory `dir`; there are none if the directory is not encrypted.
    ///
    /// # Errors
    /// `file.dict` cannot be read. Missing data keys are an error only of a file that needs them.
    pub fn load(dir: &Path, config: &EncryptionConfig) -> Result<(Keyring, Notes)> {
        if !dir.join(FILE_DICT).is_file() {
            let damages = missing_dict(dir).into_iter().collect();
            return Ok((Keyring::default(), Notes { warnings: Vec::new(), damages }));
        }
        let dir = std::fs::canonicalize(dir).map_err(|source| Error::Io { path: dir.to_owned(), source })?;
        let FileDict { files, warnings, damages, .. } = FileDict::read(&dir)?;
        let keys = read_keys(&dir, config);
        let vaults = vec![Arc::new(Vault::new(dir, files, keys))];
        Ok((Keyring { vaults }, Notes { warnings, damages }))
    }

    /// Loads the keys of the data directory that contains the file or directory `path`, if there is one.
    ///
    /// # Errors
    /// As [`Keyring::load`].
    pub fn load_around(path: &Path, config: &EncryptionConfig) -> Result<(Keyring, Notes)> {
        let Ok(path) = std::fs::canonicalize(path) else { return Ok(Default::default()) };
        let has_dict = |dir: &&Path| dir.join(FILE_DICT).is_file() || dir.join(KEY_DICT).is_file();
        match path.ancestors().take(4).find(has_dict) {
            Some(dir) => Keyring::load(dir, config),
            None => Ok(Default::default()),
        }
    }

    /// Adds the keys of `other`.
    #[must_use]
    pub fn join(mut self, other: Keyring) -> Keyring {
        for vault in other.vaults {
            if !self.vaults.iter().any(|known| known.dir == vault.dir) {
                self.vaults.push(vault);
            }
        }
        self
    }

    /// Returns the cipher of the file `path`; `None` if it is plain.
    ///
    /// # Errors
    /// The file is encrypted and its key is unknown. The message says the remedy.
    pub fn cipher_of(&self, path: &Path) -> io::Result<Option<Cipher>> {
        if self.vaults.is_empty() {
            return Ok(None);
        }
        let Ok(whole) = std::fs::canonicalize(path) else { return Ok(None) };
        let found = self.vaults.iter().find_map(|vault| vault.info(&whole).map(|info| (vault, info)));
        found.map_or(Ok(None), |(vault, info)| {
            vault.cipher(&info).map_err(|source| FileError::Encrypted { path: path.to_owned(), source })
        })
    }
}

/// Reports a missing `file.dict` if `key.dict` exists: such a directory is or was encrypted.
fn missing_dict(dir: &Path) -> Option<Damage> {
    dir.join(KEY_DICT).is_file().then(|| {
        let what = format!(
            "expected this file next to {KEY_DICT}, found none: encrypted files cannot be read; restore it from a backup \
             of the same time"
        );
        Damage::whole(dir.join(FILE_DICT), what)
    })
}

#[cfg(test)]
mod tests {
    use kvproto::encryptionpb::{EncryptionMethod, FileInfo};

    use super::*;
    use crate::encryption::{KeyError, encode_files};

    #[test]
    fn keyrings_of_two_directories_do_not_mix() {
        let dirs = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let keyrings = dirs.each_ref().map(|dir| {
            let info = FileInfo { key_id: 1, iv: vec![3; 16], method: EncryptionMethod::Aes128Ctr.into() };
            let files = [("/data/db/000001.sst".to_owned(), info)].into();
            std::fs::write(dir.path().join(FILE_DICT), encode_files(2, &files)).unwrap();
            std::fs::create_dir(dir.path().join("db")).unwrap();
            std::fs::write(dir.path().join("db/000001.sst"), "x").unwrap();
            Keyring::load(dir.path(), &EncryptionConfig::default()).unwrap().0
        });
        let paths = dirs.each_ref().map(|dir| dir.path().join("db/000001.sst"));
        // There is no key.dict, so a file of the keyring's own directory is refused.
        for (keyring, path) in keyrings.iter().zip(&paths) {
            let refused = keyring.cipher_of(path).unwrap_err();
            assert!(
                matches!(refused, FileError::Encrypted { source: KeyError::Unread { key_id: 1, .. }, .. }),
                "{refused}"
            );
        }
        assert!(keyrings[0].cipher_of(&paths[1]).unwrap().is_none());
        assert!(Keyring::default().cipher_of(&paths[0]).unwrap().is_none());
        let [one, two] = keyrings;
        let both = one.join(two.clone()).join(two);
        assert_eq!(both.vaults.len(), 2);
        assert!(paths.iter().all(|path| both.cipher_of(path).is_err()));
    }
}
