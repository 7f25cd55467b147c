//! Bad input, and clients that go away.
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{client::Client, common, saved};

fn error(bytes: &[u8]) -> String {
    let mut client = Client::start();
    client.send_bytes(bytes);
    let (_, ended) = client.finish();
    ended.err().map(|e| format!("{e:#}")).unwrap_or_default()
}

#[test]
fn a_malformed_header_ends_the_connection_with_a_sentence() {
    assert!(error(b"hello\r\n\r\n").contains("found `hello`"));
    assert!(error(b"Content-Length: 99999999999999\r\n\r\n{").contains("at most 16777216 bytes"));
    assert!(error(b"Content-Length: 9\r\n\r\n{}").contains("found 2 before the end"));
    assert_eq!(error(b""), "");
}

#[test]
fn a_session_continues_after_a_body_that_is_no_request() {
    let mut client = Client::start();
    client.send_bytes(b"Content-Length: 3\r\n\r\n{x}Content-Length: 2\r\n\r\n[]");
    for _ in 0..2 {
        let line = client.event("output");
        assert!(line["body"]["output"].as_str().unwrap().starts_with("expected a message"), "{line}");
    }
    assert_eq!(client.ask("initialize", json!({}))["success"], true);
    let bad = client.ask("setBreakpoints", json!({ "breakpoints": 7 }));
    assert!(bad["message"].as_str().unwrap().starts_with("setBreakpoints: expected the arguments"), "{bad}");
    let unknown = client.ask("fly", Value::Null);
    assert!(unknown["message"].as_str().unwrap().contains("found `fly`"));
}

#[test]
fn a_client_that_vanishes_ends_its_adapter() {
    let dir = TempDir::new().unwrap();
    let path = saved(&dir, common::point_get());
    let mut client = Client::start();
    let stopped = client.launch("launch", json!({ "replay": path }));
    assert_eq!(stopped["body"]["reason"], "entry");
    client.vanish().unwrap();
}

#[test]
fn a_trace_that_is_cut_short_is_refused_with_its_line() {
    let dir = TempDir::new().unwrap();
    let path = saved(&dir, common::point_get());
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, &text[..text.len() / 2]).unwrap();
    let mut client = Client::start();
    client.ask("initialize", json!({}));
    client.send("launch", json!({ "replay": path }));
    client.event("initialized");
    client.send("configurationDone", Value::Null);
    let launched = client.until(|m| m["command"] == "launch").pop().unwrap();
    let why = launched["message"].as_str().unwrap();
    assert!(why.contains("saved.json:") && why.contains("expected a step"), "{why}");
    client.event("terminated");
}

#[test]
fn a_server_that_does_not_answer_ends_the_session_with_advice() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut client = Client::start();
    client.ask("initialize", json!({}));
    client.send("attach", json!({ "address": format!("127.0.0.1:{port}") }));
    client.event("initialized");
    client.send("configurationDone", Value::Null);
    let lines = client.until(|m| m["event"] == "terminated");
    assert!(
        lines
            .iter()
            .any(|m| m["body"]["output"].as_str().is_some_and(|o| o.contains("no tikv-server answers")))
    );
    let exited = client.event("exited");
    assert_eq!(exited["body"]["exitCode"], 1);
}
