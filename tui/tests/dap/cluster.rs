//! Sessions on the embedded cluster.
use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
    sync::{Mutex, MutexGuard, PoisonError, mpsc},
    time::Duration,
};

use recipes::{
    Cluster, ClusterConfig,
    client::{Clients, KvFormat},
    directive::parse_operation,
};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tracepoints::Req;

use super::client::Client;

/// A process has one cluster whose requests are stepped.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn stage(client: &mut Client) -> String {
    let found = client.ask("evaluate", json!({ "expression": "stage" }));
    found["body"]["result"].as_str().unwrap_or_else(|| panic!("{found}")).to_owned()
}

fn go(client: &mut Client, command: &str) -> (String, Value) {
    assert_eq!(client.ask(command, json!({ "threadId": 1 }))["success"], true, "{command}");
    let stopped = client.event("stopped");
    (stage(client), stopped["body"].clone())
}

#[test]
fn one_operation_is_stepped_to_its_end_and_back() {
    let _alone = alone();
    let mut client = Client::start();
    client.ask("initialize", json!({ "supportsProgressReporting": true }));
    client.send("launch", json!({ "operation": "get k1", "setup": ["put k1 v1"] }));
    client.event("initialized");
    let at = json!({ "breakpoints": [{ "name": "PointGetter::load_data" }] });
    let set = client.ask("setFunctionBreakpoints", at);
    assert_eq!(set["body"]["breakpoints"][0]["verified"], true, "{set}");
    client.send("configurationDone", Value::Null);
    let begun = client.until(|m| m["event"] == "stopped");
    let events: Vec<&str> = begun.iter().filter_map(|m| m["event"].as_str()).collect();
    for expected in ["progressStart", "progressEnd", "thread"] {
        assert!(events.contains(&expected), "{expected}: {events:?}");
    }
    assert_eq!(stage(&mut client), "client_send");
    let (found, stopped) = go(&mut client, "continue");
    assert_eq!((found.as_str(), &stopped["reason"]), ("write_cf_seek", &json!("breakpoint")));
    let frames = client.ask("stackTrace", json!({ "threadId": stopped["threadId"] }));
    let frames = frames["body"]["stackFrames"].as_array().unwrap();
    let names: Vec<&str> = frames.iter().filter_map(|f| f["name"].as_str()).collect();
    assert!(
        names[0].contains("PointGetter") && names.iter().any(|n| n.starts_with("RPC kv_get")),
        "{names:?}"
    );
    assert!(frames.iter().any(|f| f["presentationHint"] == "subtle"), "runtime frames: {names:?}");
    let scopes = client.ask("scopes", json!({ "frameId": frames[0]["id"] }));
    let scopes: Vec<&str> =
        scopes["body"]["scopes"].as_array().unwrap().iter().filter_map(|s| s["name"].as_str()).collect();
    assert!(scopes.contains(&"Raft") && scopes.contains(&"Rows") && scopes.contains(&"Lease"), "{scopes:?}");
    let (next, _) = go(&mut client, "next");
    assert_eq!(next, "write_cf_found");
    assert_eq!(go(&mut client, "stepBack").0, "write_cf_seek");
    client.ask("setFunctionBreakpoints", json!({ "breakpoints": [{ "name": "write_cf_seek" }] }));
    assert_eq!(go(&mut client, "stepOut").0, "client_reply");
    let (last, stopped) = go(&mut client, "continue");
    assert_eq!(last, "client_reply");
    assert!(stopped["description"].as_str().unwrap().contains("has ended: v1"), "{stopped}");
    assert_eq!(go(&mut client, "reverseContinue").0, "write_cf_seek");
    assert_eq!(go(&mut client, "continue").0, "client_reply");
    client.ask("continue", json!({ "threadId": 1 }));
    client.event("terminated");
    assert_eq!(client.event("exited")["body"]["exitCode"], 0);
    client.ask("disconnect", Value::Null);
    client.finish().1.unwrap();
}

#[test]
fn a_session_that_ends_during_the_start_ends_its_progress() {
    let _alone = alone();
    let mut client = Client::start();
    client.ask("initialize", json!({ "supportsProgressReporting": true }));
    client.send("launch", json!({ "operation": "get k1" }));
    client.event("initialized");
    client.send("configurationDone", Value::Null);
    client.event("progressStart");
    client.send("terminate", Value::Null);
    let ended = client.until(|m| m["event"] == "terminated");
    assert!(ended.iter().any(|m| m["event"] == "progressEnd"), "{ended:?}");
    client.ask("disconnect", Value::Null);
    client.finish().1.unwrap();
}

#[test]
fn a_client_that_vanishes_while_a_request_is_held_releases_it() {
    let _alone = alone();
    for _ in 0..2 {
        let mut client = Client::start();
        let stopped = client.launch("launch", json!({ "recipe": "point_get" }));
        assert_eq!(stopped["body"]["reason"], "entry");
        assert_eq!(go(&mut client, "next").0, "pd_tso");
        // Ends only if nothing is held any more: the stores stop, and a second cluster starts.
        client.vanish().unwrap();
    }
}

#[test]
fn a_second_client_is_refused_while_the_first_one_steps() {
    let _alone = alone();
    let mut first = Client::start();
    first.launch("launch", json!({ "operation": "get k1" }));
    let mut second = Client::start();
    second.ask("initialize", json!({}));
    let refused = second.ask("launch", json!({ "recipe": "point_get" }));
    assert!(refused["message"].as_str().unwrap().contains("another client"), "{refused}");
    first.ask("disconnect", Value::Null);
    first.finish().1.unwrap();
    // The refused client may try again.
    second.send("launch", json!({ "operation": "get k1" }));
    second.event("initialized");
    second.ask("disconnect", Value::Null);
}

#[test]
fn a_changed_value_stops_a_write() {
    let _alone = alone();
    let mut client = Client::start();
    client.launch("launch", json!({ "operation": "put k1 v2" }));
    let set = client.ask("setDataBreakpoints", json!({ "breakpoints": [{ "dataId": "raft/2/1/commit" }] }));
    assert_eq!(set["body"]["breakpoints"][0]["verified"], true, "{set}");
    let (_, stopped) = go(&mut client, "continue");
    assert_eq!(stopped["reason"], "data breakpoint", "{stopped}");
    assert!(stopped["description"].as_str().unwrap().contains(" → "), "{stopped}");
    client.ask("terminate", Value::Null);
    client.event("terminated");
}

#[test]
fn a_step_of_a_scenario_is_reached_by_its_line() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("two.txt");
    std::fs::write(&path, "cluster stores=1\n----\n\nstep put k1 v1\n----\n\nstep get k1\n----\n").unwrap();
    let mut client = Client::start();
    let stopped = client.launch("launch", json!({ "scenario": path, "line": 7 }));
    assert_eq!(stopped["body"]["reason"], "entry");
    let at = client.ask("tikv/path", Value::Null);
    assert_eq!(at["body"]["operation"], "get k1");
    client.ask("disconnect", Value::Null);
}

#[test]
fn conditions_hit_counts_and_errors_hold_in_the_engine() {
    let _alone = alone();
    let mut client = Client::start();
    let setup = ["put k1 v1", "put k1 v2", "lock k2 v ttl=1"];
    let gates = ["raft_propose#2 if store > 0"];
    client.ask("initialize", json!({}));
    let operation = "begin get k1; get k2; put k1 v3; commit";
    client.send("launch", json!({ "operation": operation, "setup": setup, "gates": gates }));
    client.event("initialized");
    let at =
        |condition: &str| json!({ "breakpoints": [{ "name": "write_cf_found", "condition": condition }] });
    let bad = client.ask("setFunctionBreakpoints", at("comit_ts > ts1"));
    let message = bad["body"]["breakpoints"][0]["message"].as_str().unwrap();
    assert!(message.contains("found `comit_ts`; its fields are commit_ts"), "{bad}");
    let set = client.ask("setFunctionBreakpoints", at("commit_ts < ts1 and write_type == Put"));
    assert_eq!(set["body"]["breakpoints"][0]["verified"], true, "{set}");
    client.ask("setExceptionBreakpoints", json!({ "filters": ["any_error"] }));
    client.send("configurationDone", Value::Null);
    client.event("stopped");
    let (found, stopped) = go(&mut client, "continue");
    assert_eq!((found.as_str(), &stopped["reason"]), ("write_cf_found", &json!("breakpoint")), "{stopped}");
    let (found, stopped) = go(&mut client, "continue");
    assert_eq!((found.as_str(), &stopped["reason"]), ("grpc_reply", &json!("exception")), "{stopped}");
    assert!(stopped["description"].as_str().unwrap().contains("with a key error"), "{stopped}");
    client.ask("setFunctionBreakpoints", json!({ "breakpoints": [] }));
    let (found, stopped) = go(&mut client, "continue");
    assert_eq!((found.as_str(), &stopped["reason"]), ("raft_propose", &json!("breakpoint")), "{stopped}");
    client.ask("terminate", Value::Null);
    client.event("terminated");
}

/// A cluster with a client, as another program would have one.
struct Running {
    clients: Clients,
    cluster: Cluster,
    runtime: Runtime,
}

impl Running {
    fn start() -> Self {
        let cluster = Cluster::start(ClusterConfig::default()).unwrap();
        let runtime = Runtime::new().unwrap();
        let pd = cluster.pd_endpoint();
        let clients = Clients::connect(&pd, KvFormat::V1);
        let clients =
            runtime.block_on(async { tokio::time::timeout(BOUND, clients).await }).unwrap().unwrap();
        Self { clients, cluster, runtime }
    }

    /// Begins an operation of the client.
    fn begin(&self, operation: &str) -> mpsc::Receiver<String> {
        let (op, clients) = (parse_operation(operation).unwrap(), self.clients.clone());
        let (sender, answer) = mpsc::channel();
        self.runtime.spawn(async move {
            let result = clients.run(&op, Req::NONE, &BTreeMap::new(), None).await;
            sender.send(result.unwrap_or_else(|e| format!("error: {e:#}"))).unwrap();
        });
        answer
    }

    /// The address of the store that leads the region of a key.
    fn leader(&self, key: &[u8]) -> String {
        let leader = self.cluster.leader_of(key).unwrap();
        let server = self.cluster.servers().find(|server| server.store_id() == leader).unwrap();
        server.addr().to_string()
    }
}

/// Bound of each wait.
const BOUND: Duration = Duration::from_secs(60);

/// Attaches and steps one get of a real client.
fn attach_and_step(client: &mut Client, running: &Running, arguments: Value) {
    client.ask("initialize", json!({}));
    client.send("attach", arguments);
    client.event("initialized");
    let at = json!({ "breakpoints": [{ "name": "mvcc_get", "condition": "key == k1" }] });
    let set = client.ask("setFunctionBreakpoints", at);
    assert_eq!(set["body"]["breakpoints"][0]["verified"], true, "{set}");
    client.ask("configurationDone", json!({}));
    client
        .until(|m| m["body"]["output"].as_str().is_some_and(|line| line.contains("waiting for a matching")));
    let answer = running.begin("get k1");
    client.event("stopped");
    assert_eq!(stage(client), "grpc_receive", "held at its first stage on the store");
    let (found, stopped) = go(client, "continue");
    assert_eq!((found.as_str(), &stopped["reason"]), ("mvcc_get", &json!("breakpoint")), "{stopped}");
    assert!(answer.try_recv().is_err(), "the client waits");
    let (_, stopped) = go(client, "continue");
    assert!(stopped["description"].as_str().unwrap().contains("has ended"), "{stopped}");
    assert_eq!(answer.recv_timeout(BOUND).unwrap(), "v1");
    client.ask("disconnect", Value::Null);
}

#[test]
fn a_request_of_a_cluster_is_attached_to_by_its_server_or_pd() {
    let _alone = alone();
    let running = Running::start();
    assert_eq!(running.begin("put k1 v1").recv_timeout(BOUND).unwrap(), "ok");
    let pd = running.cluster.pd_endpoint();
    for arguments in [
        json!({ "address": running.leader(b"k1"), "key": "k1", "kind": "kv_get" }),
        json!({ "pd": pd, "key": "k1" }),
    ] {
        let mut client = Client::start();
        attach_and_step(&mut client, &running, arguments);
        client.finish().1.unwrap();
    }
}

/// Ends the program at the end of the test.
struct Adapter(Child);

impl Drop for Adapter {
    fn drop(&mut self) {
        self.0.kill().and_then(|()| self.0.wait()).unwrap();
    }
}

#[test]
fn an_adapter_on_a_port_attaches_to_a_running_cluster() {
    let _alone = alone();
    let running = Running::start();
    assert_eq!(running.begin("put k1 v1").recv_timeout(BOUND).unwrap(), "ok");
    let mut adapter = Command::new(env!("CARGO_BIN_EXE_tikv-tui"));
    let adapter = adapter.args(["dap", "--port", "0"]).stderr(Stdio::piped()).spawn().unwrap();
    let mut adapter = Adapter(adapter);
    let mut line = String::new();
    BufReader::new(adapter.0.stderr.take().unwrap()).read_line(&mut line).unwrap();
    let port = line.trim().rsplit(':').next().unwrap().parse().unwrap_or_else(|e| panic!("{line}: {e}"));
    for _ in 0..2 {
        let mut client = Client::connect(port);
        attach_and_step(&mut client, &running, json!({ "address": running.leader(b"k1"), "key": "k1" }));
    }
}
