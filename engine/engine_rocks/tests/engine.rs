//! Tests of the engine through its public API.
use std::{fs, path::Path};

use engine_rocks::*;
use tempfile::TempDir;

fn open(dir: &TempDir) -> RocksEngine {
    RocksEngine::open(dir.path().join("db"), &DbConfig::small()).unwrap()
}

fn fill(engine: &RocksEngine, cf: &str, count: usize) {
    let mut batch = engine.write_batch();
    for i in 0..count {
        batch.put_cf(cf, format!("zk{i:06}").as_bytes(), format!("value-{i}").as_bytes()).unwrap();
    }
    batch.write().unwrap();
}

fn keys(engine: &RocksEngine, cf: &str, start: &str, end: &str) -> Vec<String> {
    let mut keys = Vec::new();
    engine
        .scan_cf(cf, start.as_bytes(), end.as_bytes(), |k, _| {
            keys.push(String::from_utf8_lossy(k).into_owned());
            Ok(true)
        })
        .unwrap();
    keys
}

fn versioned(key: &str, ts: u64) -> Vec<u8> {
    [key.as_bytes(), &(!ts).to_be_bytes()].concat()
}

#[test]
fn values_survive_a_reopen() {
    let dir = TempDir::new().unwrap();
    for cf in ALL_CFS {
        open(&dir).put_cf(cf, b"zkey", cf.as_bytes()).unwrap();
    }
    let engine = open(&dir);
    for cf in ALL_CFS {
        assert_eq!(engine.get_value_cf(cf, b"zkey").unwrap().unwrap(), cf.as_bytes());
    }
    engine.delete(b"zkey").unwrap();
    assert_eq!(engine.get_value(b"zkey").unwrap(), None);
    assert_eq!(engine.cf_names(), ["default", "lock", "raft", "write"]);
    assert!(matches!(engine.get_value_cf("writes", b""), Err(Error::UnknownCf { cf, .. }) if cf == "writes"));
}

#[test]
fn a_batch_is_atomic_and_rolls_back_to_its_save_points() {
    let dir = TempDir::new().unwrap();
    let engine = open(&dir);
    let mut batch = engine.write_batch();
    assert!(batch.is_empty() && batch.pop_save_point().is_err());
    batch.put(b"za", b"1").unwrap();
    let size = batch.data_size();
    batch.set_save_point();
    batch.put_cf(CF_WRITE, b"zb", b"2").unwrap();
    batch.delete(b"za").unwrap();
    assert_eq!((batch.count(), batch.save_point_count()), (3, 1));
    batch.rollback_to_save_point().unwrap();
    assert_eq!((batch.count(), batch.save_point_count(), batch.data_size()), (1, 0, size));
    assert_eq!(engine.get_value(b"za").unwrap(), None, "nothing is written yet");
    batch.write_opt(true).unwrap();
    assert_eq!(engine.get_value(b"za").unwrap().unwrap(), b"1");
    assert_eq!(engine.get_value_cf(CF_WRITE, b"zb").unwrap(), None);
    batch.clear();
    batch.delete_range_cf(CF_DEFAULT, b"z", b"{").unwrap();
    batch.write().unwrap();
    assert_eq!(engine.get_value(b"za").unwrap(), None);
}

#[test]
fn snapshots_and_iterators_outlive_the_engine() {
    let dir = TempDir::new().unwrap();
    let engine = open(&dir);
    fill(&engine, CF_DEFAULT, 3);
    let snapshot = engine.snapshot();
    fill(&engine, CF_DEFAULT, 9);
    let mut iter = snapshot.iterator_cf(CF_DEFAULT, IterOptions::default()).unwrap();
    drop(engine);
    let other = snapshot.clone();
    let value = std::thread::spawn(move || other.get_value(b"zk000002").unwrap()).join().unwrap();
    assert_eq!(value.unwrap(), b"value-2");
    assert_eq!(snapshot.get_value(b"zk000003").unwrap(), None);
    drop(snapshot);
    assert!(iter.seek_to_last().unwrap());
    assert_eq!(iter.key(), b"zk000002");
    assert!(!iter.next().unwrap() && !iter.next().unwrap() && iter.key().is_empty());
}

#[test]
fn an_iterator_moves_in_both_directions_within_bounds() {
    let dir = TempDir::new().unwrap();
    let engine = open(&dir);
    fill(&engine, CF_LOCK, 10);
    let bounds = IterOptions::range(b"zk000002", b"zk000005");
    let mut iter = engine.iterator_cf(CF_LOCK, bounds).unwrap();
    assert!(iter.seek_to_first().unwrap());
    assert_eq!(iter.key(), b"zk000002");
    assert!(iter.seek(b"zk0000035").unwrap());
    assert_eq!((iter.key(), iter.value()), (&b"zk000004"[..], &b"value-4"[..]));
    assert!(iter.seek_for_prev(b"zk0000035").unwrap());
    assert_eq!(iter.key(), b"zk000003");
    assert!(iter.prev().unwrap() && !iter.prev().unwrap());
    assert!(!iter.seek(b"zk000005").unwrap());
    assert!(iter.seek_to_last().unwrap());
    assert_eq!(iter.key(), b"zk000004");
    assert!(iter.status().is_ok());
}

#[test]
fn a_prefix_seek_stays_on_the_user_key() {
    let dir = TempDir::new().unwrap();
    let engine = open(&dir);
    for (key, ts) in [("za", 5), ("za", 3), ("zb", 9)] {
        engine.put_cf(CF_WRITE, &versioned(key, ts), b"P").unwrap();
    }
    for flushed in [false, true] {
        if flushed {
            engine.flush_cfs(&[CF_WRITE], true).unwrap();
        }
        let mut prefix = engine.iterator_cf(CF_WRITE, IterOptions::default().use_prefix_seek()).unwrap();
        assert!(prefix.seek(&versioned("za", 4)).unwrap());
        assert_eq!(prefix.key(), versioned("za", 3));
        assert!(!prefix.next().unwrap(), "the next key has another prefix");
        let mut total = engine.iterator_cf(CF_WRITE, IterOptions::default()).unwrap();
        assert!(total.seek(&versioned("za", 1)).unwrap());
        assert_eq!(total.key(), versioned("zb", 9));
    }
}

#[test]
fn messages_round_trip_and_bad_ones_are_named() {
    let dir = TempDir::new().unwrap();
    let engine = open(&dir);
    engine.put_msg_cf(CF_RAFT, b"\x01k", &"text".to_owned()).unwrap();
    assert_eq!(engine.get_msg_cf::<String>(CF_RAFT, b"\x01k").unwrap().unwrap(), "text");
    assert_eq!(engine.snapshot().get_msg_cf::<String>(CF_RAFT, b"none").unwrap(), None);
    engine.put(b"\x01k", b"\xff\xff").unwrap();
    let error = engine.get_msg::<String>(b"\x01k").unwrap_err();
    assert!(error.to_string().contains("key 016B in column family default"), "{error}");
}

#[test]
fn ranges_are_deleted_by_every_strategy() {
    for strategy in [DeleteStrategy::DeleteByRange, DeleteStrategy::DeleteByKey] {
        let dir = TempDir::new().unwrap();
        let engine = open(&dir);
        fill(&engine, CF_DEFAULT, 1000);
        let ranges: [(&[u8], &[u8]); 2] = [(b"zk000001", b"zk000400"), (b"zk000401", b"zk000999")];
        engine.delete_ranges_cf(CF_DEFAULT, strategy, &ranges, true).unwrap();
        assert_eq!(keys(&engine, CF_DEFAULT, "z", "{"), ["zk000000", "zk000400", "zk000999"]);
        let backwards: [(&[u8], &[u8]); 1] = [(b"b", b"a")];
        assert!(matches!(
            engine.delete_ranges_cf(CF_DEFAULT, strategy, &backwards, false),
            Err(Error::BadRange)
        ));
    }
}

#[test]
fn removing_files_keeps_all_keys_outside_the_range() {
    let dir = TempDir::new().unwrap();
    let engine = open(&dir);
    fill(&engine, CF_DEFAULT, 100);
    engine.flush_cfs(&[], true).unwrap();
    // Files of L0 are never removed: compact them to a lower level first.
    engine.compact_range_cf(CF_DEFAULT, None, None).unwrap();
    assert!(engine.total_sst_files_size().unwrap() > 0);
    let part: [(&[u8], &[u8]); 1] = [(b"zk000010", b"zk000099")];
    engine.delete_ranges_cf(CF_DEFAULT, DeleteStrategy::DeleteFiles, &part, false).unwrap();
    assert_eq!(keys(&engine, CF_DEFAULT, "z", "{").len(), 100, "the file is not wholly inside");
    let all: [(&[u8], &[u8]); 1] = [(b"z", b"{")];
    engine.delete_ranges_cf(CF_DEFAULT, DeleteStrategy::DeleteFiles, &all, false).unwrap();
    assert_eq!(keys(&engine, CF_DEFAULT, "z", "{").len(), 0);
}

#[test]
fn an_sst_file_is_written_and_ingested() {
    let dir = TempDir::new().unwrap();
    let engine = open(&dir);
    for compression in [None, Some(CompressionType::Lz4), Some(CompressionType::Zstd)] {
        let path = dir.path().join("out.sst");
        let mut writer = RocksSstWriter::create(&path, CF_WRITE, compression).unwrap();
        writer.put(&versioned("za", 5), b"5").unwrap();
        writer.put(&versioned("za", 3), b"3").unwrap();
        assert!(writer.put(&versioned("za", 4), b"4").is_err(), "keys must ascend");
        let info = writer.finish().unwrap();
        assert_eq!((info.num_entries, info.largest_key), (2, versioned("za", 3)));
        assert_eq!(info.file_size, fs::metadata(&path).unwrap().len());
        engine.ingest_external_file_cf(CF_WRITE, &[&path]).unwrap();
        assert!(!path.exists(), "the file is moved");
        assert_eq!(engine.get_value_cf(CF_WRITE, &versioned("za", 3)).unwrap().unwrap(), b"3");
    }
    assert_eq!(engine.event_counts().ingested_files, 3);
    let empty = RocksSstWriter::create(dir.path().join("empty.sst"), CF_LOCK, None).unwrap();
    assert!(empty.finish().is_err());
}

#[test]
fn sizes_and_counts_follow_the_data() {
    let dir = TempDir::new().unwrap();
    let engine = open(&dir);
    fill(&engine, CF_DEFAULT, 30_000);
    assert!(engine.approximate_size_cf(CF_DEFAULT, b"z", b"{").unwrap() > 100_000, "memtables count");
    engine.flush_cfs(&[CF_DEFAULT], true).unwrap();
    assert_eq!(engine.approximate_keys_cf(CF_DEFAULT, b"zk000010", b"zk000020").unwrap(), 10);
    let all = engine.approximate_keys_cf(CF_DEFAULT, b"z", b"{").unwrap();
    assert!((20_000..=40_000).contains(&all), "{all}");
    assert_eq!(engine.live_files_cf(CF_DEFAULT).unwrap().len(), 1);
    assert_eq!(engine.live_files_cf(CF_WRITE).unwrap().len(), 0);
    assert_eq!(engine.property_int_cf(CF_DEFAULT, "rocksdb.estimate-num-keys").unwrap(), Some(30_000));
    assert!(engine.property_value_cf(CF_DEFAULT, "rocksdb.stats").unwrap().unwrap().contains("Level"));
    assert!(engine.statistics().unwrap().contains("rocksdb.bytes.written"));
    assert!(engine.ticker(Ticker::NumberKeysWritten) >= 30_000);
    assert_eq!(engine.event_counts().flushes, 1);
    assert!(engine.get_engine_used_size().unwrap() >= engine.total_sst_files_size().unwrap());
}

#[test]
fn perf_contexts_separate_memtable_from_file_and_nest() {
    let dir = TempDir::new().unwrap();
    let engine = open(&dir);
    fill(&engine, CF_DEFAULT, 100);
    let outer = PerfContext::start();
    let inner = PerfContext::start();
    engine.get_value(b"zk000001").unwrap().unwrap();
    let report = inner.report();
    assert_eq!((report.get_from_memtable_count, report.block_read_count), (1, 0));
    engine.flush_cfs(&[CF_DEFAULT], true).unwrap();
    let cold = PerfContext::start();
    engine.get_value(b"zk000001").unwrap().unwrap();
    assert!(cold.report().block_read_count > 0 && cold.report().block_read_byte > 0);
    let warm = PerfContext::start();
    engine.get_value(b"zk000001").unwrap().unwrap();
    assert_eq!(warm.report().block_read_count, 0);
    assert!(warm.report().block_cache_hit_count > 0);
    let total = outer.report();
    assert!(total.get_from_memtable_count >= 1 && total.block_read_count > 0, "{total:?}");
    assert!(total.entries().any(|(name, value)| name == "block_read_count" && value > 0));
}

#[test]
fn a_reader_opens_during_writes_and_cannot_write() {
    let dir = TempDir::new().unwrap();
    let writer = open(&dir);
    writer.put(b"zkey", b"1").unwrap();
    let path = dir.path().join("db");
    let reader = RocksEngine::open_readonly(&path, &DbConfig::small()).unwrap();
    assert_eq!(reader.get_value(b"zkey").unwrap().unwrap(), b"1");
    assert!(reader.put(b"zkey", b"2").is_err());
    let second = RocksEngine::open(&path, &DbConfig::small());
    assert!(matches!(second, Err(Error::Locked { .. })), "{second:?}");
}

#[test]
fn a_missing_database_is_reported() {
    let dir = TempDir::new().unwrap();
    let never = DbConfig { create_if_missing: false, ..DbConfig::small() };
    let gone = dir.path().join("gone");
    for result in [RocksEngine::open(&gone, &never), RocksEngine::open_readonly(&gone, &never)] {
        assert!(matches!(result, Err(Error::MissingDir { .. })), "{result:?}");
    }
    assert!(!gone.exists(), "no directory is created");
    assert!(matches!(RocksEngine::open(dir.path(), &never), Err(Error::NoDatabase { .. })));
}

fn half_written(dir: &Path) -> String {
    match RocksEngine::open(dir, &DbConfig::small()) {
        Err(Error::HalfWritten { what, .. }) => what,
        other => panic!("expected HalfWritten, found {other:?}"),
    }
}

#[test]
fn an_incomplete_database_is_refused_and_unchanged() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("db");
    drop(open(&dir));
    let current = fs::read_to_string(path.join("CURRENT")).unwrap();
    fs::write(path.join("CURRENT"), "").unwrap();
    assert!(half_written(&path).contains("expected the name of a MANIFEST in CURRENT"));
    fs::write(path.join("CURRENT"), "MANIFEST-999999\n").unwrap();
    assert!(half_written(&path).contains("MANIFEST-999999, which is missing"));
    fs::remove_file(path.join("CURRENT")).unwrap();
    assert!(half_written(&path).contains("CURRENT is missing, but the directory contains MANIFEST-"));
    fs::write(path.join("CURRENT"), &current).unwrap();
    fs::write(path.join(current.trim_end()), b"junk junk junk").unwrap();
    let broken = RocksEngine::open(&path, &DbConfig::small());
    assert!(matches!(broken, Err(Error::Open { .. })), "{broken:?}");
}

#[test]
fn a_directory_with_titan_blobs_opens_only_for_reading() {
    let dir = TempDir::new().unwrap();
    drop(open(&dir));
    let path = dir.path().join("db");
    fs::create_dir(path.join("titandb")).unwrap();
    drop(open(&dir));
    fs::write(path.join("titandb/000008.blob"), b"").unwrap();
    assert!(matches!(RocksEngine::open(&path, &DbConfig::small()), Err(Error::Titan { .. })));
    assert!(RocksEngine::open_readonly(&path, &DbConfig::small()).is_ok());
}

#[test]
fn a_column_family_of_another_version_is_kept() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("db");
    let mut options = rocksdb::Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    let db = rocksdb::DB::open_cf(&options, &path, ["future"]).unwrap();
    db.put_cf(db.cf_handle("future").unwrap(), "k", "v").unwrap();
    drop(db);
    let engine = open(&dir);
    assert_eq!(engine.cf_names(), ["default", "future", "lock", "raft", "write"]);
    assert_eq!(engine.get_value_cf("future", b"k").unwrap().unwrap(), b"v");
}

#[test]
fn tables_have_a_version_that_tikv_reads() {
    let dir = TempDir::new().unwrap();
    let engine = open(&dir);
    fill(&engine, CF_DEFAULT, 10);
    engine.flush_cfs(&[], true).unwrap();
    let file = &engine.live_files_cf(CF_DEFAULT).unwrap()[0];
    let table = fs::read(dir.path().join("db").join(file.name.trim_start_matches('/'))).unwrap();
    // Footer: checksum type, two handles in 40 bytes, format version, magic number; 53 bytes.
    let footer = &table[table.len() - 53..];
    assert_eq!(footer[0], 1, "CRC32c");
    assert_eq!(footer[41..45], 2u32.to_le_bytes());
    assert_eq!(footer[45..], 0x88e2_41b7_85f4_cff7_u64.to_le_bytes());
}
