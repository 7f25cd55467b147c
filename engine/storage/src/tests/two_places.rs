//! Snapshots with pessimistic locks in two places: in the leader's memory and in CF lock.
use std::sync::Arc;

use kvproto::errorpb;
use parking_lot::RwLock;
use tikv_kv::{
    Engine, ErrorInner, IterOptions, MemoryLimits, PeerPessimisticLocks, RocksKv, SharedPessimisticLocks,
    SnapContext, Snapshot,
};
use txn_types::{Key, LockOrSharedLocks, LockType, PessimisticLock, Value};

use super::{
    shared_locks::share,
    store::{TestStore, put, wait},
};
use crate::mvcc::{MvccReader, probe::mvcc_rows};

type Stored = <RocksKv as Engine>::Snap;

/// Snapshot with a table; `None`: the table refuses readers, since the leader has changed.
#[derive(Clone)]
struct TwoPlaces {
    stored: Stored,
    table: Option<SharedPessimisticLocks>,
}

impl Snapshot for TwoPlaces {
    type Iter = <Stored as Snapshot>::Iter;

    fn get_cf(&self, cf: &'static str, key: &Key) -> tikv_kv::Result<Option<Value>> {
        self.stored.get_cf(cf, key)
    }

    fn iter(&self, cf: &'static str, opts: IterOptions) -> tikv_kv::Result<Self::Iter> {
        self.stored.iter(cf, opts)
    }

    fn read_pessimistic_locks<T>(
        &self,
        f: impl FnOnce(&PeerPessimisticLocks) -> T,
    ) -> tikv_kv::Result<Option<T>> {
        match &self.table {
            Some(table) => Ok(Some(f(&table.read()))),
            None => Err(ErrorInner::Request(errorpb::Error::default()).into()),
        }
    }
}

fn table(keys: &[&[u8]]) -> SharedPessimisticLocks {
    let lock = PessimisticLock {
        primary: b"p".to_vec().into(),
        start_ts: 10.into(),
        ttl: 3000,
        for_update_ts: 10.into(),
        min_commit_ts: 11.into(),
        ..Default::default()
    };
    let locks: Vec<_> = keys.iter().map(|key| (Key::from_raw(key), lock.clone())).collect();
    let mut table = PeerPessimisticLocks::default();
    assert!(table.insert(&locks, MemoryLimits { peer: 1 << 20, instance: 1 << 30 }));
    Arc::new(RwLock::new(table))
}

/// Takes a snapshot with a stored lock of type Put on `k`.
fn with_stored_put(table: Option<SharedPessimisticLocks>) -> (TestStore, TwoPlaces) {
    let store = TestStore::new();
    store.must_prewrite(vec![put(b"k", b"v")], 10);
    let stored = wait(store.storage.get_engine().async_snapshot(SnapContext::default())).unwrap();
    (store, TwoPlaces { stored, table })
}

#[test]
fn a_scan_prefers_a_stored_prewrite_to_the_lock_in_memory() {
    let (_store, snapshot) = with_stored_put(Some(table(&[b"k", b"only in memory"])));
    let mut reader = MvccReader::new(snapshot, None, true);
    let (locks, cut) = reader.scan_locks(None, None, |_| true, 0).unwrap();
    let types = locks.into_iter().map(|(key, lock)| match lock {
        LockOrSharedLocks::Lock(lock) => (key.to_raw().unwrap(), lock.lock_type),
        LockOrSharedLocks::Shared(_) => panic!("expected a lock of one transaction"),
    });
    let expected = [(b"k".to_vec(), LockType::Put), (b"only in memory".to_vec(), LockType::Pessimistic)];
    assert_eq!(types.collect::<Vec<_>>(), expected);
    assert!(!cut);
}

/// The next scan begins at the last key of this one.
#[test]
fn a_scan_that_shared_locks_fill_skips_no_key() {
    let store = TestStore::new();
    share(&store, b"b", 10);
    share(&store, b"b", 20);
    store.must_prewrite(vec![put(b"c", b"v")], 30);
    let stored = wait(store.storage.get_engine().async_snapshot(SnapContext::default())).unwrap();
    let snapshot = TwoPlaces { stored, table: Some(table(&[b"d"])) };
    let scan = |limit| {
        let (locks, cut) =
            MvccReader::new(snapshot.clone(), None, true).scan_locks(None, None, |_| true, limit).unwrap();
        (locks.into_iter().map(|(key, _)| key.to_raw().unwrap()).collect::<Vec<_>>(), cut)
    };
    let keys = |names: &[&[u8]]| names.iter().map(|name| name.to_vec()).collect::<Vec<_>>();
    assert_eq!(scan(2), (keys(&[b"b"]), true));
    assert_eq!(scan(0), (keys(&[b"b", b"c", b"d"]), false));
}

#[test]
fn a_probe_shows_the_stored_lock_if_the_table_refuses() {
    let (_store, snapshot) = with_stored_put(None);
    let rows = mvcc_rows(&snapshot, &Key::from_raw(b"k"), 0.into(), None);
    assert_eq!(rows.lock.unwrap().kind, "Put");
}
