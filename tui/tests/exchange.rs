//! Tests of `trace export` and `trace import` on a recording, on saved steps and on files of other tools.
use std::{
    path::Path,
    process::{Command, Output},
};

use tracepoints::{
    Collector, CollectorConfig, RequestKind,
    request::{begin, end},
};

fn run(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tikv-tui")).args(args).output().unwrap()
}

/// Runs a command that must succeed; returns its standard output and standard error.
fn good(args: &[&str]) -> (String, String) {
    let output = run(args);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{args:?}: {said}");
    (String::from_utf8(output.stdout).unwrap(), said)
}

/// Runs a command that must fail; returns its standard error.
fn fails(args: &[&str]) -> String {
    let output = run(args);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{args:?}: {said}");
    assert!(!said.contains("panicked"), "{said}");
    said
}

/// Records two requests. A process runs one collector, so only one test may call this.
fn record(path: &Path) -> u64 {
    let collector = Collector::start(CollectorConfig::default()).unwrap();
    collector.record_to(path).unwrap();
    let ids = [RequestKind::KvGet, RequestKind::RawPut].map(|kind| {
        let req = begin(kind, b"k1", 2);
        tracepoints::stamp!(GRPC_RECEIVE, req);
        tracepoints::stamp!(GRPC_REPLY, req);
        end(req);
        req.id()
    });
    collector.stop_recording().unwrap();
    ids[0]
}

#[test]
fn a_recording_is_exported_in_every_format() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let recording = path("a.trace");
    let get = record(Path::new(&recording));
    for format in ["perfetto", "chrome", "otlp", "otlp-json", "folded"] {
        let out = path(format);
        let (_, said) = good(&["trace", "export", &recording, "--format", format, "-o", &out]);
        assert!(said.contains("2 requests, 6 spans"), "{said}");
        assert!(Path::new(&out).metadata().unwrap().len() > 50);
        assert!(!Path::new(&format!("{out}.partial")).exists());
    }
    let (folded, _) =
        good(&["trace", "export", &recording, "--format", "folded", "-o", "-", "--kind", "kv_get"]);
    assert!(folded.starts_with("kv_get;grpc_receive ") && !folded.contains("raw_put"), "{folded}");

    for format in ["chrome", "otlp", "otlp-json"] {
        let (list, _) = good(&["trace", "import", &path(format)]);
        assert!(list.contains("kv_get") && list.contains("raw_put"), "{list}");
        let (steps, _) = good(&["trace", "import", &path(format), "--request", &get.to_string()]);
        assert!(steps.contains("grpc_reply"), "{steps}");
    }
    let (again, _) = good(&["trace", "export", &path("otlp"), "--format", "folded", "-o", "-"]);
    let (first, _) = good(&["trace", "export", &recording, "--format", "folded", "-o", "-"]);
    assert_eq!(again, first, "an export and import of OTLP loses nothing");

    // A failed export keeps the existing file.
    std::fs::write(path("kept"), "old").unwrap();
    let none = fails(&[
        "trace",
        "export",
        &recording,
        "--format",
        "chrome",
        "-o",
        &path("kept"),
        "--request",
        "99999",
    ]);
    assert!(none.contains("no request that matches"), "{none}");
    assert_eq!(std::fs::read_to_string(path("kept")).unwrap(), "old");
    let full = fails(&["trace", "export", &recording, "--format", "chrome", "-o", "/no/such/dir/x"]);
    assert!(full.contains("/no/such/dir/x.partial"), "{full}");
    let url = fails(&["trace", "export", &recording, "--to", "https://collector:4318"]);
    assert!(url.contains("TLS is not built in"), "{url}");
}

#[test]
fn an_unreachable_collector_is_an_error_with_the_counts() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("foreign.json");
    std::fs::write(&file, FOREIGN).unwrap();
    // Bound and closed again, so no server listens there.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let said = fails(&["trace", "export", file.to_str().unwrap(), "--to", &format!("http://{free}")]);
    assert!(said.contains("sent 0 of 5 spans") && said.contains("5 could not be delivered"), "{said}");
    assert!(said.contains("refused") && said.contains("after 6 attempts"), "{said}");
}

const FOREIGN: &str = r#"[
  {"ph":"M","name":"process_name","pid":1,"args":{"name":"browser"}},
  {"ph":"X","name":"outer","cat":"c","pid":1,"tid":7,"ts":1000,"dur":50,"args":{"url":"http://a/b","n":3}},
  {"ph":"X","name":"inner","cat":"c","pid":1,"tid":7,"ts":1010,"dur":20},
  {"ph":"X","name":"alone","cat":"c","pid":1,"tid":8,"ts":2000,"dur":5}
"#;

#[test]
fn a_foreign_trace_is_listed_searched_opened_and_kept() {
    let dir = tempfile::tempdir().unwrap();
    let (file, kept) = (dir.path().join("foreign.json"), dir.path().join("kept.trace"));
    std::fs::write(&file, FOREIGN).unwrap();
    let (file, kept) = (file.to_str().unwrap(), kept.to_str().unwrap());
    let (list, said) = good(&["trace", "import", file]);
    assert!(said.contains("cut short or damaged at offset"), "{said}");
    assert!(list.contains("browser / thread 7") && list.contains("outer"), "{list}");
    let (found, _) = good(&["trace", "import", file, "--grep", "http://a"]);
    assert!(found.contains("outer") && !found.contains("alone"), "{found}");
    let (json, _) = good(&["trace", "import", file, "--json"]);
    assert_eq!(json.lines().count(), 2);
    let first: serde_json::Value = serde_json::from_str(json.lines().next().unwrap()).unwrap();
    assert_eq!(first["spans"][1]["name"], "inner");
    assert_eq!(first["spans"][1]["parent"], 0);
    let (steps, _) = good(&["trace", "import", file, "--request", "1"]);
    assert!(steps.contains("outer") && steps.contains("inner"), "{steps}");
    assert!(fails(&["trace", "import", file, "--request", "9"]).contains("contains no request 9"));

    good(&["trace", "import", file, "-o", kept]);
    let refused = fails(&["trace", "import", file, "-o", kept]);
    assert!(refused.contains("exists and contains 2 traces of another tool, so it is kept"), "{refused}");
    let (info, _) = good(&["trace", "info", kept]);
    assert!(info.contains("traces    2"), "{info}");
    let (list, _) = good(&["trace", kept, "--plain"]);
    assert!(list.contains("browser / thread 7") && list.contains("alone"), "{list}");
    let (steps, _) = good(&["trace", kept, "--request", "2", "--plain"]);
    assert!(steps.contains("alone"), "{steps}");
    let (folded, _) = good(&["trace", "export", kept, "--format", "folded", "-o", "-"]);
    assert!(folded.contains("outer") && folded.contains("alone"), "{folded}");
}

#[test]
fn a_file_of_another_kind_is_an_error_with_its_kind() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x");
    let with = |content: &[u8]| {
        std::fs::write(&file, content).unwrap();
        let export =
            fails(&["trace", "export", file.to_str().unwrap(), "--format", "chrome", "-o", "/dev/null"]);
        (fails(&["trace", "import", file.to_str().unwrap()]), export)
    };
    let (import, export) = with(b"");
    assert!(
        import.contains("found an empty file") && export.contains("found an empty file"),
        "{import} {export}"
    );
    assert!(with(&[0x1f, 0x8b, 8]).0.contains("gzip"));
    assert!(with(b"\x7fELF....").0.contains("a program"));
    assert!(with(b"{\"some\": \"json\"}").0.contains("traceEvents"));
    let (import, export) = with(&[0xff; 64]);
    assert!(import.contains("offset 0") && export.contains("offset 0"), "{import} {export}");
}

#[test]
fn a_trace_is_read_from_standard_input() {
    use std::{io::Write as _, process::Stdio};
    let chrome = br#"[{"ph":"X","name":"alpha","ts":1,"dur":20,"pid":1,"tid":1}]"#;
    for args in [
        &["trace", "import", "-"][..],
        &["trace", "import", "/dev/stdin"],
        &["trace", "export", "-", "--format", "folded", "-o", "-"],
    ] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_tikv-tui"))
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(chrome).unwrap();
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() && !output.stdout.is_empty(), "{args:?}: {said}");
        assert!(String::from_utf8_lossy(&output.stdout).contains("alpha"), "{args:?}: {said}");
    }
    assert!(fails(&["trace", "diff", "-", "-"]).contains("standard input can be read only once"));
}
