use engine_rocks::{DbConfig, RocksEngine};
use kvproto::{eraftpb::HardState, metapb, raft_serverpb::StoreIdent};
use raft_log_engine::{RaftEngineConfig, RaftLogEngine};

use super::*;
use crate::store::{bootstrap_store, initial_region, prepare_bootstrap_cluster};

fn engines(dir: &std::path::Path) -> Engines {
    let kv = RocksEngine::open(dir.join("db"), &DbConfig::small()).unwrap();
    let raft = RaftLogEngine::open(dir.join("raft-engine"), &RaftEngineConfig::small()).unwrap();
    Engines::new(kv, raft)
}

fn bootstrapped(dir: &std::path::Path) -> (Engines, PeerStorage) {
    let engines = engines(dir);
    bootstrap_store(&engines, &StoreIdent { cluster_id: 1, store_id: 1, ..Default::default() }).unwrap();
    prepare_bootstrap_cluster(&engines, &initial_region(1, 2, 3)).unwrap();
    let storage = PeerStorage::new(engines.clone(), initial_region(1, 2, 3), 3).unwrap();
    (engines, storage)
}

fn entry(index: u64, term: u64) -> Entry {
    Entry { index, term, ..Default::default() }
}

/// Writes a task like a store writer does.
fn write(engines: &Engines, storage: &PeerStorage, mut task: WriteTask) {
    let mut batch = engines.raft.log_batch(2);
    if let Some(kv_wb) = &mut task.kv_wb {
        kv_wb.write_opt(true).unwrap();
    }
    if task.clean_log {
        batch.clean(task.region_id);
    }
    batch.append(task.region_id, task.entries).unwrap();
    batch.put_raft_state(task.region_id, storage.raft_state()).unwrap();
    engines.raft.consume(&mut batch, true).unwrap();
}

fn append(engines: &Engines, storage: &mut PeerStorage, entries: Vec<Entry>) {
    let mut task = WriteTask::new(2, 3, 1);
    storage.append(entries, &mut task);
    write(engines, storage, task);
}

#[test]
fn the_first_index_of_a_new_region_is_six() {
    let dir = tempfile::tempdir().unwrap();
    let (_, storage) = bootstrapped(dir.path());
    assert_eq!((storage.first_index().unwrap(), storage.last_index().unwrap()), (6, 5));
    assert_eq!(storage.term(5).unwrap(), 5);
    let state = storage.initial_state().unwrap();
    assert_eq!((state.hard_state.term, state.hard_state.commit), (5, 5));
    assert_eq!(state.conf_state.voters, [3]);
}

#[test]
fn entries_are_read_from_the_cache_and_from_disk() {
    let dir = tempfile::tempdir().unwrap();
    let (engines, mut storage) = bootstrapped(dir.path());
    append(&engines, &mut storage, (6..10).map(|i| entry(i, 6)).collect());
    append(&engines, &mut storage, vec![entry(8, 7)]);
    let reopened = PeerStorage::new(engines.clone(), initial_region(1, 2, 3), 3).unwrap();
    for storage in [&storage, &reopened] {
        assert_eq!(storage.last_index().unwrap(), 8);
        let terms: Vec<u64> = (5..=8).map(|i| storage.term(i).unwrap()).collect();
        assert_eq!(terms, [5, 6, 6, 7]);
        let entries = storage.entries(6, 9, None, GetEntriesContext::empty(false)).unwrap();
        assert_eq!(entries.iter().map(|e| e.index).collect::<Vec<_>>(), [6, 7, 8]);
        let one = storage.entries(6, 9, Some(0), GetEntriesContext::empty(false)).unwrap();
        assert_eq!(one.len(), 1);
        let compacted = storage.entries(5, 7, None, GetEntriesContext::empty(false));
        assert!(matches!(compacted, Err(raft::Error::Store(StorageError::Compacted))));
        let beyond = storage.entries(6, 10, None, GetEntriesContext::empty(false));
        assert!(matches!(beyond, Err(raft::Error::Store(StorageError::Unavailable))));
    }
}

#[test]
fn applied_entries_count_as_committed_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let (engines, mut storage) = bootstrapped(dir.path());
    append(&engines, &mut storage, vec![entry(6, 6), entry(7, 6)]);
    let mut batch = engines.kv.write_batch();
    let applied = RaftApplyState { applied_index: 7, ..initial_apply_state() };
    write_apply_state(&mut batch, 2, &applied).unwrap();
    batch.write_opt(true).unwrap();
    let storage = PeerStorage::new(engines.clone(), initial_region(1, 2, 3), 3).unwrap();
    assert_eq!(storage.initial_state().unwrap().hard_state.commit, 7);
    assert_eq!(storage.applied_term(), 6);
    // Data without its log is an error.
    let applied = RaftApplyState { applied_index: 9, ..applied };
    write_apply_state(&mut batch, 2, &applied).unwrap();
    batch.write_opt(true).unwrap();
    let err = PeerStorage::new(engines, initial_region(1, 2, 3), 3).err().unwrap().to_string();
    assert!(err.contains("the log ends at 7, but entries up to 9 are committed"), "{err}");
}

#[test]
fn a_new_region_replaces_the_vote_of_an_early_message() {
    let dir = tempfile::tempdir().unwrap();
    let (engines, _) = bootstrapped(dir.path());
    for (old_term, term, vote) in [(3, 5, 0), (7, 7, 9)] {
        let hs = HardState { term: old_term, vote: 9, commit: 0 };
        let mut batch = engines.raft.log_batch(1);
        let early = RaftLocalState { hard_state: Some(hs), last_index: 0 };
        batch.put_raft_state(8, &early).unwrap();
        engines.raft.consume(&mut batch, true).unwrap();
        let storage = PeerStorage::new(engines.clone(), initial_region(1, 8, 9), 9).unwrap();
        let state = storage.initial_state().unwrap().hard_state;
        assert_eq!((state.term, state.vote, state.commit, storage.last_index().unwrap()), (term, vote, 5, 5));
        assert_eq!(engines.raft.get_raft_state(8).unwrap().unwrap().last_index, 5);
    }
}

#[test]
fn an_interrupted_snapshot_continues_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let (engines, mut storage) = bootstrapped(dir.path());
    append(&engines, &mut storage, vec![entry(6, 6)]);
    let mut snap = Snapshot::default();
    snap.mut_metadata().index = 100;
    snap.mut_metadata().term = 8;
    let mut task = WriteTask::new(2, 3, 2);
    let hs = raft::eraftpb::HardState { term: 8, commit: 100, ..Default::default() };
    storage.set_hard_state(&hs);
    storage.apply_snapshot(&snap, initial_region(1, 2, 3), &mut task).unwrap();
    assert!(storage.is_applying_snapshot());
    // Crash: region states are written, the log is not.
    task.kv_wb.as_mut().unwrap().write_opt(true).unwrap();
    let reopened = PeerStorage::new(engines.clone(), initial_region(1, 2, 3), 3).unwrap();
    assert_eq!((reopened.first_index().unwrap(), reopened.last_index().unwrap()), (101, 100));
    assert_eq!(reopened.initial_state().unwrap().hard_state.commit, 100);
    assert_eq!(reopened.snap_key(), SnapKey::new(2, 8, 100));
    assert_eq!(engines.raft.first_index(2), None, "the old log is gone");
}

#[test]
fn a_snapshot_is_made_in_the_background() {
    let dir = tempfile::tempdir().unwrap();
    let (_, storage) = bootstrapped(dir.path());
    let unavailable = |r: raft::Result<Snapshot>| {
        matches!(r, Err(raft::Error::Store(StorageError::SnapshotTemporarilyUnavailable)))
    };
    assert!(unavailable(storage.snapshot(0, 9)));
    let task = storage.take_gen_snap_task().unwrap();
    assert!(unavailable(storage.snapshot(0, 9)) && storage.take_gen_snap_task().is_none());
    // Generation fails; Raft asks again.
    drop(task);
    assert!(unavailable(storage.snapshot(0, 9)));
    let task = storage.take_gen_snap_task().unwrap();
    let mut snap = Snapshot::default();
    snap.mut_metadata().index = 5;
    task.notifier.send(snap).unwrap();
    assert_eq!(storage.snapshot(0, 9).unwrap().get_metadata().index, 5);
}

#[test]
fn a_removed_peer_leaves_only_its_tombstone() {
    let dir = tempfile::tempdir().unwrap();
    let (engines, mut storage) = bootstrapped(dir.path());
    append(&engines, &mut storage, vec![entry(6, 6)]);
    write_tombstone(&engines, &initial_region(1, 2, 3), &metapb::Peer::voter(1, 3)).unwrap();
    let info = crate::debug::region_info(&engines, 2).unwrap();
    assert_eq!(info.region_local_state.unwrap().state(), PeerState::Tombstone);
    assert!(info.raft_local_state.is_none() && info.raft_apply_state.is_none());
}
