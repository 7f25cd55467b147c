//! Tests of the program on its embedded cluster, from the command line to the printed steps.
#![cfg(feature = "embedded")]
use std::{
    process::{Command, Output},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use recipes::{Cluster, ClusterConfig, client::KvFormat};
use security::SecurityConfig;
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
        (["step", "/dev/zero", "--plain"], "found a device"),
        (["step", "point_get", "--gate=raft_comit"], "raft_commit"),
    ] {
        let output = run(&args);
        assert!(!output.status.success() && output.stdout.is_empty());
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(error.contains(part) && !error.contains("panicked"), "{error}");
    }
}

#[test]
fn the_json_list_has_the_recipes_of_the_plain_one() {
    let listed = |args: &[&str]| {
        let output = run(args);
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let (plain, json) = (listed(&["list"]), listed(&["list", "--json"]));
    assert!(json.lines().count() > 10 && json.lines().count() == plain.lines().count(), "{json}");
    for (line, plain) in json.lines().zip(plain.lines()) {
        let recipe: serde_json::Map<String, serde_json::Value> = serde_json::from_str(line).unwrap();
        assert!(recipe.keys().eq(["name", "title"]), "{line}");
        let (name, title) = plain.split_once(' ').unwrap();
        assert_eq!(
            (recipe["name"].as_str(), recipe["title"].as_str()),
            (Some(name), Some(title.trim_start()))
        );
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

/// A process has one session: only one test at a time steps in this one.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
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
    let _alone = alone();
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
        let wanted = "mine.txt:7: `hold raft_propose#9 put k1 v2`: expected the operation to be held at `raft_propose#9`, found 2 arrivals";
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
    let (outer, inside): (Vec<&str>, Vec<&str>) =
        client.into_iter().partition(|stage| !tracepoints::find_stage(stage).unwrap().inside);
    assert_eq!(outer, ["client_send", "client_region_cache", "client_region_cache", "client_reply"]);
    let shards = inside.iter().filter(|stage| **stage == "client_shard").count();
    assert_eq!(shards, 2, "one region for the prewrite and one for the commit: {inside:?}");
}

/// The Raft state of a step is that of its time, in a run without holds: not the one before, and not a later one.
#[test]
fn each_step_of_a_run_has_the_raft_state_of_its_time() {
    let (steps, _) = json(&["step", "txn_2pc", "--json", "--no-stacks"]);
    let own = |s: &Step| s.state.raft.iter().find(|r| r.store == s.store).cloned().unwrap_or_default();
    let last = |s: &Step| s.fields.get("last").or(s.fields.get("index")).copied().unwrap_or_default();
    let at = |stage: &'static str| steps.iter().filter(move |s| s.stage == stage);
    for stage in ["raft_propose", "raft_ready", "raft_send", "raft_ack", "raft_commit", "follower_ack"] {
        assert!(at(stage).count() >= 2, "{stage} of both proposals");
    }
    for step in ["raft_propose", "raft_ready", "raft_send"].into_iter().flat_map(at) {
        assert!(own(step).last_index >= last(step) && own(step).commit < last(step), "{step:#?}");
    }
    for step in at("follower_append").chain(at("raft_persisted")).chain(at("follower_ack")) {
        assert!(own(step).last_index >= last(step), "{step:#?}");
    }
    for step in at("follower_ack") {
        assert!(own(step).persisted >= last(step), "{step:#?}");
    }
    for step in at("raft_ack") {
        let Some(quorum) = step.state.facts.iter().find(|f| f.title == "Quorum") else {
            // The run does not wait for the last acknowledgement: it may end between this stamp and the facts.
            assert!(step.late, "{step:#?}");
            continue;
        };
        let committed = own(step).commit >= last(step);
        assert_eq!(quorum.outcome.ends_with("committed"), committed, "{step:#?}");
    }
    for step in at("raft_commit") {
        assert!(own(step).commit >= last(step) && own(step).applied < last(step), "{step:#?}");
    }
}

#[test]
fn an_operation_is_stepped_on_an_own_cluster() {
    let (steps, summary) = json(&["run", "begin put a 1; put b 2; commit", "--json"]);
    assert!(summary.accounted >= 0.99, "{summary:?}");
    let of = |kind: &str| steps.iter().filter(|s| s.kind == kind && s.stage == "grpc_reply").count();
    assert_eq!((of("kv_prewrite"), of("kv_commit")), (1, 1), "both keys are in one region");
    let output = run(&["run", "put", "k1", "v1", "|", "get", "k2", "--plain"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("lock_cf_get") && text.contains("raft_propose"), "{text}");
    assert!(text.contains("result: ok | (none)"), "{text}");
}

#[test]
fn an_operation_is_stepped_on_a_running_cluster() {
    let _alone = alone();
    let cluster = Cluster::start(ClusterConfig::default()).unwrap();
    let pd = cluster.pd_endpoint();
    let (steps, _) = json(&["run", "put k1 v1", "--pd", &pd, "--json", "--gate", "raft_propose#2"]);
    for kind in ["kv_prewrite", "kv_commit"] {
        let stages: Vec<&str> = steps.iter().filter(|s| s.kind == kind).map(|s| s.stage.as_str()).collect();
        assert!(stages.contains(&"grpc_receive") && stages.contains(&"apply_write"), "{kind}: {stages:?}");
    }
    let client: Vec<&str> = steps.iter().filter(|s| s.kind == "client").map(|s| s.stage.as_str()).collect();
    assert_eq!((client.first(), client.last()), (Some(&"client_send"), Some(&"client_reply")), "{client:?}");
    assert_eq!(client.iter().filter(|stage| **stage == "client_region_cache").count(), 2, "{client:?}");
    let at = |kind: &str| steps.iter().position(|s| s.kind == kind).unwrap();
    assert!(at("client") < at("kv_prewrite"), "the client begins: {:?}", steps[0]);
    let output = run(&["run", "get k1", "--pd", &pd, "--plain"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("write_cf_found") && text.contains("result: v1"), "{text}");
    assert_eq!(text.matches("grpc_receive").count(), 1, "{text}");
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(!errors.contains("panicked"), "{errors}");
    // The client sorts the keys: its requests begin with a.
    let (steps, _) = json(&["run", "begin put b 2; put a 1; commit", "--pd", &pd, "--json"]);
    for kind in ["kv_prewrite", "kv_commit"] {
        assert!(steps.iter().any(|s| s.kind == kind), "{kind} is not stepped");
    }
}

#[test]
fn an_operation_is_stepped_in_a_keyspace_of_a_running_cluster() {
    let _alone = alone();
    let config = ClusterConfig { stores: 1, api: KvFormat::V2, ..ClusterConfig::default() };
    let cluster = Cluster::start(config).unwrap();
    let pd = cluster.pd_endpoint();
    let (steps, _) = json(&["run", "put k1 v1", "--pd", &pd, "--keyspace", "DEFAULT", "--json"]);
    for kind in ["kv_prewrite", "kv_commit"] {
        assert!(steps.iter().any(|s| s.kind == kind && s.stage == "apply_write"), "{kind} is not stepped");
    }
    let output = run(&["run", "get k1", "--pd", &pd, "--keyspace", "DEFAULT", "--plain"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("write_cf_found") && text.contains("result: v1"), "{text}");
}

#[test]
fn an_operation_is_stepped_on_a_running_cluster_with_tls() {
    let _alone = alone();
    let path = |name: &str| std::path::absolute("../engine/security/tests/data").unwrap().join(name);
    let files = |who: &str| [path("ca.pem"), path(&format!("{who}.pem")), path(&format!("{who}-key.pem"))];
    let [ca, cert, key] = files("server");
    let security = SecurityConfig::from_paths(Some(&ca), Some(&cert), Some(&key));
    let config = ClusterConfig { stores: 1, security, ..ClusterConfig::default() };
    let cluster = Cluster::start(config).unwrap();
    let pd = cluster.pd_endpoint();
    let files = files("client").map(|file| file.to_str().unwrap().to_owned());
    let [ca, cert, key] = files.each_ref().map(String::as_str);
    let tls = ["--pd", pd.as_str(), "--ca-path", ca, "--cert-path", cert, "--key-path", key];
    let with = |args: [&'static str; 3]| args.into_iter().chain(tls).collect::<Vec<&str>>();
    let (steps, _) = json(&with(["run", "put k1 v1", "--json"]));
    for kind in ["kv_prewrite", "kv_commit"] {
        assert!(steps.iter().any(|s| s.kind == kind && s.stage == "apply_write"), "{kind} is not stepped");
    }
    let output = run(&with(["run", "get k1", "--plain"]));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("write_cf_found") && text.contains("result: v1"), "{text}");
    let refused = run(&["run", "get k1", "--pd", &pd, "--plain"]);
    let error = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && refused.stdout.is_empty(), "without a certificate: {error}");
    assert!(!error.contains("panicked"), "{error}");
}

#[test]
fn a_wrong_operation_or_gate_is_an_error_before_any_step() {
    for (args, part) in [
        (["run", "fetch k1", "--plain"], "get KEY"),
        (["run", "begin put a 1", "--plain"], "expected `commit` or `rollback`"),
        (["run", "commit t", "--plain"], "expected `begin t` before"),
        (["run", "get k1", "--pd=127.0.0.1:1"], "no PD answers at 127.0.0.1:1"),
        (["run", "follower-get k1", "--pd=127.0.0.1:1"], "which only a recipe can step"),
        (["step", "point_get", "--gate=write_cf_found if commit_ts >"], "found the end at column"),
        (["step", "point_get", "--gate=write_cf_found if comit_ts > ts1"], "its fields are commit_ts"),
        (["step", "point_get", "--gate=nowhere"], "expected a stage of the catalogue, found `nowhere`"),
        (["step", "point_get", "--gate=point_getter.rs:1"], "the nearest stage of the file is"),
        (["step", "point_get", "--gate=raft_ack"], "only observed"),
    ] {
        let output = run(&args);
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && output.stdout.is_empty(), "{args:?}");
        assert!(
            error.contains(part) && error.contains("expected") || error.contains("no PD"),
            "{args:?}: {error}"
        );
    }
}

#[test]
fn an_operation_of_the_user_follows_that_of_the_scenario() {
    let _alone = alone();
    let (_dir, path) = scenario("cluster stores=1\n----\n\nstep put k1 v1\n----\n\nstep get k2\n----\n");
    let source = Embedded::start(&path, None, Start::default()).unwrap();
    let mut screen = Screen::new(Box::new(source), Options::default());
    let ended = |s: &Screen, title: &str| s.timeline().operation() == title && s.phase() == Phase::Finished;
    until(&mut screen, "the first operation", |s| s.phase() == Phase::Held);
    screen.act(Action::Operation);
    screen.on_paste("get k1");
    press(&mut screen, KeyCode::Enter);
    let refused = format!("{:?}", screen.overlay());
    assert!(refused.contains("expected no running operation"), "{refused}");
    press(&mut screen, KeyCode::Esc);
    screen.act(Action::Run);
    until(&mut screen, "its end", |s| ended(s, "put k1 v1"));
    screen.act(Action::Operation);
    screen.on_paste("pessimistic-lock t1 k1");
    press(&mut screen, KeyCode::Enter);
    until(&mut screen, "the refusal", |s| s.message().is_some_and(|m| m.contains("pessimistic-begin t1")));
    screen.act(Action::Operation);
    screen.on_paste("get k1");
    press(&mut screen, KeyCode::Enter);
    until(&mut screen, "the own operation", |s| {
        s.timeline().operation() == "get k1" && s.phase() == Phase::Held
    });
    screen.act(Action::Run);
    until(&mut screen, "its end", |s| ended(s, "get k1"));
    assert_eq!(screen.timeline().ending().unwrap().outcome, "v1");
    screen.act(Action::NextOperation);
    until(&mut screen, "the scenario's next one", |s| {
        s.timeline().operation() == "get k2" && s.phase() == Phase::Held
    });
    screen.act(Action::Run);
    until(&mut screen, "its end", |s| ended(s, "get k2"));
    // Up to the second operation's step in a new run.
    let seek = screen.timeline().steps().iter().position(|s| s.stage == "lock_cf_get").unwrap();
    while screen.timeline().cursor() > seek {
        screen.act(Action::Back);
    }
    screen.act(Action::RunToStep);
    until(&mut screen, "the hold", |s| {
        s.timeline().operation() == "get k2"
            && s.phase() == Phase::Held
            && s.step().is_some_and(|step| step.stage == "lock_cf_get")
    });
    screen.act(Action::Restart);
    until(&mut screen, "the scenario's begin", |s| {
        s.timeline().operation() == "put k1 v1" && s.phase() == Phase::Held
    });
}

/// Waits until the thread of the source has ended its cluster and its session: on a busy machine, it outlives the drop,
/// which waits for a bounded time. A session that it begins later would be in the way of the next one.
fn nothing_is_stepped() {
    let deadline = Instant::now() + Duration::from_secs(120);
    let wait = |what: &str| {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    };
    while !recipes::temporary::own().is_empty() {
        wait("a cluster still runs");
    }
    while let Err(e) = tracepoints::Session::start(tracepoints::SessionConfig::default()) {
        wait(&e.to_string());
    }
}

#[test]
fn quitting_at_any_moment_releases_the_operation() {
    let _alone = alone();
    let (_dir, path) = scenario("cluster stores=1\n----\n\nstep put k1 v1\n----\n\nstep get k2\n----\n");
    let screen = || {
        let source = Embedded::start(&path, None, Start::default()).unwrap();
        Screen::new(Box::new(source), Options::default())
    };
    // Before the first operation begins: it runs to its end, and no other one follows.
    drop(screen());
    nothing_is_stepped();
    // While it is held.
    let mut held = screen();
    until(&mut held, "the hold", |s| s.phase() == Phase::Held);
    drop(held);
    nothing_is_stepped();
    // Between two operations.
    let mut between = screen();
    until(&mut between, "the hold", |s| s.phase() == Phase::Held);
    between.act(Action::Run);
    until(&mut between, "the end", |s| s.phase() == Phase::Finished);
    drop(between);
    nothing_is_stepped();
    // While a scenario holds it.
    let (_dir, path) = scenario(HELD);
    let mut scripted =
        Screen::new(Box::new(Embedded::start(&path, None, Start::default()).unwrap()), Options::default());
    until(&mut scripted, "the hold of the scenario", |s| s.phase() == Phase::Held && s.is_scripted());
    drop(scripted);
    nothing_is_stepped();
}

#[test]
fn a_refused_operation_is_not_the_one_that_runs_again() {
    let _alone = alone();
    let source = Embedded::start_operation("get k1", None, Start::default()).unwrap();
    let mut screen = Screen::new(Box::new(source), Options::default());
    let of = |s: &Screen, title: &str, phase: Phase| s.timeline().operation() == title && s.phase() == phase;
    let own = |screen: &mut Screen, text: &str| {
        screen.act(Action::Operation);
        screen.on_paste(text);
        press(screen, KeyCode::Enter);
    };
    until(&mut screen, "the first operation", |s| of(s, "get k1", Phase::Held));
    screen.act(Action::Run);
    until(&mut screen, "its end", |s| of(s, "get k1", Phase::Finished));
    own(&mut screen, "put k2 v2");
    until(&mut screen, "the own operation", |s| of(s, "put k2 v2", Phase::Held));
    screen.act(Action::Run);
    until(&mut screen, "its end", |s| of(s, "put k2 v2", Phase::Finished));
    own(&mut screen, "pessimistic-lock t1 k1");
    until(&mut screen, "the refusal", |s| s.message().is_some_and(|m| m.contains("pessimistic-begin t1")));
    assert_eq!(screen.timeline().operation(), "put k2 v2", "the steps of the one before stay");
    screen.act(Action::Restart);
    until(&mut screen, "the own operation again", |s| of(s, "put k2 v2", Phase::Held));
}

fn press(screen: &mut Screen, key: KeyCode) {
    screen.on_key(KeyEvent::new(key, KeyModifiers::NONE));
}
