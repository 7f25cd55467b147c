//! The binary `tikv-server`: what it says to mistakes, and that a kill -9 loses nothing that was acknowledged.
use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use kvproto::{
    kvrpcpb::{Context, RawGetRequest, RawPutRequest},
    tikvpb::tikv_client::TikvClient,
};
use pd::client::PdClient;
use tonic::transport::Channel;

const BOUND: Duration = Duration::from_secs(60);

fn binary() -> Command {
    Command::new(env!("CARGO_BIN_EXE_tikv-server"))
}

fn fails(args: &[&str]) -> String {
    let Output { status, stderr, .. } = binary().args(args).output().unwrap();
    assert!(!status.success());
    String::from_utf8_lossy(&stderr).into_owned()
}

#[test]
fn mistakes_are_named_and_end_with_an_error_code() {
    assert!(fails(&["--adr", "x"]).contains("--addr"));
    assert!(fails(&["--config", "/does/not/exist.toml"]).contains("check the path"));
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("letter.txt"), "dear").unwrap();
    let path = dir.path().to_str().unwrap();
    let foreign = fails(&["--addr", "127.0.0.1:0", "--status-addr", "127.0.0.1:0", "--data-dir", path]);
    assert!(foreign.contains("letter.txt"), "{foreign}");
    // Nobody listens on port 1.
    let fresh = dir.path().join("s");
    let away = fails(&[
        "--addr",
        "127.0.0.1:0",
        "--status-addr",
        "127.0.0.1:0",
        "--data-dir",
        fresh.to_str().unwrap(),
        "--pd-endpoints",
        "127.0.0.1:1",
    ]);
    assert!(away.contains("127.0.0.1:1") && away.contains("PD"), "{away}");
}

#[test]
fn help_names_tikvs_flags() {
    let help = binary().arg("--help").output().unwrap();
    let text = String::from_utf8_lossy(&help.stdout).into_owned();
    for flag in [
        "--addr",
        "--advertise-addr",
        "--status-addr",
        "--data-dir",
        "--pd-endpoints",
        "--config",
        "--log-level",
    ] {
        assert!(text.contains(flag), "{flag} is not in\n{text}");
    }
}

/// A store with a PD inside, in a process of its own.
struct Process {
    child: Child,
    pd: String,
    store: String,
}

impl Process {
    fn start(dir: &Path) -> Self {
        let mut child = binary()
            .args([
                "--embedded-pd",
                "127.0.0.1:0",
                "--addr",
                "127.0.0.1:0",
                "--status-addr",
                "",
                "--log-level",
                "warn",
            ])
            .arg("--data-dir")
            .arg(dir)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let mut after = |what: &str| {
            let line =
                lines.by_ref().find(|l| l.contains(what)).unwrap_or_else(|| panic!("{what} was not printed"));
            line.split(what).nth(1).unwrap().trim().split(';').next().unwrap().to_owned()
        };
        let (pd, store) = (after("PD serves on"), after(" serves on "));
        Self { child, pd, store }
    }

    /// Until the store leads its region.
    async fn leader(&self) -> (Context, TikvClient<Channel>) {
        let deadline = Instant::now() + BOUND;
        let pd = PdClient::connect(std::slice::from_ref(&self.pd)).await.unwrap();
        loop {
            assert!(Instant::now() < deadline, "the store leads its region");
            if let Ok(found) = pd.get_region(b"").await
                && let Some(peer) = found.leader
            {
                let context = Context {
                    region_id: found.region.id,
                    region_epoch: found.region.region_epoch,
                    peer: Some(peer),
                    ..Context::default()
                };
                return (context, TikvClient::connect(format!("http://{}", self.store)).await.unwrap());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // SIGKILL; it may be dead already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_process_has_lost_nothing_it_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("s");
    {
        let process = Process::start(&dir);
        let (context, mut kv) = process.leader().await;
        for i in 0..20u8 {
            let request = RawPutRequest {
                context: Some(context.clone()),
                key: vec![i],
                value: vec![i; 10],
                ..Default::default()
            };
            let put = tokio::time::timeout(BOUND, kv.raw_put(request)).await.unwrap().unwrap().into_inner();
            assert!(put.region_error.is_none() && put.error.is_empty(), "{put:?}");
        }
    }
    let process = Process::start(&dir);
    let deadline = Instant::now() + BOUND;
    let (mut context, mut kv) = process.leader().await;
    for i in 0..20u8 {
        loop {
            assert!(Instant::now() < deadline, "key {i} is read");
            let request =
                RawGetRequest { context: Some(context.clone()), key: vec![i], ..Default::default() };
            let got = tokio::time::timeout(BOUND, kv.raw_get(request)).await.unwrap().unwrap().into_inner();
            if got.region_error.is_none() {
                assert_eq!(got.value, vec![i; 10]);
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
            (context, kv) = process.leader().await;
        }
    }
    let mut stopping = process;
    // SAFETY: a signal to a child that is ours and not waited for yet.
    unsafe { libc::kill(stopping.child.id() as i32, libc::SIGTERM) };
    while Instant::now() < deadline {
        if let Some(status) = stopping.child.try_wait().unwrap() {
            assert!(status.success(), "a polite kill ends it cleanly: {status}");
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("it did not stop");
}
