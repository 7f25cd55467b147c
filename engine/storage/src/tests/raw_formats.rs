//! Raw keys on API V1TTL and V2.
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use api_version::KvFormat;
use engine_rocks::{CF_DEFAULT, DbConfig, RocksEngine};
use futures::{FutureExt, future::BoxFuture};
use kvproto::kvrpcpb::{ApiVersion, Context, KeyRange};
use tempfile::TempDir;
use tikv_kv::RocksKv;
use tracepoints::Req;
use txn_types::TimeStamp;

use super::{
    lock_manager::MockLockManager,
    store::{LIMIT, wait},
};
use crate::{
    ConcurrencyManager, Config, Result, Storage, Swap,
    causal_ts::{BatchTso, BatchTsoProvider, CausalTsConfig, Provider},
};

const REQ: Req = Req::NONE;

struct Tso(AtomicU64);

impl BatchTso for Tso {
    fn batch_get_tso(&self, count: u32) -> BoxFuture<'_, std::result::Result<TimeStamp, String>> {
        let count = u64::from(count);
        let last = self.0.fetch_add(count, Ordering::Relaxed) + count;
        async move { Ok(last.into()) }.boxed()
    }
}

struct Store {
    storage: Storage<RocksKv>,
    db: RocksEngine,
    format: KvFormat,
    _dir: TempDir,
}

impl Store {
    fn new(format: KvFormat) -> Self {
        let dir = TempDir::new().unwrap();
        let db = RocksEngine::open(dir.path().join("db"), &DbConfig::small()).unwrap();
        let config = Config { api_version: format, read_pool_threads: 2, ..Config::default() };
        let provider: Provider = match format {
            KvFormat::V2 => {
                Some(Arc::new(BatchTsoProvider::new(Tso(AtomicU64::new(1)), CausalTsConfig::default())))
            }
            _ => None,
        };
        let manager = ConcurrencyManager::new(TimeStamp::zero());
        let engine = RocksKv::new(db.clone());
        let storage =
            Storage::new(engine, manager, Arc::<MockLockManager>::default(), config, provider, 1).unwrap();
        Self { storage, db, format, _dir: dir }
    }

    fn ctx(&self) -> Context {
        let version = if self.format == KvFormat::V2 { ApiVersion::V2 } else { ApiVersion::V1 };
        Context { api_version: version.into(), ..Default::default() }
    }

    fn key(&self, name: &str) -> Vec<u8> {
        if self.format == KvFormat::V2 { format!("r\0\0\0{name}").into() } else { name.into() }
    }

    fn name(&self, key: &[u8]) -> String {
        let prefix = self.key("").len();
        String::from_utf8(key[prefix..].to_vec()).unwrap()
    }

    fn put(&self, name: &str, value: &str, ttl: u64) -> Result<()> {
        wait(self.storage.raw_put(self.ctx(), String::new(), self.key(name), value.into(), ttl, REQ))
    }

    fn get(&self, name: &str) -> Option<String> {
        let value = wait(self.storage.raw_get(self.ctx(), String::new(), self.key(name), REQ)).unwrap().0;
        value.map(|value| String::from_utf8(value).unwrap())
    }

    fn ttl(&self, name: &str) -> Option<u64> {
        wait(self.storage.raw_get_key_ttl(self.ctx(), String::new(), self.key(name), REQ)).unwrap().0
    }

    fn delete(&self, name: &str) {
        wait(self.storage.raw_delete(self.ctx(), String::new(), self.key(name), REQ)).unwrap();
    }

    fn scan(&self, start: &str, end: &str, limit: usize, reverse: bool) -> Vec<String> {
        let (start, end) = (self.key(start), self.key(end));
        let scan = self.storage.raw_scan(self.ctx(), String::new(), start, end, limit, false, reverse, REQ);
        let pairs = wait(scan).unwrap().0;
        pairs.iter().map(|(k, v)| format!("{}={}", self.name(k), String::from_utf8_lossy(v))).collect()
    }

    fn swap(
        &self,
        name: &str,
        previous: Option<&str>,
        value: &str,
        ttl: u64,
        delete: bool,
    ) -> (Option<String>, bool) {
        let swap = Swap {
            key: self.key(name),
            previous_value: previous.map(Into::into),
            value: value.into(),
            ttl,
            delete,
            ..Swap::default()
        };
        let (found, swapped) = wait(self.storage.raw_compare_and_swap_atomic(self.ctx(), swap, REQ)).unwrap();
        (found.map(|value| String::from_utf8(value).unwrap()), swapped)
    }

    /// Number of rows in CF default.
    fn rows(&self) -> usize {
        let mut rows = 0;
        self.db
            .scan_cf(CF_DEFAULT, b"z", b"{", |_, _| {
                rows += 1;
                Ok(true)
            })
            .unwrap();
        rows
    }

    /// Waits until the key has no value.
    fn wait_for_expiry(&self, name: &str) {
        let begin = Instant::now();
        while self.get(name).is_some() {
            assert!(begin.elapsed() < LIMIT, "{name} has not expired");
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
    }
}

fn both(test: impl Fn(Store)) {
    [KvFormat::V1ttl, KvFormat::V2].into_iter().for_each(|format| test(Store::new(format)));
}

#[test]
fn a_value_is_kept_with_its_ttl() {
    both(|store| {
        store.put("never", "1", 0).unwrap();
        store.put("later", "2", 1000).unwrap();
        assert_eq!((store.get("never").as_deref(), store.ttl("never")), (Some("1"), Some(0)));
        assert_eq!(store.get("later").as_deref(), Some("2"));
        assert!((900..=1000).contains(&store.ttl("later").unwrap()));
        assert_eq!((store.get("absent"), store.ttl("absent")), (None, None));
        store.delete("later");
        assert_eq!((store.get("later"), store.ttl("later")), (None, None));
    });
}

#[test]
fn an_expired_value_is_absent_in_every_read() {
    both(|store| {
        store.put("a", "1", 0).unwrap();
        store.put("b", "2", 1).unwrap();
        store.put("c", "3", 0).unwrap();
        store.wait_for_expiry("b");
        assert_eq!(store.ttl("b"), None);
        assert_eq!(store.scan("a", "z", 10, false), ["a=1", "c=3"]);
        assert_eq!(store.scan("z", "a", 10, true), ["c=3", "a=1"]);
        let keys = ["a", "b", "c"].map(|name| store.key(name)).to_vec();
        let pairs = wait(store.storage.raw_batch_get(store.ctx(), String::new(), keys, REQ)).unwrap().0;
        assert_eq!(pairs.iter().map(|(key, _)| store.name(key)).collect::<Vec<_>>(), ["a", "c"]);
        let ranges = vec![KeyRange { start_key: store.key("a"), end_key: store.key("z") }];
        let sum = wait(store.storage.raw_checksum(store.ctx(), 0, ranges, REQ)).unwrap().0;
        assert_eq!(sum.total_kvs, 2);
        assert_eq!(store.swap("b", Some("2"), "4", 0, false), (None, false));
        assert_eq!(store.swap("b", None, "4", 1000, false), (None, true));
        assert!(store.get("b").as_deref() == Some("4") && store.ttl("b").unwrap() > 900);
    });
}

#[test]
fn batches_have_a_ttl_for_each_pair() {
    both(|store| {
        let pairs: Vec<_> = ["a", "b"].iter().map(|name| (store.key(name), b"v".to_vec())).collect();
        let put = |ttls: Vec<u64>, atomic| match atomic {
            true => {
                wait(store.storage.raw_batch_put_atomic(store.ctx(), String::new(), pairs.clone(), ttls, REQ))
            }
            false => wait(store.storage.raw_batch_put(store.ctx(), String::new(), pairs.clone(), ttls, REQ)),
        };
        for atomic in [false, true] {
            let error = put(vec![1, 2, 3], atomic).unwrap_err().to_string();
            assert_eq!(error, "The length of ttls does not equal to the length of pairs");
            put(vec![0, 1000], atomic).unwrap();
            assert!(store.ttl("a") == Some(0) && store.ttl("b").unwrap() > 900);
            put(vec![1000], atomic).unwrap();
            assert!(store.ttl("a").unwrap() > 900);
            put(vec![], atomic).unwrap();
            assert_eq!(store.ttl("a"), Some(0));
        }
    });
}

#[test]
fn v2_keeps_versions_and_reads_the_newest() {
    let store = Store::new(KvFormat::V2);
    for value in ["1", "2", "3"] {
        store.put("a", value, 0).unwrap();
        store.put("aa", value, 0).unwrap();
        store.put("b", value, 0).unwrap();
    }
    store.delete("aa");
    assert_eq!(store.rows(), 10, "a delete is a version");
    assert_eq!((store.get("a").as_deref(), store.get("aa")), (Some("3"), None));
    assert_eq!(store.scan("", "z", 10, false), ["a=3", "b=3"]);
    assert_eq!(store.scan("", "z", 1, false), ["a=3"]);
    assert_eq!(store.scan("z", "", 10, true), ["b=3", "a=3"]);
    assert_eq!(store.scan("b", "", 1, true), ["a=3"], "the start of a reverse scan is excluded");
    assert_eq!(store.swap("a", Some("3"), "", 0, true), (Some("3".into()), true));
    assert_eq!((store.get("a"), store.rows()), (None, 11));
    let keys = vec![store.key("b")];
    wait(store.storage.raw_batch_delete_atomic(store.ctx(), String::new(), keys, REQ)).unwrap();
    assert_eq!(store.scan("", "z", 10, false), [""; 0]);
    let range = |store: &Store| (store.key("a"), store.key("c"));
    let (start, end) = range(&store);
    wait(store.storage.raw_delete_range(store.ctx(), String::new(), start, end, REQ)).unwrap();
    assert_eq!(store.rows(), 0);
}

#[test]
fn v2_refuses_column_families_and_other_keys() {
    let store = Store::new(KvFormat::V2);
    let put = |ctx, cf: &str, key: &[u8]| {
        let put = store.storage.raw_put(ctx, cf.into(), key.to_vec(), b"v".to_vec(), 0, REQ);
        wait(put).unwrap_err().to_string()
    };
    assert_eq!(put(store.ctx(), "default", b"rk"), "cf is deprecated in API V2, cf name: default");
    assert!(put(store.ctx(), "", b"xk").contains("Key mode mismatched"));
    assert!(put(Context::default(), "", b"rk").contains("Api version in request does not match"));
    assert_eq!(store.rows(), 0);
}

#[test]
fn v1ttl_serves_no_transactions() {
    let store = Store::new(KvFormat::V1ttl);
    let get = store.storage.get(Context::default(), txn_types::Key::from_raw(b"k"), 5.into(), REQ);
    assert!(wait(get).unwrap_err().to_string().contains("storage: V1ttl, request: V1"));
}

#[test]
fn broken_values_are_errors() {
    let store = Store::new(KvFormat::V1ttl);
    store.db.put_cf(CF_DEFAULT, b"zk", b"short").unwrap();
    let get = || wait(store.storage.raw_get(store.ctx(), String::new(), b"k".to_vec(), REQ));
    assert!(get().unwrap_err().to_string().contains("expected a raw value of API V1ttl"));
}
