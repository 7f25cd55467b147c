//! Drops expired raw values in compactions of CF default (TiKV `src/server/ttl/ttl_compaction_filter.rs`).
use std::sync::atomic::Ordering;

use api_version::KvFormat;
use engine_rocks::{CompactionContext, CompactionFilter, CompactionFilterFactory};

use super::{TtlMetrics, ttl_current_ts};

/// Encoding of the values. On API V2 an older version of the key would reappear without the expired one: there
/// GC drops them.
pub(super) const FORMAT: KvFormat = KvFormat::V1ttl;

/// Makes the filters of a store of API V1TTL.
#[derive(Debug)]
pub struct TtlCompactionFilterFactory {
    metrics: TtlMetrics,
}

impl TtlCompactionFilterFactory {
    /// Counts what the filters drop in `metrics`.
    pub fn new(metrics: TtlMetrics) -> Self {
        Self { metrics }
    }
}

impl CompactionFilterFactory for TtlCompactionFilterFactory {
    fn name(&self) -> &'static str {
        "ttl_compaction_filter"
    }

    /// TiKV omits the filter if the table properties of all input files say that nothing has expired; tables
    /// here have no such properties.
    fn create_compaction_filter(&self, _: CompactionContext) -> Option<Box<dyn CompactionFilter>> {
        let metrics = self.metrics.clone();
        Some(Box::new(TtlCompactionFilter { metrics, now: ttl_current_ts(), expired: 0, bytes: 0 }))
    }
}

struct TtlCompactionFilter {
    metrics: TtlMetrics,
    /// Unix time in seconds at which the compaction began.
    now: u64,
    expired: u64,
    bytes: u64,
}

impl CompactionFilter for TtlCompactionFilter {
    fn remove(&mut self, _level: u32, key: &[u8], value: &[u8]) -> bool {
        if !keys::validate_data_key(key) {
            return false;
        }
        match FORMAT.decode_raw_value(value) {
            Ok(raw) if raw.is_ttl_expired(self.now) => {
                self.expired += 1;
                self.bytes += (key.len() + value.len()) as u64;
                true
            }
            Ok(_) => false,
            Err(e) => {
                self.metrics.0.undecodable.fetch_add(1, Ordering::Relaxed);
                log::error!("compaction: the value of key {} is kept: {e}", keys::hex_upper(key));
                false
            }
        }
    }
}

impl Drop for TtlCompactionFilter {
    fn drop(&mut self) {
        self.metrics.0.expired.fetch_add(self.expired, Ordering::Relaxed);
        self.metrics.0.expired_bytes.fetch_add(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use api_version::RawValue;

    use super::*;

    #[test]
    fn only_expired_raw_values_are_dropped() {
        let metrics = TtlMetrics::default();
        let factory = TtlCompactionFilterFactory::new(metrics.clone());
        let context = CompactionContext { is_full: true, is_manual: true };
        let mut filter = factory.create_compaction_filter(context).unwrap();
        let value = |expire_ts| {
            FORMAT.encode_raw_value(RawValue { user_value: b"v".to_vec(), expire_ts, is_delete: false })
        };
        assert!(filter.remove(1, b"zk", &value(Some(1))));
        assert!(!filter.remove(1, b"zk", &value(Some(u64::MAX))));
        assert!(!filter.remove(1, b"zk", &value(None)));
        assert!(!filter.remove(1, b"zk", b""), "a broken value is kept");
        assert!(!filter.remove(1, b"\x01\x02", &value(Some(1))), "the store's own record is kept");
        drop(filter);
        assert_eq!(metrics.0.expired.load(Ordering::Relaxed), 1);
        assert_eq!(metrics.0.undecodable.load(Ordering::Relaxed), 1);
    }
}
