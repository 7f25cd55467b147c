//! Our reader against RocksDB, for the tables and options that RocksDB can write.

use std::{collections::BTreeMap, path::Path};

use rocksdb::{
    BlockBasedIndexType, BlockBasedOptions, ColumnFamilyDescriptor, DB, DBCompressionType, Options,
    WriteBatch,
};
use tikv_ctl::lsm::{Db, Table, verify};

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

#[test]
fn a_bloom_filter_says_no_to_what_is_not_there_and_never_to_what_is() {
    for version in [2, 4] {
        let dir = tempfile::tempdir().unwrap();
        let options = options(DBCompressionType::None, &|table| {
            table.set_format_version(version);
            table.set_bloom_filter(10.0, false);
        });
        drop(exercise(dir.path(), &options, 21));
        let (mut asked, mut no) = (0, 0);
        for (_, table) in tables(dir.path()) {
            let table = std::sync::Arc::new(table);
            let mut iter = table.iter().unwrap();
            while iter.advance().unwrap() {
                let key = iter.key().user_key.to_vec();
                assert!(table.may_hold(Some(&key), &key).unwrap());
            }
            for i in 0..200 {
                let key = format!("none{i}").into_bytes();
                asked += 1;
                no += usize::from(!table.may_hold(Some(&key), &key).unwrap());
            }
        }
        assert!(no * 10 > asked * 9, "format_version {version}: {no} of {asked}");
    }
}

fn tables(dir: &Path) -> Vec<(std::path::PathBuf, Table)> {
    let paths = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let ssts = paths.filter(|path| path.extension().is_some_and(|extension| extension == "sst"));
    ssts.map(|path| (path.clone(), Table::open(&path).unwrap())).collect()
}

#[test]
fn verification_counts_what_the_properties_say_and_finds_a_flip_in_any_block() {
    let dir = tempfile::tempdir().unwrap();
    drop(exercise(dir.path(), &options(DBCompressionType::Zstd, &|_| {}), 31));
    for (path, table) in tables(dir.path()) {
        let (one, two) = (verify(&table, 1).unwrap(), verify(&table, 2).unwrap());
        assert!(one.damages.is_empty(), "{:?}", one.damages);
        assert_eq!(one.entries + one.range_deletions, table.properties().num_entries());
        assert_eq!((one.entries, one.bytes, &one.types), (two.entries, two.bytes, &two.types));
        let whole = std::fs::read(&path).unwrap();
        let index = table.index().unwrap();
        for at in (0..index.len()).step_by(7) {
            let mut bytes = whole.clone();
            bytes[index.handle(at).offset as usize + 3] ^= 0x10;
            std::fs::write(&path, &bytes).unwrap();
            let found = verify(&Table::open(&path).unwrap(), 2).unwrap();
            let lost = found.damages.first().and_then(|damage| damage.lost_keys());
            assert_eq!(lost, Some((index.before(at), index.separator(at))), "{:?}", found.damages);
            assert!(found.entries < one.entries);
        }
        std::fs::write(&path, &whole).unwrap();
    }
}

#[test]
fn without_its_manifest_a_database_is_read_from_its_tables() {
    let dir = tempfile::tempdir().unwrap();
    let (model, db) = exercise(dir.path(), &options(DBCompressionType::Lz4, &|_| {}), 41);
    db.compact_range_cf(db.cf_handle("write").unwrap(), None::<&[u8]>, None::<&[u8]>);
    drop(db);
    let all = |db: &Db| {
        let (mut iter, mut all) = (db.scan("write", b"", b"").unwrap(), Model::new());
        while iter.advance().unwrap() {
            all.insert(iter.key().to_vec(), iter.value().to_vec());
        }
        all
    };
    std::fs::remove_file(dir.path().join("CURRENT")).unwrap();
    let db = Db::open(dir.path(), None).unwrap();
    assert!(db.warnings()[0].contains("the newest there is"), "{:?}", db.warnings());
    assert_eq!(all(&db), model);
    for entry in std::fs::read_dir(dir.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().unwrap().to_str().unwrap().starts_with("MANIFEST") {
            std::fs::remove_file(path).unwrap();
        }
    }
    let db = Db::open(dir.path(), None).unwrap();
    assert!(db.warnings()[0].contains("Levels are not known"), "{:?}", db.warnings());
    assert_eq!(all(&db), model);
}
