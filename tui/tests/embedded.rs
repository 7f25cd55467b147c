//! Tests of the program on its embedded cluster, from the command line to the printed steps.
#![cfg(feature = "embedded")]
use std::{
    process::{Command, Output},
    time::{Duration, Instant},
};

use tempfile::TempDir;
use tikv_tui::{
    input::Action,
    source::embedded::Embedded,
    state::{Phase, Screen, Start, screen::Options},
};
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
fn a_point_get_has_stages_for_all_time_state_and_stacks() {
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
fn recipes_are_listed_and_unknown_ones_are_errors() {
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
fn an_unknown_directive_is_an_error_before_any_step() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("mistake.txt");
    std::fs::write(&path, "put k1 v1\n----\nok\n\nstpe get k1\n----\n").unwrap();
    let output = run(&["step", path.to_str().unwrap(), "--plain"]);
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(
        !output.status.success() && error.contains("mistake.txt:5") && error.contains("`step [inside] OP`"),
        "{error}"
    );
}

#[test]
fn an_unexpected_output_is_an_error_after_the_steps() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("other.txt");
    let text =
        "cluster stores=1\n----\n1 store\n\nput k1 v1\n----\nok\n\nget k1\n----\nv9\n\nstep get k1\n----\n";
    std::fs::write(&path, text).unwrap();
    let output = run(&["step", path.to_str().unwrap(), "--plain"]);
    let (out, error) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(out.contains("write_cf_found") && out.contains("result: v1"), "{out}");
    assert!(!output.status.success(), "the exit code must report the difference");
    assert!(error.contains("other.txt:11: expected `v9` of `get k1`, found `v1`"), "{error}");
}

#[test]
fn without_a_command_a_point_get_is_printed() {
    let (steps, _) = json(&["--json"]);
    assert!(steps.iter().any(|s| s.stage == "write_cf_found"));
}

/// Writes a scenario into a temporary file.
fn scenario(text: &str) -> (TempDir, String) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("mine.txt");
    std::fs::write(&path, text).unwrap();
    let path = path.to_str().unwrap().to_owned();
    (dir, path)
}

/// The commit of a put, held on the leader; each directive has what it must print.
const HELD: &str = "cluster stores=1
----
1 store

put k1 v1
----
ok

hold raft_propose#2 put k1 v2
----
held at raft_propose on the leader

pause 300
----
engine time stood still, no term changed

rows k1
----
lock    Put ts3 v2
write   ts2 Put ts1 v1

continue brief
----
=> ok

get k1
----
v2
";

#[test]
fn a_hold_prints_the_same_as_in_a_recipe() {
    let (_dir, path) = scenario(HELD);
    for format in ["--plain", "--json"] {
        let output = run(&["step", &path, format]);
        assert!(output.status.success(), "{format}: {}", String::from_utf8_lossy(&output.stderr));
    }
    let (_dir, path) = scenario(&HELD.replace("\nv2\n", "\nv3\n").replace("stood still", "moved"));
    for format in ["--plain", "--json"] {
        let output = run(&["step", &path, format]);
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{format}: {error}");
        assert!(error.contains("mine.txt:15: expected `engine time moved, no term changed`"), "{error}");
        assert!(error.contains("mine.txt:28: expected `v3` of `get k1`, found `v2`"), "{error}");
    }
}

/// Polls the source until `done`.
fn until(screen: &mut Screen, what: &str, done: impl Fn(&Screen) -> bool) {
    let deadline = Instant::now() + Duration::from_secs(120);
    while !done(screen) {
        assert!(screen.failure().is_none() && Instant::now() < deadline, "{what}: {:#?}", screen.log());
        screen.poll();
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn on_the_screen_the_scenario_controls_its_hold() {
    let (_dir, path) = scenario(&HELD.replace("\nv2\n", "\nv3\n"));
    let source = Embedded::start(&path, None, Start::default()).unwrap();
    let mut screen = Screen::new(Box::new(source), Options::default());
    until(&mut screen, "the hold", |s| s.phase() == Phase::Held);
    let steps = screen.timeline().steps();
    let proposed: Vec<usize> = (0..steps.len()).filter(|i| steps[*i].stage == "raft_propose").collect();
    assert_eq!(proposed.len(), 2, "the second visit is held");
    let held: Vec<usize> = (0..steps.len()).filter(|i| screen.timeline().is_held(*i)).collect();
    assert_eq!(held, proposed[1..]);
    for _ in ["pause", "rows", "continue"] {
        screen.act(Action::Next);
    }
    until(&mut screen, "the end", |s| s.phase() == Phase::Finished);
    assert!(
        screen.log().iter().any(|l| l.contains("engine time stood still, no term changed")),
        "{:#?}",
        screen.log()
    );
    until(&mut screen, "the output after the operation", |s| !s.mistakes().is_empty());
    let error = screen.error().unwrap();
    assert!(error.ends_with("mine.txt:28: expected `v3` of `get k1`, found `v2`"), "{error}");
    assert!(screen.message().is_some_and(|m| m.contains("mine.txt:28")), "{:?}", screen.message());
    assert_eq!(screen.step().unwrap().stage, "client_reply");
}

#[test]
fn a_wrong_output_and_an_unreached_stage_are_errors() {
    let one = "cluster stores=1\n----\n\nput k1 v1\n----\n\n";
    let (_dir, path) = scenario(&format!("{one}step get k1\n----\nclient\n  client_reply         client\n"));
    let output = run(&["step", &path, "--plain"]);
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(
        error.contains("mine.txt:10: expected `  client_reply         client` of `step get k1`"),
        "{error}"
    );

    let (_dir, path) = scenario(&format!("{one}hold raft_propose#9 put k1 v2\n----\n"));
    for format in ["--plain", "--json"] {
        let output = run(&["step", &path, format]);
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{error}");
        let wanted = "mine.txt:7: `hold raft_propose#9 put k1 v2`: expected raft_propose at least 9 times";
        assert!(error.contains(wanted), "{error}");
    }
}

#[test]
fn at_the_end_all_latches_are_free() {
    let (steps, _) = json(&["step", "txn_2pc", "--json", "--no-stacks"]);
    let end = steps.iter().rposition(|s| !s.late).unwrap();
    assert_eq!(steps[end].stage, "client_reply");
    assert!(steps[end + 1..].iter().all(|s| s.lane == "replica"));
    let queued = |s: &&Step| s.state.latches.iter().flat_map(|l| &l.slots).any(|slot| !slot.queue.is_empty());
    assert!(steps[..end].iter().filter(queued).count() > 0, "the commit has latches before its end");
    for step in &steps[end..] {
        let mut held = step.state.latches.iter().flat_map(|latches| &latches.slots);
        assert!(held.all(|slot| slot.queue.is_empty()), "{}: {:?}", step.stage, step.state.latches);
    }
    let client: Vec<&str> = steps.iter().filter(|s| s.kind == "client").map(|s| s.stage.as_str()).collect();
    assert_eq!(client, ["client_send", "client_region_cache", "client_region_cache", "client_reply"]);
}
