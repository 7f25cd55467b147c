//! The program on its embedded cluster, from the command line to the printed steps.
#![cfg(feature = "embedded")]
use std::process::{Command, Output};

use tracepoints::trace::{Step, Summary};

fn run(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tikv-tui")).args(args).output().unwrap()
}

fn json(args: &[&str]) -> (Vec<Step>, Summary) {
    let output = run(args);
    let (out, err) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{args:?}: {err}");
    let (mut steps, mut summary) = (Vec::new(), None);
    for line in out.lines() {
        let mut value: serde_json::Value = serde_json::from_str(line).unwrap();
        match value.get_mut("summary") {
            Some(s) => summary = Some(serde_json::from_value(s.take()).unwrap()),
            None => steps.push(serde_json::from_value(value).unwrap()),
        }
    }
    (steps, summary.expect("a summary is the last line"))
}

#[test]
fn a_real_point_get_is_accounted_for_with_its_state_and_stacks() {
    let (steps, summary) = json(&["step", "point_get", "--json", "--gate", "lock_cf_get"]);
    assert!(summary.accounted >= 0.99 && summary.dropped == 0, "{summary:?}");
    let at = |stage: &str| steps.iter().find(|s| s.stage == stage).unwrap_or_else(|| panic!("no {stage}"));
    assert_eq!(
        (steps[0].stage.as_str(), steps[steps.len() - 1].stage.as_str()),
        ("client_send", "client_reply")
    );
    let found = at("write_cf_found");
    assert!(found.stack.iter().any(|f| f.file.ends_with("mvcc/reader/point_getter.rs") && f.line > 0));
    let mvcc = found.state.mvcc.as_ref().expect("the rows of the key");
    assert!(mvcc.chosen.is_some() && mvcc.writes.iter().any(|w| Some(w.commit_ts) == mvcc.chosen));
    assert!(
        found.state.raft.iter().any(|r| r.role == "Leader" && r.lease.is_some()),
        "{:?}",
        found.state.raft
    );
    for step in &steps {
        assert!(tikv_tui::state::code::packed(&step.file).is_some(), "{} is packed", step.file);
    }
}

#[test]
fn recipes_are_listed_and_an_unknown_one_brings_the_near_ones() {
    let list = String::from_utf8(run(&["list"]).stdout).unwrap();
    for name in ["point_get", "txn_2pc", "leader_change_during_commit"] {
        assert!(list.lines().any(|l| l.starts_with(name)), "{list}");
    }
    for (args, part) in [
        (["step", "point_gte", "--plain"], "point_get"),
        (["step", "/no/such/file.txt", "--plain"], "/no/such/file.txt"),
        (["step", "point_get", "--gate=raft_comit"], "raft_commit"),
    ] {
        let output = run(&args);
        assert!(!output.status.success() && output.stdout.is_empty());
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(error.contains(part) && !error.contains("panicked"), "{error}");
    }
}

#[test]
fn a_scenario_with_a_mistake_names_its_line() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("mistake.txt");
    std::fs::write(&path, "title: x\nabout: y\n\nstep gett k1\n----\n").unwrap();
    let output = run(&["step", path.to_str().unwrap(), "--plain"]);
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && error.contains("mistake.txt:4"), "{error}");
}

#[test]
fn a_word_that_is_no_directive_is_named_before_that_nothing_is_stepped() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("mistake.txt");
    std::fs::write(&path, "put k1 v1\n----\nok\n\nstpe get k1\n----\n").unwrap();
    let output = run(&["step", path.to_str().unwrap(), "--plain"]);
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(
        !output.status.success() && error.contains("mistake.txt:5") && error.contains("`step OP`"),
        "{error}"
    );
}

#[test]
fn an_output_that_the_scenario_did_not_expect_is_told_after_the_steps() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("other.txt");
    let text =
        "cluster stores=1\n----\n1 store\n\nput k1 v1\n----\nok\n\nget k1\n----\nv9\n\nstep get k1\n----\n";
    std::fs::write(&path, text).unwrap();
    let output = run(&["step", path.to_str().unwrap(), "--plain"]);
    let (out, error) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(out.contains("write_cf_found") && out.contains("result: v1"), "{out}");
    assert!(!output.status.success(), "whoever calls must see it");
    assert!(error.contains("other.txt:11: expected `v9` of `get k1`, found `v1`"), "{error}");
}

#[test]
fn without_a_command_a_point_get_is_printed() {
    let (steps, _) = json(&["--json"]);
    assert!(steps.iter().any(|s| s.stage == "write_cf_found"));
}
