//! Tests of the Raft log through its public API.
use std::{
    fs::{self, OpenOptions},
    io::{Read, Seek, SeekFrom, Write},
    path::Path,
};

use kvproto::{eraftpb::HardState, raft_serverpb::RaftLocalState};
use raft::eraftpb::Entry;
use raft_log_engine::*;
use tempfile::TempDir;

fn open(dir: &Path) -> RaftLogEngine {
    RaftLogEngine::open(dir, &RaftEngineConfig::small()).unwrap()
}

fn entries(range: std::ops::Range<u64>, term: u64) -> Vec<Entry> {
    let entry = |index: u64| Entry { index, term, data: vec![index as u8; 20].into(), ..Default::default() };
    range.map(entry).collect()
}

fn append(engine: &RaftLogEngine, region_id: u64, entries: Vec<Entry>) -> Result<usize> {
    let mut batch = engine.log_batch(4);
    batch.append(region_id, entries)?;
    engine.consume(&mut batch, true)
}

fn fetch(engine: &RaftLogEngine, from: u64, to: u64, max_size: Option<usize>) -> Result<Vec<u64>> {
    let mut fetched = Vec::new();
    let count = engine.fetch_entries_to(1, from, to, max_size, &mut fetched)?;
    assert_eq!(count, fetched.len());
    Ok(fetched.iter().map(|e| e.index).collect())
}

fn state(commit: u64) -> RaftLocalState {
    let hard_state = Some(HardState { term: 5, vote: 1, commit });
    RaftLocalState { hard_state, last_index: commit }
}

#[test]
fn entries_and_states_survive_a_reopen() {
    let dir = TempDir::new().unwrap();
    let engine = open(dir.path());
    let mut batch = engine.log_batch(4);
    assert!(batch.is_empty());
    batch.append(1, entries(6..10, 5)).unwrap();
    batch.put_raft_state(1, &state(9)).unwrap();
    let mut other = RaftLogBatch::default();
    other.append(2, entries(6..8, 5)).unwrap();
    batch.merge(other).unwrap();
    assert!(batch.persist_size() > 100);
    assert!(engine.consume(&mut batch, true).unwrap() > 0);
    assert!(batch.is_empty());
    drop(engine);
    let engine = open(dir.path());
    assert_eq!(engine.get_raft_state(1).unwrap(), Some(state(9)));
    assert_eq!(engine.get_raft_state(2).unwrap(), None);
    assert_eq!((engine.first_index(1), engine.last_index(1)), (Some(6), Some(9)));
    assert_eq!(engine.get_entry(1, 7).unwrap().unwrap(), entries(7..8, 5)[0]);
    assert_eq!(engine.get_entry(1, 10).unwrap(), None);
    assert_eq!(engine.raft_groups(), [1, 2]);
    let mut seen = Vec::new();
    let visit = |id| -> Result<()> {
        seen.push(id);
        Ok(())
    };
    engine.for_each_raft_group(visit).unwrap();
    assert_eq!(seen, [1, 2]);
}

#[test]
fn a_fetch_stays_within_its_bounds() {
    let dir = TempDir::new().unwrap();
    let engine = open(dir.path());
    append(&engine, 1, entries(6..16, 5)).unwrap();
    assert_eq!(fetch(&engine, 7, 10, None).unwrap(), [7, 8, 9]);
    assert_eq!(fetch(&engine, 7, 10, Some(0)).unwrap(), [7], "at least one");
    assert!(fetch(&engine, 7, 16, Some(80)).unwrap().len() < 9);
    assert_eq!(fetch(&engine, 9, 9, None).unwrap(), [] as [u64; 0]);
    assert_eq!(fetch(&engine, 9, 7, None).unwrap(), [] as [u64; 0]);
    assert!(matches!(fetch(&engine, 15, 17, None), Err(Error::EntryNotFound { last: 15, .. })));
    assert!(matches!(fetch(&engine, 15, u64::MAX, None), Err(Error::EntryNotFound { .. })));
    assert!(matches!(fetch(&engine, 5, 7, None), Err(Error::EntryCompacted { first: 6, .. })));
    assert!(matches!(engine.fetch_entries_to(9, 1, 2, None, &mut vec![]), Err(Error::EntryNotFound { .. })));
}

#[test]
fn a_later_append_replaces_the_tail() {
    let dir = TempDir::new().unwrap();
    let engine = open(dir.path());
    append(&engine, 1, entries(6..12, 5)).unwrap();
    append(&engine, 1, entries(8..10, 6)).unwrap();
    assert_eq!(engine.last_index(1), Some(9));
    let mut terms = Vec::new();
    engine
        .scan_entries(1, |e| {
            terms.push(e.term);
            Ok(e.index < 8)
        })
        .unwrap();
    assert_eq!(terms, [5, 5, 6]);
}

#[test]
fn holes_are_an_error_and_write_nothing() {
    let dir = TempDir::new().unwrap();
    let engine = open(dir.path());
    append(&engine, 1, entries(6..8, 5)).unwrap();
    let hole = append(&engine, 1, entries(9..10, 5));
    assert!(matches!(hole, Err(Error::NotContiguous { region_id: 1, expected: 8, found: 9 })));
    let below = append(&engine, 1, entries(5..6, 5));
    assert!(matches!(below, Err(Error::NotContiguous { expected: 6, found: 5, .. })));
    let inside = append(&engine, 1, [entries(8..9, 5), entries(10..11, 5)].concat());
    assert!(matches!(inside, Err(Error::NotContiguous { expected: 9, found: 10, .. })));
    assert_eq!(engine.last_index(1), Some(7));
    let mut batch = engine.log_batch(2);
    batch.append(1, entries(8..9, 5)).unwrap();
    batch.append(1, entries(9..10, 5)).unwrap();
    engine.consume(&mut batch, false).unwrap();
    assert_eq!(engine.last_index(1), Some(9));
}

#[test]
fn a_cleaned_region_may_start_at_any_index() {
    let dir = TempDir::new().unwrap();
    let engine = open(dir.path());
    append(&engine, 1, entries(6..8, 5)).unwrap();
    let mut batch = engine.log_batch(3);
    batch.clean(1);
    batch.append(1, entries(101..103, 7)).unwrap();
    batch.put_raft_state(1, &state(102)).unwrap();
    engine.consume(&mut batch, true).unwrap();
    assert_eq!((engine.first_index(1), engine.last_index(1)), (Some(101), Some(102)));
    drop(engine);
    let engine = open(dir.path());
    assert_eq!((engine.first_index(1), engine.get_raft_state(1).unwrap()), (Some(101), Some(state(102))));
    engine.clean(1, true).unwrap();
    assert_eq!((engine.first_index(1), engine.get_raft_state(1).unwrap()), (None, None));
}

#[test]
fn gc_removes_the_entries_below() {
    let dir = TempDir::new().unwrap();
    let engine = open(dir.path());
    append(&engine, 1, entries(6..16, 5)).unwrap();
    assert_eq!(engine.gc(1, 0, 10).unwrap(), 4);
    assert_eq!(engine.gc(1, 0, 10).unwrap(), 0);
    assert_eq!(engine.gc(2, 0, 10).unwrap(), 0);
    assert_eq!(engine.first_index(1), Some(10));
    let mut batch = engine.log_batch(1);
    batch.gc(1, 12);
    engine.consume(&mut batch, true).unwrap();
    assert_eq!(engine.first_index(1), Some(12));
    assert_eq!(engine.get_entry(1, 11).unwrap(), None);
    assert_eq!(engine.gc(1, 12, 100).unwrap(), 4);
}

#[test]
fn a_purge_names_the_regions_that_keep_old_files() {
    let dir = TempDir::new().unwrap();
    let config = RaftEngineConfig {
        target_file_size: 1 << 12,
        purge_threshold: 1 << 14,
        enable_log_recycle: false,
        ..RaftEngineConfig::small()
    };
    let engine = RaftLogEngine::open(dir.path(), &config).unwrap();
    append(&engine, 2, entries(6..8, 5)).unwrap();
    for start in (6..2006).step_by(10) {
        append(&engine, 1, entries(start..start + 10, 5)).unwrap();
    }
    let before = engine.get_engine_size();
    engine.gc(1, 0, 2005).unwrap();
    engine.manual_purge().unwrap();
    assert!(engine.get_engine_size() < before / 2, "{before} -> {}", engine.get_engine_size());
    assert_eq!(engine.last_index(2), Some(7), "entries of other regions are kept");
    drop(engine);
    let engine = RaftLogEngine::open(dir.path(), &config).unwrap();
    assert_eq!((engine.last_index(1), engine.last_index(2)), (Some(2005), Some(7)));
}

#[test]
fn a_second_open_is_refused() {
    let dir = TempDir::new().unwrap();
    let _engine = open(dir.path());
    let second = RaftLogEngine::open(dir.path(), &RaftEngineConfig::small());
    assert!(matches!(second, Err(Error::Locked { .. })), "{second:?}");
}

#[test]
fn open_creates_no_log_if_that_is_not_allowed() {
    let dir = TempDir::new().unwrap();
    let gone = dir.path().join("gone");
    let config = RaftEngineConfig { create_if_missing: false, ..RaftEngineConfig::small() };
    assert!(matches!(RaftLogEngine::open(&gone, &config), Err(Error::Missing { .. })));
    assert!(!gone.exists() && !RaftLogEngine::exists(&gone));
}

/// Flips a byte in the first batch of the first file. The header takes 69 bytes.
fn corrupt(dir: &Path) {
    let path = dir.join("0000000000000001.raftlog");
    let mut file = OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.seek(SeekFrom::Start(69 + 20)).unwrap();
    file.read_exact(&mut byte).unwrap();
    file.seek(SeekFrom::Start(69 + 20)).unwrap();
    file.write_all(&[byte[0] ^ 0xff]).unwrap();
}

#[test]
fn a_corrupt_file_is_named() {
    let dir = TempDir::new().unwrap();
    append(&open(dir.path()), 1, entries(6..8, 5)).unwrap();
    corrupt(dir.path());
    let strict =
        RaftEngineConfig { recovery_mode: RecoveryMode::AbsoluteConsistency, ..RaftEngineConfig::small() };
    match RaftLogEngine::open(dir.path(), &strict) {
        Err(Error::Corrupt { dir: at, detail, .. }) => {
            assert_eq!(at, dir.path());
            assert!(!detail.is_empty());
        }
        other => panic!("expected Corrupt, found {other:?}"),
    }
    // TiKV's mode cuts the tail off.
    assert_eq!(open(dir.path()).last_index(1), None);
}

#[test]
fn the_bytes_on_disk_are_tikvs() {
    let dir = TempDir::new().unwrap();
    let engine = open(dir.path());
    let mut batch = engine.log_batch(1);
    batch.put_raft_state(2, &state(5)).unwrap();
    engine.consume(&mut batch, true).unwrap();
    drop(engine);
    let file = fs::read(dir.path().join("0000000000000001.raftlog")).unwrap();
    assert!(file.starts_with(b"RAFT-LOG-FILE-HEADER-9986AB3E47F320B394C8E84916EB0ED5"));
    assert_eq!(file[53..61], 2u64.to_be_bytes(), "format version");
    // After the batch's header of 16: one item, group 2, kv, put, key "R", 10 bytes of message.
    assert_eq!(file[69 + 16..69 + 23], [1, 2, 3, 1, 1, b'R', 10]);
    assert_eq!(file[69 + 23..69 + 33], [0x0a, 6, 8, 5, 16, 1, 24, 5, 16, 5]);
}
