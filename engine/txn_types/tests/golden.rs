//! Locks and records of CF write that a real TiKV wrote: each is read, and written again with the same bytes.
use txn_types::{Key, Lock, LockType, TimeStamp, WriteRef, WriteType};

/// Key and value of each row, in the order of the keys.
fn rows(text: &str) -> Vec<(Vec<u8>, Vec<u8>)> {
    let row = |line: &str| {
        let (key, value) = line.split_once(' ').expect("a key and a value");
        let key = keys::hex_decode(key).unwrap();
        // RocksDB's keys of data begin with z.
        (key.strip_prefix(b"z").expect("a key of data").to_vec(), keys::hex_decode(value).unwrap())
    };
    text.lines().filter(|line| !line.starts_with('#')).map(row).collect()
}

fn raw(encoded: &[u8]) -> Vec<u8> {
    Key::from_encoded_slice(encoded).to_raw().unwrap()
}

#[test]
fn locks_are_read_byte_for_byte() {
    let rows = rows(include_str!("golden/locks.txt"));
    assert_eq!(rows.len(), 15);
    for (key, value) in &rows {
        let lock = Lock::parse(value).unwrap();
        assert_eq!(keys::hex_lower(&lock.to_bytes()), keys::hex_lower(value), "{lock:?}");
        assert_eq!(txn_types::parse_lock(value).unwrap().into_lock_info(raw(key)).key, raw(key));
    }
    let lock = |wanted: &[u8]| {
        let found = rows.iter().find(|(key, _)| raw(key) == wanted).expect("a lock of the key");
        Lock::parse(&found.1).unwrap()
    };
    let start = TimeStamp::new(470_607_130_608_009_217);
    let optimistic = Lock::new(
        LockType::Put,
        b"k0080".to_vec(),
        start,
        86_400_000,
        Some(b"pending-short".to_vec()),
        TimeStamp::zero(),
        5,
        TimeStamp::zero(),
        false,
    );
    assert_eq!(lock(b"k0080"), optimistic);
    assert_eq!(
        lock(b"k0081"),
        Lock { short_value: None, ..optimistic.clone() },
        "its value is in CF default"
    );
    assert_eq!((lock(b"k0082").lock_type, lock(b"k0083").lock_type), (LockType::Delete, LockType::Lock));

    let (primary, secondary) = (lock(b"k0085"), lock(b"k0086"));
    assert!(primary.use_async_commit && secondary.use_async_commit);
    assert_eq!((primary.secondaries, secondary.secondaries), (vec![b"k0086".to_vec()], vec![]));
    assert_eq!(primary.min_commit_ts, primary.ts.next());

    let pessimistic = lock(b"k0090");
    assert!(pessimistic.is_pessimistic_lock());
    assert_eq!(pessimistic.ts, TimeStamp::new(470_607_130_612_465_665));
    assert_eq!(pessimistic.for_update_ts, TimeStamp::new(470_607_130_612_465_666));
    let prewritten = lock(b"k0095");
    assert!(prewritten.is_pessimistic_txn() && !prewritten.is_pessimistic_lock());
}

#[test]
fn write_records_are_read_byte_for_byte() {
    let rows = rows(include_str!("golden/writes.txt"));
    let mut kinds = [0; 4];
    for (key, value) in &rows {
        let write = WriteRef::parse(value).unwrap();
        assert_eq!(keys::hex_lower(&write.to_bytes()), keys::hex_lower(value), "{write:?}");
        assert_eq!(keys::hex_lower(&write.to_owned().to_bytes()), keys::hex_lower(value));
        let (_, commit_ts) = Key::split_on_ts_for(key).unwrap();
        match write.write_type {
            WriteType::Rollback => assert_eq!(commit_ts, write.start_ts, "a rollback is at its start"),
            _ => assert!(commit_ts > write.start_ts, "{write:?} at {commit_ts}"),
        }
        kinds[write.write_type as usize] += 1;
    }
    assert!(kinds.iter().all(|count| *count > 0), "expected every kind of record, found {kinds:?}");
    let records = |wanted: &'static [u8]| {
        let of_key =
            move |(key, _): &&(Vec<u8>, Vec<u8>)| raw(Key::split_on_ts_for(key).unwrap().0) == wanted;
        rows.iter().filter(of_key).map(|(_, value)| WriteRef::parse(value).unwrap().to_owned())
    };
    let overlapped =
        records(b"k0068").find(|write| write.has_overlapped_rollback).expect("an overlapped rollback");
    assert_eq!(overlapped.gc_fence, Some(TimeStamp::zero()));
    assert_eq!(overlapped.short_value.as_deref(), Some(&b"overlap"[..]));
    assert_eq!(records(b"k0099").filter(|write| write.txn_source == 1).count(), 1);
    assert!(records(b"k0060").any(|write| write.as_ref().is_protected()));
    assert!(records(b"k0070").any(|write| write.short_value == Some(Vec::new())), "an empty value");
}
