//! Files to measure: SSTs of CF write and data directories, identical in every run, created once and kept.
use std::{
    fmt, fs,
    path::{Path, PathBuf},
};

use engine_rocks::{CF_DEFAULT, CF_LOCK, CF_RAFT, CF_WRITE, CompressionType, RocksSstWriter};
use kvproto::{
    eraftpb::Entry,
    raft_cmdpb::{CmdType, PutRequest, RaftCmdRequest, Request},
};
use prost::Message;
use raft_log_engine::convert::entry_to_raft;
use txn_types::{Key, Write, WriteType};

#[path = "../../tests/common/mod.rs"]
mod common;

/// Bytes of a value in CF default.
const LONG_VALUE: usize = 4096;
/// Bytes of SSTs of the large store, about.
const SST_BYTES: u64 = 64 << 20;
const TABLE: i64 = 100;

/// Sizes of the files.
pub struct Sizes {
    /// Records of an SST.
    pub entries: u64,
    /// Bytes of the large store, about.
    pub store: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    Zstd,
    Lz4,
    None,
}

impl Compression {
    pub const ALL: [Compression; 3] = [Compression::Zstd, Compression::Lz4, Compression::None];

    fn rocksdb(self) -> Option<CompressionType> {
        match self {
            Compression::Zstd => Some(CompressionType::Zstd),
            Compression::Lz4 => Some(CompressionType::Lz4),
            Compression::None => None,
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Compression::Zstd => "zstd",
            Compression::Lz4 => "lz4",
            Compression::None => "none",
        })
    }
}

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// Bytes that do not compress.
    fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len / 8).flat_map(|_| self.next().to_le_bytes()).collect()
    }

    /// Text as columns have it.
    fn words(&mut self) -> Vec<u8> {
        let words =
            ["alpha ", "beta ", "gamma ", "delta ", "epsilon ", "zeta ", "eta ", "theta ", "iota ", "kappa "];
        let len = 40 + (self.next() >> 59) as usize * 2;
        let mut text = String::new();
        while text.len() < len {
            let random = self.next();
            text.push_str(words[(random >> 40) as usize % words.len()]);
            text.push_str(&(random & 0xffff).to_string());
        }
        text.into_bytes()
    }
}

/// Returns a row's key; memcomparable, without a timestamp.
fn row(handle: u64) -> Key {
    let mut key = vec![b't'];
    keys::codec::encode_i64(&mut key, TABLE);
    key.extend_from_slice(b"_r");
    keys::codec::encode_i64(&mut key, handle as i64);
    Key::from_raw(&key)
}

fn versioned(row: Key, ts: u64) -> Vec<u8> {
    keys::data_key(row.append_ts(ts.into()).as_encoded())
}

/// Returns the start timestamp of row `number`; it commits five milliseconds later.
fn start_ts(number: u64) -> u64 {
    (446_000_000_000 + number * 7) << 18
}

fn commit_ts(number: u64) -> u64 {
    start_ts(number) + (5 << 18)
}

/// Calls `make` for `path`, unless an earlier run has created it.
fn kept(path: &Path, make: impl FnOnce(&Path)) {
    if path.exists() {
        return;
    }
    eprintln!("making {}", path.display());
    let part = path.with_extension("part");
    let _ = (fs::remove_file(&part), fs::remove_dir_all(&part));
    fs::create_dir_all(path.parent().expect("it is in a folder")).expect("the target's tmp can be written");
    make(&part);
    fs::rename(&part, path).expect("what was made is there");
}

fn place(sizes: &Sizes, name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("sst-bench-{}", sizes.entries)).join(name)
}

/// Returns an SST of CF write, as TiKV writes it: short values, one version of each row.
pub fn sst(compression: Compression, sizes: &Sizes) -> PathBuf {
    let path = place(sizes, &format!("{compression}.sst"));
    kept(&path, |path| {
        let mut writer = RocksSstWriter::create(path, CF_WRITE, compression.rocksdb()).expect("a file");
        let mut random = Random(88172645463325252);
        for number in 0..sizes.entries {
            let write = Write::new(WriteType::Put, start_ts(number).into(), Some(random.words()));
            writer.put(&versioned(row(number), commit_ts(number)), &write.to_bytes()).expect("keys ascend");
        }
        writer.finish().expect("room on the disk");
    });
    path
}

/// Returns a data directory whose CF write is that SST, and the SST in it.
pub fn one_sst_store(compression: Compression, sizes: &Sizes) -> (PathBuf, PathBuf) {
    let dir = place(sizes, &format!("{compression}-store"));
    kept(&dir, |dir| {
        let file = sst(compression, sizes);
        fs::create_dir_all(dir).expect("a folder");
        let store = common::Store::open(dir);
        store.put_region(2, b"", b"");
        ingest(&store, CF_WRITE, &file);
    });
    let sst = largest(&dir.join("db"));
    (dir, sst)
}

/// Ingests a copy of `file`.
fn ingest(store: &common::Store, cf: &str, file: &Path) {
    let copy = store.kv.path().with_extension("copy");
    fs::copy(file, &copy).expect("room on the disk");
    store.kv.ingest_external_file_cf(cf, &[&copy]).expect("a file that RocksDB wrote");
    let _ = fs::remove_file(copy);
}

fn ssts(db: &Path) -> Vec<(u64, PathBuf)> {
    let entries = fs::read_dir(db).expect("the database's folder").flatten();
    let ssts = entries.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|e| e == "sst"));
    ssts.map(|path| (path.metadata().map_or(0, |meta| meta.len()), path)).collect()
}

fn largest(db: &Path) -> PathBuf {
    ssts(db).into_iter().max().expect("an SST").1
}

/// A store of many files and levels.
pub struct Large {
    pub dir: PathBuf,
    pub bytes: u64,
    pub ssts: usize,
    /// Bytes of the Raft log.
    pub raft: u64,
    /// A row with three versions.
    pub key: String,
    /// A missing row, between existing ones.
    pub no_key: String,
}

/// Makes rows with even handles and values in CF default: all rows once, and some of them twice more, so that
/// files overlap.
pub fn store(sizes: &Sizes) -> Large {
    let mib = sizes.store >> 20;
    let dir = place(sizes, &format!("store-{mib}"));
    let rows = sizes.store / (LONG_VALUE as u64 + 100);
    kept(&dir, |dir| {
        fs::create_dir_all(dir).expect("a folder");
        let store = common::Store::open(dir);
        store.put_region(2, b"", b"");
        for (layer, step) in [(0, 1), (1, 50), (2, 50)] {
            let numbers: Vec<u64> = (0..rows).step_by(step).collect();
            let rows_of_sst = (SST_BYTES / LONG_VALUE as u64) as usize;
            numbers.chunks(rows_of_sst).for_each(|numbers| add_rows(&store, dir, layer, numbers));
        }
        store.kv.flush_cfs(&[CF_DEFAULT, CF_LOCK, CF_WRITE, CF_RAFT], true).expect("room on the disk");
        add_log(&store, sizes.store / 16);
    });
    let files = ssts(&dir.join("db"));
    let log = fs::read_dir(dir.join("raft-engine")).expect("a Raft log").flatten();
    let some = rows / 100 * 50;
    Large {
        bytes: files.iter().map(|(len, _)| len).sum(),
        ssts: files.len(),
        raft: log.filter_map(|entry| entry.metadata().ok()).map(|meta| meta.len()).sum(),
        key: format!("t{TABLE}_r{}", some * 2),
        no_key: format!("t{TABLE}_r{}", some * 2 + 1),
        dir,
    }
}

/// Adds both SSTs of these rows; `layer` distinguishes the versions of a row.
fn add_rows(store: &common::Store, dir: &Path, layer: u64, numbers: &[u64]) {
    let path = |cf: &str| dir.join(format!("{cf}.sst"));
    let writer = |cf| RocksSstWriter::create(path(cf), cf, None).expect("a file");
    let (mut values, mut writes) = (writer(CF_DEFAULT), writer(CF_WRITE));
    let mut random = Random(numbers[0] * 3 + layer + 1);
    for number in numbers {
        let key = row(number * 2);
        // Later layers have later timestamps.
        let at = number + layer * 1_000_000_000;
        values.put(&versioned(key.clone(), start_ts(at)), &random.bytes(LONG_VALUE)).expect("keys ascend");
        let write = Write::new(WriteType::Put, start_ts(at).into(), None);
        writes.put(&versioned(key, commit_ts(at)), &write.to_bytes()).expect("keys ascend");
    }
    for (cf, writer) in [(CF_DEFAULT, values), (CF_WRITE, writes)] {
        writer.finish().expect("room on the disk");
        store.kv.ingest_external_file_cf(cf, &[&path(cf)]).expect("a file that RocksDB wrote");
        let _ = fs::remove_file(path(cf));
    }
}

/// Adds puts of other keys to the Raft log, `bytes` in total.
fn add_log(store: &common::Store, bytes: u64) {
    const BATCH: u64 = 16;
    let mut random = Random(7);
    for first in (8..8 + bytes / LONG_VALUE as u64).step_by(BATCH as usize) {
        let entries = (first..first + BATCH).map(|index| {
            let key = versioned(row(index * 1000 + 1), start_ts(index));
            let put =
                PutRequest { cf: String::new(), key: key[1..].to_vec(), value: random.bytes(LONG_VALUE) };
            let request = Request { cmd_type: CmdType::Put.into(), put: Some(put), ..Default::default() };
            let command = RaftCmdRequest { requests: vec![request], ..Default::default() };
            let entry = Entry { term: 6, index, data: command.encode_to_vec(), ..Default::default() };
            entry_to_raft(entry).expect("an entry")
        });
        let mut batch = store.raft.log_batch(1);
        batch.append(2, entries.collect()).expect("entries in order");
        store.raft.consume(&mut batch, false).expect("room on the disk");
    }
    store.raft.sync().expect("room on the disk");
}
