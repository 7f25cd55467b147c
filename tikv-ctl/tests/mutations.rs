//! Runs every reader on randomly changed files: no panic, no hang, memory in proportion to the file.
//! `MUTATIONS=100000` tries more than a test run has time for; `engine/store_files/fuzz` does the same under libFuzzer.
#[path = "common/blob.rs"]
mod blob;
#[path = "common/random.rs"]
mod random;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use kvproto::encryptionpb::FileInfo;
use random::Random;
use rocksdb::{
    BlockBasedIndexType, BlockBasedOptions, ChecksumType, DB, DBCompressionType, Options, SliceTransform,
};
use store_files_checks::{memory, readers};
use tikv_ctl::{encryption::encode_files, lsm::compress_with};

/// Returns `seed` with a few changes.
fn mutate(random: &mut Random, seed: &[u8]) -> Vec<u8> {
    let mut data = seed.to_vec();
    for _ in 0..=random.below(4) {
        if data.is_empty() {
            break;
        }
        let at = random.below(data.len());
        match random.below(7) {
            0 => data[at] ^= 1 << random.below(8),
            1 => data[at] = [0, 1, 0x7f, 0x80, 0xff][random.below(5)],
            2 => data.truncate(at),
            3 => drop(data.drain(at..(at + 1 + random.below(16)).min(data.len()))),
            4 => data.insert(at, random.below(256) as u8),
            5 => {
                let end = (at + 8).min(data.len());
                data[at..end].fill(0xff);
            }
            _ => {
                let from = random.below(data.len());
                let len = random.below(32).min(data.len() - from).min(data.len() - at);
                data.copy_within(from..from + len, at);
            }
        }
    }
    data
}

/// Options of a table.
type Tune = fn(&mut BlockBasedOptions, &mut Options);

/// Tables of all kinds: each compression and format, also those that only other programs use.
const KINDS: [(DBCompressionType, i32, Tune); 9] = [
    (DBCompressionType::None, 2, |_, _| {}),
    (DBCompressionType::Snappy, 3, |_, _| {}),
    (DBCompressionType::Lz4, 4, |_, _| {}),
    (DBCompressionType::Zstd, 5, |_, _| {}),
    (DBCompressionType::Zstd, 6, |_, _| {}),
    (DBCompressionType::Snappy, 5, |table, _| table.set_ribbon_filter(10.0)),
    (DBCompressionType::Lz4, 5, |table, _| {
        table.set_index_type(BlockBasedIndexType::TwoLevelIndexSearch);
        table.set_partition_filters(true);
        table.set_metadata_block_size(64);
    }),
    (DBCompressionType::Zstd, 5, |_, options| {
        options.set_compression_options(-14, 3, 0, 4096);
        options.set_zstd_max_train_bytes(40_000);
    }),
    (DBCompressionType::None, 5, |table, options| {
        table.set_whole_key_filtering(false);
        options.set_prefix_extractor(SliceTransform::create_fixed_prefix(3));
    }),
];

/// Files of RocksDB.
fn seeds(dir: &Path, kind: (DBCompressionType, i32, Tune), checksum: ChecksumType) -> Vec<(String, Vec<u8>)> {
    let (compression, version, tune) = kind;
    let mut block = BlockBasedOptions::default();
    block.set_block_size(256);
    block.set_format_version(version);
    block.set_checksum_type(checksum);
    block.set_bloom_filter(10.0, false);
    let mut options = Options::default();
    options.create_if_missing(true);
    options.set_compression_type(compression);
    tune(&mut block, &mut options);
    options.set_block_based_table_factory(&block);
    let db = DB::open(&options, dir).unwrap();
    for i in 0..60 {
        db.put(format!("zkey{i:04}"), format!("value {i} ").repeat(i % 7)).unwrap();
    }
    db.delete("zkey0003").unwrap();
    let mut batch = rocksdb::WriteBatch::default();
    batch.delete_range("zkey0020", "zkey0030");
    db.write(&batch).unwrap();
    db.flush().unwrap();
    db.put("zlater", "only in the log").unwrap();
    drop(db);
    let paths = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    paths
        .filter(|path| path.is_file())
        .map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), std::fs::read(&path).unwrap()))
        .collect()
}

/// A reader, its name, and input bytes.
type Seed = (fn(&[u8]), &'static str, Vec<u8>);

/// A reader, its name, and several inputs.
type Small = (fn(&[u8]), &'static str, &'static [&'static [u8]]);

fn of_rocksdb(all: &mut Vec<Seed>) {
    for kind in KINDS {
        let dir = tempfile::tempdir().unwrap();
        // Without checksums, the changed bytes reach the decoders.
        for (name, data) in seeds(dir.path(), kind, ChecksumType::NoChecksum) {
            if name.ends_with(".sst") {
                all.push((readers::sst, "sst", data));
            } else if name.ends_with(".log") {
                all.push((readers::wal, "wal", data));
            } else if name.starts_with("MANIFEST") {
                all.push((readers::manifest, "manifest", data));
            } else if name.starts_with("OPTIONS") {
                all.push((readers::options, "options", data));
            }
        }
        for checksum in [ChecksumType::CRC32c, ChecksumType::XXH3] {
            let dir = tempfile::tempdir().unwrap();
            let files = seeds(dir.path(), kind, checksum).into_iter();
            let tables = files.filter(|(name, _)| name.ends_with(".sst"));
            all.extend(tables.map(|(_, data)| (readers::salvage as fn(&[u8]), "salvage", data)));
        }
    }
}

fn raft_log() -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let config = raft_log_engine::RaftEngineConfig::small();
    let engine = raft_log_engine::RaftLogEngine::open(dir.path(), &config).unwrap();
    let mut batch = engine.log_batch(4);
    let state = kvproto::raft_serverpb::RaftLocalState { last_index: 7, ..Default::default() };
    batch.put_raft_state(2, &state).unwrap();
    engine.consume(&mut batch, true).unwrap();
    drop(engine);
    let mut raft_log = std::fs::read(dir.path().join("0000000000000001.raftlog")).unwrap();
    let written = raft_log.iter().rposition(|byte| *byte != 0).unwrap_or(0);
    raft_log.truncate(written + 64);
    raft_log
}

/// Adds compressed blocks, each after its kind, a flag and the length of its dictionary.
fn blocks(all: &mut Vec<Seed>) {
    let plain = b"a block of text, a block of text and a block of more text".repeat(3);
    for (kind, name) in [(0, "none"), (1, "snappy"), (2, "zlib"), (4, "lz4"), (7, "zstd-3")] {
        let packed = compress_with(name, &plain).unwrap();
        // Snappy stores its own length before the data, uncompressed data needs none, and zlib is raw
        // deflate.
        let len = if kind < 2 { vec![] } else { vec![plain.len() as u8 | 0x80, (plain.len() >> 7) as u8] };
        all.push((readers::compressed, "compressed", [&[kind, 0, 0][..], &len, &packed].concat()));
    }
}

/// Returns a `file.dict` of version 2 with a record after its content.
fn file_dict() -> Vec<u8> {
    let info = FileInfo { key_id: 7, iv: vec![1; 16], method: 4 };
    let mut bytes = encode_files(2, &BTreeMap::from([("/data/db/000007.sst".to_owned(), info)]));
    let name = b"/data/db/000008.sst";
    bytes.extend_from_slice(&crc32fast::hash(name).to_be_bytes());
    bytes.extend_from_slice(&[0, name.len() as u8, 0, 0, 2]);
    bytes.extend_from_slice(name);
    bytes
}

fn all_seeds() -> Vec<Seed> {
    let mut all: Vec<Seed> = Vec::new();
    of_rocksdb(&mut all);
    blocks(&mut all);
    all.push((readers::raft_log, "raft_log", raft_log()));
    all.push((readers::encryption, "encryption", file_dict()));
    all.push((readers::blob, "blob", blob::blob_file(b"key", &[b'v'; 300], b"vvvv of a dictionary").0));
    let small: [Small; 6] = [
        (
            readers::keys,
            "keys",
            &[
                b"t100_r5",
                b"0x7A748000000000000064",
                b"zt\\200\\000\\001",
                b"t\x80\0\0\0\0\0\0\x64_r\x80\0\0\0\0\0\0\x05",
            ],
        ),
        (
            readers::rows,
            "rows",
            &[
                &[128, 0, 2, 0, 1, 0, 1, 3, 2, 1, 0, 4, 0, 7, b'a', b'b', b'c'],
                &[8, 2, 8, 10, 8, 4, 2, 2, b'x'],
                &[6, 4, 2, 0x81, 0x0c, 5, 0xbf, 0xf8, 0, 0, 0, 0, 0, 0, 1, b'a', 0, 0, 0, 0, 0, 0, 0, 0xf8],
            ],
        ),
        (
            readers::records,
            "records",
            &[b"P\x05v\x01xR", b"P\x04pk\x05\xb8\x17v\x01xf\0\0\0\0\0\0\0\x05", &[8, 2, 18, 4, 10, 2, 8, 1]],
        ),
        (
            readers::snapshot,
            "snapshot",
            &[&[2, b'k', 4, b'v', b'w', 2, b'l', 0, 0], &[10, 8, 10, 5, b'w', b'r', b'i', b't', b'e', 16, 9]],
        ),
        (
            readers::simple_write,
            "simple_write",
            &[&[
                0, 2, 48, 7, 0, 1, 1, b'k', 2, b'v', b'w', 1, 2, 1, b'k', 2, 3, 2, b'c', b'f', 1, b'a', 1,
                b'b', 1, 3, 1, 2, 40, 9,
            ]],
        ),
        (
            readers::filter,
            "filter",
            &[
                &[3, b'k', b'e', b'y', 1, 2, 3, 4, 0xff, 0, 6, 0, 0],
                &[3, b'k', b'e', b'y', 0xff, 0xff, 0xff, 0xff, 0xfe, 1, 2, 0, 0],
            ],
        ),
    ];
    for (read, name, list) in small {
        all.extend(list.iter().map(|bytes| (read, name, bytes.to_vec())));
    }
    all
}

/// For libFuzzer: `FUZZ_CORPUS=engine/store_files/fuzz/corpus` adds the seeds to it.
#[test]
fn every_reader_has_seeds() {
    let all = all_seeds();
    let names: BTreeSet<&str> = all.iter().map(|(_, name, _)| *name).collect();
    let targets = std::fs::read_dir("../engine/store_files/fuzz/fuzz_targets").unwrap();
    let targets: BTreeSet<String> = targets
        .map(|target| target.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    assert!(targets.iter().eq(names.iter()), "{targets:?}, seeds of {names:?}");
    let Some(corpus) = std::env::var_os("FUZZ_CORPUS") else { return };
    for (number, (_, name, bytes)) in all.iter().enumerate() {
        let dir = Path::new(&corpus).join(name);
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join(format!("seed-{number}")), bytes).unwrap();
    }
}

#[test]
fn no_reader_panics_hangs_or_fills_memory() {
    let rounds = std::env::var("MUTATIONS").ok().and_then(|n| n.parse().ok()).unwrap_or(300);
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for (number, (read, name, seed)) in all_seeds().into_iter().enumerate() {
        read(&seed);
        for round in 0..rounds {
            let data = mutate(&mut random, &seed);
            let ended = std::panic::catch_unwind(|| memory::bounded(&data, read));
            if let Err(panic) = ended {
                let path = std::env::temp_dir().join(format!("tikv-ctl-mutation-{name}-{number}-{round}"));
                std::fs::write(&path, &data).unwrap();
                let why = panic.downcast_ref::<String>().map_or("a panic", String::as_str);
                panic!("seed {number} of {name}, round {round}: {why}; the file is {}", path.display());
            }
        }
    }
}
