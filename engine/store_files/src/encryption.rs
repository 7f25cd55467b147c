//! Encryption at rest: the keys of files (`file.dict`), the data keys (`key.dict`), and decryption with them
//! (TiKV `components/encryption`, `DataKeyManager`).
//!
//! [`Keyring::load`] reads the keys of a data directory once. Every reader takes the [`Keyring`] and opens its
//! files with it.
mod cipher;
mod create;
mod dict;
mod key_error;
mod keyring;
mod master;
mod vault;

pub use cipher::Cipher;
pub use dict::{FILE_DICT, FileDict, KEY_DICT, encode_files};
pub use key_error::KeyError;
pub use keyring::{Keyring, Notes};
pub use master::{EncryptionConfig, MasterKey, parse_keys, read_keys};
pub use vault::place_in;
