//! Flame graphs from a trace file, and from a status server that answers as TiKV's does.

mod common;

use std::{
    io::{BufRead, BufReader, Write},
    net::TcpListener,
};

use common::ctl;
use prost::Message;
use tracepoints::{
    request::{RequestInfo, RequestKind},
    trace::{Step, TraceRecord},
    trace_file::TraceFileWriter,
};

fn step(stage: &str, lane: &str, dur_ns: u64) -> Step {
    let text = str::to_owned;
    Step { stage: text(stage), lane: text(lane), kind: text("kv_get"), dur_ns, store: 2, ..Step::default() }
}

#[test]
fn a_trace_file_folds_to_its_stages() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("one.trace");
    let request =
        RequestInfo { id: 1, parent: 0, kind: RequestKind::KvGet, key: b"k".to_vec(), region: 2, store: 2 };
    let steps = vec![
        step("GRPC_RECEIVE", "main", 300),
        step("MVCC_GET", "main", 700),
        step("RAFT_APPEND", "replica", 50),
    ];
    let mut writer = TraceFileWriter::create(&path).unwrap();
    writer.trace(&TraceRecord { requests: vec![request], steps, ..TraceRecord::default() }).unwrap();
    writer.finish().unwrap();
    let path = path.display().to_string();
    let (code, out, err) = ctl(&["flamegraph", "--trace", &path, "--folded"]);
    assert_eq!((code, out.as_str()), (0, "kv_get;GRPC_RECEIVE 300\nkv_get;MVCC_GET 700\n"), "{err}");
    let (_, out, _) = ctl(&["flamegraph", "--trace", &path, "--folded", "--replicas"]);
    assert!(out.contains("replicas;kv_get;RAFT_APPEND;store-2 50"), "{out}");
    let svg = dir.path().join("wall.svg");
    let (code, out, err) = ctl(&["flamegraph", "--trace", &path, "-o", svg.to_str().unwrap()]);
    assert!(code == 0 && out.is_empty() && err.contains("2 stacks, 1000 ns"), "{out}{err}");
    let picture = std::fs::read_to_string(svg).unwrap();
    assert!(picture.contains("<svg") && picture.contains("MVCC_GET (700 ns, 70.00%)"));
}

/// `profile.proto` with one sample.
#[derive(Clone, PartialEq, Message)]
struct Profile {
    #[prost(message, repeated, tag = "2")]
    sample: Vec<Sample>,
    #[prost(message, repeated, tag = "4")]
    location: Vec<Location>,
    #[prost(message, repeated, tag = "5")]
    function: Vec<Function>,
    #[prost(string, repeated, tag = "6")]
    string_table: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
struct Sample {
    #[prost(uint64, repeated, tag = "1")]
    location_id: Vec<u64>,
    #[prost(int64, repeated, tag = "2")]
    value: Vec<i64>,
}

#[derive(Clone, PartialEq, Message)]
struct Location {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(message, repeated, tag = "4")]
    line: Vec<Line>,
}

#[derive(Clone, PartialEq, Message)]
struct Line {
    #[prost(uint64, tag = "1")]
    function_id: u64,
}

#[derive(Clone, PartialEq, Message)]
struct Function {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(int64, tag = "2")]
    name: i64,
}

/// Answers one request with `body`; returns its address and, in the end, the request's head.
fn serve_once(status: &'static str, body: Vec<u8>) -> (String, std::thread::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut head = String::new();
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        while !head.ends_with("\r\n\r\n") {
            assert!(reader.read_line(&mut head).unwrap() > 0);
        }
        write!(stream, "HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n", body.len()).unwrap();
        stream.write_all(&body).unwrap();
        head
    });
    (address, server)
}

#[test]
fn a_servers_cpu_profile_folds_to_its_functions() {
    let profile = Profile {
        sample: vec![Sample { location_id: vec![2, 1], value: vec![42] }],
        location: [1, 2].map(|id| Location { id, line: vec![Line { function_id: id }] }).to_vec(),
        function: vec![Function { id: 1, name: 1 }, Function { id: 2, name: 2 }],
        string_table: ["", "main", "get"].map(str::to_owned).to_vec(),
    };
    let (address, server) = serve_once("200 OK", profile.encode_to_vec());
    let (code, out, err) = ctl(&["flamegraph", "--host", &address, "--seconds", "1", "--folded"]);
    assert_eq!((code, out.as_str()), (0, "main;get 42\n"), "{err}");
    let head = server.join().unwrap();
    assert!(head.starts_with("GET /debug/pprof/profile?seconds=1&frequency=99 HTTP/1.1\r\n"), "{head}");
    assert!(head.contains("Content-Type: application/protobuf\r\n"), "{head}");
}

#[test]
fn what_cannot_be_drawn_is_told() {
    let (address, server) = serve_once("500 Internal Server Error", b"Already in CPU Profiling".to_vec());
    let (code, _, err) = ctl(&["flamegraph", "--host", &address, "--seconds", "1"]);
    assert!(code == 1 && err.contains("Already in CPU Profiling"), "{err}");
    server.join().unwrap();
    for (args, says) in [
        (&["flamegraph", "--trace", "/none.trace"][..], "/none.trace"),
        (&["flamegraph", "--trace", concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")], "not a trace file"),
        (&["flamegraph", "--host", "127.0.0.1:1"], "cannot connect"),
        (&["flamegraph", "--wall", "--host", "127.0.0.1:1"], "cannot connect"),
        (&["flamegraph"], "--trace FILE"),
    ] {
        let (code, out, err) = ctl(args);
        assert!(code == 1 && out.is_empty() && err.contains(says), "{args:?}: {out}{err}");
    }
}
