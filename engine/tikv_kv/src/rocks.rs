//! Engine on one RocksDB without Raft, for tests of the transaction layer and as a baseline in benches.
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use engine_rocks::{RocksEngine, RocksEngineIterator, RocksSnapshot};
use futures::future::{BoxFuture, FutureExt, ready};
use txn_types::{Key, Value};

use crate::{
    Engine, IterOptions, Iterator, Result, SnapContext, Snapshot, WriteTimes, modify::CfName, modify::Modify,
    modify::WriteData,
};

/// Local engine. Keys have the data prefix, like RaftKv's.
#[derive(Clone)]
pub struct RocksKv {
    db: RocksEngine,
    max_ts_synced: Arc<AtomicBool>,
}

impl RocksKv {
    /// Creates an engine over this database.
    pub fn new(db: RocksEngine) -> Self {
        // With one copy, no other leader has answered reads.
        Self { db, max_ts_synced: Arc::new(AtomicBool::new(true)) }
    }

    /// Sets whether new snapshots report max_ts as synchronised; those of a new leader do not at first.
    pub fn set_max_ts_synced(&self, synced: bool) {
        self.max_ts_synced.store(synced, Ordering::SeqCst);
    }

    fn write(&self, data: WriteData) -> Result<()> {
        let mut batch = self.db.write_batch();
        for modify in data.modifies {
            match modify {
                Modify::Put(cf, k, v) => batch.put_cf(cf, &keys::data_key(k.as_encoded()), &v)?,
                Modify::Delete(cf, k) => batch.delete_cf(cf, &keys::data_key(k.as_encoded()))?,
                Modify::DeleteRange(_, _, _, true) => {}
                Modify::DeleteRange(cf, a, b, false) => {
                    batch.delete_range_cf(
                        cf,
                        &keys::data_key(a.as_encoded()),
                        &keys::data_end_key(b.as_encoded()),
                    )?;
                }
            }
        }
        batch.write_opt(true)?;
        Ok(())
    }
}

impl Engine for RocksKv {
    type Snap = RocksKvSnapshot;

    fn async_snapshot(&self, _: SnapContext) -> BoxFuture<'static, Result<RocksKvSnapshot>> {
        let max_ts_synced = self.max_ts_synced.load(Ordering::SeqCst);
        ready(Ok(RocksKvSnapshot { snap: self.db.snapshot(), max_ts_synced })).boxed()
    }

    fn async_write(&self, _: SnapContext, data: WriteData) -> BoxFuture<'static, Result<WriteTimes>> {
        // One RocksDB has no stages of Raft.
        ready(self.write(data).map(|()| WriteTimes::default())).boxed()
    }
}

/// Snapshot of all data keys.
#[derive(Clone)]
pub struct RocksKvSnapshot {
    snap: RocksSnapshot,
    max_ts_synced: bool,
}

impl Snapshot for RocksKvSnapshot {
    type Iter = RocksKvIterator;

    fn get_cf(&self, cf: CfName, key: &Key) -> Result<Option<Value>> {
        Ok(self.snap.get_value_cf(cf, &keys::data_key(key.as_encoded()))?)
    }

    fn iter(&self, cf: CfName, opts: IterOptions) -> Result<RocksKvIterator> {
        let lower = keys::data_key(opts.lower_bound.as_deref().unwrap_or_default());
        let upper = keys::data_end_key(opts.upper_bound.as_deref().unwrap_or_default());
        let opts = engine_rocks::IterOptions {
            lower_bound: Some(lower),
            upper_bound: Some(upper),
            prefix_same_as_start: opts.prefix_same_as_start,
            fill_cache: opts.fill_cache,
            ..Default::default()
        };
        Ok(RocksKvIterator { iter: self.snap.iterator_cf(cf, opts)? })
    }

    fn is_max_ts_synced(&self) -> bool {
        self.max_ts_synced
    }
}

/// Cursor over data keys; hides the data prefix.
pub struct RocksKvIterator {
    iter: RocksEngineIterator,
}

impl Iterator for RocksKvIterator {
    fn seek(&mut self, key: &Key) -> Result<bool> {
        Ok(self.iter.seek(&keys::data_key(key.as_encoded()))?)
    }
    fn seek_for_prev(&mut self, key: &Key) -> Result<bool> {
        Ok(self.iter.seek_for_prev(&keys::data_key(key.as_encoded()))?)
    }
    fn seek_to_first(&mut self) -> Result<bool> {
        Ok(self.iter.seek_to_first()?)
    }
    fn seek_to_last(&mut self) -> Result<bool> {
        Ok(self.iter.seek_to_last()?)
    }
    fn next(&mut self) -> Result<bool> {
        Ok(self.iter.next()?)
    }
    fn prev(&mut self) -> Result<bool> {
        Ok(self.iter.prev()?)
    }
    fn valid(&self) -> Result<bool> {
        Ok(self.iter.valid()?)
    }
    fn key(&self) -> &[u8] {
        keys::origin_key(self.iter.key()).unwrap_or_default()
    }
    fn value(&self) -> &[u8] {
        self.iter.value()
    }
}
