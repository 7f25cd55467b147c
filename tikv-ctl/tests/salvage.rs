//! SSTs without index or footer, and compressed logs: all intact data is read.
use std::{path::Path, sync::Arc};

use rocksdb::{BlockBasedIndexType, BlockBasedOptions, ChecksumType, DB, DBCompressionType, Options};
use store_files::io::Damage;
use tikv_ctl::{
    encryption::Keyring,
    lsm::{Db, Table, verify},
};

type Rows = Vec<(Vec<u8>, Vec<u8>)>;

fn options(table: &dyn Fn(&mut BlockBasedOptions)) -> Options {
    let mut block = BlockBasedOptions::default();
    block.set_block_size(512);
    block.set_bloom_filter(10.0, false);
    table(&mut block);
    let mut options = Options::default();
    options.create_if_missing(true);
    options.set_compression_type(DBCompressionType::Lz4);
    options.set_block_based_table_factory(&block);
    options
}

/// Makes a database with one SST of many blocks; returns the path of the SST.
fn one_table(dir: &Path, options: &Options) -> std::path::PathBuf {
    let db = DB::open(options, dir).unwrap();
    for i in 0..3000u32 {
        db.put(format!("zkey{i:05}"), format!("value {i} ").repeat(i as usize % 7)).unwrap();
    }
    db.flush().unwrap();
    drop(db);
    let mut paths = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    paths.find(|path| path.extension().is_some_and(|extension| extension == "sst")).unwrap()
}

fn rows(path: &Path) -> (Rows, Vec<Damage>) {
    let table = Arc::new(Table::open(path, &Keyring::default()).unwrap());
    let mut damages = table.damages().to_vec();
    damages.extend_from_slice(table.index().unwrap().damages());
    let (mut iter, mut rows) = (table.iter().unwrap(), Rows::new());
    while iter.advance().unwrap() {
        rows.push((iter.key().user_key.to_vec(), iter.value().to_vec()));
    }
    (rows, damages)
}

fn all(db: &Db) -> Rows {
    let (mut iter, mut rows) = (db.scan("default", b"", b"").unwrap(), Rows::new());
    while iter.advance().unwrap() {
        rows.push((iter.key().to_vec(), iter.value().to_vec()));
    }
    rows
}

#[test]
fn data_blocks_are_found_without_the_index() {
    type Tune<'a> = &'a dyn Fn(&mut BlockBasedOptions);
    let kinds: [(&str, Tune); 5] = [
        ("crc32c", &|table| table.set_checksum_type(ChecksumType::CRC32c)),
        ("xxh3", &|table| table.set_checksum_type(ChecksumType::XXH3)),
        ("format_version 2", &|table| table.set_format_version(2)),
        ("format_version 6", &|table| table.set_format_version(6)),
        ("partitioned", &|table| {
            table.set_index_type(BlockBasedIndexType::TwoLevelIndexSearch);
            table.set_metadata_block_size(256);
        }),
    ];
    for (name, table) in kinds {
        let dir = tempfile::tempdir().unwrap();
        let path = one_table(dir.path(), &options(table));
        let (whole, none) = rows(&path);
        assert!(none.is_empty() && whole.len() == 3000, "{name}");
        let mut bytes = std::fs::read(&path).unwrap();
        let at = Table::open(&path, &Keyring::default()).unwrap().index_handle().unwrap().offset as usize;
        bytes[at + 3] ^= 4;
        std::fs::write(&path, &bytes).unwrap();
        let (found, damages) = rows(&path);
        assert!(found == whole, "{name}: {} rows of {}", found.len(), whole.len());
        let said = damages.iter().map(ToString::to_string).collect::<String>();
        assert!(
            said.contains(&format!("at byte {at}")) && said.contains("nothing is lost"),
            "{name}: {said}"
        );
        assert!(
            !verify(&Table::open(&path, &Keyring::default()).unwrap(), 1).unwrap().damages.is_empty(),
            "{name}"
        );
        // The database returns the same rows and reports the damage.
        let db = Db::open(dir.path(), None, &Keyring::default()).unwrap();
        assert_eq!(all(&db), whole, "{name}");
        assert!(!db.damages().is_empty(), "{name}");
        // A damaged block leaves a hole: the error names its place and the range of possibly lost keys.
        bytes[at / 2] ^= 4;
        std::fs::write(&path, &bytes).unwrap();
        let (found, damages) = rows(&path);
        let (after, up_to) = damages.iter().find_map(Damage::lost_keys).unwrap();
        let lost: Rows = whole
            .iter()
            .filter(|(key, _)| after < key.as_slice() && key.as_slice() < up_to)
            .cloned()
            .collect();
        assert!(!lost.is_empty() && lost.len() < 100, "{name}: {} rows lost", lost.len());
        let rest: Rows = whole.iter().filter(|row| !lost.contains(row)).cloned().collect();
        assert!(found == rest, "{name}: {} rows found, {} expected", found.len(), rest.len());
        let said = damages.iter().map(ToString::to_string).collect::<String>();
        assert!(said.contains("the next whole one is at byte"), "{name}: {said}");
        // Damage to a run of blocks does not end the search.
        let end = at / 2 + 5000;
        bytes[at / 2..end].fill(0xa5);
        std::fs::write(&path, &bytes).unwrap();
        let (found, _) = rows(&path);
        assert!(found.len() < rest.len() && found.last() == whole.last(), "{name}: {} rows", found.len());
    }
}

#[test]
fn a_truncated_table_is_read_up_to_its_end() {
    // Since format_version 6, checksums include a number from the footer: the reader recovers it.
    for version in [2, 5, 6] {
        let table = &|table: &mut BlockBasedOptions| {
            table.set_checksum_type(if version == 5 { ChecksumType::XXH3 } else { ChecksumType::CRC32c });
            table.set_format_version(version);
        };
        let dir = tempfile::tempdir().unwrap();
        let path = one_table(dir.path(), &options(table));
        let (whole, _) = rows(&path);
        let bytes = std::fs::read(&path).unwrap();
        for cut in [bytes.len() - 1, bytes.len() - 60, bytes.len() - 1000, bytes.len() / 2, bytes.len() / 9] {
            std::fs::write(&path, &bytes[..cut]).unwrap();
            let (found, damages) = rows(&path);
            assert!(found == whole[..found.len()], "cut to {cut}: {} rows", found.len());
            assert!(
                cut < bytes.len() - 100 || found.len() == whole.len(),
                "cut to {cut}: {} rows",
                found.len()
            );
            assert!(!damages.is_empty() && !found.is_empty(), "cut to {cut}");
        }
        for other in
            [&b""[..], &[0; 200_000], b"hello world, this is no table at all, and it has no checksum"]
        {
            std::fs::write(&path, other).unwrap();
            let said = Table::open(&path, &Keyring::default()).unwrap_err().to_string();
            assert!(said.contains("expected an SST"), "{said}");
        }
    }
}

#[test]
fn compressed_logs_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = options(&|_| {});
    options.set_wal_compression_type(DBCompressionType::Zstd);
    let db = DB::open(&options, dir.path()).unwrap();
    for i in 0..300u32 {
        // Some records are longer than a block of the log.
        db.put(format!("zkey{i:05}"), format!("value {i} ").repeat(i as usize * 40)).unwrap();
    }
    let expected: Rows = db
        .iterator(rocksdb::IteratorMode::Start)
        .map(|row| row.unwrap())
        .map(|(k, v)| (k.into(), v.into()))
        .collect();
    // Copies the directory as kill -9 leaves it, without a flush.
    let copy = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(dir.path()).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
    }
    let read = Db::open(copy.path(), None, &Keyring::default()).unwrap();
    assert_eq!(read.warnings(), [] as [String; 0]);
    assert!(all(&read) == expected && expected.len() == 300);
}
