//! Sessions on the embedded cluster.
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};

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
