//! Flags: each is honoured or refused, and advised commands are valid.
mod common;

use std::{path::Path, process::Command};

use common::{Store, ctl, fill};

fn refused(args: &[&str], why: &str) {
    let (code, out, err) = ctl(args);
    assert!(code == 2 && out.is_empty() && err.contains(why), "{args:?}: {code} {out}{err}");
}

#[test]
fn a_directory_and_a_server_cannot_be_given_together() {
    for command in [
        "store",
        "raft region",
        "scan -f z --limit 1",
        "size",
        "diff -r 2 --to-host 127.0.0.1:1",
        "metrics",
        "reset-to-version -v 1",
        "tombstone -r 2 --force",
        "compact",
        "key a",
        "show-cluster-id",
        "region",
    ] {
        let args: Vec<&str> =
            command.split(' ').chain(["--host", "127.0.0.1:1", "--data-dir", "/x"]).collect();
        refused(&args, "--host and --data-dir cannot be given together");
    }
}

#[test]
fn a_configuration_without_an_end_is_refused() {
    let (code, out, err) = ctl(&["--config", "/dev/zero", "--data-dir", "/x", "store"]);
    assert!(
        code == 1 && out.is_empty() && err.contains("--config /dev/zero: expected at most 64 MiB"),
        "{err}"
    );
}

#[test]
fn options_without_an_effect_are_refused_or_noted() {
    // This project's own commands refuse options that they do not honour.
    for (args, flag) in [
        (&["find", "a", "--host", "127.0.0.1:1"][..], "--host"),
        (&["lsm", "/x", "--pd", "127.0.0.1:1"], "--pd"),
        (&["inflight", "--data-dir", "/x"], "--data-dir"),
        (&["flamegraph", "--data-dir", "/x"], "--data-dir"),
        (&["man", "/x", "-o", "y"], "--output"),
        (&["wal", "/x", "--key-format", "hex"], "--key-format"),
        (&["size", "--data-dir", "/x", "--key-format", "hex"], "--key-format"),
        (&["completions", "bash", "--config", "/x"], "--config"),
        (&["sst", "/x", "--host", "127.0.0.1:1"], "--host"),
    ] {
        refused(args, &format!("{flag} has no effect on {}", args[0]));
    }
    // TiKV's tool accepts its options everywhere: those without effect are noted.
    let dir = tempfile::tempdir().unwrap();
    fill(&Store::open(dir.path()));
    let path = dir.path().to_str().unwrap();
    let (code, out, err) = ctl(&["--data-dir", path, "--pd", "127.0.0.1:1", "store"]);
    assert_eq!((code, out.lines().next()), (0, Some("store id: 1")), "{err}");
    assert!(err.contains("note: --pd has no effect on store"), "{err}");
    refused(&["--to-hex", "a", "store"], "expected a conversion or a command, found both");
    refused(&["--log-level", "loud", "store"], "loud");
    refused(&["sst", "--watch"], "--watch");
    let (code, _, err) = ctl(&["sst", path, "layout", "--from", "a"]);
    assert!(code == 1 && err.contains("--from is for `sst FILE keys` only"), "{err}");
    refused(&["inflight", "--watch", "nan"], "expected 0.05 to 3600 seconds");
    refused(&["compact", "-c", "nonsense"], "nonsense");
    refused(&["compact", "-r", "2", "-f", "z"], "cannot be used with");
}

#[test]
fn kind_and_type_select_the_kind_of_a_request() {
    for command in [&["keep"][..], &["flamegraph"], &["flamegraph", "diff"]] {
        let (_, help, _) = ctl(&[command, &["--help"]].concat());
        assert!(help.contains("--kind <KIND>") && help.contains("type]"), "{help}");
    }
}

#[test]
fn help_is_wrapped_and_lists_global_options_once() {
    let (_, all, _) = ctl(&["--help"]);
    assert!(all.contains("--key-format") && all.contains("Options of every command:"), "{all}");
    let commands = all.split("Commands:").nth(1).unwrap().split("\n\n").next().unwrap();
    let commands = commands.lines().filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    let mut seen = 0;
    // `help` takes the name of a command, and no flags.
    for command in commands.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help") {
        let (code, help, _) = ctl(&[command, "--help"]);
        seen += 1;
        assert_eq!(code, 0, "{command}");
        let own = ["ldb", "sst_dump"].contains(&command);
        let words = help.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(own || words.contains("Options of every command: tikv-ctl --help."), "{command}: {help}");
        assert!(!help.contains("--cert-path"), "{command}: {help}");
    }
    assert!(seen > 40, "{seen}");
    let wide: Vec<&str> = all.lines().filter(|line| line.chars().count() > 100).collect();
    assert!(wide.is_empty(), "{wide:?}");
}

/// Collects every `tikv-ctl ...` between backquotes in the sources: commands that errors and help texts
/// advise.
fn advice(dir: &Path, all: &mut Vec<String>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            advice(&path, all);
        } else if path.extension().is_some_and(|e| e == "rs") {
            let text = std::fs::read_to_string(&path).unwrap().replace("\\\n", "");
            all.extend(
                text.split("`tikv-ctl ").skip(1).map(|rest| rest.split('`').next().unwrap().to_owned()),
            );
        }
    }
}

#[test]
fn advised_commands_are_valid() {
    let mut all = Vec::new();
    advice(Path::new("src"), &mut all);
    assert!(all.len() > 10, "{all:?}");
    for line in all {
        let word = |word: &str| match word {
            "DIR" | "FILE" | "{}" | "KEY" => "/does/not/exist".to_owned(),
            "ADDR" => "127.0.0.1:1".to_owned(),
            word => word.replace("=DIR", "=/does/not/exist"),
        };
        let words: Vec<String> = line.split_whitespace().map(word).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        // Code 2 would mean wrong flags; these commands fail because the paths do not exist.
        let (code, out, err) = ctl(&words);
        let wrong = err.contains("unrecognized subcommand") || err.contains("is not implemented");
        assert!(code != 2 && !wrong, "tikv-ctl {line}: {code} {out}{err}");
    }
}

fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_tikv-ctl"))
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_or_closed_output_causes_no_panic() {
    let dir = tempfile::tempdir().unwrap();
    fill(&Store::open(dir.path()));
    let path = dir.path().to_str().unwrap();
    for args in [
        &["--help"][..],
        &["--version"],
        &["scan", "--help"],
        &["ldb", "--help"],
        &["completions", "bash"],
        &["--data-dir", path, "raw-scan", "--cf", "raft"],
        &["--data-dir", path, "--format", "json", "region"],
        &["--to-hex", "a"],
    ] {
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let done = program().args(args).stdout(full).output().unwrap();
        let err = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(
            done.status.code() == Some(1) && err.contains("cannot write the output"),
            "{args:?}: {done:?}"
        );
        assert!(!err.contains("panicked"), "{err}");
        // The reader has closed the pipe.
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let done = program().args(args).stdout(writer).output().unwrap();
        assert!(done.status.code() == Some(0) && done.stderr.is_empty(), "{args:?}: {done:?}");
        let line = format!("exec {} {} >&-", env!("CARGO_BIN_EXE_tikv-ctl"), args.join(" "));
        let done = Command::new("sh").args(["-c", &line]).output().unwrap();
        assert!(!String::from_utf8_lossy(&done.stderr).contains("panicked"), "{args:?}: {done:?}");
    }
}

#[cfg(unix)]
#[test]
fn signals_end_the_tool_with_128_plus_their_number() {
    use std::os::unix::process::CommandExt as _;
    let dir = tempfile::tempdir().unwrap();
    fill(&Store::open(dir.path()));
    let beside = tempfile::tempdir().unwrap();
    for (name, number) in [("INT", 2), ("TERM", 15), ("HUP", 1)] {
        // The tool waits for the confirmation on a pipe without a writer; a shell reports how it ended. Without job
        // control the shell would let it ignore interrupts.
        let line = format!(
            "set -m; cd {}; rm -f in asked; mkfifo in; exec 3<>in; {} --data-dir {} tombstone -r 2 --force <in 2>asked & \
             n=0; until grep -q Type asked 2>/dev/null || [ $n -gt 300 ]; do n=$((n+1)); sleep 0.1; done; \
             asked=$!; (sleep 30; kill -KILL $asked) >/dev/null 2>&1 & bound=$!; \
             kill -{name} $asked; wait $asked; echo $?; kill $bound",
            beside.path().display(),
            env!("CARGO_BIN_EXE_tikv-ctl"),
            dir.path().display(),
        );
        let mut shell = Command::new("bash");
        // SAFETY: `signal` may be called between fork and exec.
        unsafe {
            // The tests themselves may run in the background or under nohup, which ignore these signals.
            shell.pre_exec(|| {
                for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
                    libc::signal(signal, libc::SIG_DFL);
                }
                Ok(())
            });
        }
        let done = shell.args(["-c", &line]).output().unwrap();
        let out = String::from_utf8_lossy(&done.stdout).into_owned();
        assert_eq!(out.trim(), (128 + number).to_string(), "{name}: {done:?}");
    }
}
