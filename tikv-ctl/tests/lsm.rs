//! Compares our reader with RocksDB for the tables and options that RocksDB can write.
#[path = "common/blob.rs"]
mod blob;

use std::{collections::BTreeMap, path::Path};

use blob::blob_file;
use rocksdb::{
    BlockBasedIndexType, BlockBasedOptions, ColumnFamilyDescriptor, DB, DBCompressionType, Options,
    WriteBatch,
};
use tikv_ctl::{
    encryption::Keyring,
    lsm::{Db, Table, Titan, verify},
};

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

/// Writes, deletes, deletes ranges, flushes and compacts at random; the last changes are only in the WAL.
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
    let db = Db::open(dir, None, &Keyring::default()).unwrap();
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
    let reader = Db::open(dir.path(), None, &Keyring::default()).unwrap();
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
fn damage_anywhere_is_an_error_or_no_change() {
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
            if let Ok(db) = Db::open(dir.path(), None, &Keyring::default())
                && let Ok(mut iter) = db.scan("write", b"", b"")
            {
                while let Ok(true) = iter.advance() {}
            }
        }
        std::fs::write(path, &original).unwrap();
    }
}

/// Returns an SST with keys of many lengths and the filter that `table` selects.
fn filtered(path: &Path, table: &dyn Fn(&mut BlockBasedOptions)) -> (std::sync::Arc<Table>, Vec<Vec<u8>>) {
    let mut keys: Vec<Vec<u8>> = (0..6000u32)
        .map(|i| {
            let mut key = vec![b'a' + (i % 7) as u8; 5 + i as usize % 300];
            key[1..5].copy_from_slice(&i.to_be_bytes());
            key
        })
        .collect();
    keys.extend((1..=16).map(|len| vec![b'z'; len]));
    keys.sort();
    let options = options(DBCompressionType::None, table);
    let mut writer = rocksdb::SstFileWriter::create(&options);
    writer.open(path).unwrap();
    keys.iter().for_each(|key| writer.put(key, b"v").unwrap());
    writer.finish().unwrap();
    (std::sync::Arc::new(Table::open(path, &Keyring::default()).unwrap()), keys)
}

#[test]
fn a_filter_rejects_missing_keys_and_never_present_ones() {
    let bloom = |version: i32| {
        move |table: &mut BlockBasedOptions| {
            table.set_format_version(version);
            table.set_bloom_filter(10.0, false);
        }
    };
    let partitions = |table: &mut BlockBasedOptions| {
        table.set_index_type(BlockBasedIndexType::TwoLevelIndexSearch);
        table.set_partition_filters(true);
        table.set_metadata_block_size(1024);
    };
    let ribbon = |table: &mut BlockBasedOptions| {
        table.set_format_version(5);
        table.set_ribbon_filter(10.0);
    };
    type Setting<'a> = (&'a str, Box<dyn Fn(&mut BlockBasedOptions) + 'a>);
    let settings: [Setting<'_>; 7] = [
        (": bloom", Box::new(bloom(2))),
        (": bloom", Box::new(bloom(4))),
        (": fast bloom", Box::new(bloom(5))),
        (": fast bloom", Box::new(bloom(6))),
        (": ribbon", Box::new(ribbon)),
        ("partitions", Box::new(|table| (bloom(5)(table), partitions(table)).1)),
        ("partitions", Box::new(|table| (ribbon(table), partitions(table)).1)),
    ];
    for (kind, setting) in settings {
        let dir = tempfile::tempdir().unwrap();
        let (table, keys) = filtered(&dir.path().join("a.sst"), &*setting);
        let text = table.filter_text().unwrap();
        assert!(text.contains(kind), "{text}");
        for key in &keys {
            assert!(table.may_hold(Some(key), key).unwrap(), "{text}: {key:?}");
        }
        // Longer keys have another hash function, which the newer filters do not share.
        let others = keys.iter().filter(|key| (5..240).contains(&key.len())).map(|key| {
            let mut other = key.clone();
            other.push(b'!');
            other
        });
        let admitted = others.map(|key| usize::from(table.may_hold(Some(&key), &key).unwrap()));
        let (no, all) = admitted.fold((0, 0), |(no, all), yes| (no + 1 - yes, all + 1));
        assert!(no * 100 > all * 97, "{text}: {no} of {all}");
    }
}

/// Key and value.
type Entry = (Vec<u8>, Vec<u8>);

/// Returns the entries of a walk, and each error with the number of entries before it.
fn walked(mut iter: tikv_ctl::lsm::TableIter) -> (Vec<Entry>, Vec<(usize, String)>) {
    let (mut entries, mut errors) = (Vec::new(), Vec::new());
    loop {
        match iter.advance() {
            Ok(true) => entries.push((iter.key().user_key.to_vec(), iter.value().to_vec())),
            Ok(false) => return (entries, errors),
            Err(e) => errors.push((entries.len(), e.to_string())),
        }
    }
}

#[test]
fn a_long_walk_with_prefetch_equals_short_walks() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.sst");
    for compression in [DBCompressionType::None, DBCompressionType::Zstd] {
        let options = options(compression, &|_| {});
        let mut writer = rocksdb::SstFileWriter::create(&options);
        writer.open(&path).unwrap();
        let mut random = Random(77);
        for i in 0..30_000u32 {
            let value: Vec<u8> = (0..200).map(|_| random.next(256) as u8).collect();
            writer.put(i.to_be_bytes(), value).unwrap();
        }
        writer.finish().unwrap();
        let mut bytes = std::fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        let table = std::sync::Arc::new(Table::open(&path, &Keyring::default()).unwrap());
        let (entries, errors) = walked(table.iter().unwrap());
        assert_eq!(errors.len(), 1, "{errors:?}");
        // Each block is read by itself, so no walk is long enough to prefetch.
        let (mut alone, mut alone_errors) = (Vec::new(), Vec::new());
        for at in 0..table.index().unwrap().len() {
            match table.iter_block(at) {
                Ok(iter) => alone.extend(walked(iter).0),
                Err(e) => alone_errors.push((alone.len(), e.to_string())),
            }
        }
        assert_eq!((entries, errors), (alone, alone_errors));
        // A dropped walk stops its thread without waiting for it.
        let mut given_up = table.iter().unwrap();
        (0..1000).for_each(|_| assert!(given_up.advance().unwrap()));
    }
}

fn tables(dir: &Path) -> Vec<(std::path::PathBuf, Table)> {
    let paths = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let ssts = paths.filter(|path| path.extension().is_some_and(|extension| extension == "sst"));
    ssts.map(|path| (path.clone(), Table::open(&path, &Keyring::default()).unwrap())).collect()
}

#[test]
fn verify_agrees_with_properties_and_finds_a_flip_in_any_block() {
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
            let found = verify(&Table::open(&path, &Keyring::default()).unwrap(), 2).unwrap();
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
    let db = Db::open(dir.path(), None, &Keyring::default()).unwrap();
    let damage = |db: &Db| db.damages().first().map_or(String::new(), ToString::to_string);
    assert!(damage(&db).contains("the newest readable MANIFEST"), "{}", damage(&db));
    assert_eq!(all(&db), model);
    for entry in std::fs::read_dir(dir.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().unwrap().to_str().unwrap().starts_with("MANIFEST") {
            std::fs::remove_file(path).unwrap();
        }
    }
    let db = Db::open(dir.path(), None, &Keyring::default()).unwrap();
    assert!(damage(&db).contains("Levels are unknown"), "{}", damage(&db));
    assert_eq!(all(&db), model);
}

#[test]
fn a_record_compressed_with_a_dictionary_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let value = b"a value that looks much like the others do".repeat(9);
    let (file, index) = blob_file(b"key", &value, b"the others do look much like a value that is here");
    let path = dir.path().join("titandb/000001.blob");
    std::fs::create_dir(path.parent().unwrap()).unwrap();
    std::fs::write(&path, &file).unwrap();
    assert_eq!(Titan::new(dir.path(), &Keyring::default()).read(b"key", &index).unwrap(), value);
    for cut in [file.len() - 1, file.len() - 40, 20, 3] {
        std::fs::write(&path, &file[..cut]).unwrap();
        let e = Titan::new(dir.path(), &Keyring::default()).read(b"key", &index).unwrap_err();
        assert!(e.to_string().contains("000001.blob"), "{e}");
    }
    let mut damaged = file.clone();
    let at = file.len() - 32 - 30;
    damaged[at] ^= 1;
    std::fs::write(&path, &damaged).unwrap();
    assert!(
        Titan::new(dir.path(), &Keyring::default())
            .read(b"key", &index)
            .unwrap_err()
            .to_string()
            .contains("checksum")
    );
}
