//! The binary `pd-server`: refused values, signals, completions and man page.
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
    assert!(!dir.path().join("d").join("cluster.state").exists(), "{args:?}: no cluster is created");
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

/// A server that a failed test does not leave running.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(dir: &std::path::Path) -> Server {
    let child = binary()
        .args(["--addr", "127.0.0.1:0", "--max-store-down-time", "10m", "--data-dir"])
        .arg(dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut child = Server(child);
    let ready = BufReader::new(child.0.stdout.take().unwrap()).lines().next().unwrap().unwrap();
    assert!(ready.contains("is ready at"), "{ready}");
    child
}

#[test]
fn sigterm_exits_with_0_and_other_signals_with_1() {
    for (signal, code) in [("TERM", 0), ("INT", 1), ("HUP", 1)] {
        let dir = tempfile::tempdir().unwrap();
        let mut child = start(dir.path());
        // The shell's own `kill`: a small system has no program of that name.
        let kill = format!("kill -s {signal} {}", child.0.id());
        let sent = Command::new("sh").args(["-c", &kill]).status().unwrap();
        assert!(sent.success());
        let deadline = Instant::now() + BOUND;
        let status = loop {
            assert!(Instant::now() < deadline, "the server stops after {signal}");
            if let Some(status) = child.0.try_wait().unwrap() {
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
