//! Data keys, and the master key that encrypts them (TiKV `encryption::master_key`).
use std::path::{Path, PathBuf};

use aes_gcm::{AeadInPlace, Aes256Gcm, Key, KeyInit, Nonce, Tag};
use kvproto::encryptionpb::{EncryptedContent, KeyDictionary};
use serde::Deserialize;

use super::dict::{self, KEY_DICT};
use crate::{Error, Result};

const METHOD: &str = "method";
const IV: &str = "iv";
const TAG: &str = "aes_gcm_tag";
const KEY_LEN: usize = 32;
const IV_LEN: usize = 12;
const TAG_LEN: usize = 16;

/// The part of `[security.encryption]` that matters for reading.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct EncryptionConfig {
    /// The key that encrypts the data keys.
    pub master_key: MasterKey,
    /// The key before it: a server that stopped while it changed keys may have left data keys under this one.
    pub previous_master_key: MasterKey,
}

/// `[security.encryption.master-key]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "type")]
pub enum MasterKey {
    /// Data keys are not encrypted.
    #[default]
    Plaintext,
    /// A file with 64 hexadecimal digits and a line end.
    File {
        /// Path of the file.
        path: PathBuf,
    },
    /// A key service in a cloud, which this tool does not support.
    #[serde(other)]
    Kms,
}

/// Reads the data keys of the data directory `dir`.
///
/// # Errors
/// The keys are encrypted, and the master key is missing or wrong. The message names the file and the remedy.
pub fn read_keys(dir: &Path, config: &EncryptionConfig) -> Result<KeyDictionary> {
    let path = dir.join(KEY_DICT);
    parse_keys(&path, &dict::read(&path)?, config)
}

/// Decodes the data keys in the file `path` from its `bytes`. Fails as [`read_keys`] does.
pub fn parse_keys(path: &Path, bytes: &[u8], config: &EncryptionConfig) -> Result<KeyDictionary> {
    let (_, end) = dict::content(path, bytes)?;
    let content: EncryptedContent = dict::decode(path, &bytes[dict::HEADER..end])?;
    let method = content.metadata.get(METHOD).map(Vec::as_slice).unwrap_or_default();
    match method {
        b"plaintext" => dict::decode(path, &content.content),
        b"aes256-gcm" => {
            let plain = unlock(path, &content, config)?;
            dict::decode(path, &plain)
        }
        other => Err(Error::other(format!(
            "{}: expected data keys encrypted with the method plaintext or aes256-gcm, found {:?}",
            path.display(),
            String::from_utf8_lossy(other)
        ))),
    }
}

fn unlock(path: &Path, content: &EncryptedContent, config: &EncryptionConfig) -> Result<Vec<u8>> {
    let fail = |what: String| Error::other(format!("{}: {what}", path.display()));
    let mut files = Vec::new();
    for key in [&config.master_key, &config.previous_master_key] {
        match key {
            MasterKey::File { path } => files.push(path),
            MasterKey::Plaintext | MasterKey::Kms => {}
        }
    }
    if files.is_empty() {
        return Err(fail(match config.master_key {
            MasterKey::Kms => "the data keys are encrypted with a key of a key service (KMS), which is not supported: use TiKV's \
                               own tikv-ctl, or start the server with [security.encryption.master-key] type = \"file\" and \
                               the KMS key as previous-master-key, which rewrites this file, and give that --config FILE"
                .to_owned(),
            _ => "the data keys are encrypted with a master key, found none in the configuration: give --config FILE with \
                  [security.encryption.master-key] type = \"file\", path = \"...\""
                .to_owned(),
        }));
    }
    let mut unread = Vec::new();
    for file in &files {
        match master_key(file) {
            Ok(key) => {
                if let Some(plain) = open(content, &key).map_err(&fail)? {
                    return Ok(plain);
                }
            }
            // The other key may be the right one.
            Err(e) => unread.push(e.to_string()),
        }
    }
    if !unread.is_empty() {
        let unread = unread.join("; ");
        return Err(fail(format!(
            "{unread}; give --config FILE with the right [security.encryption.master-key]"
        )));
    }
    let names: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
    Err(fail(format!(
        "the master key in {} does not decrypt this file: it is another key, or the file is damaged; give --config FILE \
         with the right [security.encryption.master-key]",
        names.join(" or ")
    )))
}

/// Reads the key in the file `path`.
fn master_key(path: &Path) -> Result<[u8; KEY_LEN]> {
    let fail = |what: String| Error::other(format!("the master key file {}: {what}", path.display()));
    let text = std::fs::read(path).map_err(|e| fail(e.to_string()))?;
    let expected = format!("expected {} hexadecimal digits and a line end", 2 * KEY_LEN);
    let (Some(b'\n'), 65) = (text.last(), text.len()) else {
        return Err(fail(format!("{expected}, found {} bytes", text.len())));
    };
    let digits = std::str::from_utf8(&text[..2 * KEY_LEN]).ok();
    let key = digits.and_then(|digits| keys::hex_decode(digits).ok()).and_then(|key| key.try_into().ok());
    key.ok_or_else(|| fail(format!("{expected}, found another character")))
}

/// Decrypts `content`. Returns `None` if `key` is not its key.
///
/// # Errors
/// The nonce or the tag is missing.
fn open(content: &EncryptedContent, key: &[u8; KEY_LEN]) -> std::result::Result<Option<Vec<u8>>, String> {
    let part = |name: &str, len: usize| {
        let value = content.metadata.get(name).filter(|value| value.len() == len);
        value.ok_or_else(|| {
            format!("expected {name} of {len} bytes with the encrypted keys, found none: the file is damaged")
        })
    };
    let (iv, tag) = (part(IV, IV_LEN)?, part(TAG, TAG_LEN)?);
    let mut plain = content.content.clone();
    let cipher = Aes256Gcm::new(Key::<Aes256Gcm>::from_slice(key));
    let opened =
        cipher.decrypt_in_place_detached(Nonce::from_slice(iv), b"", &mut plain, Tag::from_slice(tag));
    Ok(opened.is_ok().then_some(plain))
}

/// Encodes a `key.dict` with `keys` that is not encrypted.
#[cfg(test)]
pub(super) fn plain_keys(keys: &KeyDictionary) -> Vec<u8> {
    use prost::Message;
    let metadata = [(METHOD.to_owned(), b"plaintext".to_vec())].into();
    let content = EncryptedContent { metadata, content: keys.encode_to_vec(), ..Default::default() };
    dict::with_header(1, &content.encode_to_vec())
}

#[cfg(test)]
mod tests {
    use kvproto::encryptionpb::DataKey;
    use prost::Message;

    use super::*;

    #[test]
    fn data_keys_decrypt_with_their_master_key_only() {
        let dir = tempfile::tempdir().unwrap();
        let write_key = |name: &str, digit: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, digit.repeat(64) + "\n").unwrap();
            MasterKey::File { path }
        };
        let (right, wrong) = (write_key("right", "a"), write_key("wrong", "b"));
        let keys = KeyDictionary { keys: [(3, DataKey::default())].into(), current_key_id: 3 };
        let mut secret = keys.encode_to_vec();
        let cipher = Aes256Gcm::new(Key::<Aes256Gcm>::from_slice(&[0xaa; 32]));
        let tag = cipher.encrypt_in_place_detached(Nonce::from_slice(&[1; 12]), b"", &mut secret).unwrap();
        let metadata = [(METHOD, b"aes256-gcm".to_vec()), (IV, vec![1; 12]), (TAG, tag.to_vec())];
        let metadata = metadata.map(|(name, value)| (name.to_owned(), value)).into();
        let content = EncryptedContent { metadata, content: secret, ..Default::default() };
        std::fs::write(dir.path().join(KEY_DICT), dict::with_header(1, &content.encode_to_vec())).unwrap();

        let read = |master_key: &MasterKey, previous: &MasterKey| {
            let config =
                EncryptionConfig { master_key: master_key.clone(), previous_master_key: previous.clone() };
            read_keys(dir.path(), &config)
        };
        assert_eq!(read(&right, &MasterKey::Plaintext).unwrap(), keys);
        assert_eq!(read(&wrong, &right).unwrap(), keys);
        let error = |master_key| read(master_key, &MasterKey::Plaintext).unwrap_err().to_string();
        assert!(error(&wrong).contains("does not decrypt"));
        assert!(error(&MasterKey::Plaintext).contains("[security.encryption.master-key]"));
        assert!(error(&MasterKey::Kms).contains("KMS"));
        // A key file that is missing or not a file does not hide the other one.
        let missing = MasterKey::File { path: dir.path().join("none") };
        let folder = MasterKey::File { path: dir.path().to_owned() };
        assert_eq!(read(&missing, &right).unwrap(), keys);
        assert_eq!(read(&folder, &right).unwrap(), keys);
        for (key, named) in [(&missing, "none"), (&folder, "master key file")] {
            let text = error(key);
            assert!(text.contains(named) && text.contains("give --config FILE"), "{text}");
        }
        std::fs::write(dir.path().join("right"), "zz\n").unwrap();
        assert!(error(&right).contains("64 hexadecimal digits"));
    }
}
