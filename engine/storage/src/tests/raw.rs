//! Raw keys.
use kvproto::kvrpcpb::Context;
use tracepoints::Req;

use super::store::{TestStore, wait};
use crate::{Result, Swap};

fn put(store: &TestStore, cf: &str, key: &[u8], value: &[u8]) -> Result<()> {
    wait(store.storage.raw_put(Context::default(), cf.into(), key.to_vec(), value.to_vec(), 0, Req::NONE))
}

fn get(store: &TestStore, cf: &str, key: &[u8]) -> Option<Vec<u8>> {
    wait(store.storage.raw_get(Context::default(), cf.into(), key.to_vec(), Req::NONE)).unwrap().0
}

fn scan(store: &TestStore, start: &[u8], end: &[u8], limit: usize, reverse: bool) -> String {
    let (start, end) = (start.to_vec(), end.to_vec());
    let scan = store.storage.raw_scan(
        Context::default(),
        String::new(),
        start,
        end,
        limit,
        false,
        reverse,
        Req::NONE,
    );
    wait(scan).unwrap().0.into_iter().map(|(k, _)| String::from_utf8(k).unwrap()).collect()
}

#[test]
fn raw_keys_are_put_got_and_deleted() {
    let store = TestStore::new();
    put(&store, "", b"k", b"v").unwrap();
    put(&store, "write", b"k", b"w").unwrap();
    assert_eq!(get(&store, "default", b"k").unwrap(), b"v");
    assert_eq!(get(&store, "write", b"k").unwrap(), b"w");
    assert_eq!(get(&store, "lock", b"k"), None);
    wait(store.storage.raw_delete(Context::default(), String::new(), b"k".to_vec(), Req::NONE)).unwrap();
    assert_eq!(get(&store, "", b"k"), None);
    assert_eq!(get(&store, "write", b"k").unwrap(), b"w");
}

#[test]
fn batches_are_put_got_and_deleted() {
    let store = TestStore::new();
    let pairs: Vec<_> = [b"a", b"b", b"c"].iter().map(|k| (k.to_vec(), b"v".to_vec())).collect();
    let put =
        store.storage.raw_batch_put(Context::default(), String::new(), pairs.clone(), vec![], Req::NONE);
    wait(put).unwrap();
    let keys = vec![b"c".to_vec(), b"x".to_vec(), b"a".to_vec()];
    let get = || {
        let get = store.storage.raw_batch_get(Context::default(), String::new(), keys.clone(), Req::NONE);
        wait(get).unwrap().0
    };
    assert_eq!(get(), [pairs[2].clone(), pairs[0].clone()]);
    let gone = vec![b"a".to_vec(), b"c".to_vec()];
    wait(store.storage.raw_batch_delete(Context::default(), String::new(), gone, Req::NONE)).unwrap();
    assert_eq!(get(), []);
    assert_eq!(scan(&store, b"", b"", 10, false), "b");
}

#[test]
fn scans_stay_within_their_bounds() {
    let store = TestStore::new();
    for key in [b"a", b"b", b"c", b"d", b"e"] {
        put(&store, "", key, b"v").unwrap();
    }
    assert_eq!(scan(&store, b"b", b"d", 10, false), "bc");
    assert_eq!(scan(&store, b"b", b"", 2, false), "bc");
    assert_eq!(scan(&store, b"d", b"b", 10, true), "cb");
    assert_eq!(scan(&store, b"", b"", 2, true), "ed");
    assert_eq!(scan(&store, b"d", b"b", 10, false), "");
    assert_eq!(scan(&store, b"", b"", 0, false), "");
    let keys_only = store.storage.raw_scan(
        Context::default(),
        String::new(),
        vec![],
        b"b".to_vec(),
        9,
        true,
        false,
        Req::NONE,
    );
    assert_eq!(wait(keys_only).unwrap().0, [(b"a".to_vec(), vec![])]);
}

#[test]
fn a_range_is_deleted_up_to_its_end() {
    let store = TestStore::new();
    for key in [b"a", b"b", b"c", b"d"] {
        put(&store, "", key, b"v").unwrap();
    }
    let delete = store.storage.raw_delete_range(
        Context::default(),
        String::new(),
        b"b".to_vec(),
        b"d".to_vec(),
        Req::NONE,
    );
    wait(delete).unwrap();
    assert_eq!(scan(&store, b"", b"", 10, false), "ad");
}

#[test]
fn features_missing_in_api_v1_are_refused() {
    let store = TestStore::new();
    assert!(put(&store, "raft", b"k", b"v").unwrap_err().to_string().contains("invalid cf name: raft"));
    assert!(
        put(&store, "", &[0; 8193], b"v")
            .unwrap_err()
            .to_string()
            .contains("max key size exceeded, size: 8193, limit: 8192")
    );
    let ttl = store.storage.raw_put(Context::default(), String::new(), b"k".to_vec(), vec![], 5, Req::NONE);
    assert!(wait(ttl).unwrap_err().to_string().contains("ttl is not enabled"));
}

#[test]
fn a_configured_key_limit_is_enforced() {
    let store = TestStore::with_config(crate::Config { max_key_size: 4, ..crate::Config::default() });
    let error = put(&store, "", b"12345", b"v").unwrap_err().to_string();
    assert_eq!(error, "max key size exceeded, size: 5, limit: 4");
    let (key, raw) = (|| b"12345".to_vec(), &store.storage);
    let delete = raw.raw_delete_range(Context::default(), String::new(), vec![], key(), Req::NONE);
    assert!(wait(delete).unwrap_err().to_string().contains("max key size exceeded"));
    let delete = raw.raw_batch_delete_atomic(Context::default(), String::new(), vec![key()], Req::NONE);
    assert!(wait(delete).unwrap_err().to_string().contains("max key size exceeded"));
}

#[test]
fn swaps_of_one_key_are_serialized() {
    let store = TestStore::new();
    put(&store, "", b"n", &0_u64.to_be_bytes()).unwrap();
    let count = |store: &TestStore| {
        for _ in 0..50 {
            loop {
                let previous = get(store, "", b"n").unwrap();
                let next = u64::from_be_bytes(previous.as_slice().try_into().unwrap()) + 1;
                let swap = Swap {
                    key: b"n".to_vec(),
                    previous_value: Some(previous),
                    value: next.to_be_bytes().to_vec(),
                    ..Swap::default()
                };
                let swapped = store.storage.raw_compare_and_swap_atomic(Context::default(), swap, Req::NONE);
                if wait(swapped).unwrap().1 {
                    break;
                }
            }
        }
    };
    std::thread::scope(|scope| {
        (0..4).for_each(|_| drop(scope.spawn(|| count(&store))));
    });
    assert_eq!(get(&store, "", b"n").unwrap(), 200_u64.to_be_bytes());
    store.must_become_idle();
}
