//! Conditions of writing commands: refusals, removals and exceptions of TiKV's `src/server/debug.rs`, one by
//! one.
mod common;

use common::{Store, back, contents, ctl, fill};
use engine_rocks::{CF_DEFAULT, CF_LOCK, CF_RAFT, CF_WRITE};
use kvproto::{
    metapb::{Peer, PeerRole, Region, RegionEpoch},
    raft_serverpb::RegionLocalState,
};
use pd::server::PdHandle;
use tempfile::TempDir;
use txn_types::{Key, Lock, LockType, Write, WriteType};

fn store() -> (TempDir, String) {
    let dir = tempfile::tempdir().unwrap();
    fill(&Store::open(dir.path()));
    let path = dir.path().to_str().unwrap().to_owned();
    (dir, path)
}

fn run(path: &str, args: &[&str]) -> (u8, String, String) {
    ctl(&[args, &["--data-dir", path]].concat())
}

/// Runs a command that must fail and change nothing; returns its output.
fn refused(path: &str, args: &[&str]) -> String {
    let before = contents(path.as_ref());
    let (code, out, err) = run(path, &[args, &["--yes", "--undo-file", "/dev/null/x"]].concat());
    assert_ne!(code, 0, "{args:?}: {out}{err}");
    assert!(before == contents(path.as_ref()), "{args:?} changed a byte: {out}{err}");
    out + err.as_str()
}

fn data_key(key: &[u8]) -> Vec<u8> {
    keys::data_key(Key::from_raw(key).as_encoded())
}

fn at(key: &[u8], ts: u64) -> Vec<u8> {
    keys::data_key(Key::from_raw(key).append_ts(ts.into()).as_encoded())
}

/// Returns a lock on `key` of the transaction that started at `start` and has its primary at `primary`.
fn lock(kind: LockType, primary: &[u8], start: u64, for_update: u64, value: Option<&[u8]>) -> Lock {
    let value = value.map(<[u8]>::to_vec);
    Lock::new(kind, primary.to_vec(), start.into(), 3000, value, for_update.into(), 1, 0.into(), false)
}

fn put_lock(store: &Store, key: &[u8], lock: &Lock) {
    store.kv.put_cf(CF_LOCK, &data_key(key), &lock.to_bytes()).unwrap();
}

fn put_write(store: &Store, key: &[u8], commit: u64, write: &Write) {
    store.kv.put_cf(CF_WRITE, &at(key, commit), &write.to_bytes()).unwrap();
}

/// Returns the changes of a dry run: column family, user key and reason.
fn changes(path: &str, args: &[&str]) -> (u8, Vec<(String, String, String)>, String) {
    let (code, out, err) = run(path, &[args, &["--dry-run", "--format", "json"]].concat());
    let shown: serde_json::Value = serde_json::from_str(&out).unwrap();
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let list = shown["changes"].as_array().unwrap().iter();
    let list = list.map(|change| {
        let key = keys::hex_decode(change["key"].as_str().unwrap()).unwrap();
        let user = tikv_ctl::key::inner(&key).map_or(key, |inner| inner.user_key);
        (text(&change["cf"]), String::from_utf8_lossy(&user).into_owned(), text(&change["why"]))
    });
    (code, list.collect(), out + err.as_str())
}

#[test]
fn locks_not_newer_than_the_last_commit_are_removed() {
    let (dir, path) = store();
    {
        let store = Store::open(dir.path());
        let committed = |key: &[u8], start: u64, commit: u64| {
            put_write(&store, key, commit, &Write::new(WriteType::Put, start.into(), Some(b"v".to_vec())));
        };
        let put = |key: &[u8], start, for_update| {
            put_lock(&store, key, &lock(LockType::Put, key, start, for_update, Some(b"s")));
        };
        for key in [&b"rm1"[..], b"rm2", b"rm3", b"rm6", b"rm7", b"rm8"] {
            committed(key, 140, 150);
        }
        put(b"rm1", 100, 0);
        put(b"rm2", 100, 200);
        put_lock(&store, b"rm3", &lock(LockType::Pessimistic, b"rm3", 100, 120, None));
        put_lock(&store, b"rm4", &lock(LockType::Put, b"rm4", 200, 0, None));
        store.kv.put_cf(CF_DEFAULT, &at(b"rm5", 77), b"no record points here").unwrap();
        put(b"rm6", 160, 0);
        // A lock at the commit's own timestamp is not newer.
        put(b"rm7", 150, 0);
        put_lock(&store, b"rm8", &lock(LockType::Delete, b"rm8", 100, 150, None));
        // A Lock record of another transaction counts as a commit, too.
        put_write(&store, b"rm9", 150, &Write::new(WriteType::Lock, 140.into(), None));
        put(b"rm9", 100, 0);
        // An orphan of a later transaction does not hide the lock's own value.
        put_lock(&store, b"ok1", &lock(LockType::Put, b"ok1", 100, 0, None));
        for ts in [100, 130] {
            store.kv.put_cf(CF_DEFAULT, &at(b"ok1", ts), b"long").unwrap();
        }
    }
    let (code, found, text) = changes(&path, &["recover-mvcc", "--all"]);
    let found: Vec<(&str, &str)> = found.iter().map(|(cf, key, _)| (cf.as_str(), key.as_str())).collect();
    let want = [
        ("default", "ok1"),
        ("lock", "rm1"),
        ("lock", "rm3"),
        ("lock", "rm4"),
        ("default", "rm5"),
        ("lock", "rm7"),
        ("lock", "rm8"),
        ("lock", "rm9"),
    ];
    assert_eq!((code, found), (0, want.to_vec()), "{text}");
    assert!(text.contains("its for_update_ts 120 is not after the key's last commit at 150"), "{text}");
    back::there_and_back(&["--data-dir", &path], &["recover-mvcc", "--all", "--threads", "3"], &mut || ());
    let args = ["recover-mvcc", "--all", "--threads", "0"];
    assert_eq!(run(&path, &args).0, 2, "0 threads are refused");
    assert_eq!(run(&path, &["recover-mvcc", "-r", "2", "--threads", "4"]).0, 2, "--threads is for --all");
}

#[test]
fn another_transactions_rollback_keeps_a_lock() {
    let (dir, path) = store();
    {
        let store = Store::open(dir.path());
        put_write(&store, b"rb", 150, &Write::new_rollback(150.into(), false));
        put_lock(&store, b"rb", &lock(LockType::Put, b"rb", 100, 0, Some(b"s")));
        // A rollback of the lock's own transaction ends it.
        put_write(&store, b"rc", 100, &Write::new_rollback(100.into(), true));
        put_lock(&store, b"rc", &lock(LockType::Put, b"rc", 100, 120, Some(b"s")));
    }
    let (code, found, text) = changes(&path, &["recover-mvcc", "-r", "4"]);
    assert_eq!((code, found.len(), found[0].1.as_str()), (0, 1, "rc"), "{text}");
    assert!(text.contains("TiKV's recover-mvcc removes the lock"), "{text}");
}

#[test]
fn a_lock_whose_primary_is_committed_is_not_lost() {
    let (dir, path) = store();
    {
        let store = Store::open(dir.path());
        put_write(&store, b"p", 120, &Write::new(WriteType::Put, 100.into(), Some(b"v".to_vec())));
        put_write(&store, b"s", 150, &Write::new(WriteType::Put, 140.into(), Some(b"v".to_vec())));
        put_lock(&store, b"s", &lock(LockType::Put, b"p", 100, 0, Some(b"s")));
    }
    let (code, found, text) = changes(&path, &["recover-mvcc", "--all"]);
    assert!(code == 255 && found.is_empty() && text.contains("its primary is committed at 120"), "{text}");
}

#[test]
fn undecodable_records_stay_unchanged() {
    let (dir, path) = store();
    {
        let store = Store::open(dir.path());
        store.kv.put_cf(CF_LOCK, &data_key(b"bad"), b"?").unwrap();
        store.kv.put_cf(CF_DEFAULT, &at(b"bad", 7), b"value").unwrap();
        store.kv.put_cf(CF_DEFAULT, &at(b"orphan", 7), b"value").unwrap();
    }
    let (code, found, text) = changes(&path, &["recover-mvcc", "--all"]);
    assert_eq!((code, found.len(), found[0].1.as_str()), (255, 1, "orphan"), "{text}");
    assert!(text.contains("cannot decode the lock"), "{text}");
}

/// Starts a PD that has `region`; returns its address.
fn pd_with(region: Region) -> (TempDir, PdHandle, String) {
    let dir = tempfile::tempdir().unwrap();
    let config = pd::server::PdConfig {
        data_dir: dir.path().to_owned(),
        addr: ([127, 0, 0, 1], 0).into(),
        advertise_addr: None,
        cluster_id: None,
        max_replicas: None,
        clock: std::sync::Arc::new(pd::server::EngineWallClock),
    };
    let server = pd::server::PdServer::start(config).unwrap();
    let address = server.addr().to_string();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let client = pd::client::PdClient::connect(std::slice::from_ref(&address)).await.unwrap();
        let leader = region.peers[0];
        let store = kvproto::metapb::Store {
            id: leader.store_id,
            address: "127.0.0.1:1".into(),
            ..Default::default()
        };
        // A cluster starts with one region on one store; a heartbeat then reports the region's new state.
        let first = Region {
            region_epoch: Some(RegionEpoch { conf_ver: 1, version: 1 }),
            peers: vec![leader],
            ..region.clone()
        };
        client.bootstrap_cluster(store, first).await.unwrap();
        let heartbeats =
            client.region_heartbeats(std::sync::Arc::new(|_: kvproto::pdpb::RegionHeartbeatResponse| ()));
        let report = kvproto::pdpb::RegionHeartbeatRequest {
            region: Some(region.clone()),
            leader: Some(leader),
            ..Default::default()
        };
        heartbeats.send(report);
        for _ in 0..500 {
            if client.get_region_by_id(region.id).await.unwrap().region == region {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        panic!("PD did not take the heartbeat within 10 s");
    });
    (dir, server, address)
}

fn region(id: u64, conf_ver: u64, peers: &[(u64, u64)]) -> Region {
    let peer = |&(id, store_id): &(u64, u64)| Peer { id, store_id, ..Default::default() };
    Region {
        id,
        region_epoch: Some(RegionEpoch { conf_ver, version: 2 }),
        peers: peers.iter().map(peer).collect(),
        ..Default::default()
    }
}

#[test]
fn a_peer_becomes_a_tombstone_only_when_pd_has_removed_it() {
    // Region 4 of the store has epoch 1 and peer 5 on store 1.
    for (of_pd, why) in [
        (region(4, 1, &[(9, 9)]), Some("invalid conf_ver: please make sure you have removed the peer by PD")),
        (region(4, 2, &[(9, 9), (5, 1)]), Some("The peer is still in target peers")),
        // The store was chosen again: the local peer was still removed.
        (region(4, 3, &[(9, 9), (77, 1)]), None),
        (region(4, 2, &[(9, 9)]), None),
    ] {
        let (_dir, path) = store();
        let (_pd_dir, _server, address) = pd_with(of_pd.clone());
        let args = ["tombstone", "-r", "4", "-p", &address];
        match why {
            Some(why) => {
                let text = refused(&path, &args);
                assert!(text.contains(&format!("region: 4, error: {why}")), "{text}");
            }
            None => {
                let between = back::there_and_back(&["--data-dir", &path], &args, &mut || ());
                assert!(
                    between.contains("\"Tombstone\"") && between.contains("\"store_id\": 9"),
                    "{between}"
                );
            }
        }
        let text = refused(&path, &["tombstone", "-r", "2", "-p", &address]);
        assert!(text.contains("no such region in pd: 2"), "{text}");
    }
    let (dir, path) = store();
    Store::open(dir.path()).put_peers(4, &[(6, 2, PeerRole::Voter)]);
    let (_pd_dir, _server, address) = pd_with(region(4, 3, &[(9, 9)]));
    let text = refused(&path, &["tombstone", "-r", "4", "-p", &address]);
    assert!(text.contains("RegionLocalState doesn't contains the peer itself"), "{text}");
    let (_, out, _) = run(&path, &["tombstone", "-r", "99", "--force", "--dry-run"]);
    assert!(out.contains("99 region local state not exists"), "{out}");
}

#[test]
fn a_store_does_not_remove_itself_and_promotes_one_learner() {
    let (dir, path) = store();
    let text = refused(&path, &["unsafe-recover", "remove-fail-stores", "-s", "2,1", "--all-regions"]);
    assert!(text.contains("Debugger::remove_fail_stores: \"Store 1 in the failed list\""), "{text}");
    let text = refused(&path, &["unsafe-recover", "remove-fail-stores", "-s", "2", "-r", "4,99"]);
    assert!(text.contains("\"No such region 99 on the store\""), "{text}");
    let promote = ["unsafe-recover", "remove-fail-stores", "-s", "2,3", "-r", "4", "--promote-learner"];
    let state = |peers: &[(u64, u64, PeerRole)]| {
        Store::open(dir.path()).put_peers(4, peers);
        let undo = dir.path().with_extension("undo");
        let how = ["--yes", "--undo-file", undo.to_str().unwrap()];
        let (code, out, err) = run(&path, &[&promote[..], &how].concat());
        assert_eq!(code, 0, "{out}{err}");
        let _ = std::fs::remove_file(undo);
        let store = Store::open(dir.path());
        let state: RegionLocalState =
            store.kv.get_msg_cf(CF_RAFT, &keys::region_state_key(4)).unwrap().unwrap();
        let peers = state.region.unwrap().peers;
        (peers.iter().map(|peer| (peer.id, peer.role())).collect::<Vec<_>>(), err)
    };
    use PeerRole::{Learner, Voter};
    // A voter is left: the learner stays one.
    assert_eq!(state(&[(5, 1, Voter), (6, 2, Voter), (7, 4, Learner)]).0, [(5, Voter), (7, Learner)]);
    assert_eq!(state(&[(5, 1, Learner), (6, 2, Voter)]).0, [(5, Voter)]);
    // No store failed, and still no voter is left.
    assert_eq!(state(&[(5, 1, Learner)]).0, [(5, Voter)]);
    let (peers, err) = state(&[(5, 1, Learner), (7, 4, Learner), (6, 2, Voter)]);
    assert_eq!(peers, [(5, Learner), (7, Learner)]);
    assert!(err.contains("found 2 and no voter"), "{err}");
}

#[test]
fn a_log_without_states_is_not_truncated() {
    let (dir, path) = store();
    Store::open(dir.path()).kv.delete_cf(CF_RAFT, &keys::apply_state_key(4)).unwrap();
    let text = refused(&path, &["unsafe-recover", "drop-unapplied-raftlog", "--all-regions"]);
    assert!(text.contains("removing unapplied raftlog on region None ..."), "{text}");
    assert!(text.contains("\"No RaftApplyState found for region 4\""), "{text}");
    let text = refused(&path, &["unsafe-recover", "drop-unapplied-raftlog", "-r", "99"]);
    assert!(text.contains("removing unapplied raftlog on region Some([99]) ..."), "{text}");
    assert!(text.contains("Not Found"), "{text}");
}

#[test]
fn a_region_is_not_recreated_over_another() {
    let (_dir, path) = store();
    let (_pd_dir, _server, address) = pd_with(region(900, 3, &[(901, 9)]));
    let text = refused(&path, &["recreate-region", "-r", "900", "-p", &address]);
    assert!(text.contains("region overlap with id: 2"), "{text}");
    let text = refused(&path, &["recreate-region", "-r", "901", "-p", &address]);
    assert!(text.contains("no such region 901 on PD"), "{text}");
}

/// Returns the result of a read of `key` now.
fn read(path: &str, key: &str) -> serde_json::Value {
    let (_, out, _) = run(path, &["find", key, "--key-format", "raw", "--format", "json"]);
    // A key without records has no result.
    let found: serde_json::Value = serde_json::from_str(&out).unwrap_or_default();
    found[0]["read"].clone()
}

#[test]
fn a_flashback_keeps_transactions_with_committed_primary_whole() {
    let (dir, path) = store();
    {
        let store = Store::open(dir.path());
        // Committed at 41, before the version; the commit of its other key is missing.
        put_write(&store, b"p1", 41, &Write::new(WriteType::Put, 40.into(), Some(b"one".to_vec())));
        put_lock(&store, b"s1", &lock(LockType::Put, b"p1", 40, 0, Some(b"one")));
        put_lock(&store, b"s1-long", &lock(LockType::Put, b"p1", 40, 0, None));
        store.kv.put_cf(CF_DEFAULT, &at(b"s1-long", 40), &[b'L'; 300]).unwrap();
        put_lock(&store, b"s1-only-locked", &lock(LockType::Pessimistic, b"p1", 40, 40, None));
        // Committed at 61, after the version: the flashback reverts it.
        put_write(&store, b"p2", 61, &Write::new(WriteType::Put, 60.into(), Some(b"two".to_vec())));
        put_lock(&store, b"s2", &lock(LockType::Put, b"p2", 60, 0, Some(b"two")));
        // Rolled back.
        put_write(&store, b"p3", 42, &Write::new_rollback(42.into(), true));
        put_lock(&store, b"s3", &lock(LockType::Put, b"p3", 42, 0, Some(b"three")));
        // Async commit: all keys are prewritten, so the transaction is committed at 45.
        let mut primary =
            lock(LockType::Put, b"p4", 43, 0, Some(b"four")).use_async_commit(vec![b"s4".to_vec()]);
        primary.min_commit_ts = 44.into();
        put_lock(&store, b"p4", &primary);
        let mut secondary = lock(LockType::Put, b"p4", 43, 0, Some(b"four")).use_async_commit(Vec::new());
        secondary.min_commit_ts = 45.into();
        put_lock(&store, b"s4", &secondary);
    }
    let before = back::shown(&["--data-dir", &path]);
    let undo = dir.path().with_extension("undo");
    let undo = undo.to_str().unwrap();
    let (code, out, err) = run(&path, &["flashback", "-v", "50", "--yes", "--undo-file", undo]);
    assert_eq!(code, 0, "{out}{err}");
    let value = |key: &str| read(&path, key)["returned_value"].to_string();
    for (key, text) in [("p1", "6F6E65"), ("s1", "6F6E65"), ("p4", "666F7572"), ("s4", "666F7572")] {
        let plain = ["one", "four"].iter().any(|plain| value(key).contains(plain));
        assert!(plain || value(key).contains(text), "{key}: {}", value(key));
    }
    assert!(value("s1-long").contains(&"4C".repeat(100)), "{}", value("s1-long"));
    for gone in ["p2", "s2", "s3", "s1-only-locked"] {
        assert_eq!(read(&path, gone)["returned_value"], serde_json::Value::Null, "{gone}");
    }
    let (_, out, _) = run(&path, &["raw-scan", "--cf", "lock", "--limit", "100"]);
    assert!(out.contains("Total scanned keys: 0"), "no lock is left: {out}");
    let (code, out, _) = run(&path, &["recover-mvcc", "--all", "--dry-run"]);
    assert!(code == 0 && out.starts_with("0 changes"), "{out}");
    assert_eq!(ctl(&["undo", undo, "--yes"]).0, 0);
    assert_eq!(before, back::shown(&["--data-dir", &path]));
    std::fs::remove_file(undo).unwrap();
}

#[test]
fn a_partial_flashback_refuses_to_split_transactions() {
    let (dir, path) = store();
    {
        let store = Store::open(dir.path());
        // The primary in region 4 can still be committed or rolled back.
        put_lock(&store, b"q", &lock(LockType::Put, b"q", 40, 0, Some(b"v")));
        put_lock(&store, b"b", &lock(LockType::Put, b"q", 40, 0, Some(b"v")));
    }
    let text = refused(&path, &["flashback", "-v", "15", "-r", "2"]);
    assert!(text.contains("transaction 40 has locked it") && text.contains("include it"), "{text}");
    assert!(text.contains("nothing was changed"), "{text}");
    let (code, out, err) = run(&path, &["flashback", "-v", "15", "--dry-run"]);
    assert_eq!(code, 0, "{out}{err}");
    // The primary is in no region of this store.
    let mut state = RegionLocalState::default();
    state.set_state(kvproto::raft_serverpb::PeerState::Tombstone);
    Store::open(dir.path()).kv.put_msg_cf(CF_RAFT, &keys::region_state_key(4), &state).unwrap();
    let text = refused(&path, &["flashback", "-v", "15", "-r", "2"]);
    assert!(text.contains("the deciding key is in no region of this store"), "{text}");
    let text = refused(&path, &["reset-to-version", "-v", "15"]);
    assert!(text.contains("the deciding key is in no region of this store"), "{text}");
}

#[test]
fn flashback_timestamps_must_make_its_versions_visible() {
    let (_dir, path) = store();
    // The newest timestamp of the store is that of the lock at 30.
    let text = refused(&path, &["flashback", "-v", "15", "--start-ts", "30"]);
    assert!(text.contains("a --start-ts after 30"), "{text}");
    let text = refused(&path, &["flashback", "-v", "31"]);
    assert!(text.contains("a version before 31"), "{text}");
}

#[test]
fn a_reset_keeps_earlier_transactions_whole() {
    let (dir, path) = store();
    {
        let store = Store::open(dir.path());
        put_write(&store, b"p1", 12, &Write::new(WriteType::Put, 11.into(), Some(b"one".to_vec())));
        put_lock(&store, b"s1", &lock(LockType::Put, b"p1", 11, 0, Some(b"one")));
        put_write(&store, b"p2", 22, &Write::new(WriteType::Put, 21.into(), Some(b"two".to_vec())));
        put_lock(&store, b"s2", &lock(LockType::Put, b"p2", 21, 0, Some(b"two")));
    }
    back::there_and_back(&["--data-dir", &path], &["reset-to-version", "-v", "15"], &mut || {
        let shown = |key: &str| read(&path, key)["returned_commit_ts"].clone();
        assert_eq!((shown("p1"), shown("s1")), (12.into(), 12.into()));
        assert_eq!((shown("p2"), shown("s2")), (serde_json::Value::Null, serde_json::Value::Null));
    });
}
