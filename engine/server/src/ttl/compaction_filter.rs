//! Drops expired raw values in compactions of CF default (TiKV `src/server/ttl/ttl_compaction_filter.rs`).
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use api_version::KvFormat;
use engine_rocks::{CompactionContext, CompactionFilter, CompactionFilterFactory};
use storage::ttl_current_ts;

use super::TtlMetrics;

/// Encoding of the values. A store of API V2 has no such filter: without the expired version, an older version of
/// the key would reappear. There GC drops expired versions.
pub(super) const FORMAT: KvFormat = KvFormat::V1ttl;

/// Makes the filters of a store of API V1TTL.
#[derive(Debug)]
pub struct TtlCompactionFilterFactory {
    metrics: TtlMetrics,
    is_checked: Arc<AtomicBool>,
}

impl TtlCompactionFilterFactory {
    /// Counts what the filters drop in `metrics`. Filters nothing before `is_checked`: RocksDB compacts as soon as
    /// it is open, and the values may be of an API version that the start refuses.
    pub fn new(metrics: TtlMetrics, is_checked: Arc<AtomicBool>) -> Self {
        Self { metrics, is_checked }
    }
}

impl CompactionFilterFactory for TtlCompactionFilterFactory {
    fn name(&self) -> &'static str {
        "ttl_compaction_filter"
    }

    /// TiKV omits the filter if the table properties of all input files say that nothing has expired; tables
    /// here have no such properties.
    fn create_compaction_filter(&self, _: CompactionContext) -> Option<Box<dyn CompactionFilter>> {
        if !self.is_checked.load(Ordering::Acquire) {
            return None;
        }
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
        let is_checked = Arc::<AtomicBool>::default();
        let factory = TtlCompactionFilterFactory::new(metrics.clone(), is_checked.clone());
        let context = CompactionContext { is_full: true, is_manual: true };
        assert!(factory.create_compaction_filter(context).is_none(), "the API version is not checked yet");
        is_checked.store(true, Ordering::Release);
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
