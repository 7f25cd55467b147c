//! Raw keys: no MVCC, no encoding (API V1).
//!
//! Mirrors `src/storage/raw` and `Storage::raw_*`.
mod atomic;
mod read;
mod write;

pub use atomic::Swap;

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

/// API V1 keeps no TTL. One `ttl` is for all pairs; no `ttl` is none for any.
///
/// TiKV: `Storage::check_ttl_valid`; on API V1 it takes another length, and leaves out the pairs without a TTL of their own.
fn check_ttls(ttls: &[u64], pairs: usize) -> Result<()> {
    if ttls.iter().any(|ttl| *ttl != 0) {
        return Err(ErrorInner::TtlNotEnabled.into());
    }
    match ttls.len() {
        0 | 1 => Ok(()),
        n if n == pairs => Ok(()),
        _ => Err(ErrorInner::TtlLenNotEqualsToPairs.into()),
    }
}
