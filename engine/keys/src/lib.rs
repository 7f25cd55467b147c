//! Keys of all records in a TiKV data directory, and their byte codecs.
//!
//! Mirrors `components/keys` and the shared parts of `tikv_util::codec`.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod cf_names;
pub mod codec;
mod data;
mod error;
pub mod escape;
mod hex;
mod local;

pub use cf_names::{ALL_CFS, CF_DEFAULT, CF_LOCK, CF_RAFT, CF_WRITE, CfName, DATA_CFS, name_to_cf};
pub use codec::{decode_bytes, encode_bytes, encoded_len, is_encoded_from};
pub use data::*;
pub use error::{Error, Result};
pub use escape::{escape, hex_decode, unescape};
pub use hex::{hex_lower, hex_upper};
pub use local::*;
