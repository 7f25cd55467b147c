//! Every reader on files that were changed at random: no panic, no hang, no memory that the file does not account for.
//! `MUTATIONS=100000` tries more of them than a test run has time for; `tikv-ctl/fuzz` does the same under libFuzzer.

#[path = "../fuzz/memory.rs"]
mod memory;
#[path = "../fuzz/readers.rs"]
mod readers;

use std::path::Path;

use rocksdb::{BlockBasedOptions, ChecksumType, DB, DBCompressionType, Options};

struct Random(u64);

impl Random {
    fn below(&mut self, most: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % most.max(1) as u64) as usize
    }

    /// `seed` with a few changes.
    fn mutate(&mut self, seed: &[u8]) -> Vec<u8> {
        let mut data = seed.to_vec();
        for _ in 0..=self.below(4) {
            if data.is_empty() {
                break;
            }
            let at = self.below(data.len());
            match self.below(7) {
                0 => data[at] ^= 1 << self.below(8),
                1 => data[at] = [0, 1, 0x7f, 0x80, 0xff][self.below(5)],
                2 => data.truncate(at),
                3 => drop(data.drain(at..(at + 1 + self.below(16)).min(data.len()))),
                4 => data.insert(at, self.below(256) as u8),
                5 => {
                    let end = (at + 8).min(data.len());
                    data[at..end].fill(0xff);
                }
                _ => {
                    let from = self.below(data.len());
                    let len = self.below(32).min(data.len() - from).min(data.len() - at);
                    data.copy_within(from..from + len, at);
                }
            }
        }
        data
    }
}

/// Files of RocksDB: without checksums, so that what is changed reaches the decoders.
fn seeds(dir: &Path, compression: DBCompressionType, version: i32) -> Vec<(String, Vec<u8>)> {
    let mut block = BlockBasedOptions::default();
    block.set_block_size(256);
    block.set_format_version(version);
    block.set_checksum_type(ChecksumType::NoChecksum);
    block.set_bloom_filter(10.0, false);
    let mut options = Options::default();
    options.create_if_missing(true);
    options.set_compression_type(compression);
    options.set_block_based_table_factory(&block);
    let db = DB::open(&options, dir).unwrap();
    for i in 0..60 {
        db.put(format!("zkey{i:04}"), format!("value {i} ").repeat(i % 7)).unwrap();
    }
    db.delete("zkey0003").unwrap();
    db.flush().unwrap();
    db.put("zlater", "only in the log").unwrap();
    drop(db);
    let paths = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    paths
        .filter(|path| path.is_file())
        .map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), std::fs::read(&path).unwrap()))
        .collect()
}

/// A reader, and bytes that it reads.
type Seed = (fn(&[u8]), Vec<u8>);

fn all_seeds() -> Vec<Seed> {
    let mut all: Vec<Seed> = Vec::new();
    for (compression, version) in [
        (DBCompressionType::None, 2),
        (DBCompressionType::Snappy, 3),
        (DBCompressionType::Lz4, 4),
        (DBCompressionType::Zstd, 5),
        (DBCompressionType::Zstd, 6),
    ] {
        let dir = tempfile::tempdir().unwrap();
        for (name, data) in seeds(dir.path(), compression, version) {
            if name.ends_with(".sst") {
                all.push((readers::sst, data));
            } else if name.ends_with(".log") {
                all.push((readers::wal, data));
            } else if name.starts_with("MANIFEST") || name.starts_with("OPTIONS") {
                all.push((readers::manifest, data));
            }
        }
    }
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
    all.push((readers::raft_log, raft_log));
    for key in [
        &b"t100_r5"[..],
        b"0x7A748000000000000064",
        b"zt\\200\\000\\001",
        b"t\x80\0\0\0\0\0\0\x64_r\x80\0\0\0\0\0\0\x05",
    ] {
        all.push((readers::keys, key.to_vec()));
    }
    for record in
        [&b"P\x05v\x01xR"[..], b"P\x04pk\x05\xb8\x17v\x01xf\0\0\0\0\0\0\0\x05", &[8, 2, 18, 4, 10, 2, 8, 1]]
    {
        all.push((readers::records, record.to_vec()));
    }
    all
}

#[test]
fn no_reader_panics_hangs_or_eats_memory() {
    let rounds = std::env::var("MUTATIONS").ok().and_then(|n| n.parse().ok()).unwrap_or(300);
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for (number, (read, seed)) in all_seeds().into_iter().enumerate() {
        read(&seed);
        for round in 0..rounds {
            let data = random.mutate(&seed);
            let ended = std::panic::catch_unwind(|| memory::bounded(&data, read));
            if let Err(panic) = ended {
                let path = std::env::temp_dir().join(format!("tikv-ctl-mutation-{number}-{round}"));
                std::fs::write(&path, &data).unwrap();
                let why = panic.downcast_ref::<String>().map_or("a panic", String::as_str);
                panic!("seed {number}, round {round}: {why}; the file is {}", path.display());
            }
        }
    }
}
