//! Data keys, and the master key that they are encrypted with (TiKV `encryption::master_key`).

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

/// `[security.encryption]`, as far as it matters for reading.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct EncryptionConfig {
    pub master_key: MasterKey,
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
    File { path: PathBuf },
    /// A key service in a cloud, which this tool does not ask.
    #[serde(other)]
    Kms,
}

/// The data keys of the data directory `dir`.
///
/// # Errors
/// They are encrypted, and the master key is missing or another one; the message names the file and what to do.
pub fn read_keys(dir: &Path, config: &EncryptionConfig) -> Result<KeyDictionary> {
    let path = dir.join(KEY_DICT);
    parse_keys(&path, &dict::read(&path)?, config)
}

/// The data keys that the file `path` has as its `bytes`; fails as [`read_keys`] does.
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
            "{}: the data keys are encrypted by the method {:?}; plaintext and aes256-gcm are understood",
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
            MasterKey::Kms => "its data keys are encrypted with a key of a key service (KMS), which is not asked: use TiKV's own \
                               tikv-ctl, or start the server with [security.encryption.master-key] type = \"file\" and the \
                               KMS key as previous-master-key, which writes this file anew, and give that --config FILE"
                .to_owned(),
            _ => "its data keys are encrypted with a master key, and no master key is given: give --config FILE with \
                  [security.encryption.master-key] type = \"file\", path = \"...\""
                .to_owned(),
        }));
    }
    for file in &files {
        if let Some(plain) = open(content, &master_key(file)?).map_err(&fail)? {
            return Ok(plain);
        }
    }
    let names: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
    Err(fail(format!(
        "the master key in {} does not open it: it is another key, or the file is damaged; give --config FILE with the \
         right [security.encryption.master-key]",
        names.join(" or ")
    )))
}

/// The key in the file `path`.
fn master_key(path: &Path) -> Result<[u8; KEY_LEN]> {
    let fail = |what: String| Error::other(format!("the master key file {}: {what}", path.display()));
    let text = std::fs::read(path).map_err(|e| fail(e.to_string()))?;
    let expected = format!("expected {} hexadecimal digits and a line end", 2 * KEY_LEN);
    let (Some(b'\n'), 65) = (text.last(), text.len()) else {
        return Err(fail(format!("{expected}, met {} bytes", text.len())));
    };
    let digits = std::str::from_utf8(&text[..2 * KEY_LEN]).ok();
    let key = digits.and_then(|digits| keys::hex_decode(digits).ok()).and_then(|key| key.try_into().ok());
    key.ok_or_else(|| fail(format!("{expected}, met something else")))
}

/// What `content` holds; `None` if `key` is not its key. The error says what is missing.
fn open(content: &EncryptedContent, key: &[u8; KEY_LEN]) -> std::result::Result<Option<Vec<u8>>, String> {
    let part = |name: &str, len: usize| {
        let value = content.metadata.get(name).filter(|value| value.len() == len);
        value.ok_or_else(|| format!("{name} of {len} bytes expected beside the encrypted keys, met none"))
    };
    let (iv, tag) = (part(IV, IV_LEN)?, part(TAG, TAG_LEN)?);
    let mut plain = content.content.clone();
    let cipher = Aes256Gcm::new(Key::<Aes256Gcm>::from_slice(key));
    let opened =
        cipher.decrypt_in_place_detached(Nonce::from_slice(iv), b"", &mut plain, Tag::from_slice(tag));
    Ok(opened.is_ok().then_some(plain))
}

/// A `key.dict` with `keys`, under no master key.
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
    fn data_keys_open_with_their_master_key_and_with_no_other() {
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
        let said = |master_key| read(master_key, &MasterKey::Plaintext).unwrap_err().to_string();
        assert!(said(&wrong).contains("does not open it"));
        assert!(said(&MasterKey::Plaintext).contains("[security.encryption.master-key]"));
        assert!(said(&MasterKey::Kms).contains("KMS"));
        std::fs::write(dir.path().join("right"), "zz\n").unwrap();
        assert!(said(&right).contains("64 hexadecimal digits"));
    }
}
