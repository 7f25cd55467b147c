//! Tests of the printed output: steps as a table and as JSON, the help, and errors.
use std::process::{Command, Output, Stdio};

use clap::CommandFactory;
use tikv_tui::{
    cli::Cli,
    print::{self, Format},
    state::{Start, gates},
};

mod common;

fn printed(format: Format, gates: &[&str]) -> String {
    let gates = gates.iter().map(|g| gates::parse(g).unwrap()).collect();
    let start = Start { run: true, gates, stacks: true };
    let mut source = common::source("point_get", common::point_get(), &start);
    let mut out = Vec::new();
    print::run(&mut source, format, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn the_table_has_every_step_and_the_sum() {
    insta::assert_snapshot!("table", printed(Format::Table { inside: false }, &[]));
    assert_eq!(
        printed(Format::Table { inside: false }, &["lock_cf_get"]),
        printed(Format::Table { inside: false }, &[]),
        "a hold is released at once"
    );
}

#[test]
fn json_has_one_object_per_step_and_a_summary() {
    let text = printed(Format::Json, &[]);
    let objects: Vec<serde_json::Value> = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let (summary, steps) = objects.split_last().unwrap();
    assert_eq!(steps.len(), common::point_get().len());
    for (i, step) in steps.iter().enumerate() {
        assert_eq!(step["step"], i);
        for key in ["stage", "layer", "thread", "file", "function", "tikv", "tikv_file"] {
            assert!(step[key].as_str().is_some_and(|s| !s.is_empty()), "{key} of {step}");
        }
        for key in ["store", "at_ns", "dur_ns", "line"] {
            assert!(step[key].is_u64(), "{key} of {step}");
        }
        assert!(step["fields"].is_object() && step["stack"].is_array());
        assert!(step["tikv"].as_str().unwrap().starts_with(step["tikv_file"].as_str().unwrap()));
        for key in ["raft", "mvcc", "latches"] {
            assert!(step["state"].get(key).is_some(), "state.{key} of {step}");
        }
    }
    let keys: Vec<&str> = summary["summary"].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys, ["accounted", "critical_path", "dropped", "stage_ns", "wall_ns"]);
    let total: u64 = steps.iter().map(|s| s["dur_ns"].as_u64().unwrap()).sum();
    assert_eq!(summary["summary"]["stage_ns"], total);
    let path = &summary["summary"]["critical_path"];
    assert_eq!(path["total_ns"], total, "a read by lease waits for no other store");
    assert_eq!(path["segments"].as_array().map(Vec::len), Some(steps.len()));
    assert_eq!(path["classes"]["queue"], 61_100, "the read pool's queue, and that of the reply");
}

#[test]
fn the_help_of_every_command() {
    // A fixed width, independent of the test's terminal.
    let mut cli = Cli::command().term_width(80);
    cli.build();
    insta::assert_snapshot!("help_tikv_tui", cli.render_help());
    help_below("help", &mut cli);
}

fn help_below(path: &str, command: &mut clap::Command) {
    for command in command.get_subcommands_mut().filter(|c| c.get_name() != "help") {
        let path = format!("{path}_{}", command.get_name());
        let help = command.clone().term_width(80).render_help().to_string();
        assert!(help.lines().all(|l| l.chars().count() <= 80), "a line is wider than 80 columns: {help}");
        insta::assert_snapshot!(path.clone(), help);
        help_below(&path, command);
    }
}

fn run(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tikv-tui")).args(args).output().unwrap()
}

fn fails(args: &[&str]) -> String {
    let output = run(args);
    assert!(!output.status.success(), "{args:?} must fail");
    assert!(output.stdout.is_empty(), "{args:?} printed {}", String::from_utf8_lossy(&output.stdout));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(!text.contains("panicked"), "{text}");
    text
}

#[test]
fn errors_say_what_was_expected() {
    assert!(fails(&["trace", "/no/such/file"]).contains("cannot read the trace /no/such/file"));
    assert!(fails(&["trace", "x", "--gate", "lock_cf"]).contains("did you mean lock_cf_get"));
    assert!(fails(&["trace", "info", "/no/such/file"]).contains("/no/such/file: No such file"));
    assert!(fails(&["trace", "grep", "/dev/null"]).contains("is not a trace file"));
    assert!(fails(&["trace"]).contains("<FILE>"));
    assert!(fails(&["attach", "nowhere"]).contains("expected HOST:PORT"));
    assert!(fails(&["attach", "127.0.0.1:1", "--type", "get"]).contains("found `get`"));
    assert!(fails(&["attach", "127.0.0.1:1", "--plain"]).contains("no tikv-server answers at 127.0.0.1:1"));
    assert!(fails(&["stpe"]).contains("step"), "clap names the near command");
}

#[test]
fn a_saved_trace_is_printed_without_a_terminal() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("trace.jsonl");
    std::fs::write(&path, printed(Format::Json, &[])).unwrap();
    let path = path.to_str().unwrap();
    let table = run(&["trace", path]);
    assert!(table.status.success());
    assert!(String::from_utf8(table.stdout).unwrap().contains("write_cf_seek"));
    let json = run(&["trace", path, "--json"]);
    assert_eq!(String::from_utf8(json.stdout).unwrap(), printed(Format::Json, &[]));
    let missing = fails(&["trace", path, "--tikv-src", "/no/such/dir"]);
    assert!(
        missing.contains("--tikv-src: expected a checkout of tikv/tikv, found no directory at /no/such/dir")
    );
}

/// Runs with this standard output; returns the exit code and standard error.
fn run_into(stdout: Stdio, args: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_tikv-tui")).args(args).stdout(stdout).output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
#[cfg(target_os = "linux")]
fn a_closed_or_full_output_does_not_panic() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("trace.jsonl");
    std::fs::write(&path, printed(Format::Json, &[])).unwrap();
    let trace = path.to_str().unwrap();
    for args in [
        &["list"][..],
        &["--help"],
        &["trace", "grep", "--help"],
        &["--version"],
        &["completions", "bash"],
        &["trace", trace],
        &["trace", trace, "--json"],
        &["trace", "export", trace, "--format", "folded", "-o", "-"],
    ] {
        let (reader, closed) = std::io::pipe().unwrap();
        drop(reader);
        let (code, stderr) = run_into(closed.into(), args);
        assert_eq!(code, Some(0), "{args:?}: a closed pipe is no error: {stderr}");
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let (code, stderr) = run_into(full.into(), args);
        assert_eq!(code, Some(1), "{args:?}: {stderr}");
        assert!(stderr.contains("No space left on device"), "{args:?}: {stderr}");
    }
}

#[test]
#[cfg(target_os = "linux")]
fn an_error_keeps_its_exit_code_if_stderr_is_full() {
    for (args, code) in [(&["trace", "/no/such/file"][..], 1), (&["stpe"], 2)] {
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_tikv-tui"));
        assert_eq!(command.args(args).stderr(full).status().unwrap().code(), Some(code), "{args:?}");
    }
}

#[test]
fn control_characters_of_foreign_text_are_escaped() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("esc.json");
    let name = "r\\u001b[31med\\u0007\\u001b]0;own\\u0007\\u009b2J\\u202egnp 日本";
    let event = format!(
        r#"{{"name":"{name}","ph":"X","pid":1,"tid":1,"ts":1,"dur":50,"args":{{"k\u001b[5m":"v\u001b[2J"}}}}"#
    );
    let thread = r#"{"name":"thread_name","ph":"M","pid":1,"tid":1,"args":{"name":"th\u001b[7m"}}"#;
    std::fs::write(&path, format!(r#"{{"traceEvents":[{event},{thread}]}}"#)).unwrap();
    let (file, kept) = (path.to_str().unwrap(), dir.path().join("kept.trace"));
    let kept = kept.to_str().unwrap();
    assert!(run(&["trace", "import", file, "-o", kept]).status.success());
    for args in [
        &["trace", "import", file][..],
        &["trace", "import", file, "--json"],
        &["trace", "import", file, "--request", "1", "--plain"],
        &["trace", "import", file, "--request", "1", "--json"],
        &["trace", kept],
        &["trace", kept, "--json"],
    ] {
        let output = run(args);
        let text = String::from_utf8(output.stdout).unwrap();
        let obeyed = |c: char| c != '\n' && tracepoints::printable::needs_escape(c);
        assert!(output.status.success() && !text.contains(obeyed), "{args:?}: {text:?}");
        assert!(text.contains("日本"), "{args:?}: {text}");
        if args.contains(&"--json") {
            let all: Vec<serde_json::Value> =
                text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
            let name: String = serde_json::from_str(&format!("\"{name}\"")).unwrap();
            assert!(format!("{all:?}").contains(&format!("{name:?}")), "the name itself: {all:?}");
        } else {
            assert!(text.contains(r"r\x1b[31med\x07"), "{args:?}: {text}");
        }
    }
    let error = String::from_utf8(run(&["trace", "/no/such/\x1b[31mfile"]).stderr).unwrap();
    assert!(error.contains(r"/no/such/\x1b[31mfile"), "{error:?}");
}

#[test]
fn completions_and_man_pages_name_the_commands() {
    let script = String::from_utf8(run(&["completions", "bash"]).stdout).unwrap();
    assert!(script.contains("attach") && script.contains("--gate"));
    let dir = tempfile::tempdir().unwrap();
    assert!(run(&["man", dir.path().to_str().unwrap()]).status.success());
    let page = std::fs::read_to_string(dir.path().join("tikv-tui-trace-grep.1")).unwrap();
    assert!(page.contains("min\\-duration"));
    assert!(dir.path().join("tikv-tui.1").exists());
}
