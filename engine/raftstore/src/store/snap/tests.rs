use std::path::Path;

use engine_rocks::{CF_DEFAULT, CF_LOCK, CF_WRITE, DbConfig, RocksEngine};
use kvproto::{metapb::Region, raft_serverpb::RaftSnapshotData};

use super::{key::Result, *};

fn region() -> Region {
    Region { id: 7, start_key: b"b".to_vec(), end_key: b"d".to_vec(), ..Default::default() }
}

fn engine(dir: &Path) -> RocksEngine {
    RocksEngine::open(dir.join("db"), &DbConfig::small()).unwrap()
}

struct Fixture {
    _dir: tempfile::TempDir,
    kv: RocksEngine,
    manager: SnapManager,
    key: SnapKey,
    data: RaftSnapshotData,
}

/// Builds a snapshot of `b..d` with values in default and lock, none in write.
fn built() -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    let kv = engine(dir.path());
    for (cf, key) in [(CF_DEFAULT, &b"za"[..]), (CF_DEFAULT, b"zb1"), (CF_LOCK, b"zc"), (CF_WRITE, b"zd")] {
        kv.put_cf(cf, key, b"value").unwrap();
    }
    let manager = SnapManager::open(dir.path().join("snap")).unwrap();
    let key = SnapKey::new(7, 6, 10);
    let data = build_snapshot(&manager, &key, &kv.snapshot(), &region()).unwrap();
    Fixture { _dir: dir, kv, manager, key, data }
}

fn receive(f: &Fixture, chunk: usize) -> Result<SnapKey> {
    let mut bytes = Vec::new();
    let mut sending = f.manager.get_snapshot_for_sending(&f.key)?;
    while let Some(part) = sending.next_chunk().unwrap() {
        bytes.extend(part);
    }
    assert_eq!(bytes.len() as u64, sending.total_size());
    let mut receiving = f.manager.get_snapshot_for_receiving(&f.key, f.data.meta.clone().unwrap())?;
    for part in bytes.chunks(chunk) {
        receiving.write(part)?;
    }
    receiving.finish()
}

#[test]
fn files_have_tikvs_names_and_formats() {
    let f = built();
    let dir = f.manager.path();
    assert!(dir.join("gen_7_6_10_default.sst").is_file());
    assert!(dir.join("gen_7_6_10.meta").is_file());
    assert!(!dir.join("gen_7_6_10_write.sst").exists(), "an empty column family has no file");
    // One pair, then an empty key.
    let plain = std::fs::read(dir.join("gen_7_6_10_lock.sst")).unwrap();
    assert_eq!(plain, b"\x04zc\x0avalue\x00");
    let meta = f.data.meta.unwrap();
    let names: Vec<_> = meta.cf_files.iter().map(|m| (m.cf.as_str(), m.size > 0)).collect();
    assert_eq!(names, [("default", true), ("lock", true), ("write", false)]);
    assert_eq!(meta.cf_files[1].checksum, crc32fast::hash(&plain));
    assert_eq!(f.data.version, 2);
    assert_eq!(f.data.file_size, meta.cf_files.iter().map(|m| m.size).sum::<u64>());
}

#[test]
fn a_received_snapshot_replaces_the_regions_data_only() {
    let f = built();
    assert_eq!(receive(&f, 7).unwrap(), f.key);
    assert!(f.manager.has_received(&f.key));
    f.kv.put_cf(CF_DEFAULT, b"zb2", b"stale").unwrap();
    f.kv.delete_cf(CF_DEFAULT, b"zb1").unwrap();
    // Twice, as after an interrupted apply.
    for _ in 0..2 {
        f.manager.apply_snapshot(&f.key, &f.kv, &region()).unwrap();
    }
    let get = |cf, key: &[u8]| f.kv.get_value_cf(cf, key).unwrap();
    assert_eq!(get(CF_DEFAULT, b"zb1").as_deref(), Some(&b"value"[..]));
    assert_eq!(get(CF_LOCK, b"zc").as_deref(), Some(&b"value"[..]));
    assert_eq!(get(CF_DEFAULT, b"zb2"), None);
    assert_eq!(get(CF_DEFAULT, b"za").as_deref(), Some(&b"value"[..]), "outside of the region");
    assert_eq!(get(CF_WRITE, b"zd").as_deref(), Some(&b"value"[..]), "the end is not in the region");
}

#[test]
fn corrupt_short_and_long_streams_leave_nothing() {
    let f = built();
    let meta = f.data.meta.clone().unwrap();
    let open = || f.manager.get_snapshot_for_receiving(&f.key, meta.clone()).unwrap();
    let size = f.data.file_size as usize;

    let mut receiving = open();
    assert!(matches!(receiving.write(&vec![0; size]), Err(SnapError::Corrupt { .. })));
    drop(receiving);

    let mut receiving = open();
    receiving.write(b"x").unwrap();
    let err = receiving.finish().unwrap_err().to_string();
    assert!(err.contains("the stream ended in default after 1 of"), "{err}");

    assert!(!f.manager.has_received(&f.key));
    let left = std::fs::read_dir(f.manager.path()).unwrap().flatten();
    let left: Vec<_> = left.map(|e| e.file_name().to_string_lossy().into_owned()).collect();
    assert!(left.iter().all(|n| n.starts_with("gen_")), "{left:?}");
}

#[test]
fn a_damaged_file_is_not_applied() {
    let f = built();
    receive(&f, 1024).unwrap();
    std::fs::write(f.manager.path().join("rev_7_6_10_lock.sst"), b"\x00").unwrap();
    let err = f.manager.apply_snapshot(&f.key, &f.kv, &region()).unwrap_err();
    assert!(matches!(err, SnapError::Corrupt { .. }), "{err}");
    assert!(f.kv.get_value_cf(CF_LOCK, b"zc").unwrap().is_some(), "the data is untouched");
}

#[test]
fn a_snapshot_in_use_is_kept() {
    let f = built();
    let sending = f.manager.get_snapshot_for_sending(&f.key).unwrap();
    assert_eq!(f.manager.stats().sending, 1);
    assert!(!f.manager.delete_snapshot(&f.key, true).unwrap());
    assert!(f.manager.list_idle_snap().unwrap().is_empty());
    drop(sending);
    let idle = f.manager.list_idle_snap().unwrap();
    assert_eq!((idle.len(), idle[0].0, idle[0].1), (1, f.key, true));
    assert!(f.manager.delete_snapshot(&f.key, true).unwrap());
    assert_eq!(std::fs::read_dir(f.manager.path()).unwrap().count(), 0);
    assert!(matches!(f.manager.get_snapshot_for_sending(&f.key), Err(SnapError::NotFound(..))));
}

#[test]
fn half_written_files_are_gone_after_a_restart() {
    let f = built();
    let tmp = f.manager.path().join("rev_9_9_9_default.sst.tmp");
    std::fs::write(&tmp, b"half").unwrap();
    SnapManager::open(f.manager.path()).unwrap();
    assert!(!tmp.exists() && f.manager.path().join("gen_7_6_10.meta").exists());
}
