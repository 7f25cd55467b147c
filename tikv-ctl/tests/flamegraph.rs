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
    let mut steps = vec![
        step("GRPC_RECEIVE", "main", 300),
        step("MVCC_GET", "main", 700),
        step("RAFT_APPEND", "replica", 50),
    ];
    (steps[1].step, steps[1].at_ns) = (1, 300);
    let mut writer = TraceFileWriter::create(&path).unwrap();
    writer.trace(&TraceRecord { requests: vec![request], steps, ..TraceRecord::default() }).unwrap();
    writer.finish().unwrap();
    let path = path.display().to_string();
    let (code, out, err) = ctl(&["flamegraph", "--trace", &path, "--folded", "--no-waits"]);
    assert_eq!((code, out.as_str()), (0, "kv_get;GRPC_RECEIVE 300\nkv_get;MVCC_GET 700\n"), "{err}");
    let (_, out, _) = ctl(&["flamegraph", "--trace", &path, "--folded", "--no-waits", "--replicas"]);
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

/// Replies to one request with `body`; returns its address and, after the request, its head.
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
    let (code, out, err) = ctl(&["flamegraph", "--status", &address, "--seconds", "1", "--folded"]);
    assert_eq!((code, out.as_str()), (0, "main;get 42\n"), "{err}");
    let head = server.join().unwrap();
    assert!(head.starts_with("GET /debug/pprof/profile?seconds=1&frequency=99 HTTP/1.1\r\n"), "{head}");
    assert!(head.contains("Content-Type: application/protobuf\r\n"), "{head}");
}

#[test]
fn undrawable_input_is_reported() {
    let (address, server) = serve_once("500 Internal Server Error", b"Already in CPU Profiling".to_vec());
    let (code, _, err) = ctl(&["flamegraph", "--status", &address, "--seconds", "1"]);
    assert!(code == 1 && err.contains("Already in CPU Profiling"), "{err}");
    server.join().unwrap();
    for (args, says) in [
        (&["flamegraph", "--trace", "/none.trace"][..], "/none.trace"),
        (&["flamegraph", "--trace", "Cargo.toml"], "not a trace file"),
        (&["flamegraph", "--status", "127.0.0.1:1"], "cannot connect"),
        (&["flamegraph", "--host", "127.0.0.1:1"], "give --status STATUS_ADDR"),
        (&["flamegraph", "--host", "127.0.0.1:1", "--pd", "127.0.0.1:1"], "check that PD runs there"),
        (&["flamegraph", "--wall", "--host", "127.0.0.1:1"], "cannot connect"),
        (&["flamegraph"], "--trace FILE"),
        (&["flamegraph", "--wall"], "--trace FILE"),
        (&["flamegraph", "--host", "127.0.0.1:1", "--status", "127.0.0.1:2"], "expected one server"),
    ] {
        let (code, out, err) = ctl(args);
        assert!(code == 1 && out.is_empty() && err.contains(says), "{args:?}: {out}{err}");
    }
}

/// Writes a trace file of requests whose queue is long for the last few.
fn recording(dir: &std::path::Path, name: &str, requests: u64) -> String {
    let path = dir.join(name);
    let mut writer = TraceFileWriter::create(&path).unwrap();
    for id in 1..=requests {
        let kind = RequestKind::KvGet;
        let request = RequestInfo { id, parent: 0, kind, key: b"k".to_vec(), region: 2, store: 2 };
        let queue = if id + 10 > requests { 50_000 + id } else { 1_000 + id };
        let mut steps =
            vec![step("read_pool_queue", "main", queue), step("mvcc_get", "main", 4_000 + id % 5)];
        (steps[0].request, steps[1].request) = (id, id);
        (steps[0].thread, steps[1].thread) = ("grpc-server-0".into(), "unified-read-pool-3".into());
        (steps[1].at_ns, steps[1].step) = (queue, 1);
        writer.trace(&TraceRecord { requests: vec![request], steps, ..TraceRecord::default() }).unwrap();
    }
    writer.finish().unwrap();
    path.display().to_string()
}

#[test]
fn requests_are_selected_and_their_waits_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = recording(dir.path(), "gets.trace", 100);
    let (code, out, err) = ctl(&["flamegraph", "--trace", &file, "--request", "3", "--folded"]);
    let wanted = "kv_get;mvcc_get;runs: unified-read-pool 4003\nkv_get;read_pool_queue;waits: queue, unified-read-pool 1003\n";
    assert_eq!((code, out.as_str()), (0, wanted), "{err}");
    let (code, again, _) = ctl(&["flamegraph", "--wall", "--trace", &file, "--request", "3", "--folded"]);
    assert_eq!((code, again), (0, out), "--wall says only what it is anyway");
    let slow = ["flamegraph", "--trace", &file, "--kind", "kv_get", "--percentile", "99..100", "--folded"];
    let (_, out, _) = ctl(&slow);
    assert!(out.contains("waits: queue, unified-read-pool 50099\n"), "{out}");
    let (code, _, err) = ctl(&["flamegraph", "--trace", &file, "--kind", "kv_scan"]);
    assert!(code == 1 && err.contains("no request matches kv_scan; the recording has 100 kv_get"), "{err}");
    let (code, _, err) = ctl(&["flamegraph", "--trace", &file, "--percentile", "99-100"]);
    assert!(code != 0 && err.contains("99..100"), "{err}");
    let (code, _, err) = ctl(&["flamegraph", "--host", "127.0.0.1:1", "--kind", "kv_get"]);
    assert!(code == 1 && err.contains("add --wall"), "{err}");
}

#[test]
fn a_page_is_written_by_flag_or_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let file = recording(dir.path(), "gets.trace", 20);
    let html = dir.path().join("wall.html");
    let (code, out, err) = ctl(&["flamegraph", "--trace", &file, "-o", html.to_str().unwrap()]);
    assert!(code == 0 && out.is_empty(), "{err}");
    let page = std::fs::read_to_string(html).unwrap();
    assert!(
        page.starts_with("<!DOCTYPE html>") && page.contains("unified-read-pool") && !page.contains("http")
    );
    let (_, out, _) = ctl(&["flamegraph", "--trace", &file, "--html"]);
    assert_eq!(out, page);
}

#[test]
fn two_bands_two_files_and_two_profiles_are_compared() {
    let dir = tempfile::tempdir().unwrap();
    let file = recording(dir.path(), "gets.trace", 200);
    let bands = [
        "flamegraph",
        "diff",
        &file,
        "--kind",
        "kv_get",
        "--percentile",
        "40..60",
        "--percentile",
        "95..100",
    ];
    let (code, out, err) = ctl(&bands);
    assert_eq!(code, 0, "{err}");
    let queue = out.lines().find(|l| l.ends_with("read_pool_queue")).unwrap();
    assert!(queue.contains("+49.1 µs") && queue.contains(" * "), "{out}");
    let run = out.lines().find(|l| l.ends_with("kv_get;mvcc_get"));
    assert!(run.is_none_or(|l| !l.contains(" * ")), "{out}");
    assert!(out.contains("of 40 requests") && out.contains("of 10 requests") && out.contains("Mann-Whitney"));
    for name in ["d.svg", "d.html"] {
        let path = dir.path().join(name);
        let (code, out, err) = ctl(&[&bands[..], &["-o", path.to_str().unwrap()]].concat());
        assert!(code == 0 && out.is_empty() && err.contains("of 10 requests"), "{err}");
        let picture = std::fs::read_to_string(path).unwrap();
        assert!(picture.contains("read_pool_queue") && picture.contains("Mann-Whitney"));
    }
    let after = recording(dir.path(), "after.trace", 200);
    let (code, out, err) = ctl(&["flamegraph", "diff", &file, &after]);
    assert!(code == 0 && !out.contains(" * "), "the same twice: {out}{err}");
    let write = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let (old, new) = (write("old.folded", "m;a 500\nm;b 500\n"), write("new.folded", "m;a 900\nm;b 100\n"));
    let (code, out, err) = ctl(&["flamegraph", "diff", &old, &new]);
    assert!(code == 0 && out.contains("two-proportion z") && out.contains("+40.00 %"), "{out}{err}");
    let (_, out, _) = ctl(&["--format", "json", "flamegraph", "diff", &old, &new]);
    let value: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(value["frames"].as_array().map(Vec::len), Some(4));
    let bad = write("bad.folded", "no count here\n");
    for (args, says) in [
        (&[old.as_str()][..], "two bands"),
        (&[&old, &file], "of the same measure"),
        (&[&old, &bad], "line 1"),
        (&[&old, "/none"], "/none"),
        (&[&old, &new, "--kind", "kv_get"], "trace file"),
    ] {
        let (code, _, err) = ctl(&[&["flamegraph", "diff"], args].concat());
        assert!(code == 1 && err.contains(says), "{args:?}: {err}");
    }
}

#[test]
fn a_profile_of_any_tool_becomes_one_of_any_other() {
    let dir = tempfile::tempdir().unwrap();
    let script = dir.path().join("out.perf");
    let text = "get 7/8 1.5: 9 cycles:u: \n\t55d0 leaf+0x1 (/bin/a)\n\t55d1 main+0x2 (/bin/a)\n\n";
    std::fs::write(&script, text).unwrap();
    let mut path = script.display().to_string();
    // Each form is the source of the next one, so every part of the stack must survive.
    for form in ["pprof", "firefox", "speedscope", "folded"] {
        let next = dir.path().join(form).display().to_string();
        let (code, out, err) = ctl(&["flamegraph", &path, "--as", form, "-o", &next]);
        assert!(code == 0 && out.is_empty() && err.contains("1 stacks, 1 samples"), "{form}: {out}{err}");
        path = next;
    }
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "get;main;leaf 1\n");
    let (code, out, err) = ctl(&["flamegraph", &path]);
    assert!(code == 0 && out.contains("leaf (1 samples, 100.00%)"), "{err}");
    let perf = script.display().to_string();
    let (_, out, err) = ctl(&["flamegraph", &perf, "--value", "cycles:u", "--folded"]);
    assert_eq!(out, "get;main;leaf 9\n", "{err}");
}

#[test]
fn a_file_that_is_no_profile_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    for (name, bytes, says) in [
        ("empty", &b""[..], "the file is empty"),
        ("svg", b"<?xml version=\"1.0\"?>", "a picture"),
        ("cut", b"\x1f\x8b\x08\x00", "gzip"),
        ("line", b"no count\nc\n", "line 1"),
    ] {
        let path = dir.path().join(name).display().to_string();
        std::fs::write(&path, bytes).unwrap();
        let (code, out, err) = ctl(&["flamegraph", &path]);
        assert!(
            code == 1 && out.is_empty() && err.contains(says) && err.contains(name),
            "{name}: {out}{err}"
        );
    }
    let (code, _, err) = ctl(&["flamegraph", "/none.perf"]);
    assert!(code == 1 && err.contains("/none.perf"), "{err}");
}

/// Options of servers and recordings have no effect on a file's profile, and the reverse.
#[test]
fn options_without_an_effect_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a.folded").display().to_string();
    std::fs::write(&file, "a;b 3\n").unwrap();
    for option in [
        "--threads",
        "--runtime-frames",
        "--kind=kv_get",
        "--request=3",
        "--percentile=90..100",
        "--seconds=5",
        "--frequency=5",
        "--sampler=own",
        "--cpu=x",
        "--replicas",
        "--stores",
        "--frames",
        "--no-waits",
    ] {
        let (code, out, err) = ctl(&["flamegraph", &file, option]);
        let flag = option.split('=').next().unwrap();
        assert!(code == 2 && out.is_empty() && err.contains(flag), "{option}: {err}");
    }
    for args in [
        &["flamegraph", &file, "--html", "--as", "folded"][..],
        &["flamegraph", "--trace", &file, "--threads"],
        &["flamegraph", "--trace", &file, "--seconds", "5"],
        &["flamegraph", "--trace", &file, "--value", "cpu"],
        &["flamegraph", "--status", "127.0.0.1:1", "--event", "cycles"],
    ] {
        assert_eq!(ctl(args).0, 2, "{args:?}");
    }
    let (code, _, err) = ctl(&["flamegraph", "--status", "127.0.0.1:1", "--no-waits"]);
    assert!(code == 1 && err.contains("--no-waits"), "{err}");
    let (code, _, err) = ctl(&["flamegraph", &file, "--event", "cycles"]);
    assert!(code == 1 && err.contains("--event: only files of perf"), "{err}");
    let (code, _, err) = ctl(&["flamegraph", &dir.path().display().to_string()]);
    assert!(code == 1 && err.contains("found a directory"), "{err}");
}

#[test]
fn a_dash_as_output_is_standard_output() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a.folded").display().to_string();
    std::fs::write(&file, "a;b 3\n").unwrap();
    let (code, out, err) = ctl(&["flamegraph", &file, "--folded", "-o", "-"]);
    assert_eq!((code, out.as_str(), err.as_str()), (0, "a;b 3\n", ""));
    assert!(!std::path::Path::new("-").exists());
    let (code, out, err) = ctl(&["flamegraph", "diff", &file, &file, "-o", "-"]);
    assert!(code == 0 && !out.is_empty() && !err.contains("-: "), "{out}{err}");
    std::fs::write(&file, "a;b 0\n").unwrap();
    let (code, out, err) = ctl(&["flamegraph", &file, "--folded"]);
    assert!(code == 0 && out.is_empty() && err.contains("1 samples have the value 0"), "{err}");
}

/// Runs the program itself with bytes on its standard input.
fn piped(args: &[&str], input: &[u8]) -> (bool, String, String) {
    use std::process::{Command, Stdio};
    let mut child = Command::new(env!("CARGO_BIN_EXE_tikv-ctl"))
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    let out = child.wait_with_output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (out.status.success(), text(&out.stdout), text(&out.stderr))
}

#[test]
fn profiles_and_traces_are_read_from_standard_input() {
    for path in ["-", "/dev/stdin"] {
        let (ok, out, err) = piped(&["flamegraph", path, "--folded"], b"main;a 1\nmain;b 2\n");
        assert!(ok && out == "main;a 1\nmain;b 2\n" && err.is_empty(), "{path}: {out}{err}");
    }
    let dir = tempfile::tempdir().unwrap();
    let file = recording(dir.path(), "gets.trace", 20);
    let bytes = std::fs::read(&file).unwrap();
    for path in ["-", "/dev/stdin"] {
        let (ok, out, err) = piped(&["flamegraph", "--trace", path, "--request", "3", "--folded"], &bytes);
        assert!(ok && out.contains("kv_get;mvcc_get;runs: unified-read-pool 4003\n"), "{path}: {out}{err}");
    }
    let bands =
        ["flamegraph", "diff", "-", "--kind", "kv_get", "--percentile", "40..60", "--percentile", "90..100"];
    let (ok, out, err) = piped(&bands, &bytes);
    assert!(ok && out.contains("read_pool_queue"), "{out}{err}");
    let old = dir.path().join("old.folded").display().to_string();
    std::fs::write(&old, "m;a 5\nm;b 5\n").unwrap();
    let (ok, out, err) = piped(&["flamegraph", "diff", &old, "-"], b"m;a 9\nm;b 1\n");
    assert!(ok && out.contains("m;a"), "{out}{err}");
}

#[test]
fn standard_input_without_an_end_is_refused() {
    for args in [&["flamegraph", "-"][..], &["flamegraph", "--trace", "-", "--request", "3"]] {
        let zero = std::fs::File::open("/dev/zero").unwrap();
        let mut program = std::process::Command::new(env!("CARGO_BIN_EXE_tikv-ctl"));
        let output = program.args(args).stdin(zero).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains("64 MiB from a device"), "{args:?}: {said}");
    }
}

#[test]
fn unreadable_lines_are_skipped_and_reported() {
    let text =
        b"# austin: 3.0.0\nP1;main (a.py) 12\n\ntorn by a full disk\nP1;save (a.py) 8\nP1;main (a.py)\n";
    let (ok, out, err) = piped(&["flamegraph", "-", "--folded"], text);
    assert!(ok && out == "P1;main (a.py) 12\nP1;save (a.py) 8\n", "{out}{err}");
    assert!(
        err.contains("2 lines are skipped") && err.contains("line 4") && err.contains("torn by"),
        "{err}"
    );
    let (ok, _, err) = piped(&["flamegraph", "-"], b"torn by a full disk\n");
    assert!(!ok && err.contains("standard input") && err.contains("line 1"), "{err}");
    let (ok, out, err) = piped(&["flamegraph", "-", "--folded"], b"a 1.5\nb 2.25\n");
    assert!(ok && out == "a 1.5\nb 2.25\n", "{out}{err}");
    let (ok, out, err) = piped(&["flamegraph", "-", "--folded", "--value", "before"], b"a 1 2\nb 3 4\n");
    assert!(ok && out == "a 1\nb 3\n" && err.contains("all but after are left out"), "{out}{err}");
}

#[test]
fn one_request_is_drawn_in_the_order_of_time_and_by_layer() {
    let dir = tempfile::tempdir().unwrap();
    let file = recording(dir.path(), "gets.trace", 20);
    let (code, svg, err) = ctl(&["flamegraph", "--trace", &file, "--request", "3"]);
    assert_eq!(code, 0, "{err}");
    let left = |name: &str| {
        let rest = &svg[svg.find(&format!("<title>{name} (")).unwrap_or_else(|| panic!("{name}: {svg}"))..];
        rest.split("fg:x=\"").nth(1).and_then(|x| x.split('"').next()?.parse::<u64>().ok()).unwrap()
    };
    assert!(left("read_pool_queue") < left("mvcc_get"), "the queue comes before the read");
    assert!(svg.contains("id=\"legend\"") && svg.contains(">mvcc</text>"));
}
