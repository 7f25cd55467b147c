//! Raw keys: no MVCC, no encoding (API V1).
//!
//! Mirrors `src/storage/raw` and `Storage::raw_*`.
mod atomic;
mod read;
mod write;

pub use atomic::Swap;

use engine_rocks::{CF_DEFAULT, CF_LOCK, CF_WRITE};

use crate::errors::{Error, ErrorInner, Result};

/// Key and value.
pub type RawPair = (Vec<u8>, Vec<u8>);

/// Returns the request's column family; default if it names none.
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

/// Checks the TTLs, which must be 0 on API V1: one per pair, one for all pairs, or none.
///
/// TiKV: `Storage::check_ttl_valid`; on API V1 it accepts a mismatching length, and omits the pairs without a
/// TTL of their own.
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
