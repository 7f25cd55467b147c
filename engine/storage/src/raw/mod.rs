//! Raw keys: no MVCC, no encoding (API V1).
//!
//! Mirrors `src/storage/raw` and `Storage::raw_*`.
mod read;
mod write;

use engine_rocks::{CF_DEFAULT, CF_LOCK, CF_WRITE};

use crate::errors::{Error, ErrorInner, Result};

/// A key and its value.
pub type RawPair = (Vec<u8>, Vec<u8>);

/// The column family that a request names; default if it names none.
///
/// TiKV: `Storage::rawkv_cf`.
fn rawkv_cf(cf: &str) -> Result<&'static str> {
    match cf {
        "" | CF_DEFAULT => Ok(CF_DEFAULT),
        CF_LOCK => Ok(CF_LOCK),
        CF_WRITE => Ok(CF_WRITE),
        other => Err(Error::from(ErrorInner::InvalidCf(other.to_owned()))),
    }
}
