//! Raw keys: no transactions. API V1 and V1TTL store the keys unchanged, API V2 stores versions of them.
//!
//! Mirrors `src/storage/raw` and `Storage::raw_*`.
mod atomic;
mod checksum;
mod cursor;
mod read;
mod store;
mod write;

pub use atomic::Swap;
pub use checksum::Checksum;
pub(crate) use store::RawStore;
pub(crate) use write::{delete_encoded, encode_value};

use api_version::KvFormat;
use engine_rocks::{CF_DEFAULT, CF_LOCK, CF_WRITE};
use tracepoints::EngineClock;

use crate::errors::{Error, ErrorInner, Result};

/// Key and value.
pub type RawPair = (Vec<u8>, Vec<u8>);

/// Returns the request's column family; default if it names none. In API V2 a request may not name one.
///
/// TiKV: `Storage::rawkv_cf`.
fn rawkv_cf(cf: &str, format: KvFormat) -> Result<&'static str> {
    match (cf, format) {
        ("", _) => Ok(CF_DEFAULT),
        (other, KvFormat::V2) => Err(ErrorInner::CfDeprecated(other.to_owned()).into()),
        (CF_DEFAULT, _) => Ok(CF_DEFAULT),
        (CF_LOCK, _) => Ok(CF_LOCK),
        (CF_WRITE, _) => Ok(CF_WRITE),
        (other, _) => Err(Error::from(ErrorInner::InvalidCf(other.to_owned()))),
    }
}

/// Returns the TTL of each pair: the request has one per pair, one for all pairs, or none.
///
/// TiKV: `Storage::check_ttl_valid`; on API V1 it accepts a mismatching length, and omits the pairs without a
/// TTL of their own.
fn ttls_of_pairs(format: KvFormat, mut ttls: Vec<u64>, pairs: usize) -> Result<Vec<u64>> {
    if !format.is_ttl_enabled() && ttls.iter().any(|ttl| *ttl != 0) {
        return Err(ErrorInner::TtlNotEnabled.into());
    }
    match ttls.len() {
        n if n == pairs => {}
        0 | 1 => ttls = vec![ttls.first().copied().unwrap_or(0); pairs],
        _ => return Err(ErrorInner::TtlLenNotEqualsToPairs.into()),
    }
    Ok(ttls)
}

/// Returns engine time as a Unix time in seconds, the unit of the times of expiry of raw values.
///
/// TiKV: `engine_traits::raw_ttl::ttl_current_ts`.
pub fn ttl_current_ts() -> u64 {
    EngineClock::wall_ms() / 1000
}

/// Returns the Unix time in seconds at which a value of this TTL expires; `None` for a TTL of 0.
///
/// TiKV: `engine_traits::raw_ttl::ttl_to_expire_ts`.
pub(crate) fn ttl_to_expire_ts(ttl: u64) -> Option<u64> {
    (ttl != 0).then(|| ttl.saturating_add(ttl_current_ts()))
}
