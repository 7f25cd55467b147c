//! Our reader against RocksDB, for the tables and options that RocksDB can write.

use std::{collections::BTreeMap, path::Path};

use rocksdb::{
    BlockBasedIndexType, BlockBasedOptions, ColumnFamilyDescriptor, DB, DBCompressionType, Options,
    WriteBatch,
};
use tikv_ctl::lsm::Db;

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

fn options(compression: DBCompressionType, table: &dyn Fn(&mut BlockBasedOptions)) -> Options {
    let mut block = BlockBasedOptions::default();
    block.set_block_size(512);
    table(&mut block);
    let mut options = Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    options.set_compression_type(compression);
    options.set_block_based_table_factory(&block);
    options.set_write_buffer_size(64 * 1024);
    options.set_target_file_size_base(32 * 1024);
    options
}

struct Random(u64);

impl Random {
    fn next(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % below
    }
}

/// Writes, deletes, deletes ranges, flushes and compacts at random; what is left is in the WAL.
fn exercise(dir: &Path, options: &Options, seed: u64) -> (Model, DB) {
    let families = ["default", "write"].map(|name| ColumnFamilyDescriptor::new(name, options.clone()));
    let db = DB::open_cf_descriptors(options, dir, families).unwrap();
    let (mut random, mut model) = (Random(seed), Model::new());
    for round in 0..3000u64 {
        let key = format!("key{:05}", random.next(2000)).into_bytes();
        match random.next(40) {
            0 => {
                let end = format!("key{:05}", random.next(2000)).into_bytes();
                if key < end {
                    let mut batch = WriteBatch::default();
                    batch.delete_range_cf(db.cf_handle("write").unwrap(), &key, &end);
                    db.write(&batch).unwrap();
                    model.retain(|k, _| *k < key || *k >= end);
                }
            }
            1..=8 => {
                db.delete_cf(db.cf_handle("write").unwrap(), &key).unwrap();
                model.remove(&key);
            }
            _ => {
                let value = format!("value {round} ").repeat(random.next(20) as usize).into_bytes();
                db.put_cf(db.cf_handle("write").unwrap(), &key, &value).unwrap();
                model.insert(key, value);
            }
        }
        match random.next(600) {
            0 => db.flush_cf(db.cf_handle("write").unwrap()).unwrap(),
            1 => db.compact_range_cf(db.cf_handle("write").unwrap(), None::<&[u8]>, None::<&[u8]>),
            2 => db.flush().unwrap(),
            _ => {}
        }
    }
    (model, db)
}

fn read_all(dir: &Path, from: &[u8], to: &[u8]) -> Model {
    let db = Db::open(dir, None).unwrap();
    assert_eq!(db.warnings(), [] as [String; 0]);
    let mut iter = db.scan("write", from, to).unwrap();
    let mut all = Model::new();
    while iter.advance().unwrap() {
        all.insert(iter.key().to_vec(), iter.value().to_vec());
    }
    all
}

fn compare(name: &str, options: &Options, seed: u64) {
    let dir = tempfile::tempdir().unwrap();
    let (model, db) = exercise(dir.path(), options, seed);
    assert_eq!(read_all(dir.path(), b"", b""), model, "{name}, while RocksDB has it open");
    drop(db);
    assert_eq!(read_all(dir.path(), b"", b""), model, "{name}, closed");
    let (from, to) = (b"key00500".to_vec(), b"key01500".to_vec());
    let part: Model = model.range(from.clone()..to.clone()).map(|(k, v)| (k.clone(), v.clone())).collect();
    assert_eq!(read_all(dir.path(), &from, &to), part, "{name}, a part");
    let reader = Db::open(dir.path(), None).unwrap();
    for i in (0..2000).step_by(37) {
        let key = format!("key{i:05}").into_bytes();
        assert_eq!(reader.get("write", &key).unwrap(), model.get(&key).cloned(), "{name}");
    }
}

#[test]
fn every_compression_reads_as_rocksdb_reads_it() {
    for (name, compression) in [
        ("none", DBCompressionType::None),
        ("snappy", DBCompressionType::Snappy),
        ("lz4", DBCompressionType::Lz4),
        ("lz4hc", DBCompressionType::Lz4hc),
        ("zstd", DBCompressionType::Zstd),
    ] {
        compare(name, &options(compression, &|_| {}), 11);
    }
}

#[test]
fn every_format_version_reads_as_rocksdb_reads_it() {
    for version in 2..=6 {
        let options = options(DBCompressionType::Zstd, &|table| table.set_format_version(version));
        compare(&format!("format_version {version}"), &options, 100 + version as u64);
    }
}

#[test]
fn partitioned_indexes_and_restarts_read_as_rocksdb_reads_them() {
    let options = options(DBCompressionType::Lz4, &|table| {
        table.set_index_type(BlockBasedIndexType::TwoLevelIndexSearch);
        table.set_metadata_block_size(256);
        table.set_index_block_restart_interval(4);
        table.set_block_restart_interval(3);
        table.set_bloom_filter(10.0, false);
    });
    compare("partitioned", &options, 7);
    let mut options = self::options(DBCompressionType::Zstd, &|table| {
        table.set_checksum_type(rocksdb::ChecksumType::XXH3);
    });
    options.set_bottommost_compression_options(0, 3, 0, 4096, true);
    compare("xxh3 and dictionaries", &options, 8);
}

#[test]
fn damage_anywhere_is_an_error_or_no_change_never_a_panic() {
    let dir = tempfile::tempdir().unwrap();
    drop(exercise(dir.path(), &options(DBCompressionType::Zstd, &|_| {}), 5));
    let mut random = Random(99);
    let files: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().path()).collect();
    for path in files.iter().filter(|p| p.is_file()) {
        let original = std::fs::read(path).unwrap();
        for _ in 0..15.min(original.len()) {
            let mut bytes = original.clone();
            let at = random.next(bytes.len() as u64) as usize;
            if random.next(2) == 0 {
                bytes[at] ^= 1 << random.next(8);
            } else {
                bytes.truncate(at);
            }
            std::fs::write(path, &bytes).unwrap();
            if let Ok(db) = Db::open(dir.path(), None)
                && let Ok(mut iter) = db.scan("write", b"", b"")
            {
                while let Ok(true) = iter.advance() {}
            }
        }
        std::fs::write(path, &original).unwrap();
    }
}
