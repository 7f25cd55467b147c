//! FlashbackToVersion: many keys, locks, repetitions.
use kvproto::kvrpcpb::{Context, Op};
use txn_types::Key;

use super::store::{TestStore, op, prewrite_request, put};
use crate::{ErrorInner, Result, txn::commands::Flashback};

/// More than one batch.
const KEYS: u64 = 700;
const VERSION: u64 = 100;

fn flashback(store: &TestStore, start_ts: u64, commit_ts: u64) -> Result<()> {
    store.run(Flashback {
        ctx: Context::default(),
        version: VERSION.into(),
        start_ts: start_ts.into(),
        commit_ts: commit_ts.into(),
        start_key: Key::from_raw(b""),
        end_key: None,
    })
}

fn key(n: u64) -> Vec<u8> {
    format!("k{n:04}").into_bytes()
}

/// Even keys existed at the version, with long values; all keys were put after it.
fn filled() -> TestStore {
    let store = TestStore::new();
    let many = |keys: Vec<Vec<u8>>, value: Vec<u8>, start: u64| {
        store.must_prewrite(keys.iter().map(|k| put(k, &value)).collect(), start);
        let keys: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
        store.commit(&keys, start, start + 1).unwrap();
    };
    many((0..KEYS).step_by(2).map(key).collect(), vec![b'o'; 300], 10);
    many((0..KEYS).map(key).collect(), b"new".to_vec(), 200);
    store
}

fn check(store: &TestStore, ts: u64) {
    for n in 0..KEYS {
        let expected = n.is_multiple_of(2).then(|| vec![b'o'; 300]);
        assert_eq!(store.get(&key(n), ts).unwrap(), expected, "key {n}");
    }
}

#[test]
fn all_keys_revert_and_later_versions_stay_readable() {
    let store = filled();
    flashback(&store, 300, 0).unwrap();
    // The first key stays locked until the end.
    assert_eq!(store.must_be_locked(&key(0), 310).lock_version, 300);
    flashback(&store, 300, 0).unwrap();
    flashback(&store, 300, 310).unwrap();
    check(&store, 310);
    store.must_get(&key(1), 309, b"new");
    // A repetition finds that the flashback has ended.
    flashback(&store, 300, 310).unwrap();
    check(&store, 400);
    store.must_become_idle();
}

#[test]
fn locks_are_rolled_back_and_their_transactions_cannot_commit() {
    let store = filled();
    let locked: Vec<Vec<u8>> = (0..600u64).map(|n| format!("l{n:04}").into_bytes()).collect();
    store.must_prewrite(locked.iter().map(|k| put(k, &[b'x'; 300])).collect(), 250);
    store.must_prewrite(vec![op(Op::Del, &key(4))], 260);
    flashback(&store, 300, 0).unwrap();
    flashback(&store, 300, 310).unwrap();
    check(&store, 310);
    store.must_get_none(&locked[0], 310);
    assert!(store.commit(&[&locked[0]], 250, 320).is_err());
    let late = store.prewrite_with(prewrite_request(vec![put(&locked[1], b"late")], 250));
    assert!(late.is_err(), "the transaction was rolled back: {late:?}");
}

#[test]
fn a_flashback_must_be_prepared_first() {
    let store = filled();
    let not_prepared = flashback(&store, 300, 310).unwrap_err();
    assert!(matches!(*not_prepared.0, ErrorInner::FlashbackNotPrepared(_)), "{not_prepared}");
    assert!(flashback(&store, 300, 300).is_err());
    flashback(&store, 300, 0).unwrap();
    assert!(flashback(&store, 301, 310).is_err(), "the lock belongs to another attempt");
    flashback(&store, 300, 310).unwrap();
    check(&store, 310);
    // Without changes, a flashback does nothing.
    let empty = TestStore::new();
    flashback(&empty, 300, 0).unwrap();
    flashback(&empty, 300, 310).unwrap();
}

/// As in TiKV, the first command of a flashback only reads.
#[test]
fn a_busy_scheduler_accepts_a_flashback() {
    let store = filled();
    store.storage.set_pending_write_threshold(0);
    assert!(store.prewrite(vec![put(b"k", b"v")], 290).is_err(), "the scheduler refuses writes");
    flashback(&store, 300, 0).unwrap();
    flashback(&store, 300, 310).unwrap();
    check(&store, 310);
}
