//! The help of every command equals the recorded one. `UPDATE_HELP=1 cargo test -p tikv-ctl --test help`
//! rewrites the record.

mod common;

use common::ctl;

const COMMANDS: &[&[&str]] = &[
    &[],
    &["raft"],
    &["raft", "log"],
    &["raft", "region"],
    &["region"],
    &["size"],
    &["scan"],
    &["raw-scan"],
    &["print"],
    &["mvcc"],
    &["bad-regions"],
    &["region-properties"],
    &["range-properties"],
    &["store"],
    &["cluster"],
    &["show-cluster-id"],
    &["metrics"],
    &["consistency-check"],
    &["get-region-read-progress"],
    &["raft-engine-ctl"],
    &["encryption-meta"],
    &["encryption-meta", "dump-key"],
    &["encryption-meta", "dump-file"],
    &["diff"],
    &["dump-snap-meta"],
    &["bad-ssts"],
    &["ldb"],
    &["sst_dump"],
    &["compact"],
    &["compact-cluster"],
    &["split-region"],
    &["fail"],
    &["fail", "inject"],
    &["fail", "recover"],
    &["fail", "list"],
    &["modify-tikv-config"],
    &["tombstone"],
    &["recover-mvcc"],
    &["unsafe-recover"],
    &["unsafe-recover", "remove-fail-stores"],
    &["unsafe-recover", "drop-unapplied-raftlog"],
    &["recreate-region"],
    &["reset-to-version"],
    &["flashback"],
    &["cleanup-encryption-meta"],
    &["decrypt-file"],
    &["undo"],
    &["inflight"],
    &["keep"],
    &["kept"],
    &["sst"],
    &["key"],
    &["find"],
    &["completions"],
    &["man"],
    &["manifest"],
    &["wal"],
    &["lsm"],
    &["log"],
    &["flamegraph"],
    &["flamegraph", "diff"],
];

#[test]
fn help_is_as_recorded() {
    let file = "tests/help/help.txt";
    let mut all = String::new();
    for command in COMMANDS {
        let args: Vec<&str> = command.iter().chain(&["--help"]).copied().collect();
        let (code, out, err) = ctl(&args);
        assert_eq!((code, err.as_str()), (0, ""), "{command:?}");
        all.push_str(&format!("$ tikv-ctl {}\n{out}\n", args.join(" ")));
    }
    if std::env::var_os("UPDATE_HELP").is_some() {
        std::fs::write(file, &all).unwrap();
    }
    let recorded = std::fs::read_to_string(file).unwrap();
    assert!(all == recorded, "the help changed; look at it, then run with UPDATE_HELP=1:\n{all}");
}

#[test]
fn wrong_flags_fail_with_a_hint() {
    let (code, out, err) = ctl(&["raft", "log", "-r", "2"]);
    assert!(code == 2 && out.is_empty() && err.contains("Usage"), "{err}");
    let (code, _, err) = ctl(&["nonsense"]);
    assert!(code == 2 && err.contains("nonsense"), "{err}");
}
