//! The binary `pd-server`: what it refuses, how signals end it, what it writes about itself.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

const BOUND: Duration = Duration::from_secs(60);

fn binary() -> Command {
    Command::new(env!("CARGO_BIN_EXE_pd-server"))
}

fn fails(args: &[&str]) -> String {
    let dir = tempfile::tempdir().unwrap();
    let output =
        binary().args(["--addr", "127.0.0.1:0", "--data-dir"]).arg(dir.path().join("d")).args(args).output();
    let output = output.unwrap();
    assert!(!output.status.success(), "{args:?}");
    assert!(!dir.path().join("d").join("cluster.state").exists(), "{args:?}: nothing is begun");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn values_that_cannot_work_are_refused_with_their_flag() {
    for (flag, wrong) in [
        ("--max-replicas", &["0", "-1", "100", "three"][..]),
        ("--cluster-id", &["0", "x"]),
        ("--max-store-down-time", &["0s", "soon", ""]),
        ("--advertise-addr", &["pd1", "pd1:", ":2379", "pd1:0", "pd1:99999"]),
    ] {
        for value in wrong {
            let error = fails(&[&format!("{flag}={value}")]);
            assert!(error.contains(flag), "{flag}={value}: {error}");
        }
    }
    let missing = binary().arg("--addr=127.0.0.1:0").output().unwrap();
    assert!(String::from_utf8_lossy(&missing.stderr).contains("--data-dir"));
}

fn start(dir: &std::path::Path) -> Child {
    let mut child = binary()
        .args(["--addr", "127.0.0.1:0", "--max-store-down-time", "10m", "--data-dir"])
        .arg(dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let ready = BufReader::new(child.stdout.take().unwrap()).lines().next().unwrap().unwrap();
    assert!(ready.contains("is ready at"), "{ready}");
    child
}

#[test]
fn sigterm_ends_it_with_0_and_other_signals_with_1_as_pd() {
    for (signal, code) in [("TERM", 0), ("INT", 1), ("HUP", 1)] {
        let dir = tempfile::tempdir().unwrap();
        let mut child = start(dir.path());
        let sent =
            Command::new("kill").arg(format!("-{signal}")).arg(child.id().to_string()).status().unwrap();
        assert!(sent.success());
        let deadline = Instant::now() + BOUND;
        let status = loop {
            assert!(Instant::now() < deadline, "it stops after {signal}");
            if let Some(status) = child.try_wait().unwrap() {
                break status;
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        assert_eq!(status.code(), Some(code), "{signal}");
    }
}

#[test]
fn completions_and_man_page_are_written() {
    let output = binary().args(["completions", "bash"]).output().unwrap();
    assert!(output.status.success() && String::from_utf8_lossy(&output.stdout).contains("--max-replicas"));
    let dir = tempfile::tempdir().unwrap();
    assert!(binary().arg("man").arg(dir.path()).status().unwrap().success());
    assert!(dir.path().join("pd-server.1").exists());
}
