//! A data directory with a RocksDB for each region (`tablets/`) prints the same as one with `db/`.
mod common;

use std::path::Path;

use common::{
    Store, contents, ctl, fill,
    tablets::{add_states, numbered, to_tablets},
};
use kvproto::raft_serverpb::{PeerState, RaftApplyState, RegionLocalState};
use prost::Message;

fn run(dir: &Path, args: &[&str]) -> (u8, String, String) {
    ctl(&[args, &["--data-dir", dir.to_str().unwrap()]].concat())
}

#[test]
fn states_are_those_of_a_server_start() {
    let (plain, tablets) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fill(&Store::open(plain.path()));
    to_tablets(plain.path(), tablets.path(), 0);
    let flushed = [&[6, 3][..], &5u64.to_be_bytes()].concat();
    let apply = RaftApplyState { applied_index: 270, commit_index: 290, ..Default::default() };
    let gone = RegionLocalState { state: PeerState::Tombstone.into(), ..Default::default() };
    add_states(
        tablets.path(),
        &[
            (2, flushed, 280u64.to_be_bytes().to_vec()),
            (2, numbered(4, 270), apply.encode_to_vec()),
            (4, numbered(3, 400), gone.encode_to_vec()),
        ],
    );
    let (code, out, err) = run(tablets.path(), &["raft", "region", "-r", "2"]);
    assert!(
        code == 0 && out.contains("\"applied_index\": 280,\n        \"commit_index\": 290,"),
        "{out}{err}"
    );
    let (code, out, err) = run(tablets.path(), &["raft", "region", "--all-regions", "--format", "jsonl"]);
    assert!(code == 0 && out.contains("\"region_id\":2") && !out.contains("\"region_id\":4"), "{out}{err}");
    let text = |args: &[&str]| run(tablets.path(), args).1;
    let says = |out: &str, what: &str| out.contains(&format!("Not Found {what:?}\n"));
    assert!(says(&text(&["region-properties", "-r", "9"]), "none region 9"));
    assert!(says(&text(&["region-properties", "-r", "4"]), "region 4 is tombstone"));
    assert!(says(&text(&["print", "-k", "zz"]), "Not found region containing [122]"));
    assert!(text(&["print", "-k", "zz\\001"]).contains("Not found region containing [122, 1]"));
    assert!(text(&["print", "-k", "zb"]).contains("/tablets/2_5], support_multi_batch_write"));
}

#[test]
fn tablets_read_as_one_store() {
    let (plain, tablets) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fill(&Store::open(plain.path()));
    to_tablets(plain.path(), tablets.path(), 0);
    let before = contents(tablets.path());
    for args in [
        &["raft", "region", "--all-regions"][..],
        &["raft", "log", "-r", "4", "-i", "7"],
        &["size"],
        &["scan", "-f", "z", "-t", "{", "--show-cf", "default,lock,write", "--key-format", "escaped"],
        &["scan", "-f", "zb", "--limit", "2", "--key-format", "escaped"],
        &["mvcc", "-k", "n", "--key-format", "raw", "--show-cf", "write"],
        &["raw-scan", "-f", "z", "--cf", "write"],
        &["raw-scan", "-f", "z", "-t", "zc"],
        &["print", "-k", "zraw\\001"],
        &["bad-regions"],
        &["store"],
        &["cluster"],
    ] {
        let (code, out, err) = run(tablets.path(), args);
        let (_, want, _) = run(plain.path(), args);
        // The older of two tablet indexes is ignored; the states differ only in the tablet index.
        let out = out.replace("\"applied_index\": 300", "\"applied_index\": 7");
        let out = out.strip_prefix("Debugger for raftstore-v2 is used\n");
        assert_eq!((code, out), (0, Some(want.as_str())), "{args:?}: {err}");
    }
    let (code, out, _) = run(tablets.path(), &["find", "n", "--key-format", "raw"]);
    assert!(code == 0 && out.contains("tablets/4_5") || out.contains(".sst"), "{out}");
    let (code, out, _) = run(tablets.path(), &["region-properties", "-r", "4"]);
    assert!(code == 0 && out.contains("writecf.num_files: 1"), "{out}");
    assert!(before == contents(tablets.path()), "no byte was changed");
    let (code, _, err) = run(tablets.path(), &["reset-to-version", "-v", "1", "--yes"]);
    let says = err.contains("region 2: entries 7 to 7") && err.contains("nothing was changed");
    assert!(code == 1 && says, "what only the Raft log has would come back: {err}");
    let (code, _, err) = run(tablets.path(), &["compact", "-c", "write"]);
    assert!(code == 1 && err.contains("tablets/") && err.contains("nothing was changed"), "{err}");
    assert!(before == contents(tablets.path()), "no byte was changed");
    // A missing tablet is reported, and the others are read.
    std::fs::remove_dir_all(tablets.path().join("tablets/4_5")).unwrap();
    let (_, out, err) = run(tablets.path(), &["raw-scan", "-f", "z", "--cf", "write"]);
    assert!(err.contains("4_5") && err.contains("region 4 is missing") && out.contains("za"), "{out}{err}");
}
