//! The binary `tikv-server`: error messages, signals, and that no acknowledged write is lost by kill -9.
use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use kvproto::{
    debugpb::{GetMetricsRequest, debug_client::DebugClient},
    kvrpcpb::{Context, RawGetRequest, RawPutRequest},
    tikvpb::tikv_client::TikvClient,
    tracecontrol::{
        ContinueRequest, StatusRequest, SubscribeRequest, continue_request::Mode,
        trace_control_client::TraceControlClient,
    },
};
use pd::{
    client::PdClient,
    server::{EngineWallClock, PdConfig, PdServer},
};
use tonic::transport::Channel;

const BOUND: Duration = Duration::from_secs(60);

/// Elections within a second, reports to PD often.
const QUICK: &str = r#"
[raftstore]
raft-base-tick-interval = "100ms"
raft-store-max-leader-lease = "900ms"
pd-heartbeat-tick-interval = "300ms"
pd-store-heartbeat-tick-interval = "300ms"
"#;

fn binary() -> Command {
    Command::new(env!("CARGO_BIN_EXE_tikv-server"))
}

fn fails(args: &[&str]) -> String {
    let Output { status, stderr, .. } = binary().args(args).output().unwrap();
    assert!(!status.success());
    String::from_utf8_lossy(&stderr).into_owned()
}

#[test]
fn errors_are_named_and_exit_with_a_code() {
    assert!(fails(&["--adr", "x"]).contains("--addr"));
    assert!(fails(&["--config", "/does/not/exist.toml"]).contains("check the path"));
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("letter.txt"), "hello").unwrap();
    let path = dir.path().to_str().unwrap();
    let foreign = fails(&["--addr", "127.0.0.1:0", "--status-addr", "127.0.0.1:0", "--data-dir", path]);
    assert!(foreign.contains("letter.txt"), "{foreign}");
    // No server listens on port 1.
    let fresh = dir.path().join("s");
    let config = dir.path().join("once.toml");
    std::fs::write(&config, "[pd]\nretry-max-count = 1\nretry-interval = \"1ms\"\n").unwrap();
    let away = fails(&[
        "--config",
        config.to_str().unwrap(),
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
#[cfg(target_os = "linux")]
fn a_closed_or_full_output_is_no_panic() {
    for args in [&["--config-info"][..], &["--help"], &["--version"]] {
        let (reader, closed) = std::io::pipe().unwrap();
        drop(reader);
        let output = binary().args(args).stdout(closed).stderr(Stdio::piped()).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let output = binary().args(args).stdout(full).stderr(Stdio::piped()).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{args:?}: {stderr}");
        assert!(stderr.contains("No space left on device"), "{args:?}: {stderr}");
    }
}

#[test]
fn a_store_waits_for_pd_and_reports_it() {
    let dir = tempfile::tempdir().unwrap();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut child = binary()
        .args(["--addr", "127.0.0.1:0", "--status-addr", "", "--log-level", "error"])
        .args(["--pd-endpoints", &port.to_string(), "--data-dir"])
        .arg(dir.path().join("s"))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    let waits = said.next().expect("the wait is reported at any log level");
    assert!(waits.contains(&format!("waiting for PD at {port}")), "{waits}");
    let pd = PdServer::start(PdConfig {
        data_dir: dir.path().join("pd"),
        addr: port,
        advertise_addr: None,
        cluster_id: None,
        max_replicas: None,
        clock: std::sync::Arc::new(EngineWallClock),
    })
    .unwrap();
    let mut printed = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let serves = printed.next().unwrap();
    assert!(serves.contains(" serves on "), "{serves}");
    child.kill().unwrap();
    child.wait().unwrap();
    pd.shutdown();
}

#[test]
fn signals_stop_a_store_in_order() {
    for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP] {
        let dir = tempfile::tempdir().unwrap();
        let mut process = Process::start(&dir.path().join("s"), None);
        // SAFETY: a signal to a child that is ours and not waited for yet.
        unsafe { libc::kill(process.child.id() as i32, signal) };
        let deadline = Instant::now() + BOUND;
        let status = loop {
            assert!(Instant::now() < deadline, "the store stops after signal {signal}");
            if let Some(status) = process.child.try_wait().unwrap() {
                break status;
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        assert!(status.success(), "signal {signal}: {status}");
    }
}

#[test]
fn completions_and_man_page_are_written() {
    for (shell, named) in [("bash", "complete -F"), ("zsh", "#compdef tikv-server"), ("fish", "complete -c")]
    {
        let output = binary().args(["completions", shell]).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && text.contains(named) && text.contains("pd-endpoints"), "{text}");
    }
    let dir = tempfile::tempdir().unwrap();
    let pages = dir.path().join("man/man1");
    assert!(binary().arg("man").arg(&pages).status().unwrap().success());
    let page = std::fs::read_to_string(pages.join("tikv-server.1")).unwrap();
    assert!(page.contains("embedded"), "{page}");
    assert!(fails(&["completions", "cmd.exe"]).contains("possible values"));
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

/// A store in a process of its own.
struct Process {
    child: Child,
    pd: String,
    store: String,
}

impl Process {
    /// Starts a store; without `pd` it embeds a PD.
    fn start(dir: &Path, pd: Option<&str>) -> Self {
        Self::start_with(dir, pd, &[], Stdio::inherit())
    }

    fn start_with(dir: &Path, pd: Option<&str>, args: &[&str], stderr: Stdio) -> Self {
        let config = dir.with_extension("toml");
        std::fs::write(&config, QUICK).unwrap();
        let mut child = binary()
            .args(["--addr", "127.0.0.1:0", "--status-addr", "", "--log-level", "warn"])
            .args(pd.map_or(["--embedded-pd", "127.0.0.1:0"], |pd| ["--pd-endpoints", pd]))
            .arg("--data-dir")
            .arg(dir)
            .arg("--config")
            .arg(&config)
            .args(args)
            .stderr(stderr)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let mut after = |what: &str| {
            let line =
                lines.by_ref().find(|l| l.contains(what)).unwrap_or_else(|| panic!("{what} was not printed"));
            line.split(what).nth(1).unwrap().trim().split(';').next().unwrap().to_owned()
        };
        let pd = pd.map_or_else(|| after("PD serves on"), str::to_owned);
        let store = after(" serves on ");
        Self { child, pd, store }
    }

    async fn control(&self) -> TraceControlClient<Channel> {
        TraceControlClient::connect(format!("http://{}", self.store)).await.unwrap()
    }

    /// Waits until the store leads its region.
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
async fn a_killed_process_loses_no_acknowledged_write() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("s");
    {
        let process = Process::start(&dir, None);
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
    let process = Process::start(&dir, None);
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
            assert!(status.success(), "SIGTERM ends it cleanly: {status}");
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("it did not stop");
}

/// Returns the leader of the first region according to PD, once the region has this many peers.
async fn leader_among(pd: &str, peers: usize) -> Option<(Context, TikvClient<Channel>)> {
    let pd = PdClient::connect(&[pd.to_owned()]).await.ok()?;
    let found = pd.get_region(b"").await.ok()?;
    let peer = found.leader.filter(|_| found.region.peers.len() == peers)?;
    let store = pd.get_store(peer.store_id).await.ok()?;
    let (region_id, region_epoch) = (found.region.id, found.region.region_epoch);
    let context = Context { region_id, region_epoch, peer: Some(peer), ..Context::default() };
    Some((context, TikvClient::connect(format!("http://{}", store.address)).await.ok()?))
}

/// Retries on the leader until there is an answer without a region error.
async fn until_served<T>(
    what: &str,
    pd: &str,
    peers: usize,
    attempt: impl AsyncFn(Context, TikvClient<Channel>) -> Option<T>,
) -> T {
    let deadline = Instant::now() + BOUND;
    loop {
        assert!(Instant::now() < deadline, "{what}");
        if let Some((context, kv)) = leader_among(pd, peers).await
            && let Ok(Some(found)) = tokio::time::timeout(Duration::from_secs(5), attempt(context, kv)).await
        {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Starts all processes of a cluster; PD is in the first.
fn start_all(dir: &Path, stores: usize) -> Vec<Process> {
    let mut all = vec![Process::start(&dir.join("s0"), None)];
    let pd = all[0].pd.clone();
    all.extend((1..stores).map(|n| Process::start(&dir.join(format!("s{n}")), Some(&pd))));
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn all_metrics_have_the_allocators_statistics() {
    let dir = tempfile::tempdir().unwrap();
    let process = Process::start(&dir.path().join("s"), None);
    let mut debug = DebugClient::connect(format!("http://{}", process.store)).await.unwrap();
    for all in [false, true] {
        let reply = debug.get_metrics(GetMetricsRequest { all }).await.unwrap().into_inner();
        assert_eq!(reply.jemalloc.contains("jemalloc statistics"), all, "{}", reply.jemalloc);
    }
}

async fn check_nothing_is_lost(stores: usize) {
    let dir = tempfile::tempdir().unwrap();
    {
        let processes = start_all(dir.path(), stores);
        for i in 0..20u8 {
            let put = async |context: Context, mut kv: TikvClient<Channel>| {
                let (context, key, value) = (Some(context), vec![i], vec![i; 10]);
                let put = RawPutRequest { context, key, value, ..Default::default() };
                let put = kv.raw_put(put).await.ok()?.into_inner();
                (put.region_error.is_none() && put.error.is_empty()).then_some(())
            };
            until_served("a put", &processes[0].pd, stores, put).await;
        }
    }
    let processes = start_all(dir.path(), stores);
    for i in 0..20u8 {
        let get = async |context: Context, mut kv: TikvClient<Channel>| {
            let get = RawGetRequest { context: Some(context), key: vec![i], ..Default::default() };
            let got = kv.raw_get(get).await.ok()?.into_inner();
            got.region_error.is_none().then_some(got.value)
        };
        assert_eq!(until_served("a get", &processes[0].pd, stores, get).await, vec![i; 10]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_killed_processes_lose_no_acknowledged_write() {
    check_nothing_is_lost(2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_killed_processes_lose_no_acknowledged_write() {
    check_nothing_is_lost(3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_absent_collector_does_not_delay_the_stop() {
    let dir = tempfile::tempdir().unwrap();
    let (chrome, log) = (dir.path().join("live.json"), dir.path().join("stderr"));
    // No server listens on port 1.
    let sinks = format!("fmt,chrome={},otlp=http://127.0.0.1:1", chrome.display());
    let stderr = std::fs::File::create(&log).unwrap();
    let mut process = Process::start_with(&dir.path().join("s"), None, &["--bridge", &sinks], stderr.into());
    let (context, mut kv) = process.leader().await;
    // Enough spans for several messages.
    for i in 0..200u8 {
        let (context, key, value) = (Some(context.clone()), vec![i], vec![i; 10]);
        let put = RawPutRequest { context, key, value, ..Default::default() };
        let put = tokio::time::timeout(BOUND, kv.raw_put(put)).await.unwrap().unwrap().into_inner();
        assert!(put.region_error.is_none() && put.error.is_empty(), "{put:?}");
    }
    // SAFETY: a signal to a child that is ours and not waited for yet.
    unsafe { libc::kill(process.child.id() as i32, libc::SIGTERM) };
    let deadline = Instant::now() + BOUND / 2;
    let status = loop {
        assert!(Instant::now() < deadline, "the server stops");
        if let Some(status) = process.child.try_wait().unwrap() {
            break status;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert!(status.success(), "{status}");
    let log = std::fs::read_to_string(log).unwrap();
    assert_eq!(log.lines().filter(|l| l.contains("raw_put{") && l.ends_with("request: new")).count(), 200);
    assert!(
        log.contains("could not be sent to the OTLP collector") && log.contains("Connection refused"),
        "{log}"
    );
    let events: serde_json::Value = serde_json::from_slice(&std::fs::read(chrome).unwrap()).unwrap();
    let events = events.as_array().or_else(|| events["traceEvents"].as_array()).unwrap();
    let named = |name: &str| events.iter().filter(|e| e["name"] == name && e["ph"] == "X").count();
    assert_eq!((named("raw_put"), named("raft_propose")), (200, 200));
}

/// Returns the nanoseconds for which the process's engine time has stood still so far.
async fn frozen_ns(control: &mut TraceControlClient<Channel>) -> u64 {
    control.status(StatusRequest {}).await.unwrap().into_inner().frozen_ns
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_request_stops_the_other_processs_clock() {
    let dir = tempfile::tempdir().unwrap();
    let first = Process::start(&dir.path().join("s1"), None);
    let second = Process::start(&dir.path().join("s2"), Some(&first.pd));
    let (context, mut kv) = first.leader().await;
    let (mut control, mut other) = (first.control().await, second.control().await);
    let gates = vec!["grpc_decode".to_owned()];
    let request = SubscribeRequest { gates, max_requests: 1, ..SubscribeRequest::default() };
    let mut steps = control.subscribe(request).await.unwrap().into_inner();
    let get = tokio::spawn(async move {
        let request = RawGetRequest { context: Some(context), key: b"k".to_vec(), ..Default::default() };
        kv.raw_get(request).await.unwrap().into_inner()
    });
    let held = async { while !steps.message().await.unwrap().expect("the stream is open").held {} };
    tokio::time::timeout(BOUND, held).await.unwrap();

    let deadline = Instant::now() + BOUND;
    while frozen_ns(&mut other).await == 0 {
        assert!(Instant::now() < deadline, "the hold reaches the other process");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let before = frozen_ns(&mut other).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(frozen_ns(&mut other).await >= before + 300_000_000, "the clock stops as long as the hold lasts");

    control.r#continue(ContinueRequest { mode: Mode::Run as i32, ..Default::default() }).await.unwrap();
    let got = tokio::time::timeout(BOUND, get).await.unwrap().unwrap();
    assert!(got.region_error.is_none() && got.not_found, "{got:?}");
    loop {
        assert!(Instant::now() < deadline, "the release reaches the other process");
        let before = frozen_ns(&mut other).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        if frozen_ns(&mut other).await == before {
            break;
        }
    }
}
