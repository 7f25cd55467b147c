//! Commands that write: their plans, their changes, and undoing them.
mod common;

use std::path::Path;

use common::{Store, back, contents, ctl, fill};
use engine_rocks::CF_DEFAULT;
use kvproto::metapb::PeerRole;

fn store() -> (tempfile::TempDir, String) {
    let dir = tempfile::tempdir().unwrap();
    fill(&Store::open(dir.path()));
    let path = dir.path().to_str().unwrap().to_owned();
    (dir, path)
}

fn run(path: &str, args: &[&str]) -> (u8, String, String) {
    ctl(&[args, &["--data-dir", path]].concat())
}

fn shown(path: &str) -> String {
    back::shown(&["--data-dir", path])
}

/// Runs `args` with an undo file, then undoes it; returns the output in between.
fn there_and_back(path: &str, args: &[&str]) -> String {
    back::there_and_back(&["--data-dir", path], args, &mut || ())
}

#[test]
fn a_tombstone_is_set_and_undone() {
    let (_dir, path) = store();
    let between = there_and_back(&path, &["tombstone", "-r", "4", "--force"]);
    assert!(between.contains("\"Tombstone\""), "{between}");
    let (code, _, err) = run(&path, &["tombstone", "-r", "4"]);
    assert!(code == 1 && err.contains("--force"), "{err}");
    let (code, out, _) = run(&path, &["tombstone", "-r", "99", "--force", "--yes"]);
    assert!(code == 255 && out.contains("region: 99, error"), "{out}");
}

#[test]
fn unsafe_recovery_is_done_and_undone() {
    let (dir, path) = store();
    let peers = [(5, 1, PeerRole::Voter), (6, 2, PeerRole::Voter), (7, 3, PeerRole::Voter)];
    Store::open(dir.path()).put_peers(4, &peers);
    let args = ["unsafe-recover", "remove-fail-stores", "-s", "2,3", "-r", "4"];
    let between = there_and_back(&path, &args);
    assert!(!between.contains("\"store_id\": 2") && !between.contains("\"store_id\": 3"), "{between}");
}

#[test]
fn a_reset_deletes_newer_data_and_undo_restores_it() {
    let (_dir, path) = store();
    there_and_back(&path, &["reset-to-version", "-v", "15"]);
    let (code, ..) = run(&path, &["reset-to-version", "-v", "15", "--yes", "--undo-file", "/no/such/dir/u"]);
    assert_eq!(code, 1, "without an undo file nothing is changed");
}

#[test]
fn records_that_contradict_each_other_are_removed() {
    let (dir, path) = store();
    let (code, out, _) = run(&path, &["recover-mvcc", "--all", "--dry-run"]);
    assert!(code == 0 && out.starts_with("0 changes"), "{out}");
    let orphan = keys::data_key(txn_types::Key::from_raw(b"orphan").append_ts(7.into()).as_encoded());
    Store::open(dir.path()).kv.put_cf(CF_DEFAULT, &orphan, b"no record points here").unwrap();
    let (_, out, _) = run(&path, &["recover-mvcc", "-r", "4", "--dry-run"]);
    assert!(out.contains("neither a lock nor a write") && out.contains("1 changes"), "{out}");
    there_and_back(&path, &["recover-mvcc", "--all"]);
}

#[test]
fn unapplied_entries_are_dropped() {
    let (dir, path) = store();
    let apply = kvproto::raft_serverpb::RaftApplyState { applied_index: 6, ..Default::default() };
    Store::open(dir.path()).kv.put_msg_cf("raft", &keys::apply_state_key(2), &apply).unwrap();
    let between = there_and_back(&path, &["unsafe-recover", "drop-unapplied-raftlog", "-r", "2"]);
    assert!(between.contains("\"last_index\": 6"), "{between}");
}

#[test]
fn a_lost_region_is_recreated_and_undone() {
    use kvproto::metapb::{Peer, Region, RegionEpoch};
    let (_dir, path) = store();
    let pd_dir = tempfile::tempdir().unwrap();
    let config = pd::server::PdConfig {
        data_dir: pd_dir.path().to_owned(),
        addr: std::net::SocketAddr::from(([127, 0, 0, 1], 0)),
        advertise_addr: None,
        cluster_id: None,
        max_replicas: None,
        clock: std::sync::Arc::new(pd::server::EngineWallClock),
    };
    let server = pd::server::PdServer::start(config).unwrap();
    let address = server.addr().to_string();
    // PD has one region, whose replicas are all lost; two regions of this store overlap it.
    let lost = Region {
        id: 900,
        region_epoch: Some(RegionEpoch { conf_ver: 3, version: 8 }),
        peers: vec![Peer { id: 901, store_id: 9, ..Default::default() }],
        ..Default::default()
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let client = pd::client::PdClient::connect(std::slice::from_ref(&address)).await.unwrap();
        let store = kvproto::metapb::Store { id: 9, address: "127.0.0.1:1".into(), ..Default::default() };
        client.bootstrap_cluster(store, lost).await.unwrap();
    });
    let args = ["recreate-region", "-r", "900", "-p", &address];
    let (code, out, _) = run(&path, &[&args[..], &["--dry-run"]].concat());
    assert!(code == 255 && out.contains("overlaps it: tombstone it first"), "{out}");
    for id in ["2", "4"] {
        let undo = pd_dir.path().join(format!("undo{id}"));
        let how = ["--force", "--yes", "--undo-file", undo.to_str().unwrap()];
        assert_eq!(run(&path, &[&["tombstone", "-r", id][..], &how].concat()).0, 0);
    }
    let between = there_and_back(&path, &args);
    let shown: serde_json::Value = serde_json::from_str(between.split("\nkey: ").next().unwrap()).unwrap();
    let regions = shown["region_infos"].as_object().unwrap();
    let (id, new) = regions.iter().find(|(id, _)| !["2", "4"].contains(&id.as_str())).unwrap();
    let region = &new["region_local_state"]["region"];
    assert_eq!(
        (region["region_epoch"]["version"].as_u64(), region["region_epoch"]["conf_ver"].as_u64()),
        (Some(9), Some(1))
    );
    assert_eq!(region["peers"][0]["store_id"], 1);
    assert_eq!(
        (&new["raft_local_state"]["last_index"], &new["raft_apply_state"]["applied_index"]),
        (&5.into(), &5.into())
    );
    assert_eq!(id, &region["id"].to_string());
}

#[test]
fn a_flashback_restores_old_values_and_is_undone() {
    let (dir, path) = store();
    {
        let open = Store::open(dir.path());
        open.put_version(b"big", 22, 23, &[b'N'; 400]);
        open.put_version(b"fresh", 22, 23, b"not there at 15");
    }
    let between = there_and_back(&path, &["flashback", "-v", "15"]);
    assert!(between.len() > shown(&path).len(), "nothing that was committed is removed");
    let undo = dir.path().with_extension("undo");
    let how = ["--yes", "--undo-file", undo.to_str().unwrap()];
    let (code, out, err) = run(&path, &[&["flashback", "-v", "15", "--start-ts", "100"][..], &how].concat());
    assert!(
        code == 0 && out.contains("start_ts 100, commit_ts 101") && out.ends_with("success!\n"),
        "{out}{err}"
    );
    std::fs::remove_file(&undo).unwrap();
    let read = |key: &str| {
        let (_, out, _) = run(&path, &["find", key, "--key-format", "raw", "--format", "json"]);
        let found: serde_json::Value = serde_json::from_str(&out).unwrap();
        found[0]["read"].clone()
    };
    // A read returns the value at timestamp 15. The flashback has removed later values and locks.
    assert_eq!(
        (&read("a")["returned_commit_ts"], &read("a")["lock"]),
        (&101.into(), &serde_json::Value::Null)
    );
    assert!(
        read("a").to_string().contains("first") || read("a")["returned_value"] == "6669727374",
        "{}",
        read("a")
    );
    assert!(read("big")["returned_value"].to_string().contains(&"42".repeat(300)), "{}", read("big"));
    for gone in ["fresh", "n"] {
        assert_eq!(read(gone)["returned_value"], serde_json::Value::Null, "{gone}");
    }
    let (code, out, _) = run(&path, &["recover-mvcc", "--all", "--dry-run"]);
    assert!(code == 0 && out.starts_with("0 changes"), "the records agree: {out}");
    // A second flashback changes only the versions of the first one.
    let (_, out, _) = run(&path, &["flashback", "-v", "101", "--dry-run"]);
    assert!(out.contains("0 changes"), "{out}");
    let (code, _, err) = ctl(&["flashback", "-v", "15"]);
    assert!(code == 1 && err.contains("--data-dir"), "{err}");
}

#[test]
fn a_directory_in_use_is_left_alone() {
    let (dir, path) = store();
    let held = Store::open(dir.path());
    let (code, _, err) =
        run(&path, &["tombstone", "-r", "4", "--force", "--yes", "--undo-file", "/dev/null/x"]);
    assert!(code == 1 && err.contains("stop the server"), "{err}");
    drop(held);
    let (code, out, _) = run(&path, &["compact", "-c", "write"]);
    assert!(code == 0 && out.ends_with("range:[[], []) success!\n"), "{out}");
}

#[test]
fn a_store_is_compared_with_a_copy() {
    let ((_dir, path), (other, there)) = (store(), store());
    let (code, out, _) = run(&path, &["diff", "-r", "4", "--to-data-dir", &there]);
    let state = "region { id: 4 start_key: 6D00000000000000F8 region_epoch { conf_ver: 1 version: 2 } peers { id: 5 \
                 store_id: 1 } }";
    let apply = "applied_index: 7 commit_index: 7 commit_term: 6 truncated_state { index: 5 term: 5 }";
    let same = format!(
        "region id: 4\ndb1 region state: Some({state})\ndb2 region state: Some({state})\ndb1 apply state: Some({apply})\n\
         db2 apply state: Some({apply})\ndb1 and db2 have same data in region: 4\ndb1 has 1 keys, db2 has 1 keys\n"
    );
    assert_eq!((code, out), (0, same));
    Store::open(other.path()).put_version(b"zz", 40, 41, b"more");
    let (_, out, _) = run(&path, &["diff", "-r", "4", "--to-data-dir", &there]);
    assert!(out.contains("only db2 has: zzz") && out.contains("db1 has 1 keys, db2 has 2 keys"), "{out}");
    // Regions that differ are not compared further.
    Store::open(other.path()).put_region(4, b"n", b"");
    let (code, out, _) = run(&path, &["diff", "-r", "4", "--to-data-dir", &there]);
    let differ = "db1 and db2 have different region:\ndb1 region: id: 4 start_key: 6D";
    assert!(code == 0 && out.contains(differ) && out.contains("\ndb2 region: id: 4 start_key: 6E"), "{out}");
    assert!(!out.contains("keys"), "{out}");
}

#[test]
fn a_damaged_sst_is_reported_with_its_regions() {
    let (dir, path) = store();
    let (code, out, _) = run(&path, &["bad-ssts"]);
    let db = std::fs::canonicalize(dir.path().join("db")).unwrap();
    let rule = "-".repeat(56);
    let first = format!("\nstart to print bad ssts; data_dir:{path}; db:{}\n", db.display());
    let last = format!("{rule}\ncorruption analysis has completed\n");
    assert_eq!((code, out), (0, format!("{first}{last}")));
    let (name, mut bytes) = contents(dir.path())
        .into_iter()
        .find(|(name, _)| name.extension().is_some_and(|e| e == "sst"))
        .unwrap();
    bytes[3] ^= 0xff;
    std::fs::write(&name, bytes).unwrap();
    let (code, out, err) = run(&path, &["bad-ssts"]);
    assert!(code == 1 && err.contains("damaged SSTs: 1;"), "{err}");
    assert!(
        out.contains(&format!("tikv-ctl ldb --db={} unsafe_remove_sst_file 0000", db.display())),
        "{out}"
    );
    assert!(out.contains("overlap region:\nid: 2 end_key: 6D"), "{out}");
    assert!(out.contains(&format!("tikv-ctl --data-dir={path} tombstone -r 2 -p <endpoint>\n")), "{out}");
    assert!(
        out.contains("] at level 0 for Column family \"default\"  (ID 0)\nstart key:[1, 1]; end key:[122, "),
        "{out}"
    );
    // Without the SST's records, values would seem to be orphans.
    let before = contents(dir.path());
    let (code, _, err) = run(&path, &["recover-mvcc", "--all", "--yes", "--undo-file", "/dev/null/x"]);
    assert!(code == 1 && err.contains("damaged places") && err.contains("nothing was changed"), "{err}");
    assert!(before == contents(dir.path()), "no byte was changed");
}

#[test]
fn a_snapshot_s_meta_is_dumped_and_another_file_is_refused() {
    use kvproto::raft_serverpb::{SnapshotCfFile, SnapshotMeta};
    use prost::Message;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("gen_1_6_7.meta");
    let file = SnapshotCfFile { cf: "write".into(), size: 10, checksum: 99 };
    std::fs::write(&path, SnapshotMeta { cf_files: vec![file], ..Default::default() }.encode_to_vec())
        .unwrap();
    let (code, out, _) = ctl(&["dump-snap-meta", "-f", path.to_str().unwrap()]);
    assert_eq!((code, out.as_str()), (0, "cf write, size 10, checksum: 99\n"));
    std::fs::write(&path, b"hello world").unwrap();
    let (code, _, err) = ctl(&["dump-snap-meta", "-f", path.to_str().unwrap()]);
    assert!(code == 1 && err.contains(".meta"), "{err}");
}

#[test]
fn rocksdbs_tools_read() {
    let (dir, path) = store();
    let db = format!("--db={path}/db");
    let (code, out, err) = ctl(&["ldb", &db, "list_column_families"]);
    assert!(code == 0 && out.contains("default") && out.contains("raft"), "{out}{err}");
    let (_, out, _) = ctl(&["ldb", &db, "--column_family=write", "--hex", "--max_keys=2", "scan"]);
    assert!(out.lines().count() == 2 && out.starts_with("0x7A61"), "{out}");
    let (_, out, _) = ctl(&["ldb", &db, "manifest_dump"]);
    assert!(out.contains("Column family \"write\""), "{out}");
    let (code, _, err) = ctl(&["ldb", &db, "put", "a", "b"]);
    assert!(code == 1 && err.contains("only reading commands"), "{err}");
    let is_sst = |name: &std::path::PathBuf| name.extension().is_some_and(|e| e == "sst");
    let (name, _) = contents(dir.path()).into_iter().find(|(name, _)| is_sst(name)).unwrap();
    let file = format!("--file={}", name.display());
    let (code, out, err) = ctl(&["sst_dump", &file, "--command=scan", "--output_hex", "--show_properties"]);
    assert!(code == 0 && out.contains("seq:") && out.contains("rocksdb.num.entries"), "{out}{err}");
}

#[test]
fn a_repair_by_script_is_planned_applied_and_undone() {
    let (_dir, path) = store();
    let raft = format!("{path}/raft-engine");
    let other = tempfile::tempdir().unwrap();
    let place = |name: &str| other.path().join(name).to_str().unwrap().to_owned();
    let (script, undo) = (place("script.rhai"), place("undo.json"));
    let text = "fn filter_append(id, first, count, rewrite_count, queue, ifirst, ilast) { if id == 4 { 1 } else { 0 } }";
    std::fs::write(&script, text).unwrap();
    let repair = |args: &[&str]| {
        ctl(&[&["raft-engine-ctl", "--", "repair", "-p", &raft, "-q", "all", "-s", &script], args].concat())
    };
    let entry = |region: &str| run(&path, &["raft", "log", "-r", region, "-i", "7"]).0;
    let before = contents(Path::new(&raft));
    let (code, out, err) = repair(&["--dry-run"]);
    assert!(code == 0 && out.contains("- group 4: entry 6") && !out.contains("- group 2"), "{out}{err}");
    assert!(before == contents(Path::new(&raft)), "--dry-run changes no byte");

    let engine = raft_log_engine::RaftLogEngine::open(&raft, &raft_log_engine::RaftEngineConfig::small());
    let (code, _, err) = repair(&["--yes", "--undo-file", &undo]);
    assert!(code == 1 && err.contains("stop the server"), "{err}");
    drop(engine);
    let before = contents(Path::new(&raft));

    let (code, out, err) = repair(&["--yes", "--undo-file", &undo]);
    assert_eq!((code, out.as_str()), (0, "Repair is done\n"), "{err}");
    assert_eq!((entry("2"), entry("4")), (0, 255));
    let (code, out, err) = ctl(&["undo", &undo, "--yes"]);
    assert_eq!(code, 0, "{out}{err}");
    assert!(before == contents(Path::new(&raft)), "undo restores every byte");
    assert_eq!(entry("4"), 0);

    std::fs::write(&script, "fn (").unwrap();
    let (code, _, err) = repair(&["--dry-run"]);
    assert!(code == 1 && err.contains("the script"), "{err}");
}
