//! Keys: where every record of a TiKV data directory lives, and the byte codecs they are made of.
//!
//! Mirrors `components/keys` and the parts of `tikv_util::codec` that other crates share.

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
