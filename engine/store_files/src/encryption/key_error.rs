//! Failures to find or use the key of a file.
use std::path::PathBuf;

/// A file whose key cannot be used. The caller adds the file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// A method that is not one of TiKV's ciphers.
    #[error("expected the encryption method AES-CTR or SM4-CTR, found {found}")]
    Method {
        /// The name of the method in `encryptionpb`.
        found: &'static str,
    },
    /// The key or the initial counter has another length than the method needs.
    #[error(
        "expected a key for {method} and an IV of 16 bytes, found a key of {key} bytes and an IV of {iv}"
    )]
    Length {
        /// The name of the method in `encryptionpb`.
        method: &'static str,
        /// Bytes of the key.
        key: usize,
        /// Bytes of the initial counter.
        iv: usize,
    },
    /// The data keys of the directory could not be read.
    #[error("the file is encrypted ({method}, data key {key_id}); {why}")]
    Unread {
        /// The name of the method in `encryptionpb`.
        method: &'static str,
        /// Id of the file's data key.
        key_id: u64,
        /// The failure and the remedy.
        why: String,
    },
    /// `key.dict` has no key of the file's id.
    #[error(
        "expected data key {key_id}, with which the file is encrypted ({method}), in {}, found none: use the key.dict of \
         the same time",
        .dict.display()
    )]
    Missing {
        /// The name of the method in `encryptionpb`.
        method: &'static str,
        /// Id of the file's data key.
        key_id: u64,
        /// The path of `key.dict`.
        dict: PathBuf,
    },
    /// A new file must be encrypted, and the data keys could not be read.
    #[error("the file must be encrypted; {why}; nothing was changed")]
    CannotEncrypt {
        /// The failure and the remedy.
        why: String,
    },
}
