//! A snapshot at one timestamp, for reads.
//!
//! Mirrors `src/storage/txn/store.rs`.
use kvproto::kvrpcpb::IsolationLevel;
use tikv_kv::Snapshot;
use tracepoints::Req;
use txn_types::{Key, TimeStamp, TsSet};

use crate::{
    errors::{ErrorInner, Result},
    mvcc::{self, EntryScanner, PointGetter, PointGetterBuilder, ScannerConfig, ValueEntry},
    statistics::Statistics,
};

/// Raw key and its value, or the error of that key.
pub type EntryResult = Result<(Vec<u8>, ValueEntry)>;

/// View of a snapshot at one timestamp. TiKV: `SnapshotStore`.
pub struct SnapshotStore<S: Snapshot> {
    /// Snapshot that is read.
    pub snapshot: S,
    /// Start timestamp of the transaction.
    pub start_ts: TimeStamp,
    /// Isolation level of the read.
    pub isolation_level: IsolationLevel,
    /// Whether blocks read enter the block cache.
    pub fill_cache: bool,
    /// Transactions whose locks the read ignores, since they are committed later or rolled back.
    pub bypass_locks: TsSet,
    /// Transactions whose locks the read looks through, since they are committed before.
    pub access_locks: TsSet,
    /// Request that the work belongs to, for stamps.
    pub req: Req,
}

/// Parameters of a scan.
#[derive(Clone, Debug, Default)]
pub struct ScanParams {
    /// Encoded; included.
    pub lower_bound: Option<Key>,
    /// Encoded; excluded.
    pub upper_bound: Option<Key>,
    /// Maximum number of pairs.
    pub limit: usize,
    /// Returns only every n-th key; 0 and 1: every key.
    pub sample_step: usize,
    /// Whether to leave values empty.
    pub key_only: bool,
    /// Whether to read in descending order.
    pub desc: bool,
    /// Whether to return the commit timestamps.
    pub load_commit_ts: bool,
}

impl<S: Snapshot> SnapshotStore<S> {
    fn point_getter(self) -> Result<PointGetter<S>> {
        Ok(PointGetterBuilder::new(self.snapshot, self.start_ts)
            .req(self.req)
            .fill_cache(self.fill_cache)
            .isolation_level(self.isolation_level)
            .bypass_locks(self.bypass_locks)
            .access_locks(self.access_locks)
            .build()?)
    }

    /// Reads one key.
    pub fn get_entry(
        self,
        key: &Key,
        load_commit_ts: bool,
        statistics: &mut Statistics,
    ) -> Result<Option<ValueEntry>> {
        let mut getter = self.point_getter()?;
        let result = getter.get_entry(key, load_commit_ts);
        statistics.add(&getter.take_statistics());
        Ok(result?)
    }

    /// Reads several keys; omits keys without a value. A locked key is an error in its place.
    pub fn batch_get(
        self,
        keys: &[Key],
        load_commit_ts: bool,
        statistics: &mut Statistics,
    ) -> Result<Vec<EntryResult>> {
        let mut getter = self.point_getter()?;
        let mut entries = Vec::with_capacity(keys.len());
        for key in keys {
            match getter.get_entry(key, load_commit_ts) {
                Ok(Some(entry)) => entries.push(Ok((key.to_raw()?, entry))),
                Ok(None) => {}
                Err(e) => entries.push(Err(key_error(e)?)),
            }
        }
        statistics.add(&getter.take_statistics());
        Ok(entries)
    }

    /// Checks that given bounds are within the region. TiKV: `SnapshotStore::verify_range`.
    fn verify_range(&self, params: &ScanParams) -> Result<()> {
        let bytes = |key: &Option<Key>| key.as_ref().map(|key| key.as_encoded().clone());
        let (start, end) = (bytes(&params.lower_bound), bytes(&params.upper_bound));
        let (lower, upper) = (self.snapshot.lower_bound(), self.snapshot.upper_bound());
        let before = start.as_deref().zip(lower).is_some_and(|(start, lower)| start < lower);
        let after = end.as_deref().zip(upper).is_some_and(|(end, upper)| !upper.is_empty() && end > upper);
        if before || after {
            let (lower_bound, upper_bound) = (lower.map(<[u8]>::to_vec), upper.map(<[u8]>::to_vec));
            return Err(ErrorInner::InvalidReqRange { start, end, lower_bound, upper_bound }.into());
        }
        Ok(())
    }

    /// Reads a range.
    pub fn scan(self, params: ScanParams, statistics: &mut Statistics) -> Result<Vec<EntryResult>> {
        self.verify_range(&params)?;
        tracepoints::step_thread!(
            MVCC_SCAN,
            self.req,
            ts = self.start_ts.into_inner(),
            limit = params.limit,
            key_only = params.key_only,
            desc = params.desc,
        );
        let mut config = ScannerConfig::new(self.snapshot, self.start_ts);
        config.req = self.req;
        config.lower_bound = params.lower_bound;
        config.upper_bound = params.upper_bound;
        config.isolation_level = self.isolation_level;
        config.fill_cache = self.fill_cache;
        config.omit_value = params.key_only;
        config.load_commit_ts = params.load_commit_ts;
        config.bypass_locks = self.bypass_locks;
        config.access_locks = self.access_locks;
        config.desc = params.desc;
        let mut scanner = config.build()?;
        let mut entries = Vec::new();
        for row in 0_usize.. {
            if entries.len() == params.limit {
                break;
            }
            let entry = match scanner.read_next() {
                Ok(Some((key, entry))) => Ok((key.into_raw()?, entry)),
                Ok(None) => break,
                Err(e) => Err(key_error(e)?),
            };
            if row % params.sample_step.max(1) == 0 {
                entries.push(entry);
            }
        }
        statistics.add(&scanner.take_statistics());
        Ok(entries)
    }
}

/// Returns an error that the client can resolve as the key's error; any other error fails the whole read.
fn key_error(e: mvcc::Error) -> Result<crate::errors::Error> {
    match &*e.0 {
        mvcc::ErrorInner::KeyIsLocked(_) | mvcc::ErrorInner::WriteConflict(_) => Ok(e.into()),
        _ => Err(e.into()),
    }
}
