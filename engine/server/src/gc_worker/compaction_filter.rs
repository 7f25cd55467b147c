//! Drops old versions while RocksDB compacts CF write, and on API V2 CF default (TiKV
//! `src/server/gc_worker/compaction_filter.rs` and `rawkv_compaction_filter.rs`).
use std::sync::Arc;

use api_version::{KeyMode, KvFormat};
use engine_rocks::{CompactionContext, CompactionFilter, CompactionFilterFactory};
use storage::ttl_current_ts;
use tracepoints::{Facts, Req, RequestKind, facts::shown, request, stage};
use txn_types::{Key, WriteRef};

use super::{
    GcContext, GcTask,
    metrics::GcKeyMode,
    versions::{Decision, Version, Versions},
};

/// Number of keys in one task of the worker.
const BATCH: usize = 256;

/// Makes the filters of CF write.
#[derive(Debug)]
pub struct WriteCompactionFilterFactory(pub Arc<GcContext>);

impl CompactionFilterFactory for WriteCompactionFilterFactory {
    fn name(&self) -> &'static str {
        "write_compaction_filter_factory"
    }

    /// TiKV omits the filter if the table properties of the input files say that there is little garbage
    /// (`gc.ratio-threshold`); tables here have no such properties.
    fn create_compaction_filter(&self, _context: CompactionContext) -> Option<Box<dyn CompactionFilter>> {
        let safe_point = self.0.filter_safe_point()?;
        self.0.metrics.filter_created(GcKeyMode::Txn);
        Some(Box::new(WriteCompactionFilter {
            gc: self.0.clone(),
            versions: Versions::new(safe_point),
            orphans: Vec::new(),
            filtered: 0,
            rollbacks: 0,
            req: None,
        }))
    }
}

struct WriteCompactionFilter {
    gc: Arc<GcContext>,
    versions: Versions,
    /// Values in CF default whose records are dropped.
    orphans: Vec<Key>,
    filtered: u64,
    rollbacks: u64,
    /// The compaction as a request, from its first record.
    req: Option<Req>,
}

impl CompactionFilter for WriteCompactionFilter {
    fn remove(&mut self, _level: u32, key: &[u8], value: &[u8]) -> bool {
        self.do_filter(key, value).unwrap_or_else(|e| {
            self.gc.metrics.failed_to_filter();
            log::warn!("GC in a compaction: the record of key {} is kept: {e}", keys::hex_upper(key));
            false
        })
    }
}

impl WriteCompactionFilter {
    fn do_filter(&mut self, key: &[u8], value: &[u8]) -> txn_types::Result<bool> {
        let Some(key) = key.strip_prefix(keys::DATA_PREFIX_KEY) else { return Ok(false) };
        let write = WriteRef::parse(value)?;
        let kind = Version::from(write.write_type);
        let req = *self.req.get_or_insert_with(|| begin(key, &self.gc));
        let decision = self.versions.decide::<txn_types::Error>(key, || Ok(kind))?;
        if req.stepped() {
            tracepoints::stamp!(
                GC_FILTER_VERSION,
                req,
                start_ts = write.start_ts.into_inner(),
                removed = decision.removes(),
            );
            tracepoints::facts!(req, version_facts(key, &write, decision));
            self.gc.hold(stage::GC_FILTER_VERSION, req);
        }
        let removed = decision.removes();
        if removed {
            self.filtered += 1;
            self.rollbacks += u64::from(kind == Version::Other);
            if kind == Version::Value && write.short_value.is_none() {
                let (user_key, _) = Key::split_on_ts_for(key)?;
                self.orphans.push(Key::from_encoded_slice(user_key).append_ts(write.start_ts));
            }
        }
        self.flush(false);
        Ok(removed)
    }

    /// Hands full batches to the worker; at the end everything. TiKV hands a delete over only at the bottom level,
    /// where it seldom hides versions of other files. This filter does not know the level. The worker reads the
    /// whole key and deletes all of it in one batch, so an early delete costs more tombstones, never a wrong read.
    fn flush(&mut self, end: bool) {
        if end || self.orphans.len() >= BATCH {
            let keys = std::mem::take(&mut self.orphans);
            if !keys.is_empty() {
                self.gc.schedule(GcTask::OrphanVersions { keys });
            }
        }
        if end || self.versions.lone_deletes() >= BATCH {
            let keys = self.versions.take_lone_deletes(end);
            if !keys.is_empty() {
                self.gc.schedule(GcTask::GcKeys { keys, safe_point: self.gc.safe_point() });
            }
        }
    }
}

impl Drop for WriteCompactionFilter {
    fn drop(&mut self) {
        self.flush(true);
        self.gc.metrics.filtered(GcKeyMode::Txn, self.filtered, self.rollbacks);
        self.gc.metrics.deletes(GcKeyMode::Txn, self.versions.deletes());
        if let Some(req) = self.req {
            request::end(req);
        }
    }
}

/// Begins the request of a compaction, with its first key.
fn begin(key: &[u8], gc: &GcContext) -> Req {
    let first = user_key(key);
    let req = request::begin(RequestKind::GcCompaction, &first, 0);
    tracepoints::stamp!(GC_FILTER, req, safe_point = gc.safe_point().into_inner());
    gc.hold(stage::GC_FILTER, req);
    req
}

/// Returns the raw key of a record, or the bytes of a key that is no user key.
fn user_key(key: &[u8]) -> Vec<u8> {
    let raw = Key::split_on_ts_for(key).ok().map(|(key, _)| Key::from_encoded_slice(key).to_raw());
    raw.and_then(Result::ok).unwrap_or_else(|| key.to_vec())
}

/// Shows a record and the decision about it.
fn version_facts(key: &[u8], write: &WriteRef<'_>, decision: Decision) -> Facts {
    let commit_ts = Key::decode_ts_from(key).unwrap_or_default();
    let what =
        format!("{} at {commit_ts}: {:?}, {}", shown(&user_key(key)), write.write_type, decision.text());
    Facts::new("Version")
        .text("key", shown(&user_key(key)))
        .ts("commit_ts", commit_ts.into_inner())
        .ts("start_ts", write.start_ts.into_inner())
        .text("kind", format!("{:?}", write.write_type))
        .outcome(what)
}

/// Makes the filters of CF default of a store of API V2.
#[derive(Debug)]
pub struct RawCompactionFilterFactory(pub Arc<GcContext>);

impl CompactionFilterFactory for RawCompactionFilterFactory {
    fn name(&self) -> &'static str {
        "raw_compaction_filter_factory"
    }

    fn create_compaction_filter(&self, _context: CompactionContext) -> Option<Box<dyn CompactionFilter>> {
        let safe_point = self.0.filter_safe_point()?;
        self.0.metrics.filter_created(GcKeyMode::Raw);
        let (gc, versions) = (self.0.clone(), Versions::new(safe_point));
        let now = ttl_current_ts();
        Some(Box::new(RawCompactionFilter { gc, versions, now, filtered: 0 }))
    }
}

struct RawCompactionFilter {
    gc: Arc<GcContext>,
    versions: Versions,
    /// Unix time in seconds at which the compaction began.
    now: u64,
    filtered: u64,
}

impl CompactionFilter for RawCompactionFilter {
    fn remove(&mut self, _level: u32, key: &[u8], value: &[u8]) -> bool {
        let Some(encoded) = key.strip_prefix(keys::DATA_PREFIX_KEY) else { return false };
        if KvFormat::V2.parse_key_mode(encoded) != KeyMode::Raw {
            return false;
        }
        let now = self.now;
        let decision = self.versions.decide::<RawError>(encoded, || {
            let raw = KvFormat::V2.decode_raw_value(value)?;
            Ok(if raw.is_valid(now) { Version::Value } else { Version::Delete })
        });
        let removed = decision.map(Decision::removes);
        if self.versions.lone_deletes() >= BATCH {
            self.hand_over(false);
        }
        match removed {
            Ok(removed) => {
                self.filtered += u64::from(removed);
                removed
            }
            Err(e) => {
                self.gc.metrics.failed_to_filter();
                log::warn!("GC in a compaction: the raw key {} is kept: {e}", keys::hex_upper(key));
                false
            }
        }
    }
}

impl RawCompactionFilter {
    fn hand_over(&mut self, end: bool) {
        let keys = self.versions.take_lone_deletes(end);
        if !keys.is_empty() {
            self.gc.schedule(GcTask::RawGcKeys { keys, safe_point: self.gc.safe_point() });
        }
    }
}

impl Drop for RawCompactionFilter {
    fn drop(&mut self) {
        self.hand_over(true);
        self.gc.metrics.filtered(GcKeyMode::Raw, self.filtered, 0);
        self.gc.metrics.deletes(GcKeyMode::Raw, self.versions.deletes());
    }
}

#[derive(Debug, thiserror::Error)]
enum RawError {
    #[error(transparent)]
    Key(#[from] txn_types::Error),
    #[error(transparent)]
    Value(#[from] api_version::Error),
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use txn_types::{TimeStamp, Write, WriteType};

    use super::*;

    #[test]
    fn a_compaction_of_some_files_hands_over_a_lone_delete() {
        let (gc, tasks) = GcContext::new(true);
        gc.safe_point.store(50, Ordering::Relaxed);
        let context = CompactionContext { is_full: false, is_manual: false };
        let factory = WriteCompactionFilterFactory(gc.clone());
        let mut filter = factory.create_compaction_filter(context).unwrap();
        let mut remove = |key: &[u8], commit_ts: u64, kind| {
            let key = keys::data_key(Key::from_raw(key).append_ts(commit_ts.into()).as_encoded());
            filter.remove(0, &key, &Write::new(kind, (commit_ts - 1).into(), None).to_bytes())
        };
        assert!(!remove(b"a", 30, WriteType::Delete), "the last to go");
        assert!(remove(b"a", 20, WriteType::Put));
        assert!(!remove(b"b", 60, WriteType::Delete), "above the safe point");
        assert!(!remove(b"c", 40, WriteType::Delete));
        drop(filter);
        let tasks: Vec<GcTask> = tasks.try_iter().map(|(_, task)| task).collect();
        let [GcTask::OrphanVersions { keys: orphans }, GcTask::GcKeys { keys, safe_point }] = &tasks[..]
        else {
            panic!("expected the long value and the lone delete, found {tasks:?}");
        };
        assert_eq!(orphans, &[Key::from_raw(b"a").append_ts(19.into())]);
        assert_eq!((keys, *safe_point), (&vec![Key::from_raw(b"c")], TimeStamp::new(50)));
    }
}
