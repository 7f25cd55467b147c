//! Keys of all records in a TiKV data directory, and their byte codecs.
//!
//! Mirrors `components/keys` and the shared parts of `tikv_util::codec`.
#![forbid(unsafe_code)]

pub mod codec;
mod data;
mod error;
pub mod escape;
mod local;

pub use codec::{decode_bytes, encode_bytes, encoded_len, is_encoded_from};
pub use data::*;
pub use error::{Error, Result};
pub use escape::{escape, hex_decode, hex_lower, hex_upper, unescape};
pub use local::*;
